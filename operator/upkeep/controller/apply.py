"""Carries out a decision: actions in their order, then Events, then the status, then what may only come after it.

Every write is safe to repeat: a Job has a name of its own, a patch fails when its object has moved on, a status is
written with the resourceVersion that it was decided on.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import Any

from upkeep.api.status import ResourceStatus
from upkeep.api.window import Page, WindowStatus
from upkeep.cluster.cache import Cache, Key, key_of
from upkeep.cluster.client import Client, Object, Urgency
from upkeep.cluster.errors import AlreadyExistsError, ConflictError, NotFoundError
from upkeep.cluster.events import announce
from upkeep.cluster.resources import (
    BY_KIND,
    CONFIG_MAPS,
    DEPLOYMENTS,
    JOBS,
    SERVICES,
    WINDOWS,
    Resource,
)
from upkeep.controller.alerting import Alerting
from upkeep.controller.metrics import Metrics
from upkeep.controller.notifier import Notifier
from upkeep.controller.settings import Settings
from upkeep.domain.alerts import EndSilence, KeepSilence
from upkeep.domain.decision import (
    Action,
    Announce,
    Decision,
    DeleteJob,
    HoldFinalizer,
    PatchTarget,
    PlaceCompanion,
    RemoveCompanion,
    RemovePage,
    ShowPage,
    StartRun,
    StopJob,
)
from upkeep.domain.identity import FINALIZER, OWNER_UID_LABEL, Identity
from upkeep.domain.maintenance import is_companion
from upkeep.domain.notices import AwaitTurn, SendNotice
from upkeep.resources.companion import companion_object
from upkeep.resources.job import job
from upkeep.resources.page import page_name, page_objects

logger = logging.getLogger(__name__)


class NameTakenError(Exception):
    """What has the name that a run or a route of ours needs belongs to somebody else."""


class Applier:
    """Turns decisions into writes."""

    def __init__(
        self,
        *,
        client: Client,
        cache: Cache,
        settings: Settings,
        metrics: Metrics,
        alerting: Alerting,
        wrote: Callable[[Resource, Object], None],
        notifier: Notifier,
    ) -> None:
        self._wrote = wrote
        self._notifier = notifier
        self._client = client
        self._cache = cache
        self._settings = settings
        self._metrics = metrics
        self._silences = alerting.silences

    async def apply(self, resource: Object, decision: Decision) -> None:
        """Carry out a decision about a resource.

        Raises:
            ApiError: a write failed; what was not done is decided upon again.
            NameTakenError: a run's name is taken by a foreign Job.
        """
        for action in decision.actions:
            await self._do(resource, action)
        written = await self._write_status(resource, decision.status)
        if written and isinstance(decision.status, WindowStatus):
            self._notifier.recorded(resource["metadata"]["uid"], decision.status.notices)
        await self.say(Identity.of(resource), *decision.events)
        for action in decision.cleanup if written else ():
            await self._do(resource, action)

    def let_go(self, key: Key) -> None:
        """Take note that a resource is gone: what stands for it outside of the cluster ends."""
        self._silences.abandon(key)

    async def say(self, about: Identity, *events: Announce) -> None:
        """Write Events; failures are logged and forgotten."""
        instance = self._settings.identity
        await asyncio.gather(*(announce(self._client, about, event, instance=instance) for event in events))

    async def _do(self, resource: Object, action: Action) -> None:
        match action:
            case StartRun():
                await self._start(action)
            case StopJob():
                await self._stop_job(resource["metadata"]["namespace"], action)
            case DeleteJob():
                await self._delete_job(resource["metadata"]["namespace"], action)
            case PatchTarget():
                await self._patch_target(resource["metadata"]["namespace"], action)
            case PlaceCompanion() | RemoveCompanion():
                await self._stand_beside(Identity.of(resource), action)
            case ShowPage():
                await self._show_page(resource, action)
            case RemovePage():
                await self._remove_page(Identity.of(resource))
            case HoldFinalizer():
                await self._hold(resource, held=action.held)
            case KeepSilence() | EndSilence():
                self._silences.want(key_of(WINDOWS, resource), action)
            case AwaitTurn():
                self._notifier.ask(resource, action.channel)
            case SendNotice():
                self._notifier.begin(resource, action)

    async def _start(self, start: StartRun) -> None:
        manifest = job(
            owner=start.owner,
            name=start.name,
            occasion=start.occasion,
            work=start.work,
            image=self._settings.image,
        )
        try:
            created = await self._client.create(JOBS, manifest, urgency=Urgency.START)
        except AlreadyExistsError:
            created = await self._adopted(start)
        else:
            self._metrics.run_started(start.owner.kind)
            self._wrote(JOBS, created)
        self._cache.put(JOBS, created)

    async def _adopted(self, start: StartRun) -> Object:
        """The Job of that name, if an earlier attempt of ours made it."""
        known = await self._client.get(JOBS, start.owner.namespace, start.name)
        owner = (known["metadata"].get("labels") or {}).get(OWNER_UID_LABEL)
        if owner != start.owner.uid:
            msg = f"Job {start.name!r} exists already and does not belong to {start.owner}: delete or rename it"
            raise NameTakenError(msg)
        return known

    async def _stop_job(self, namespace: str, action: StopJob) -> None:
        """Let its deadline pass now: the Job controller ends its Pods in order, and the Job says why."""
        patch = {"metadata": {"uid": action.uid}, "spec": {"activeDeadlineSeconds": 1}}
        try:
            self._cache.put(JOBS, await self._client.patch(JOBS, namespace, action.name, patch))
        except (NotFoundError, ConflictError):
            logger.debug("A Job was gone already.", extra={"job": action.name})

    async def _delete_job(self, namespace: str, action: DeleteJob) -> None:
        try:
            await self._client.delete(JOBS, namespace, action.name, uid=action.uid)
        except (NotFoundError, ConflictError):
            logger.debug("A Job was gone already.", extra={"job": action.name})

    async def _patch_target(self, namespace: str, action: PatchTarget) -> None:
        try:
            await self._client.patch(BY_KIND[action.kind], namespace, action.name, action.patch)
        except NotFoundError:
            logger.info("A target was deleted meanwhile.", extra={"target": f"{action.kind}/{action.name}"})

    async def _stand_beside(self, window: Identity, action: PlaceCompanion | RemoveCompanion) -> None:
        """Make or delete a route of our own."""
        if isinstance(action, RemoveCompanion):
            try:
                await self._client.delete(BY_KIND[action.kind], window.namespace, action.name, uid=action.uid)
            except (NotFoundError, ConflictError):
                logger.debug("A route of ours was gone already.", extra={"target": f"{action.kind}/{action.name}"})
            return
        kind, manifest = BY_KIND[action.companion.kind], companion_object(window, action.companion, action.until)
        try:
            await self._client.create(kind, manifest)
        except AlreadyExistsError as problem:
            name = manifest["metadata"]["name"]
            if is_companion(await self._client.get(kind, window.namespace, name), of=window.uid):
                # An earlier answer was lost: what there is, is decided upon anew.
                raise ConflictError(str(problem), status=problem.status, reason=problem.reason) from problem
            msg = f"{kind.kind} {name!r} exists already and does not belong to {window}: delete or rename it"
            raise NameTakenError(msg) from problem

    async def _show_page(self, resource: Object, action: ShowPage) -> None:

        mode = resource["spec"].get("maintenanceMode") or {}
        manifests = page_objects(
            window=Identity.of(resource),
            page=Page.model_validate(mode.get("page") or {}),
            until=action.until,
            image=self._settings.image,
            replicas=self._settings.page_replicas,
        )
        for manifest in manifests:
            await self._ensure(BY_KIND[manifest["kind"]], manifest)

    async def _ensure(self, kind: Resource, manifest: dict[str, Any]) -> None:
        try:
            await self._client.create(kind, manifest)
        except AlreadyExistsError:
            metadata = manifest["metadata"]
            changes = {key: value for key, value in manifest.items() if key not in {"apiVersion", "kind", "metadata"}}
            await self._client.patch(kind, metadata["namespace"], metadata["name"], changes)

    async def _remove_page(self, window: Identity) -> None:
        name = page_name(window.name, window.uid)
        for kind in (DEPLOYMENTS, SERVICES, CONFIG_MAPS):
            try:
                known = await self._client.get(kind, window.namespace, name)
                await self._client.delete(kind, window.namespace, name, uid=known["metadata"]["uid"])
            except NotFoundError:
                continue

    async def _hold(self, resource: Object, *, held: bool) -> None:
        metadata = resource["metadata"]
        others = [name for name in metadata.get("finalizers", ()) if name != FINALIZER]
        finalizers = [*others, FINALIZER] if held else others
        patch = {"metadata": {"resourceVersion": metadata["resourceVersion"], "finalizers": finalizers}}
        try:
            patched = await self._client.patch(WINDOWS, metadata["namespace"], metadata["name"], patch)
        except NotFoundError:
            return
        self._cache.put(WINDOWS, patched)
        resource["metadata"] = patched["metadata"]

    async def _write_status(self, resource: Object, status: ResourceStatus) -> bool:
        """Write the fields that changed, if any did; False where the resource is gone."""
        kind, metadata = BY_KIND[resource["kind"]], resource["metadata"]
        before = resource.get("status")
        changes = difference(before if isinstance(before, dict) else {}, dump(status))
        if not changes:
            return True
        patch = {"metadata": {"resourceVersion": metadata["resourceVersion"]}, "status": changes}
        try:
            written = await self._client.patch(
                kind,
                metadata["namespace"],
                metadata["name"],
                patch,
                subresource="status",
                urgency=Urgency.STATUS,
            )
        except NotFoundError:
            logger.info("It was deleted before its status was written.", extra={"resource": metadata["name"]})
            return False
        self._cache.put(kind, written)
        self._wrote(kind, written)
        return True


def dump(status: ResourceStatus) -> dict[str, Any]:
    """A status as it is written: camelCase, without what is empty or zero."""
    return status.model_dump(mode="json", by_alias=True, exclude_defaults=True)


def difference(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    """The merge patch from one status to another, field by field at the top; None removes a field."""
    changed = {name: _replacement(old.get(name), value) for name, value in new.items() if old.get(name) != value}
    return changed | {name: None for name in old if name not in new}


def _replacement(old: object, new: object) -> object:
    """A merge patch that leaves nothing of the old value of a nested object behind."""
    if not isinstance(old, dict) or not isinstance(new, dict):
        return new
    return difference(old, new)
