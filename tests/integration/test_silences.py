"""Silences as the operator looks after them, beside its decisions, in a real Alertmanager that comes and goes."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import pytest

from integration.alertmanagerserver import AlertmanagerServer, running_alertmanager
from lab.port import free_port
from upkeep.api.window.gating import AlertMatcher, SilenceState
from upkeep.cluster.cache import Key
from upkeep.controller.queue import WorkQueue
from upkeep.controller.silences import Silences
from upkeep.domain.alerts import EndSilence, KeepSilence, SilenceReport

WINDOW: Final = Key("maintenancewindows", "shop", "weekly")
NOW: Final = datetime.now(UTC).replace(microsecond=0)
WANTED: Final = KeepSilence(
    alertmanager="main",
    marker="upkeep:7f1c/2026-03-01T02:00:00Z",
    id="",
    matchers=(AlertMatcher(name="alertname", value="ShopDown"),),
    start=NOW,
    until=NOW + timedelta(hours=2),
    planned=NOW + timedelta(hours=2),
    comment="[upkeep:7f1c/2026-03-01T02:00:00Z]",
)
ENDING: Final = EndSilence(alertmanager="main", marker=WANTED.marker, id="", until=WANTED.until)


@dataclass
class Desk:
    """What looks after silences, and the queue in which it asks for decisions."""

    silences: Silences
    queue: WorkQueue

    async def decided(self, holds: Callable[[SilenceReport], bool]) -> SilenceReport:
        """The report of the one silence, once a decision is asked for that would see it like that."""
        async with asyncio.timeout(15):
            while True:
                key = await self.queue.take()
                self.queue.done(key)
                assert key == WINDOW
                for report in self.silences.reports(key):
                    if holds(report):
                        return report


@asynccontextmanager
async def desk(server: AlertmanagerServer, directory: Path, *, later: timedelta = timedelta(0)) -> AsyncIterator[Desk]:
    """A desk that is manned; its clock goes ahead by `later`."""

    def clock() -> datetime:
        return datetime.now(UTC) + later

    loop = asyncio.get_running_loop()
    queue = WorkQueue(clock=clock, monotonic=loop.time)
    client = server.client(directory)
    silences = Silences({"main": client}, queue, clock=clock)
    running = asyncio.create_task(silences.run())
    try:
        yield Desk(silences, queue)
    finally:
        running.cancel()
        await asyncio.wait([running])
        await client.close()


@pytest.fixture
def server() -> Iterator[AlertmanagerServer]:
    with running_alertmanager() as running:
        yield running


def is_active(report: SilenceReport) -> bool:
    return report.state is SilenceState.ACTIVE


def has_ended(report: SilenceReport) -> bool:
    return report.state is SilenceState.ENDED


async def test_what_is_wanted_comes_about_and_a_decision_is_asked_for(
    server: AlertmanagerServer, tmp_path: Path
) -> None:
    async with desk(server, tmp_path) as manned:
        manned.silences.want(WINDOW, WANTED)
        report = await manned.decided(is_active)
        assert [each["id"] for each in server.silences()] == [report.id]

        manned.silences.want(WINDOW, ENDING)
        await manned.decided(has_ended)
        assert server.silences() == []


async def test_while_alertmanager_is_away_it_says_so_and_goes_on_when_it_is_back(tmp_path: Path) -> None:
    port = free_port()
    away = AlertmanagerServer(url=f"http://127.0.0.1:{port}")
    async with desk(away, tmp_path) as manned:
        manned.silences.want(WINDOW, WANTED)
        report = await manned.decided(lambda each: bool(each.problem))
        assert report.state is SilenceState.PENDING

        with running_alertmanager(port=port) as server:
            report = await manned.decided(is_active)
            assert (report.problem, len(server.silences())) == ("", 1)


async def test_another_operator_goes_on_with_the_same_silence(server: AlertmanagerServer, tmp_path: Path) -> None:
    identifiers = []
    for _ in range(2):
        async with desk(server, tmp_path) as manned:
            manned.silences.want(WINDOW, WANTED)
            identifiers.append((await manned.decided(is_active)).id)

    assert len(server.silences()) == len(set(identifiers)) == 1


async def test_the_silence_of_a_window_that_is_gone_ends(server: AlertmanagerServer, tmp_path: Path) -> None:
    async with desk(server, tmp_path) as manned:
        manned.silences.want(WINDOW, WANTED)
        await manned.decided(is_active)

        manned.silences.abandon(WINDOW)
        await manned.decided(lambda _: server.silences() == [])

        manned.silences.abandon(WINDOW)
        assert manned.silences.reports(WINDOW) == ()


async def test_what_a_person_has_expired_is_reported(server: AlertmanagerServer, tmp_path: Path) -> None:
    async with desk(server, tmp_path) as manned:
        manned.silences.want(WINDOW, WANTED)
        made = await manned.decided(is_active)
        server.expire(made.id)

        manned.silences.want(WINDOW, replace(WANTED, id=made.id))

        await manned.decided(lambda report: report.state is SilenceState.EXPIRED_BY_HAND)
        assert server.silences() == []


@pytest.mark.parametrize("wanted", [WANTED, ENDING])
async def test_after_its_end_nobody_is_asked_any_more(wanted: KeepSilence | EndSilence, tmp_path: Path) -> None:
    gone = AlertmanagerServer(url=f"http://127.0.0.1:{free_port()}")
    async with desk(gone, tmp_path, later=timedelta(hours=3)) as manned:
        manned.silences.want(WINDOW, wanted)

        report = await manned.decided(has_ended)

        assert report.problem == ""
