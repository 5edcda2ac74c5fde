"""Serves requests for maintenance by hand: reads the target and its window, decides, and writes.

Both are read just before each decision: a request that was taken back a moment ago must not open anything any more.
"""

from collections.abc import Callable
from datetime import datetime
from typing import Final

from upkeep.actions.fields import format_duration
from upkeep.cluster.cache import Cache, Key
from upkeep.cluster.client import Client, Object
from upkeep.cluster.errors import AlreadyExistsError, ConflictError, NotFoundError
from upkeep.cluster.resources import TARGETS, WINDOWS
from upkeep.controller.apply import Applier
from upkeep.controller.watches import Observer
from upkeep.domain.byhand import (
    REQUEST_ANNOTATION,
    SERVED_ANNOTATION,
    ByHandSnapshot,
    ChangeWindow,
    DeleteWindow,
    NoteServed,
    OpenWindow,
    Step,
    concerns,
    decide,
    target_of,
)
from upkeep.domain.decision import Announce, EventType
from upkeep.domain.identity import Identity
from upkeep.domain.window import TargetRef
from upkeep.resources.window import by_hand_name, by_hand_window

_BY_PLURAL: Final = {resource.plural: resource for resource in TARGETS.values()}


class ByHand:
    """Brings the windows of Ingresses and routes in line with the requests on them."""

    def __init__(
        self, *, client: Client, cache: Cache, observer: Observer, applier: Applier, clock: Callable[[], datetime]
    ) -> None:
        self._client = client
        self._cache = cache
        self._observer = observer
        self._applier = applier
        self._clock = clock
        self._warned: dict[Key, Announce] = {}

    async def reconcile(self, key: Key) -> datetime | None:
        """Do what the request on a target calls for; returns when to look again.

        Raises:
            ApiError: a read or a write failed; all of it is decided upon again.
        """
        known = self._cache.get(key)
        if not (known and concerns(known)) and not self._has_window(key):
            return None
        target = await self._find_target(key)
        window = await self._find_window(target) if target else None
        decision = decide(ByHandSnapshot(target=target, window=window, now=self._clock()))
        if target is None:
            self._warned.pop(key, None)
            return None
        about = Identity.of(target)
        for step in decision.steps:
            await self._do(about, step)
        await self._say(key, about, decision.events)
        return decision.wake_at

    def _has_window(self, key: Key) -> bool:
        windows = (
            self._cache.get(Key(WINDOWS.plural, key.namespace, name))
            for name in self._cache.names(WINDOWS, key.namespace)
        )
        target = TargetRef(_BY_PLURAL[key.plural].kind, key.name)
        return any(window and target_of(window) == target for window in windows)

    async def _find_target(self, key: Key) -> Object | None:
        resource = _BY_PLURAL[key.plural]
        try:
            return {**await self._client.get(resource, key.namespace, key.name), "kind": resource.kind}
        except NotFoundError:
            return None

    async def _find_window(self, target: Object) -> Object | None:
        metadata = target["metadata"]
        name = by_hand_name(metadata["name"], metadata["uid"])
        try:
            return await self._client.get(WINDOWS, metadata["namespace"], name)
        except NotFoundError:
            return None

    async def _do(self, target: Identity, step: Step) -> None:
        name, resource = by_hand_name(target.name, target.uid), TARGETS[target.kind]
        match step:
            case OpenWindow(request=request, duration=duration):
                version = resource.api_version
                await self._open(by_hand_window(target, api_version=version, request=request, duration=duration))
            case ChangeWindow():
                await self._client.patch(WINDOWS, target.namespace, name, _change(step))
            case DeleteWindow():
                await self._client.delete(WINDOWS, target.namespace, name, uid=step.uid)
            case NoteServed():
                note = {"uid": target.uid, "annotations": {SERVED_ANNOTATION: step.request}}
                await self._client.patch(resource, target.namespace, target.name, {"metadata": note})

    async def _open(self, manifest: Object) -> None:
        try:
            created = await self._client.create(WINDOWS, manifest)
        except AlreadyExistsError as problem:
            # Made by an attempt that did not get to the end: what there is, is decided upon anew.
            raise ConflictError(str(problem), status=problem.status, reason=problem.reason) from problem
        self._observer.seen(WINDOWS, created)

    async def _say(self, key: Key, about: Identity, events: tuple[Announce, ...]) -> None:
        """Write Events; a warning only once for as long as nothing else is to be said."""
        warning = next((event for event in events if event.type is EventType.WARNING), None)
        fresh = [event for event in events if event != self._warned.get(key)]
        if warning:
            self._warned[key] = warning
        else:
            self._warned.pop(key, None)
        await self._applier.say(about, *fresh)


def _change(step: ChangeWindow) -> Object:
    metadata = {"resourceVersion": step.version, "annotations": {REQUEST_ANNOTATION: step.request}}
    spec = {"spec": {"duration": format_duration(step.duration)}} if step.duration is not None else {}
    return {"metadata": metadata, **spec}
