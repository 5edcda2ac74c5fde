"""One worker's job: key → snapshot → decision → writes → when to look again.

Nothing that goes wrong with one resource reaches another: its error is logged and shown, and it is tried again later
and later.
"""

import asyncio
import logging
import random
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from upkeep.cluster.cache import Cache, Key
from upkeep.cluster.client import CONNECTIONS, Object
from upkeep.cluster.errors import ApiError, ConflictError
from upkeep.cluster.resources import BACKUPS, TARGETS, TASKS, WINDOWS
from upkeep.controller.apply import Applier, NameTakenError
from upkeep.controller.byhand import ByHand
from upkeep.controller.metrics import Metrics
from upkeep.controller.notifier import Notifier
from upkeep.controller.queue import WorkQueue
from upkeep.controller.snapshots import Snapshots
from upkeep.domain import backup, task, window
from upkeep.domain.decision import Announce, Decision, EventType, StartRun
from upkeep.domain.identity import Identity

logger = logging.getLogger(__name__)

WORKERS: Final = 1024
"""Decisions under way at the same time; most of them wait for their turn at the API server."""
_SLICE: Final = 2 * CONNECTIONS
"""Decisions between two looks at the network: so many that the next Job to create always waits already, and no status
can slip in before it; so few that no connection is idle for long."""
_TARGETS: Final = frozenset(resource.plural for resource in TARGETS.values())
_FIRST_RETRY: Final = 0.5
_LAST_RETRY: Final = 60.0


class Reconciler:
    """Decides about resources whose keys come out of the queue."""

    def __init__(
        self,
        *,
        cache: Cache,
        queue: WorkQueue,
        snapshots: Snapshots,
        applier: Applier,
        by_hand: ByHand,
        notifier: Notifier,
        metrics: Metrics,
        clock: Callable[[], datetime],
    ) -> None:
        self._notifier = notifier
        self._cache = cache
        self._queue = queue
        self._snapshots = snapshots
        self._applier = applier
        self._by_hand = by_hand
        self._metrics = metrics
        self._clock = clock
        self._failures: dict[Key, int] = {}
        self._complaints: dict[Key, str] = {}

    async def run(self) -> None:
        """Work for ever, on up to `WORKERS` keys at a time."""
        places = asyncio.Semaphore(WORKERS)
        async with asyncio.TaskGroup() as group:
            started = 0
            while True:
                await places.acquire()
                key = await self._queue.take()
                worker = group.create_task(self._work(key))
                worker.add_done_callback(lambda _: places.release())
                started += 1
                if started % _SLICE == 0:
                    await asyncio.sleep(0)

    async def _work(self, key: Key) -> None:
        try:
            wake_at = await self._reconcile(key)
            self._failures.pop(key, None)
            self._complaints.pop(key, None)
            self._metrics.decided(key.plural, "ok")
        except ConflictError as problem:
            # Somebody else wrote first; the watch brings what he wrote, or the next read does.
            logger.debug("It changed meanwhile: %s", problem, extra=_named(key))
            self._metrics.decided(key.plural, "conflict")
            wake_at = self._retry_at(key, None)
        except (ApiError, NameTakenError) as problem:
            self._metrics.decided(key.plural, "error")
            logger.warning("It will be tried again: %s", problem, extra=_named(key))
            wake_at = self._retry_at(key, getattr(problem, "retry_after", None))
            await self._complain(key, problem)
            await self._write_refusal(key, problem)
        except Exception:
            # A defect must not stop the others; it is logged whole and tried again.
            self._metrics.decided(key.plural, "error")
            logger.exception("An unexpected error.", extra=_named(key))
            wake_at = self._retry_at(key, None)
        finally:
            self._notifier.settle(key)
            self._queue.done(key)
        self._queue.add_at(key, wake_at)

    async def _reconcile(self, key: Key) -> datetime | None:
        if key.plural in _TARGETS:
            return await self._by_hand.reconcile(key)
        resource = self._cache.get(key)
        if resource is None:
            self._applier.let_go(key)
            return None
        now = self._clock()
        decision = await self._decide(key, resource, now)
        if decision is None:
            return None
        await self._applier.apply(resource, decision)
        self._observe_delays(decision)
        return decision.wake_at

    async def _decide(self, key: Key, resource: Object, now: datetime) -> Decision | None:
        if "deletionTimestamp" in resource["metadata"] and key.plural != WINDOWS.plural:
            return None
        if key.plural == TASKS.plural:
            return task.decide(await self._snapshots.task(resource, now))
        if key.plural == BACKUPS.plural:
            return backup.decide(await self._snapshots.backup(resource, now))
        return window.decide(await self._snapshots.window(resource, now))

    def _observe_delays(self, decision: Decision) -> None:
        for action in decision.actions:
            if isinstance(action, StartRun) and action.occasion.scheduled:
                late = (self._clock() - action.occasion.scheduled).total_seconds()
                self._metrics.delay.observe(max(0.0, late))

    def _retry_at(self, key: Key, asked: float | None) -> datetime:
        failures = self._failures[key] = self._failures.get(key, 0) + 1
        pause = min(_LAST_RETRY, _FIRST_RETRY * 2 ** min(failures - 1, 10))
        pause *= random.uniform(0.5, 1.0)  # noqa: S311 - spreads retries, keeps no secret
        return self._clock() + timedelta(seconds=max(pause, asked or 0.0))

    async def _complain(self, key: Key, problem: Exception) -> None:
        """Say once what the API server refuses, where the owner of the resource can see it."""
        if isinstance(problem, ApiError) and problem.transient:
            return
        resource, text = self._cache.get(key), str(problem)
        if resource is None or self._complaints.get(key) == text:
            return
        self._complaints[key] = text
        event = Announce(type=EventType.WARNING, reason="Refused", message=text)
        await self._applier.say(Identity.of(resource), event)

    async def _write_refusal(self, key: Key, problem: Exception) -> None:
        """Let a policy say that it cannot begin, and what gets overdue by that: its status is written only after."""
        resource = self._cache.get(key)
        transient = isinstance(problem, ApiError) and problem.transient
        if key.plural != BACKUPS.plural or transient or resource is None:
            return
        try:
            snapshot = await self._snapshots.backup(resource, self._clock())
            await self._applier.apply(resource, backup.decide(replace(snapshot, refusal=str(problem))))
        except ApiError as other:
            logger.debug("What is refused could not be written: %s", other, extra=_named(key))


def _named(key: Key) -> dict[str, str]:
    return {"resource": f"{key.plural}/{key.namespace}/{key.name}"}
