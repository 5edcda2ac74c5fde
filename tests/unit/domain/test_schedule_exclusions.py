"""Exclusions: which occurrences fall into a freeze or a holiday."""

from datetime import UTC, date, datetime

import pytest

from upkeep.domain.exclusion import MonthDay
from upkeep.domain.schedule import Exclusion, Schedule, ScheduleError


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def excluded(instant: str, *exclusions: Exclusion, zone: str = "Etc/UTC") -> Exclusion | None:
    return Schedule.cron("* * * * *", zone=zone, exclusions=exclusions).excluded(utc(instant))


@pytest.mark.parametrize(
    ("instant", "expected"),
    [
        ("2026-12-19T23:59", False),
        ("2026-12-20T00:00", True),
        ("2026-12-27T23:59", True),
        ("2026-12-28T00:00", False),
        ("2025-12-24T00:00", False),
    ],
)
def test_dates_are_whole_days_and_both_ends_belong_to_them(instant: str, expected: bool) -> None:  # noqa: FBT001
    freeze = Exclusion.parse("2026-12-20", "2026-12-27", "freeze")

    assert excluded(instant, freeze) == (freeze if expected else None)


def test_days_are_those_of_the_schedules_zone() -> None:
    christmas = Exclusion.parse("2026-12-24")

    assert excluded("2026-12-23T15:00", christmas, zone="Asia/Tokyo")
    assert not excluded("2026-12-24T15:00", christmas, zone="Asia/Tokyo")
    assert excluded("2026-12-25T04:59", christmas, zone="America/New_York")


def test_a_day_on_which_clocks_change_is_excluded_from_midnight_to_midnight() -> None:
    short_day = Exclusion.parse("2026-03-29")

    assert not excluded("2026-03-28T22:59", short_day, zone="Europe/Berlin")
    assert excluded("2026-03-28T23:00", short_day, zone="Europe/Berlin")
    assert excluded("2026-03-29T21:59", short_day, zone="Europe/Berlin")
    assert not excluded("2026-03-29T22:00", short_day, zone="Europe/Berlin")


@pytest.mark.parametrize(
    ("instant", "expected"),
    [
        ("2026-12-19T23:59", False),
        ("2026-12-20T00:00", True),
        ("2026-12-31T12:00", True),
        ("2027-01-01T12:00", True),
        ("2027-01-05T23:59", True),
        ("2027-01-06T00:00", False),
        ("2026-07-01T00:00", False),
        ("2031-01-02T00:00", True),
    ],
)
def test_days_of_every_year_may_span_new_year(instant: str, expected: bool) -> None:  # noqa: FBT001
    freeze = Exclusion.parse("12-20", "01-05", "year-end freeze")

    assert bool(excluded(instant, freeze)) is expected


@pytest.mark.parametrize(("day", "expected"), [("05-01", True), ("05-02", True), ("05-03", False), ("04-30", False)])
def test_days_of_every_year_within_a_year(day: str, expected: bool) -> None:  # noqa: FBT001
    assert bool(excluded(f"2029-{day}T12:00", Exclusion.parse("05-01", "05-02"))) is expected


def test_the_leap_day_is_a_day_of_leap_years_only() -> None:
    leap_day = Exclusion.parse("02-29")

    assert excluded("2028-02-29T12:00", leap_day)
    assert not excluded("2027-02-28T12:00", leap_day)
    assert not excluded("2027-03-01T12:00", leap_day)


@pytest.mark.parametrize(
    ("instant", "expected"),
    [
        ("2026-12-20T16:59:59.999999", False),
        ("2026-12-20T17:00", True),
        ("2026-12-21T05:59:59.999999", True),
        ("2026-12-21T06:00", False),
    ],
)
def test_instants_exclude_their_end_and_do_not_depend_on_the_zone(instant: str, expected: bool) -> None:  # noqa: FBT001
    freeze = Exclusion.parse("2026-12-20T18:00:00+01:00", "2026-12-21T06:00:00.000Z")

    assert bool(excluded(instant, freeze, zone="Asia/Tokyo")) is expected


def test_of_several_exclusions_the_first_that_covers_it_is_named() -> None:
    holiday, freeze = Exclusion.parse("12-24", None, "holiday"), Exclusion.parse("12-20", "12-31", "freeze")

    assert excluded("2026-12-24T12:00", holiday, freeze) is holiday
    assert excluded("2026-12-24T12:00", freeze, holiday) is freeze
    assert excluded("2026-12-25T12:00", holiday, freeze) is freeze
    assert excluded("2026-11-25T12:00", holiday, freeze) is None


def test_an_exclusion_changes_nothing_about_when_a_schedule_is_due() -> None:
    free = Schedule.cron("0 2 24 12 *")
    frozen = Schedule.cron("0 2 24 12 *", exclusions=[Exclusion.parse("12-20", "01-05")])

    assert frozen.next_after(utc("2026-01-01")) == free.next_after(utc("2026-01-01")) == utc("2026-12-24T02:00")
    assert frozen.latest_until(utc("2020-01-01"), utc("2026-01-01")).count == 6


def test_a_single_instant_can_be_excluded_too() -> None:
    once = Schedule.at(utc("2026-12-23T16:00"), zone="Asia/Tokyo", exclusions=[Exclusion.parse("12-24", None, "no")])

    assert once.excluded(utc("2026-12-23T16:00")) == Exclusion(MonthDay(12, 24), MonthDay(12, 24), "no")


@pytest.mark.parametrize(
    ("exclusion", "text"),
    [
        (Exclusion.parse("12-20", "01-05", "year-end freeze"), "12-20 to 01-05 (year-end freeze)"),
        (Exclusion.parse("2026-12-24"), "2026-12-24"),
        (
            Exclusion.parse("2026-12-20T18:00:00z", "2026-12-21T06:00:00+01:00", ""),
            "2026-12-20T18:00:00+00:00 to 2026-12-21T06:00:00+01:00",
        ),
    ],
)
def test_an_exclusion_describes_itself(exclusion: Exclusion, text: str) -> None:
    assert str(exclusion) == text


@pytest.mark.parametrize(
    ("from_", "to", "says"),
    [
        ("christmas", None, ['"christmas" is no day or instant', '"12-20"']),
        ("", None, ["is no day or instant"]),
        ("2026-12-20", "", ['"" is no day or instant']),
        ("20.12.2026", None, ["is no day or instant"]),
        ("2026-W51-7", None, ["is no day or instant"]),
        ("20261220", None, ["is no day or instant"]),
        ("2026-12-20T18:00", "2026-12-21T18:00", ["is no day or instant", "with Z or an offset"]),
        ("2026-12-20T18:00:00", "2026-12-21T18:00:00", ["with Z or an offset"]),
        ("2026-02-30", None, ['"2026-02-30" does not exist']),
        ("02-30", None, ['"02-30" does not exist']),
        ("13-01", None, ['"13-01" does not exist']),
        ("2026-12-20T25:00:00Z", "2026-12-21T18:00:00Z", ["does not exist"]),
        ("2026-12-20", "12-27", ["2026-12-20 to 12-27", "same way"]),
        ("2026-12-20", "2026-12-27T00:00:00Z", ["same way"]),
        ("2026-12-27", "2026-12-20", ["ends before it starts"]),
        ("2026-12-27T00:00:00Z", "2026-12-26T00:00:00Z", ["ends before it starts"]),
        ("2026-12-27T00:00:00Z", "2026-12-27T01:00:00+01:00", ["no length"]),
        ("2026-12-27T00:00:00Z", None, ["where it ends"]),
    ],
)
def test_an_exclusion_that_cannot_be_meant_is_refused_with_advice(from_: str, to: str | None, says: list[str]) -> None:
    with pytest.raises(ScheduleError) as refusal:
        Exclusion.parse(from_, to, "reason")

    message = str(refusal.value)
    assert message.startswith("exclusion")
    for part in says:
        assert part in message


def test_the_sides_keep_what_was_written() -> None:
    assert Exclusion.parse("2026-12-20", "2026-12-27", None) == Exclusion(date(2026, 12, 20), date(2026, 12, 27), "")
    assert hash(Exclusion.parse("12-20", "01-05")) == hash(Exclusion(MonthDay(12, 20), MonthDay(1, 5)))
