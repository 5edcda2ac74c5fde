"""Durations are written as they can be read again."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from upkeep.actions.fields import format_duration, parse_duration


@pytest.mark.parametrize(
    ("written", "again"),
    [("0s", "0s"), ("5400s", "1h30m"), ("14d", "2w"), ("99999d", "9999w30006d"), ("9999w99999d", "9999w99999d")],
)
def test_it_is_written_in_the_largest_units_that_take_it(written: str, again: str) -> None:
    assert format_duration(parse_duration(written)) == again


@given(
    weeks=st.integers(0, 9999),
    days=st.integers(0, 99999),
    hours=st.integers(0, 999999),
    minutes=st.integers(0, 99999999),
    seconds=st.integers(0, 999999999),
)
def test_whatever_can_be_read_is_written_so_that_it_can_be_read_again(
    weeks: int, days: int, hours: int, minutes: int, seconds: int
) -> None:
    duration = timedelta(weeks=weeks, days=days, hours=hours, minutes=minutes, seconds=seconds)

    assert parse_duration(format_duration(duration)) == duration
