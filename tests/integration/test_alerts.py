"""What is known of firing alerts when a decision is due, with an Alertmanager that answers, is away, or hangs."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from integration.alertmanagerserver import AlertmanagerServer, running_alertmanager
from lab.port import free_port
from upkeep.cluster.cache import Key
from upkeep.controller.alerts import PATIENCE, Alerts
from upkeep.controller.queue import WorkQueue

WINDOW: Final = Key("maintenancewindows", "shop", "weekly")
REQUIRES: Final = {"noFiringAlerts": {"alertmanager": "main", "matchers": [{"name": "severity", "value": "critical"}]}}


class Desk:
    """Asks for alerts by a clock that can be set."""

    def __init__(self) -> None:
        self.now = datetime(2026, 3, 2, 2, tzinfo=UTC)
        self.queue = WorkQueue(clock=lambda: self.now, monotonic=asyncio.get_running_loop().time)
        self.alerts = Alerts({}, self.queue, clock=lambda: self.now)

    async def firing(self, window: dict[str, Any]) -> list[str] | None:
        """The alerts that a decision about the window sees; None where it sees no answer."""
        answer = await self.alerts.before(WINDOW, window)
        return None if answer is None or answer.firing is None else [alert.name for alert in answer.firing]


@asynccontextmanager
async def desk(server: AlertmanagerServer, directory: Path) -> AsyncIterator[Desk]:
    client = server.client(directory)
    made = Desk()
    made.alerts = Alerts({"main": client}, made.queue, clock=lambda: made.now)
    yield made
    await client.close()


def window(**status: object) -> dict[str, Any]:
    return {"metadata": {"name": "weekly"}, "spec": {"requires": REQUIRES}, "status": status}


async def test_an_answer_is_good_for_some_seconds_and_then_asked_for_again(tmp_path: Path) -> None:
    with running_alertmanager() as server:
        async with desk(server, tmp_path) as asking:
            assert await asking.firing(window()) == []
            server.fire("DiskFull", severity="critical")
            assert await asking.firing(window()) == []

            asking.now += timedelta(seconds=5)

            assert await asking.firing(window()) == ["DiskFull"]


async def test_an_alertmanager_that_is_away_is_told_from_one_that_is_quiet(tmp_path: Path) -> None:
    async with desk(AlertmanagerServer(url=f"http://127.0.0.1:{free_port()}"), tmp_path) as asking:
        answer = await asking.alerts.before(WINDOW, window())

    assert answer is not None
    assert answer.firing is None
    assert answer.problem.startswith("Alertmanager 'main', asking which alerts fire: ")


async def test_a_decision_does_not_wait_for_one_that_hangs_and_is_asked_for_again_when_it_has_spoken(
    tmp_path: Path,
) -> None:
    released = asyncio.Event()

    async def hang(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await released.wait()
        writer.close()

    server = await asyncio.start_server(hang, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server, desk(AlertmanagerServer(url=f"http://127.0.0.1:{port}"), tmp_path) as asking:
        loop = asyncio.get_running_loop()
        began = loop.time()
        assert await asyncio.gather(*(asking.firing(window()) for _ in range(50))) == [None] * 50
        assert loop.time() - began < 3 * PATIENCE

        released.set()

        async with asyncio.timeout(5):
            assert await asking.queue.take() == WINDOW
        answer = await asking.alerts.before(WINDOW, window())
        assert answer is not None
        assert answer.problem


async def test_after_a_window_it_is_asked_for_what_the_window_is_watched_for_as_long_as_it_is(tmp_path: Path) -> None:
    opened = {"startTime": "2026-03-02T01:30:00Z", "openedAt": "2026-03-02T01:30:00Z"}
    closed = {"occurrence": {**opened, "closedAt": "2026-03-02T01:40:00Z"}}
    watch = {"duration": "30m", **REQUIRES}
    with running_alertmanager() as server:
        server.fire("DiskFull", severity="critical")
        async with desk(server, tmp_path) as asking:

            async def after(watch: object, status: dict[str, Any]) -> list[str] | None:
                answer = await asking.alerts.after(WINDOW, {"metadata": {}, "spec": {"watch": watch}, "status": status})
                return None if answer is None or answer.firing is None else [alert.name for alert in answer.firing]

            assert await after(watch, closed) == ["DiskFull"]
            assert await after(watch, {"occurrence": opened}) is None
            assert await after({**watch, "duration": "20m"}, closed) is None
            nonsense: list[object] = [
                {**watch, "duration": "x"},
                {"noFiringAlerts": 5},
                {**watch, "interval": "1s"},
                [],
                5,
            ]
            for garbage in nonsense:
                assert await after(garbage, closed) is None
            for when in (5, "yesterday", None):
                assert await after(watch, {"occurrence": {**opened, "closedAt": when}}) is None


async def test_nobody_is_asked_for_a_window_to_which_it_does_not_matter_now(tmp_path: Path) -> None:
    open_since = {"startTime": "2026-03-02T01:30:00Z", "openedAt": "2026-03-02T01:30:00Z"}
    closed = {**open_since, "closedAt": "2026-03-02T01:40:00Z"}
    tomorrow = "2026-03-03T01:30:00Z"
    with running_alertmanager() as server:
        async with desk(server, tmp_path) as asking:
            assert await asking.firing(window(occurrence=open_since)) is None
            assert await asking.firing(window(occurrence=closed, nextScheduleTime=tomorrow)) is None
            assert await asking.firing(window(nextScheduleTime=tomorrow)) is None
            assert await asking.firing({"metadata": {}, "spec": {"requires": {"noFiringAlerts": "garbage"}}}) is None

            assert await asking.firing(window(nextScheduleTime="2026-03-02T02:01:00Z")) == []
            at_once = window(nextScheduleTime=tomorrow)
            at_once["metadata"]["annotations"] = {"upkeep.dev/start-now": "1"}
            assert await asking.firing(at_once) == []
