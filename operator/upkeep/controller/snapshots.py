"""Takes the snapshot that a decision looks at: from the cache, and for targets from the API server itself."""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime

from upkeep.api.window import EVERY_NAMESPACE
from upkeep.cluster.cache import Cache, Key, key_of
from upkeep.cluster.client import Client, Object
from upkeep.cluster.errors import NotFoundError
from upkeep.cluster.resources import BACKUPS, CONFIG_MAPS, ENDPOINT_SLICES, JOBS, SERVICES, TASKS, WINDOWS, Resource
from upkeep.controller.alerting import Alerting
from upkeep.controller.references import (
    FREEZES,
    backend_of,
    branding_of,
    jobs_under_way,
    named_windows,
    occurrence_of,
    planned_tasks,
    required_policies,
    restored_policies,
    task_selectors,
)
from upkeep.controller.targets import read_targets
from upkeep.domain.backup import BackupSnapshot
from upkeep.domain.binding import Surroundings
from upkeep.domain.notices import Post
from upkeep.domain.run import Run, observe
from upkeep.domain.task import TaskSnapshot
from upkeep.domain.window import WindowSnapshot
from upkeep.resources.page import page_name, page_ready

logger = logging.getLogger(__name__)


class Snapshots:
    """Builds snapshots from what is known of the cluster."""

    def __init__(
        self,
        cache: Cache,
        client: Client,
        alerting: Alerting,
        *,
        approval_policy: bool = False,
        served: Iterable[str] = (),
        post: Callable[[Object], Post] = lambda _: Post(),
    ) -> None:
        self._post = post
        self._approval_policy = approval_policy
        self._served = frozenset(served)
        self._cache = cache
        self._client = client
        self._alerting = alerting

    async def task(self, resource: Object, now: datetime) -> TaskSnapshot:
        """What a decision about a MaintenanceTask looks at."""
        await self._look_for_jobs(resource)
        runs = self._runs(self._cache.jobs_of(resource["metadata"]["uid"]))
        return TaskSnapshot(
            resource=resource,
            runs=runs,
            now=now,
            surroundings=self._surroundings(resource),
            policies=self._policies(resource["metadata"]["namespace"], restored_policies(resource)),
        )

    async def backup(self, resource: Object, now: datetime) -> BackupSnapshot:
        """What a decision about a BackupPolicy looks at."""
        await self._look_for_jobs(resource)
        runs = self._runs(self._cache.jobs_of(resource["metadata"]["uid"]))
        return BackupSnapshot(resource=resource, runs=runs, now=now, surroundings=self._surroundings(resource))

    async def window(self, resource: Object, now: datetime) -> WindowSnapshot:
        """What a decision about a MaintenanceWindow looks at."""
        metadata = resource["metadata"]
        namespace, uid = metadata["namespace"], metadata["uid"]
        page = page_name(metadata["name"], uid)
        occurrence = occurrence_of(resource)
        backend, under_way = backend_of(resource), bool(occurrence) and "closedAt" not in occurrence
        # A page was ready once it has opened, and is ours; what is in its place may go at any time.
        awaited = under_way and (backend or (occurrence.get("pageShown") and "openedAt" not in occurrence))
        targets, ready, branding, service = await asyncio.gather(
            read_targets(self._client, resource),
            self._page_ready(namespace, backend or page) if awaited else _nobody_looked(),
            self._named(CONFIG_MAPS, namespace, branding_of(resource)),
            self._named(SERVICES, namespace, backend),
        )
        key = key_of(WINDOWS, resource)
        alerts, aftermath = await asyncio.gather(
            self._alerting.alerts.before(key, resource), self._alerting.alerts.after(key, resource)
        )
        await self._look_for_jobs(resource)
        # Tasks and runs are of one moment: a Job may only be missing where its task already says how it ended.
        present = self._planned(resource)
        return WindowSnapshot(
            resource=resource,
            tasks=present,
            runs=self._runs(self._cache.jobs_in_window(uid)),
            busy=frozenset(name for name, task in present.items() if self._busy(task, uid)),
            targets=targets.found,
            companions=targets.companions,
            ingress_classes=targets.ingress_classes,
            unknown_kinds=targets.unknown_kinds,
            page_service=page,
            page_ready=ready,
            branding=branding,
            backend=service,
            now=now,
            freezes=self._freezes(namespace),
            policies=self._policies(namespace, [*required_policies(resource), *_restored(present)]),
            alertmanagers=self._alerting.names,
            alerts=alerts,
            aftermath=aftermath,
            silences=self._alerting.silences.reports(key),
            approvals_trusted=self._approval_policy,
            post=self._post(resource),
        )

    def live_windows(self) -> frozenset[str]:
        """UIDs of all MaintenanceWindows that exist."""
        windows = (self._cache.get(key) for key in self._cache.keys(WINDOWS))
        return frozenset(window["metadata"]["uid"] for window in windows if window)

    def _surroundings(self, resource: Object) -> Surroundings:
        """The windows that a task or policy names, and the freezes over them."""
        named = named_windows(resource)
        windows = {reference: self._cache.get(Key(WINDOWS.plural, *place)) for reference, place in named.items()}
        freezes = self._freezes(*(namespace for namespace, _ in named.values())) if named else ()
        present = {reference: window for reference, window in windows.items() if window is not None}
        return Surroundings(windows=present, freezes=freezes, served=self._served)

    def _planned(self, window: Object) -> dict[str, Object]:
        """The tasks that the plan of a window names, and those that its selectors choose or have chosen."""
        namespace = window["metadata"]["namespace"]
        found = {name: self._cache.get(Key(TASKS.plural, namespace, name)) for name in planned_tasks(window)}
        if selectors := task_selectors(window):
            for name in self._cache.names(TASKS, namespace):
                task = self._cache.get(Key(TASKS.plural, namespace, name))
                labels = (task["metadata"].get("labels") or {}) if task else {}
                if any(selector.matches(labels) for selector in selectors):
                    found[name] = task
        return {name: task for name, task in found.items() if task is not None}

    def _policies(self, namespace: str, names: Iterable[str]) -> dict[str, Object]:
        """The BackupPolicies of these names that exist."""
        found = {name: self._cache.get(Key(BACKUPS.plural, namespace, name)) for name in names}
        return {name: policy for name, policy in found.items() if policy is not None}

    def _freezes(self, *namespaces: str) -> list[Object]:
        """The freezes that apply to one of these namespaces."""
        keys = {key for name in (*namespaces, EVERY_NAMESPACE) for key in self._cache.found(FREEZES, name)}
        return [freeze for key in sorted(keys) if (freeze := self._cache.get(key)) is not None]

    async def _look_for_jobs(self, resource: Object) -> None:
        """Ask the API server for Jobs that should run and are not known: before one counts as deleted, it must be."""
        namespace = resource["metadata"]["namespace"]
        for name in jobs_under_way(resource):
            if Key(JOBS.plural, namespace, name) not in self._cache:
                with contextlib.suppress(NotFoundError):
                    self._cache.put(JOBS, await self._client.get(JOBS, namespace, name), read=True)

    def _runs(self, jobs: Iterable[Object]) -> list[Run]:
        return [run for job in jobs if (run := self._run(job))]

    def _run(self, job: Object) -> Run | None:
        try:
            return observe(job, self._cache.pods_of(job))
        except (AttributeError, KeyError, TypeError, ValueError) as problem:
            # Our labels on a Job that we did not make, or not like that: it must not stop what it pretends to be for.
            logger.warning("A Job with our labels is left alone: %r", problem, extra={"job": job["metadata"]["name"]})
            return None

    def _busy(self, task: Object, window_uid: str) -> bool:
        runs = self._runs(self._cache.jobs_of(task["metadata"]["uid"]))
        return any(run.active and run.occasion.window_uid != window_uid for run in runs)

    async def _page_ready(self, namespace: str, page: str) -> bool:
        selector = f"kubernetes.io/service-name={page}"
        pages = self._client.list_pages(ENDPOINT_SLICES, namespace, selector=selector)
        return page_ready([item async for listed in pages for item in listed["items"]])

    async def _named(self, resource: Resource, namespace: str, name: str | None) -> Object | None:
        if name is None:
            return None
        try:
            return await self._client.get(resource, namespace, name)
        except NotFoundError:
            return None


def _restored(tasks: Mapping[str, Object]) -> list[str]:
    return [name for task in tasks.values() for name in restored_policies(task)]


async def _nobody_looked() -> None:
    return None
