"""The work queue: each key at most once, never two workers on one key, and one heap of times to look again."""

import asyncio
import heapq
from collections import deque
from collections.abc import Callable
from datetime import datetime
from typing import Final

from upkeep.cluster.cache import Key

_LONGEST_SLEEP: Final = 30.0
"""Seconds after which the clock is read again, so that a clock that was set does not go unnoticed for long."""
_FEW: Final = 64
"""Replaced alarms that are not worth clearing away."""


class WorkQueue:
    """Keys that want a decision, now or later."""

    def __init__(self, *, clock: Callable[[], datetime], monotonic: Callable[[], float]) -> None:
        self._clock = clock
        self._monotonic = monotonic
        self._ready: deque[Key] = deque()
        self._waiting_since: dict[Key, float] = {}
        self._working: set[Key] = set()
        self._again: set[Key] = set()
        self._alarms: list[tuple[datetime, Key]] = []
        self._alarm_of: dict[Key, datetime] = {}
        self._changed = asyncio.Event()
        self._earlier_alarm = asyncio.Event()

    def __len__(self) -> int:
        return len(self._ready)

    @property
    def lag(self) -> float:
        """Seconds that the oldest key has been waiting for a worker."""
        return self._monotonic() - self._waiting_since[self._ready[0]] if self._ready else 0.0

    def add(self, key: Key) -> None:
        """Ask for a decision as soon as possible."""
        if key in self._working:
            self._again.add(key)
        elif key not in self._waiting_since:
            self._waiting_since[key] = self._monotonic()
            self._ready.append(key)
            self._changed.set()

    def add_at(self, key: Key, when: datetime | None) -> None:
        """Ask for a decision at a time; it replaces the time that was set for the key before."""
        if when is None:
            self._alarm_of.pop(key, None)
            self._forget_replaced()
            return
        if self._alarm_of.get(key) == when:
            return
        self._alarm_of[key] = when
        heapq.heappush(self._alarms, (when, key))
        self._forget_replaced()
        if self._alarms[0][1] == key:
            self._earlier_alarm.set()

    async def take(self) -> Key:
        """The next key; it belongs to the caller until `done`."""
        while not self._ready:
            self._changed.clear()
            await self._changed.wait()
        key = self._ready.popleft()
        del self._waiting_since[key]
        self._working.add(key)
        return key

    def done(self, key: Key) -> None:
        """Give a key back; if it was asked for meanwhile, it is ready again."""
        self._working.discard(key)
        if key in self._again:
            self._again.discard(key)
            self.add(key)

    async def ring(self) -> None:
        """Move keys whose time has come to the ready ones, for ever; never early."""
        while True:
            self._earlier_alarm.clear()
            now = self._clock()
            while self._alarms and self._alarms[0][0] <= now:
                when, key = heapq.heappop(self._alarms)
                if self._alarm_of.get(key) == when:
                    del self._alarm_of[key]
                    self.add(key)
            pause = _LONGEST_SLEEP
            if self._alarms:
                pause = min(pause, max(0.0, (self._alarms[0][0] - now).total_seconds()))
            try:
                async with asyncio.timeout(pause):
                    await self._earlier_alarm.wait()
            except TimeoutError:
                continue

    def _forget_replaced(self) -> None:
        """Clear away alarms that were replaced once they are the most: a key can be moved often before one rings."""
        if len(self._alarms) > 2 * len(self._alarm_of) + _FEW:
            self._alarms = [(when, key) for key, when in self._alarm_of.items()]
            heapq.heapify(self._alarms)
