"""The net below maintenance mode: no Ingress and no route stays on a page for a window that is gone or long over.

Windows bring their own targets back. This is for what they cannot: a window that was removed by force, an operator
that was away, a status that was lost. It reads only what stands on the objects themselves.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable
from datetime import datetime
from itertools import product

from upkeep.cluster.cache import Cache, Key, key_of
from upkeep.cluster.client import Client, Object
from upkeep.cluster.errors import ApiError, ConflictError, NotFoundError
from upkeep.cluster.resources import INGRESSES, ROUTES, TARGETS, WINDOWS, Resource
from upkeep.controller.apply import Applier
from upkeep.controller.metrics import Metrics
from upkeep.controller.snapshots import Snapshots
from upkeep.controller.targets import companions_in, in_maintenance
from upkeep.domain.decision import Announce, EventType
from upkeep.domain.identity import Identity
from upkeep.domain.maintenance import (
    GRACE,
    UndoRecordError,
    companion_window,
    forget_ownership,
    outlived,
    release,
    stale_holders,
)

logger = logging.getLogger(__name__)


class Sweep:
    """Restores what nobody has a right to any more."""

    def __init__(
        self,
        *,
        client: Client,
        cache: Cache,
        snapshots: Snapshots,
        applier: Applier,
        metrics: Metrics,
        clock: Callable[[], datetime],
        namespaces: tuple[str, ...] = (),
    ) -> None:
        self._client = client
        self._cache = cache
        self._snapshots = snapshots
        self._applier = applier
        self._metrics = metrics
        self._clock = clock
        self._namespaces: tuple[str | None, ...] = namespaces or (None,)
        self._complaints: dict[Key, str] = {}

    async def run(self, every: float) -> None:
        """Sweep now and every so many seconds, for ever."""
        while True:
            await self.once()
            await asyncio.sleep(every)

    async def once(self) -> None:
        """Look at everything in maintenance mode; the failure of one never reaches another."""
        live = self._snapshots.live_windows()
        for resource, held in [*self._ingresses(), *await self._routes()]:
            key = key_of(resource, held)
            try:
                await self._restore(resource, held, live)
                self._complaints.pop(key, None)
            except UndoRecordError as problem:
                await self._complain(key, held, str(problem))
            except NotFoundError:
                continue
            except (ApiError, ConflictError) as problem:
                logger.warning(
                    "A target will be swept again: %s", problem, extra={"target": f"{key.plural}/{key.name}"}
                )

        await self._remove_companions(live)

    async def _remove_companions(self, live: frozenset[str]) -> None:
        """Routes of our own go with their window; this is for one whose window has lost sight of them."""
        for resource, namespace in product(TARGETS.values(), self._namespaces):
            try:
                for item in await companions_in(self._client, resource, namespace):
                    await self._remove_companion(resource, item, live)
            except (ApiError, ConflictError) as problem:
                logger.warning("The %s of our own will be swept again: %s", resource.plural, problem)

    async def _remove_companion(self, resource: Resource, item: Object, live: frozenset[str]) -> None:
        if not outlived(item, now=self._clock(), live=live, grace=GRACE):
            return
        namespace, (window, uid) = item["metadata"]["namespace"], companion_window(item)
        if uid not in live and await self._exists(namespace, window, uid):
            return
        with contextlib.suppress(NotFoundError):
            await self._client.delete(resource, namespace, item["metadata"]["name"], uid=item["metadata"]["uid"])
            self._metrics.swept(resource.kind)

    def _ingresses(self) -> list[tuple[Resource, Object]]:
        known = (self._cache.get(key) for key in self._cache.keys(INGRESSES))
        return [(INGRESSES, ingress) for ingress in known if ingress]

    async def _routes(self) -> list[tuple[Resource, Object]]:
        """Asked for each time: that routes are watched is not certain, for there may be no such kind today."""
        found: list[tuple[Resource, Object]] = []
        for resource, namespace in product(ROUTES, self._namespaces):
            try:
                found += [(resource, item) for item in await in_maintenance(self._client, resource, namespace)]
            except ApiError as problem:
                logger.warning("The %s in maintenance mode cannot be listed: %s", resource.plural, problem)
        return found

    async def _restore(self, resource: Resource, known: Object, live: frozenset[str]) -> None:
        stale = stale_holders(known, now=self._clock(), live=live)
        if not stale:
            return
        namespace, name = known["metadata"]["namespace"], known["metadata"]["name"]
        gone = [
            holder
            for holder in stale
            if holder.uid in live or not await self._exists(namespace, holder.window, holder.uid)
        ]
        target = await self._client.get(resource, namespace, name)
        answer = release(target, *(holder.uid for holder in gone))
        if answer.patch is None:
            return
        released = await self._client.patch(resource, namespace, name, answer.patch)
        self._metrics.swept(resource.kind)
        names = ", ".join(holder.window for holder in gone)
        await self._say(target, "Restored", f"taken off the maintenance page: {names} is over or gone")
        for conflict in answer.conflicts:
            self._metrics.conflicted()
            await self._say(target, "RestoreConflict", conflict)
        forget = forget_ownership(released) if answer.restored else None
        if forget:
            await self._client.patch(resource, namespace, name, forget)

    async def _exists(self, namespace: str, name: str, uid: str) -> bool:
        """Asks the API server itself: a cache that is behind must never end somebody's maintenance."""
        try:
            window = await self._client.get(WINDOWS, namespace, name)
        except NotFoundError:
            return False
        return bool(window["metadata"]["uid"] == uid)

    async def _complain(self, key: Key, target: Object, text: str) -> None:
        """Say what only a person can mend, once and not at every sweep."""
        if self._complaints.get(key) != text:
            self._complaints[key] = text
            await self._say(target, "UndoRecordUnreadable", text)

    async def _say(self, target: Object, reason: str, message: str) -> None:
        warning = Announce(type=EventType.WARNING, reason=reason, message=message)
        await self._applier.say(Identity.of(target), warning)
