"""When a window is open: from its start up to, and without, its end, for whoever asks."""

from datetime import datetime, timedelta
from typing import Any, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unit.domain.cluster import at
from upkeep.api.window import WindowSpec
from upkeep.domain.openings import Opening, opening_at, schedule_of
from upkeep.domain.schedule import ScheduleError

FREEZE: Final = {"from": "2026-03-02T02:00:00Z", "to": "2026-03-02T06:00:00Z", "reason": "freeze"}


def window(**spec: Any) -> WindowSpec:  # noqa: ANN401 - fields as users write them
    return WindowSpec.model_validate({"schedule": "0 2 * * *", "duration": "2h"} | spec)


@pytest.mark.parametrize(
    ("time", "is_open"), [("01:59:59", False), ("02:00", True), ("03:59:59", True), ("04:00", False)]
)
def test_a_window_is_open_from_its_start_and_closed_at_its_end(time: str, is_open: bool) -> None:  # noqa: FBT001
    found = opening_at(window(), at(time))

    assert found == (Opening(start=at("02:00"), end=at("04:00")) if is_open else None)


def test_a_window_that_begins_anew_before_it_ends_is_that_of_the_newest_start() -> None:
    assert opening_at(window(schedule="0 * * * *"), at("03:30")) == Opening(start=at("03:00"), end=at("05:00"))


def test_an_opening_that_is_excluded_is_none_but_an_older_one_goes_on() -> None:
    every_hour = window(schedule="0 * * * *", exclusions=[FREEZE])

    assert opening_at(every_hour, at("02:30")) == Opening(start=at("01:00"), end=at("03:00"))
    assert opening_at(every_hour, at("03:30")) is None


def test_a_window_with_a_single_start_is_open_then() -> None:
    once = WindowSpec.model_validate({"startAt": "2026-03-02T02:00:00+01:00", "duration": "30m"})

    assert opening_at(once, at("01:15")) == Opening(start=at("01:00"), end=at("01:30"))
    assert opening_at(once, at("02:15")) is None


@pytest.mark.parametrize("spec", [{"schedule": "0 0 30 2 *"}, {"timeZone": "Nowhere"}])
def test_a_window_that_can_never_open_says_why(spec: dict[str, Any]) -> None:
    with pytest.raises(ScheduleError):
        opening_at(window(**spec), at("02:00"))


@settings(max_examples=100, deadline=None)
@given(
    cron=st.sampled_from(["0 2 * * *", "*/30 * * * *", "0 */3 * * *", "15 22 * * SUN"]),
    zone=st.sampled_from(["Etc/UTC", "Europe/Berlin", "Asia/Kathmandu"]),
    duration=st.sampled_from(["1s", "25m", "90m", "26h"]),
    frozen=st.booleans(),
    now=st.integers(-80_000, 250_000).map(lambda seconds: at("00:00") + timedelta(seconds=seconds)),
)
def test_it_is_the_newest_start_that_is_not_excluded_and_not_longer_ago_than_the_window_lasts(
    cron: str, zone: str, duration: str, now: datetime, *, frozen: bool
) -> None:
    spec = window(schedule=cron, timeZone=zone, duration=duration, exclusions=[FREEZE] if frozen else [])
    schedule, start = schedule_of(spec), at("00:00") - timedelta(days=12)
    expected = None
    while (following := schedule.next_after(start)) is not None and following <= now:
        start = following
        if now < start + spec.duration and schedule.excluded(start) is None:
            expected = Opening(start=start, end=start + spec.duration)

    assert opening_at(spec, now) == expected
