"""Carries out what decisions want of silences, beside them: no decision ever waits for an Alertmanager.

A decision says what there should be; one task for each silence compares that with what the Alertmanager has, and brings
about the difference, with growing pauses after failures. What came of it is in the next snapshot. All of it is memory
that may be lost: a silence is found again by its id or its marker, and ends by itself.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final

from upkeep.alertmanager.client import Alertmanager, AlertmanagerError
from upkeep.alertmanager.silence import end, keep
from upkeep.api.window.gating import SilenceState
from upkeep.cluster.cache import Key
from upkeep.controller.queue import WorkQueue
from upkeep.domain.alerts import EndSilence, KeepSilence, SilenceReport

logger = logging.getLogger(__name__)

LOOK_AGAIN: Final = 60.0
"""Seconds between two looks at a silence that is as it should be: somebody may have expired it."""
_FIRST_PAUSE: Final = 1.0
_LONGEST_PAUSE: Final = 60.0
_STANDS: Final = frozenset({SilenceState.PENDING, SilenceState.ACTIVE})


@dataclass(slots=True)
class _Entry:
    """A silence: what is wanted of it, what came of it, and whether its window is gone."""

    key: Key
    wanted: KeepSilence | EndSilence
    report: SilenceReport
    orphan: bool = False
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def stands(self) -> bool:
        """Whether there is still something to do about it."""
        return self.report.state in _STANDS


class Silences:
    """The silences of all windows."""

    def __init__(
        self, alertmanagers: Mapping[str, Alertmanager], queue: WorkQueue, *, clock: Callable[[], datetime]
    ) -> None:
        self._alertmanagers = alertmanagers
        self._queue = queue
        self._clock = clock
        self._entries: dict[tuple[str, str], _Entry] = {}
        self._new: asyncio.Queue[_Entry] = asyncio.Queue()

    def reports(self, key: Key) -> tuple[SilenceReport, ...]:
        """What came of the silences of a window."""
        return tuple(entry.report for entry in self._entries.values() if entry.key == key)

    def want(self, key: Key, wanted: KeepSilence | EndSilence) -> None:
        """Take note of what there should be, and see to it later."""
        mark = (wanted.alertmanager, wanted.marker)
        entry = self._entries.get(mark)
        if entry is None:
            self._forget(key)
            report = SilenceReport(alertmanager=wanted.alertmanager, marker=wanted.marker)
            self._entries[mark] = entry = _Entry(key=key, wanted=wanted, report=report)
            self._new.put_nowait(entry)
        elif entry.wanted != wanted:
            entry.wanted = wanted
            entry.changed.set()

    def abandon(self, key: Key) -> None:
        """A window is gone: end what it has silenced."""
        self._forget(key)
        for entry in self._of(key):
            entry.orphan = True
            entry.wanted = _ending(entry)
            entry.changed.set()

    async def run(self) -> None:
        """Look after the silences for ever."""
        async with asyncio.TaskGroup() as group:
            while True:
                group.create_task(self._look_after(await self._new.get()))

    async def _look_after(self, entry: _Entry) -> None:
        pause = _FIRST_PAUSE
        while entry.stands:
            entry.changed.clear()
            try:
                report = await self._brought_about(entry)
                rest, pause = LOOK_AGAIN, _FIRST_PAUSE
            except AlertmanagerError as problem:
                logger.warning("It will be tried again: %s", problem, extra={"window": "/".join(entry.key[1:])})
                report = replace(entry.report, problem=str(problem))
                rest, pause = pause, min(2 * pause, _LONGEST_PAUSE)
            if report != entry.report:
                entry.report = report
                self._queue.add(entry.key)
            await _either(entry.changed, rest if entry.stands else 0.0)
        if entry.orphan:
            self._forget(entry.key)

    async def _brought_about(self, entry: _Entry) -> SilenceReport:
        wanted = entry.wanted
        if wanted.until <= self._clock():
            return replace(entry.report, state=SilenceState.ENDED, problem="")
        alertmanager = self._alertmanagers[wanted.alertmanager]
        if isinstance(wanted, KeepSilence):
            return await keep(alertmanager, wanted, namespace=entry.key.namespace)
        return await end(alertmanager, replace(wanted, id=wanted.id or entry.report.id))

    def _of(self, key: Key) -> list[_Entry]:
        return [entry for entry in self._entries.values() if entry.key == key]

    def _forget(self, key: Key) -> None:
        """Let go of what has ended."""
        for entry in self._of(key):
            if not entry.stands:
                del self._entries[entry.report.alertmanager, entry.report.marker]


def _ending(entry: _Entry) -> EndSilence:
    wanted = entry.wanted
    identifier = entry.report.id or wanted.id
    return EndSilence(alertmanager=wanted.alertmanager, marker=wanted.marker, id=identifier, until=wanted.until)


async def _either(changed: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await changed.wait()
    except TimeoutError:
        return
