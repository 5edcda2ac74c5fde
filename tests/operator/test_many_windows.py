"""A restart with hundreds of windows, some of them open: none is forgotten, none closes late."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Final

from fakeapi.objects import Json
from replicas.stage import TEAM, Stage, resource
from upkeep.domain.instants import read_instant, write_instant

WINDOWS: Final = 500
OPEN: Final = 50
ENDS_AFTER: Final = timedelta(seconds=50)
LATE: Final = 2.0
"""Seconds after its end at which a window counts as closed late."""
PATIENCE: Final = 90.0


def window(number: int, now: datetime) -> Json:
    """One that opens now and ends soon, or one that opens next year."""
    opens = number < OPEN
    start = now if opens else now + timedelta(days=365)
    spec = {"startAt": write_instant(start), "duration": f"{int(ENDS_AFTER.total_seconds())}s" if opens else "1h"}
    return resource("MaintenanceWindow", f"window-{number:03}", spec)


def phases(stage: Stage) -> list[str]:
    return [(each.get("status") or {}).get("phase", "") for each in stage.cluster.list("maintenancewindows", TEAM)]


async def test_none_is_forgotten_and_none_closes_late(stage: Stage, measured: Callable[[str], None]) -> None:
    now = datetime.now(UTC).replace(microsecond=0)
    for number in range(WINDOWS):
        stage.cluster.create(window(number, now))
    first = await stage.household.operator()
    await stage.cluster.until(
        lambda: phases(stage).count("Active") == OPEN and phases(stage).count("Scheduled") == WINDOWS - OPEN,
        within=PATIENCE,
    )
    written = len(stage.writes)

    first.kill()
    await stage.household.operator()
    await stage.cluster.until(lambda: phases(stage).count("Completed") == OPEN, within=PATIENCE)

    records = stage.cluster.list("maintenancewindows", TEAM)
    closed = [each["status"]["occurrence"] for each in records if each["status"]["phase"] == "Completed"]
    late = [(read_instant(each["closedAt"]) - read_instant(each["endTime"])).total_seconds() for each in closed]
    statuses = [entry for entry in stage.writes[written:] if entry.resource == "maintenancewindows"]
    assert len(closed) == OPEN
    assert max(late) <= LATE
    assert len({entry.name for entry in statuses}) == OPEN, "those that are not open are not written to"
    measured(f"{WINDOWS} windows, {OPEN} open, restarted: closed {max(late):.0f} s after their end at most")
