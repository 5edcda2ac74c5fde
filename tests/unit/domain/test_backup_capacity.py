"""How a repository grows is told by its sizes of several days, and when it will be full by what is left."""

from datetime import UTC, datetime, timedelta
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unit.domain.backupworld import BackupWorld
from unit.domain.cluster import at, minutes
from upkeep.actions.backup.capacity import room_findings
from upkeep.api.backup import MAX_MEASUREMENTS, Capacity
from upkeep.domain.capacity import Measured, capacity

FIRST: Final = datetime(2026, 3, 1, 1, tzinfo=UTC)
GIB: Final = 1024**3


def after(*sizes: float, free: int | None = 70 * GIB, every: timedelta = timedelta(days=1)) -> Capacity:
    """What is known after these sizes in GiB, one after the other."""
    known = None
    for number, size in enumerate(sizes):
        known = capacity(known, [Measured(time=FIRST + number * every, bytes=int(size * GIB), free=free)])
    assert known
    return known


def test_a_repository_that_grows_steadily_is_full_when_nothing_is_left() -> None:
    found = after(10, 17, 24, 31)
    assert found.growth_bytes_per_day == 7 * GIB
    assert found.full_time == "2026-03-14T01:00:00Z"
    assert found.free_bytes == 70 * GIB


def test_removals_on_the_way_do_not_hide_the_growth() -> None:
    found = after(10, 20, 12, 22, 14, 24, 16)
    assert found.growth_bytes_per_day
    assert 0 < found.growth_bytes_per_day < 2 * GIB


@pytest.mark.parametrize("sizes", [(10,), (10, 20), (30, 20, 10), (10, 10, 10)])
def test_nothing_is_foretold_of_too_little_or_of_what_does_not_grow(sizes: tuple[float, ...]) -> None:
    assert after(*sizes).full_time is None


def test_nor_of_measurements_of_one_day() -> None:
    found = after(*range(1, 30), every=timedelta(hours=1))
    assert found.growth_bytes_per_day is None
    assert len(found.measurements) <= 3


def test_where_nobody_knows_what_is_left_only_the_growth_is_told() -> None:
    found = after(10, 11, 12, 13, free=None)
    assert (found.growth_bytes_per_day, found.full_time, found.free_bytes) == (GIB, None, None)


def test_what_is_centuries_away_is_not_foretold() -> None:
    assert after(10, 10.0001, 10.0002, free=10**15).full_time is None


@given(
    hours=st.lists(st.integers(0, 100), max_size=80),
    sizes=st.lists(st.integers(0, 2**60), min_size=80, max_size=80),
    free=st.none() | st.integers(0, 2**62),
)
def test_whatever_is_measured_it_stays_small_and_true(hours: list[int], sizes: list[int], free: int | None) -> None:
    known, time = None, FIRST
    for pause, size in zip(hours, sizes, strict=False):
        time += timedelta(hours=pause)
        known = capacity(known, [Measured(time=time, bytes=size, free=free)])
        assert known
        assert len(known.measurements) <= MAX_MEASUREMENTS
        assert known.measurements[-1].bytes == size, "the newest is always among them"
        times = [each.time for each in known.measurements]
        assert times == sorted(times)
        assert known.full_time is None or known.full_time >= times[-1]


def test_a_policy_tells_it_after_every_backup() -> None:
    says = (
        '{"outcome":"changed","message":"1 step","steps":[{"name":"hourly","action":"backupPostgres",'
        '"outcome":"changed","message":"snapshot 1a2b","metrics":{"repository_bytes":123456,"free_bytes":654321}}]}'
    )
    world = BackupWorld(now=at("00:50"), says={"hourly": says})
    world.wait(minutes(75))
    known = world.status["capacity"]
    assert known["freeBytes"] == 654321
    assert [each["bytes"] for each in known["measurements"]] == [123456, 123456]
    world.wait(minutes(600))
    assert len(world.status["capacity"]["measurements"]) == 2


def test_that_one_more_backup_might_not_fit_is_said_while_it_still_helps() -> None:
    assert room_findings("/backups", {"repository_bytes": 5.0}, added=GIB) == []
    assert room_findings("/backups", {"free_bytes": GIB}, added=GIB) == []
    (found,) = room_findings("/backups", {"free_bytes": GIB / 2}, added=GIB)
    assert (found.check_id, found.object) == ("backup.capacity", "/backups")
    assert found.recommendation.startswith("512.0 MiB are left, and this backup brought 1.0 GiB of new data: enlarge")
