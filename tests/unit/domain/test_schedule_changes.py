"""Schedules while clocks change: compared with an oracle that looks at every single minute around a change."""

from bisect import bisect_right
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from upkeep.domain.schedule import Occurrences, Schedule, occurrence_end

ZONES = (
    "Etc/UTC",
    "Europe/Berlin",
    "America/New_York",
    "America/St_Johns",
    "America/Sao_Paulo",
    "America/Santiago",
    "America/Havana",
    "America/Nuuk",
    "Africa/Cairo",
    "Africa/Casablanca",
    "Antarctica/Troll",
    "Asia/Tehran",
    "Asia/Kathmandu",
    "Australia/Lord_Howe",
    "Pacific/Apia",
    "Pacific/Chatham",
)
MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)


# --- the clock changes of the sample, found by looking at the offsets ---


@dataclass(frozen=True)
class Change:
    zone: str
    instant: datetime

    def at(self, **distance: float) -> datetime:
        return self.instant + timedelta(**distance)

    @property
    def shift(self) -> timedelta:
        place = ZoneInfo(self.zone)
        return offset(self.instant, place) - offset(self.instant - MINUTE, place)

    @property
    def days_near(self) -> list[date]:
        return [(self.instant.astimezone(ZoneInfo(self.zone)) + n * DAY).date() for n in (-1, 0, 1)]


def offset(instant: datetime, place: ZoneInfo) -> timedelta:
    found = instant.astimezone(place).utcoffset()
    assert found is not None
    return found


def changes_of(zone: str) -> Iterator[Change]:
    place = ZoneInfo(zone)
    instant, end = datetime(2020, 1, 1, tzinfo=UTC), datetime(2036, 1, 1, tzinfo=UTC)
    while instant < end:
        for step in (DAY, HOUR, MINUTE):
            while instant < end and offset(instant, place) == offset(instant + step, place):
                instant += step
        if instant < end:
            instant += MINUTE
            yield Change(zone, instant)


CHANGES = {zone: list(changes_of(zone)) for zone in ZONES}


# --- expressions whose meaning is known without reading them ---


@dataclass(frozen=True)
class Field:
    text: str
    values: frozenset[int]


@dataclass(frozen=True)
class Days:
    text: str
    match: Callable[[date], bool]


@dataclass(frozen=True)
class Pattern:
    minutes: Field
    hours: Field
    days: Days

    @property
    def text(self) -> str:
        return f"{self.minutes.text} {self.hours.text} {self.days.text}"

    @property
    def elapsed(self) -> bool:
        return self.hours.text in {"*", "*/1"}

    def matches(self, wall: datetime) -> bool:
        return wall.minute in self.minutes.values and wall.hour in self.hours.values and self.days.match(wall.date())

    def __repr__(self) -> str:
        return self.text


def field(text: str, *values: int) -> Field:
    return Field(text, frozenset(values))


EVERY_MINUTE = field("*", *range(60))
EVERY_HOUR = field("*", *range(24))
EVERY_DAY = Days("* * *", lambda _: True)


def days_of(near: date) -> list[Days]:
    weekday = near.isoweekday() % 7
    names = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")

    def last(day: date) -> bool:
        return (day + DAY).month != day.month

    return [
        EVERY_DAY,
        Days(f"{near.day} * *", lambda day: day.day == near.day),
        Days(f"* {near.month} *", lambda day: day.month == near.month),
        Days(f"* * {names[weekday]}", lambda day: day.isoweekday() % 7 == weekday),
        Days("* * MON-FRI", lambda day: day.isoweekday() <= 5),
        Days("L * *", last),
        Days(f"* * {weekday}L", lambda day: day.isoweekday() % 7 == weekday and (day + 7 * DAY).month != day.month),
        Days(
            f"* * {names[weekday]}#{(near.day + 6) // 7}",
            lambda day: day.isoweekday() % 7 == weekday and (day.day + 6) // 7 == (near.day + 6) // 7,
        ),
        Days(f"{near.day} * {names[weekday]}", lambda day: day.day == near.day or day.isoweekday() % 7 == weekday),
    ]


def fields(first: int, last: int) -> st.SearchStrategy[Field]:
    value = st.integers(first, last)
    step = st.integers(1, last)
    ends = st.tuples(value, value).map(sorted)
    return st.one_of(
        st.just(field("*", *range(first, last + 1))),
        value.map(lambda n: field(str(n), n)),
        step.map(lambda n: field(f"*/{n}", *range(first, last + 1, n))),
        ends.map(lambda e: field(f"{e[0]}-{e[1]}", *range(e[0], e[1] + 1))),
        st.tuples(ends, step).map(lambda t: field(f"{t[0][0]}-{t[0][1]}/{t[1]}", *range(t[0][0], t[0][1] + 1, t[1]))),
        st.lists(value, min_size=2, max_size=4).map(lambda ns: field(",".join(map(str, ns)), *ns)),
    )


def patterns_near(change: Change) -> st.SearchStrategy[Pattern]:
    days = [days for near in change.days_near for days in days_of(near)]
    return st.builds(Pattern, fields(0, 59), fields(0, 23), st.sampled_from(days))


CHOSEN = (
    Pattern(EVERY_MINUTE, field("0-23", *range(24)), EVERY_DAY),
    Pattern(field("*/5", *range(0, 60, 5)), EVERY_HOUR, EVERY_DAY),
    Pattern(field("*/20", *range(0, 60, 20)), field("*/1", *range(24)), EVERY_DAY),
    Pattern(field("0", 0), EVERY_HOUR, EVERY_DAY),
    Pattern(field("45", 45), EVERY_HOUR, EVERY_DAY),
    Pattern(field("0", 0), field("*/2", *range(0, 24, 2)), EVERY_DAY),
    Pattern(field("30", 30), field("*/3", *range(0, 24, 3)), EVERY_DAY),
    Pattern(field("0,30", 0, 30), field("2-3", 2, 3), EVERY_DAY),
    Pattern(field("0", 0), field("0", 0), EVERY_DAY),
    Pattern(field("0", 0), field("0-23", *range(24)), Days("* * MON-FRI", lambda day: day.isoweekday() <= 5)),
)


# --- the oracle ---


def wall_of(instant: datetime, place: ZoneInfo) -> datetime:
    return instant.astimezone(place).replace(tzinfo=None, fold=0)


@dataclass(frozen=True)
class Minute:
    """A minute that passed: what the clock showed, and what it showed or leapt over for the first time ever."""

    instant: datetime
    shown: datetime
    reached: tuple[datetime, ...]


def watched(zone: str, since: datetime, until: datetime) -> list[Minute]:
    """Watch the clock of a zone for every minute in (since, until]."""
    place = ZoneInfo(zone)
    minutes = []
    instant = since.replace(second=0, microsecond=0) - 3 * HOUR  # no clock of the sample was put back by more
    highest = wall_of(instant, place)
    while (instant := instant + MINUTE) <= until:
        shown = wall_of(instant, place)
        reached = tuple(highest + n * MINUTE for n in range(1, (shown - highest) // MINUTE + 1))
        highest = max(highest, shown)
        if instant > since:
            minutes.append(Minute(instant, shown, reached))
    return minutes


def oracle(pattern: Pattern, minutes: list[Minute]) -> list[datetime]:
    """What is due: by elapsed time, whatever the clock shows; by the wall clock, what it reaches first."""
    if pattern.elapsed:
        return [minute.instant for minute in minutes if pattern.matches(minute.shown)]
    return [minute.instant for minute in minutes if any(map(pattern.matches, minute.reached))]


def first_after(due: list[datetime], instant: datetime) -> datetime | None:
    position = bisect_right(due, instant)
    return due[position] if position < len(due) else None


# --- what the oracle demands ---


@pytest.mark.parametrize("zone", ZONES)
def test_around_every_change_exactly_the_minutes_of_the_oracle_are_due(zone: str) -> None:
    schedules = [(pattern, Schedule.cron(pattern.text, zone=zone)) for pattern in CHOSEN]
    for change in CHANGES[zone]:
        since, until = change.at(hours=-1.5), change.at(hours=3.25)
        minutes = watched(zone, since, until)
        for pattern, schedule in schedules:
            due = oracle(pattern, minutes)

            assert list(schedule.latest_until(since, until, limit=1000).times) == due, (pattern, change)
            for instant in (change.at(minutes=n) for n in (-60, -30, -1, 0, 30, 59, 60, 120)):
                following = first_after(due, instant)
                found = schedule.next_after(instant)
                assert found == following if following else found is None or found > until, (pattern, change, instant)


@given(data=st.data())
@settings(max_examples=150, deadline=None)
def test_any_expression_from_any_second_near_any_change_is_as_the_oracle_says(data: st.DataObject) -> None:
    zone = data.draw(st.sampled_from([zone for zone in ZONES if CHANGES[zone]]))
    change = data.draw(st.sampled_from(CHANGES[zone]))
    pattern = data.draw(patterns_near(change))
    since = change.at(seconds=data.draw(st.integers(-30 * 3600, 2 * 3600)), microseconds=data.draw(st.integers(0, 1)))
    until = since + timedelta(seconds=data.draw(st.integers(0, 30 * 3600)))
    limit = data.draw(st.integers(1, 100))
    schedule = Schedule.cron(pattern.text, zone=zone)

    due = oracle(pattern, watched(zone, since, until))

    found = schedule.latest_until(since, until, limit=limit)
    assert list(found.times) == due[-limit:]
    assert found.count == len(due) if len(due) <= limit else found.count > limit
    assert found.truncated == (len(due) > limit)
    assert found.following == schedule.next_after(until)
    following = schedule.next_after(since)
    assert following == due[0] if due else following is None or following > until


@given(data=st.data())
@settings(max_examples=50, deadline=None)
def test_over_months_nothing_is_early_or_twice_and_both_directions_agree(data: st.DataObject) -> None:
    zone = data.draw(st.sampled_from(ZONES))
    start = datetime(2020, 1, 1, tzinfo=UTC) + timedelta(minutes=data.draw(st.integers(0, 16 * 365 * 24 * 60)))
    pattern = data.draw(patterns_near(Change(zone, start)))
    schedule = Schedule.cron(pattern.text, zone=zone)

    walked = [start]
    while len(walked) <= 200 and (following := schedule.next_after(walked[-1])) is not None:
        walked.append(following)

    assert all(earlier < later for earlier, later in pairwise(walked))
    assert walked[1:], "every one of these patterns matches some day"
    assert schedule.latest_until(start, walked[-1], limit=500) == Occurrences(
        times=tuple(walked[1:]), count=len(walked) - 1, truncated=False, following=schedule.next_after(walked[-1])
    )


@pytest.mark.parametrize("zone", ZONES)
def test_every_five_minutes_stays_every_five_minutes_through_every_change(zone: str) -> None:
    schedule = Schedule.cron("*/5 * * * *", zone=zone)
    for change in CHANGES[zone]:
        times = schedule.latest_until(change.at(hours=-4), change.at(hours=4)).times

        assert {later - earlier for earlier, later in pairwise(times)} == {timedelta(minutes=5)}, change
        assert len(times) == 8 * 12


@pytest.mark.parametrize("zone", ZONES)
def test_an_end_is_exactly_the_duration_after_its_start_over_every_change(zone: str) -> None:
    place = ZoneInfo(zone)
    for change in CHANGES[zone]:
        for lead in (0.5, 1, 2, 23):
            for duration in (timedelta(minutes=90), timedelta(hours=2), timedelta(hours=6), DAY, 7 * DAY):
                # given a window that starts before the change, as its users read the clock
                start = change.at(hours=-lead).astimezone(place)

                end = occurrence_end(start, duration)

                assert end - start.astimezone(UTC) == duration
                if HOUR * lead < duration < 3 * DAY:
                    assert wall_of(end, place) - wall_of(start, place) == duration + change.shift


def test_the_sample_has_changes_of_every_kind() -> None:
    shifts = {change.shift for changes in CHANGES.values() for change in changes}

    assert {-2 * HOUR, -HOUR, -HOUR / 2, HOUR / 2, HOUR, 2 * HOUR} <= shifts
    assert sum(map(len, CHANGES.values())) > 250


# --- the same by example, for readers ---


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def due_between(expression: str, zone: str, since: str, until: str) -> list[datetime]:
    return list(Schedule.cron(expression, zone=zone).latest_until(utc(since), utc(until)).times)


def test_a_time_in_a_gap_is_due_once_at_the_end_of_the_gap() -> None:
    # Berlin, 29 March 2026: 02:00 becomes 03:00 at 01:00 UTC
    due = due_between("30 2 * * *", "Europe/Berlin", "2026-03-28T00:00", "2026-03-31T00:00")

    assert due == [utc("2026-03-28T01:30"), utc("2026-03-29T01:00"), utc("2026-03-30T00:30")]


def test_all_times_in_one_gap_are_one_occurrence_also_together_with_its_end() -> None:
    due = due_between("*/10 2,3 * * *", "Europe/Berlin", "2026-03-29T00:00", "2026-03-29T01:20")

    assert due == [utc("2026-03-29T01:00"), utc("2026-03-29T01:10"), utc("2026-03-29T01:20")]


def test_every_second_hour_does_not_lose_the_hour_in_the_gap() -> None:
    due = due_between("0 */2 * * *", "Europe/Berlin", "2026-03-28T22:00", "2026-03-29T03:00")

    assert due == [utc("2026-03-28T23:00"), utc("2026-03-29T01:00"), utc("2026-03-29T02:00")]


def test_in_a_repeated_hour_only_the_first_pass_counts() -> None:
    # Berlin, 25 October 2026: 03:00 becomes 02:00 at 01:00 UTC
    due = due_between("30 2 * * *", "Europe/Berlin", "2026-10-24T12:00", "2026-10-26T12:00")

    assert due == [utc("2026-10-25T00:30"), utc("2026-10-26T01:30")]


def test_asked_inside_the_second_pass_the_answer_is_not_in_the_past() -> None:
    schedule = Schedule.cron("*/15 2 * * *", zone="Europe/Berlin")
    in_second_pass = utc("2026-10-25T01:20")

    assert schedule.next_after(in_second_pass) == utc("2026-10-26T01:00")
    assert schedule.latest_until(utc("2026-10-25T00:30"), in_second_pass).times == (utc("2026-10-25T00:45"),)


def test_every_hour_runs_in_both_passes_of_a_repeated_hour() -> None:
    due = due_between("30 * * * *", "Europe/Berlin", "2026-10-24T23:00", "2026-10-25T03:00")

    assert due == [utc(f"2026-10-2{day}") for day in ("4T23:30", "5T00:30", "5T01:30", "5T02:30")]


def test_a_gap_at_midnight_moves_a_daily_schedule_to_one_o_clock_of_the_same_day() -> None:
    # Cairo, 24 April 2026: 00:00 becomes 01:00 at 22:00 UTC the day before
    due = due_between("0 0 * * FRI", "Africa/Cairo", "2026-04-20T00:00", "2026-04-28T00:00")

    assert due == [utc("2026-04-23T22:00")]


def test_a_repeated_hour_before_midnight_belongs_to_the_day_it_repeats() -> None:
    # Cairo, 29 October 2026: 24:00 becomes 23:00 at 21:00 UTC
    due = due_between("30 * 29 10 *", "Africa/Cairo", "2026-10-29T19:00", "2026-10-30T12:00")

    assert due == [utc("2026-10-29T19:30"), utc("2026-10-29T20:30"), utc("2026-10-29T21:30")]


def test_a_whole_missing_day_is_due_when_the_next_one_begins() -> None:
    # Apia went from 29 December 2011, 24:00, straight to 31 December
    due = due_between("0 2,14 30,31 12 *", "Pacific/Apia", "2011-12-29T00:00", "2012-01-01T00:00")

    assert due == [utc("2011-12-30T10:00"), utc("2011-12-30T12:00"), utc("2011-12-31T00:00")]


def test_an_hourly_schedule_keeps_to_the_local_minute_where_half_an_hour_is_left_out() -> None:
    # Lord Howe, 4 October 2026: 02:00 becomes 02:30 at 15:30 UTC the day before
    due = due_between("0 * * * *", "Australia/Lord_Howe", "2026-10-03T14:00", "2026-10-03T17:00")

    assert due == [utc("2026-10-03T14:30"), utc("2026-10-03T16:00"), utc("2026-10-03T17:00")]
