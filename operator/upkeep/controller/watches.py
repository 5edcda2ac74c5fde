"""Feeds the cache and the queue from Kopf's watch streams.

Kopf only delivers events here: it writes no annotations and no finalizers, keeps no timers, and knows no peers.
"""

import logging
import time
from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import Any, Final

import kopf

from upkeep.api.window import EVERY_NAMESPACE
from upkeep.cluster.cache import Cache, Key, key_of
from upkeep.cluster.resources import BACKUPS, BY_KIND, INGRESSES, JOBS, OWNERS, PODS, TARGETS, TASKS, WINDOWS, Resource
from upkeep.controller.queue import WorkQueue
from upkeep.controller.references import (
    NAMES_WINDOW,
    REQUIRES_BACKUP,
    RESTORES_BACKUP,
    SELECTS_TASKS,
    frozen_namespaces,
    planned_tasks,
    progress_of,
    proof_of,
)
from upkeep.domain import byhand
from upkeep.domain.identity import (
    JOB_NAME_LABEL,
    MANAGED_BY,
    MANAGED_BY_LABEL,
    MAX_LABEL,
    OWNER_KIND_LABEL,
    OWNER_NAME_LABEL,
    WINDOW_UID_LABEL,
)
from upkeep.domain.maintenance import MODE_LABEL
from upkeep.domain.maintenance.record import MODE_ON

logger = logging.getLogger(__name__)

SELECTORS: Final[Mapping[Resource, str]] = {
    JOBS: f"{MANAGED_BY_LABEL}={MANAGED_BY}",
    PODS: f"{MANAGED_BY_LABEL}={MANAGED_BY},{JOB_NAME_LABEL}",
}
"""What is watched of kinds that are not ours: only what Upkeep made, filtered by the API server."""

WATCHED: Final = (*OWNERS, *SELECTORS, INGRESSES)
_OWNERS: Final = frozenset(resource.plural for resource in OWNERS)
_TARGETS: Final = frozenset(TARGETS.values())


class Observer:
    """Takes in what is seen of the cluster, and asks for the decisions that it calls for."""

    def __init__(
        self,
        cache: Cache,
        queue: WorkQueue,
        *,
        monotonic: Callable[[], float] = time.monotonic,
        deleted: Callable[[Mapping[str, Any]], None] = lambda _: None,
    ) -> None:
        self._deleted = deleted
        self._cache = cache
        self._queue = queue
        self._monotonic = monotonic
        self._unseen: dict[str, tuple[int, float]] = {}
        self._shown: dict[str, int] = {}
        self._progress: dict[Key, tuple[object, ...]] = {}

    def seen(self, resource: Resource, body: Mapping[str, Any], *, deleted: bool = False) -> None:
        """Take in an object from a list or a watch."""
        self._echoed(resource, body)
        key = key_of(resource, body)
        if resource in _TARGETS and not _concerns(resource, body):
            # Of all the others, thousands maybe, nothing is kept, not even that they are not ours.
            if key not in self._cache:
                return
            deleted = True
        before = self._cache.get(key) if resource in OWNERS else None
        news = self._cache.drop(resource, body) if deleted else self._cache.put(resource, body)
        if not news:
            return
        if resource in OWNERS:
            self._queue.add(key)
            if deleted or _generation(before) != _generation(body):
                self._wake_dependents(key)
                self._wake_frozen(before, body)
            if resource == TASKS and (deleted or _shape(before) != _shape(body)):
                self._wake_choosing(key.namespace)
            self._follow(resource, body, deleted=deleted)
            if deleted and resource == WINDOWS:
                self._deleted(body)
            if (target := byhand.target_of(body)) and target.kind in TARGETS:
                self._queue.add(Key(TARGETS[target.kind].plural, key.namespace, target.name))
        elif resource in _TARGETS:
            self._queue.add(key)
        elif resource in {JOBS, PODS}:
            self._wake_owner(body, over=resource == JOBS and (deleted or _has_ended(body)))

    def forgotten(self, key: Key) -> None:
        """Take in that an object is gone, which nobody said."""
        if key.plural in _OWNERS:
            self._queue.add(key)

    def wrote(self, resource: Resource, body: Mapping[str, Any]) -> None:
        """Expect the watch to show what was just written, unless it has: it can be quicker than the answer."""
        self._follow(resource, body)
        version = int(body["metadata"]["resourceVersion"])
        if version <= self._shown.get(resource.plural, -1):
            return
        self._unseen.setdefault(resource.plural, (version, self._monotonic()))

    @property
    def watch_age(self) -> float:
        """Seconds for which the watches have owed us something that we wrote ourselves; 0 while they owe nothing."""
        oldest = min((since for _, since in self._unseen.values()), default=None)
        return 0.0 if oldest is None else self._monotonic() - oldest

    def _echoed(self, resource: Resource, body: Mapping[str, Any]) -> None:
        version = int(body["metadata"].get("resourceVersion") or 0)
        self._shown[resource.plural] = max(version, self._shown.get(resource.plural, -1))
        expected = self._unseen.get(resource.plural)
        if expected and version >= expected[0]:
            del self._unseen[resource.plural]

    def _wake_dependents(self, key: Key) -> None:
        """Windows look at tasks of their plan and policies that they require, both look at windows that bind them."""
        if key.plural == WINDOWS.plural:
            self._wake_bound(key)
        if key.plural == BACKUPS.plural:
            self._wake_requiring(key)
        if key.plural == TASKS.plural:
            self._wake_planning(key)

    def _wake_planning(self, key: Key) -> None:
        """The windows that have a task in their plans."""
        for name in self._cache.names(WINDOWS, key.namespace):
            dependent = self._cache.get(Key(WINDOWS.plural, key.namespace, name))
            if dependent and key.name in planned_tasks(dependent):
                self._queue.add(Key(WINDOWS.plural, key.namespace, name))

    def _wake_bound(self, window: Key) -> None:
        for key in self._cache.found(NAMES_WINDOW, f"{window.namespace}/{window.name}"):
            self._queue.add(key)

    def _wake_choosing(self, namespace: str) -> None:
        """A task that comes, goes or gets other labels concerns the windows that choose tasks by their labels."""
        for key in self._cache.found(SELECTS_TASKS, namespace):
            self._queue.add(key)

    def _wake_requiring(self, policy: Key) -> None:
        """Windows wait for what it proves, tasks restore what it has backed up."""
        for term in (REQUIRES_BACKUP, RESTORES_BACKUP):
            for key in self._cache.found(term, f"{policy.namespace}/{policy.name}"):
                self._queue.add(key)

    def _wake_frozen(self, *freezes: Mapping[str, Any] | None) -> None:
        """A freeze that comes, goes or changes concerns all windows of the namespaces in which it forbids."""
        namespaces = {name for freeze in freezes if freeze for name in frozen_namespaces(freeze)}
        if not namespaces:
            return
        for key in self._cache.keys(WINDOWS):
            if EVERY_NAMESPACE in namespaces or key.namespace in namespaces:
                self._queue.add(key)

    def _follow(self, resource: Resource, body: Mapping[str, Any], *, deleted: bool = False) -> None:
        """Wake what waits for a window when it has opened, or is not going to, and for a policy when it is proven.

        What else they tell concerns nobody. What we write ourselves is in the cache before the watch shows it, so that
        the watch brings no news of it.
        """
        if resource not in {WINDOWS, BACKUPS}:
            return
        key, is_window = key_of(resource, body), resource == WINDOWS
        progress = progress_of(body) if is_window else proof_of(body)
        if deleted:
            self._progress.pop(key, None)
        elif self._progress.get(key) != progress:
            self._progress[key] = progress
            wake = self._wake_bound if is_window else self._wake_requiring
            wake(key)

    def _wake_owner(self, body: Mapping[str, Any], *, over: bool) -> None:
        """The owner of a run and its window; once it is over, also other windows, which may have waited for its end."""
        metadata = body["metadata"]
        labels = metadata.get("labels") or {}
        owner = BY_KIND.get(labels.get(OWNER_KIND_LABEL, ""))
        if owner in OWNERS and labels.get(OWNER_NAME_LABEL):
            for name in self._owner_names(owner, metadata["namespace"], labels[OWNER_NAME_LABEL]):
                key = Key(owner.plural, metadata["namespace"], name)
                self._queue.add(key)
                if over and owner == TASKS:
                    self._wake_planning(key)
        window_uid = labels.get(WINDOW_UID_LABEL)
        if window_uid:
            for name in self._cache.names(WINDOWS, metadata["namespace"]):
                window = self._cache.get(Key(WINDOWS.plural, metadata["namespace"], name))
                if window and window["metadata"]["uid"] == window_uid:
                    self._queue.add(Key(WINDOWS.plural, metadata["namespace"], name))

    def _owner_names(self, owner: Resource, namespace: str, label: str) -> list[str]:
        """Names of the owners that a label may stand for: a long name is cut to what a label can hold."""
        known = self._cache.names(owner, namespace)
        if len(label) < MAX_LABEL and label in known:
            return [label]
        return [name for name in known if name.startswith(label)]


def registry(observer: Observer, calm: Callable[[], Awaitable[None]]) -> kopf.OperatorRegistry:
    """Kopf's handlers: one for each watched kind, and the way to log in; `calm` lets them wait while it is busy."""
    handlers = kopf.OperatorRegistry()

    @kopf.on.login(registry=handlers)
    def login(**kwargs: Any) -> Any:  # noqa: ANN401 - Kopf's own types
        return kopf.login_with_service_account(**kwargs) or kopf.login_with_kubeconfig(**kwargs)

    for resource in WATCHED:
        _watch(handlers, observer, resource, calm)
    return handlers


def kopf_settings() -> kopf.OperatorSettings:
    """Kopf as an event stream: no peering, no posting, no memory, no scanning, watches filtered by the API server."""
    settings = kopf.OperatorSettings()
    settings.posting.enabled = False
    settings.scanning.disabled = True
    settings.peering.standalone = True
    settings.watching.chunk_size = 500
    settings.watching.connect_timeout = 10
    settings.networking.request_timeout = 30
    # Few workers, who leave at once: while a thousand Jobs are being created, what is seen of them can wait in line.
    settings.queueing.worker_limit = 40
    settings.queueing.idle_timeout = 0.01
    settings.queueing.exit_timeout = 0.2
    settings.persistence.diffbase_storage = _NoDiffs()
    settings.persistence.progress_storage = _NoProgress()
    for resource, selector in SELECTORS.items():
        settings.watching.label_selectors[resource.group, resource.plural] = selector
    return settings


class _NoDiffs(kopf.DiffBaseStorage):
    """Nobody asks what has changed since the last time, so nothing is copied to find out."""

    def build(self, **_: object) -> kopf.BodyEssence:
        return kopf.BodyEssence()

    def fetch(self, **_: object) -> None:
        return None

    def store(self, **_: object) -> None:
        return


class _NoProgress(kopf.ProgressStorage):
    """Handlers of events make no progress that could be kept."""

    def fetch(self, **_: object) -> None:
        return None

    def store(self, **_: object) -> None:
        return

    def purge(self, **_: object) -> None:
        return

    def touch(self, **_: object) -> None:
        return

    def clear(self, *, essence: kopf.BodyEssence) -> kopf.BodyEssence:
        return essence


def _watch(
    handlers: kopf.OperatorRegistry, observer: Observer, resource: Resource, calm: Callable[[], Awaitable[None]]
) -> None:
    async def take_in(event: Mapping[str, Any], **_: object) -> None:
        await calm()
        observer.seen(resource, event["object"], deleted=event["type"] == "DELETED")

    kopf.on.event(resource.group, resource.version, resource.plural, registry=handlers, id=resource.plural)(take_in)


def namespaces_argument(namespaces: Collection[str]) -> dict[str, Any]:
    """How Kopf is told which namespaces to serve."""
    return {"namespaces": list(namespaces)} if namespaces else {"clusterwide": True}


def _concerns(resource: Resource, target: Mapping[str, Any]) -> bool:
    """Whether somebody asks for maintenance mode by hand (an annotation has no selector), or an Ingress is in it.

    Of the routes in maintenance mode nothing is kept: the sweep asks for them, since they may not be watched at all.
    """
    labels = target["metadata"].get("labels") or {}
    return byhand.concerns(target) or (resource == INGRESSES and labels.get(MODE_LABEL) == MODE_ON)


def _has_ended(job: Mapping[str, Any]) -> bool:
    conditions = (job.get("status") or {}).get("conditions") or ()
    return any(each["type"] in {"Complete", "Failed"} and each["status"] == "True" for each in conditions)


def _shape(body: Mapping[str, Any] | None) -> object:
    """What selectors look at, and whether it is there at all: labels do not count as a change of the spec."""
    return (_generation(body), body["metadata"].get("labels")) if body else None


def _generation(body: Mapping[str, Any] | None) -> int | None:
    return body["metadata"].get("generation") if body else None
