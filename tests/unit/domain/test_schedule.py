"""What a schedule says is due, away from clock changes, and what is made of it."""

import re
from datetime import UTC, datetime, timedelta, timezone
from itertools import pairwise
from pathlib import Path

import pytest
from cronsim import CronSim
from hypothesis import given
from hypothesis import strategies as st

from upkeep.api.scheduling import CRON_PATTERN
from upkeep.domain.schedule import Exclusion, Occurrences, Schedule, jitter_offset, occurrence_end

PAGE = Path(__file__).parents[3] / "docs" / "concepts" / "schedules.md"
PROMISES = re.findall(r"^\| [^|]+ \| `([^`|]+)` \| (\d{4}-\d\d-\d\d \d\d:\d\d) \|$", PAGE.read_text(), re.MULTILINE)


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def upcoming(schedule: Schedule, after: str, count: int) -> list[str]:
    found, instant = [], utc(after)
    for _ in range(count):
        following = schedule.next_after(instant)
        assert following is not None
        instant = following
        found.append(f"{instant:%Y-%m-%d %H:%M}")
    return found


NEW_YEAR = "2026-01-01T12:00"  # a Thursday


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        pytest.param("*/5 * * * *", ["2026-01-01 12:05", "2026-01-01 12:10", "2026-01-01 12:15"], id="5 minutes"),
        pytest.param("0 */4 * * *", ["2026-01-01 16:00", "2026-01-01 20:00", "2026-01-02 00:00"], id="4 hours"),
        pytest.param("30 2 * * *", ["2026-01-02 02:30", "2026-01-03 02:30"], id="daily"),
        pytest.param("0 3 * * TUE", ["2026-01-06 03:00", "2026-01-13 03:00"], id="weekly on a weekday"),
        pytest.param("0 3 1 * *", ["2026-02-01 03:00", "2026-03-01 03:00"], id="monthly on the 1st"),
    ],
)
def test_s1_the_everyday_schedules(expression: str, expected: list[str]) -> None:
    assert upcoming(Schedule.cron(expression), NEW_YEAR, len(expected)) == expected


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        pytest.param("0 2 * * SUN#1", ["2026-01-04 02:00", "2026-02-01 02:00", "2026-03-01 02:00"], id="1st Sunday"),
        pytest.param("0 2 1-7 1,4,7,10 *", ["2026-01-02 02:00", "2026-01-03 02:00"], id="first week of a quarter"),
        pytest.param("0 2 * 1,4,7,10 MON#1", ["2026-01-05 02:00", "2026-04-06 02:00"], id="1st Monday of a quarter"),
        pytest.param("0 0 * 1,4,7,10 SAT#1", ["2026-01-03 00:00", "2026-04-04 00:00"], id="first weekend of a quarter"),
        pytest.param("0 2 1 1,4,7,10 *", ["2026-04-01 02:00", "2026-07-01 02:00"], id="quarterly"),
        pytest.param("0 2 1 JAN,JUL *", ["2026-07-01 02:00", "2027-01-01 02:00"], id="twice a year"),
        pytest.param("0 2 1 1 *", ["2027-01-01 02:00", "2028-01-01 02:00"], id="yearly"),
    ],
)
def test_s2_the_schedules_of_months_quarters_and_years(expression: str, expected: list[str]) -> None:
    assert upcoming(Schedule.cron(expression), NEW_YEAR, len(expected)) == expected


def test_the_sunday_of_a_first_weekend_follows_its_saturday_in_every_quarter() -> None:
    saturdays = Schedule.cron("0 0 * 1,4,7,10 SAT#1").latest_until(utc("2020-01-01"), utc("2035-12-31"))
    sundays = Schedule.cron("0 0 2-8 1,4,7,10 */7").latest_until(utc("2020-01-01"), utc("2035-12-31"))

    assert saturdays.count == 64
    assert [sunday - timedelta(days=1) for sunday in sundays.times] == list(saturdays.times)


@pytest.mark.parametrize(("expression", "first"), PROMISES)
def test_the_page_for_users_tells_the_truth(expression: str, first: str) -> None:
    assert upcoming(Schedule.cron(expression), NEW_YEAR, 1) == [first]


@pytest.mark.parametrize(("expression", "first"), PROMISES)
def test_what_the_page_for_users_shows_is_let_in_by_the_custom_resources(expression: str, first: str) -> None:
    assert re.fullmatch(CRON_PATTERN, expression), first


def test_the_page_for_users_has_its_table() -> None:
    assert len(PROMISES) >= 16


@pytest.mark.parametrize(
    ("expression", "after", "expected"),
    [
        ("0 0 29 2 *", "2026-01-01", ["2028-02-29 00:00", "2032-02-29 00:00"]),
        ("0 0 29 2 *", "2096-02-29", ["2104-02-29 00:00"]),
        ("0 0 * 2 MON#5", "2026-01-01", ["2044-02-29 00:00"]),
        ("0 0 31 * *", "2026-01-31", ["2026-03-31 00:00", "2026-05-31 00:00"]),
        ("0 0 L 2 *", "2026-01-01", ["2026-02-28 00:00", "2027-02-28 00:00", "2028-02-29 00:00"]),
        ("0 9 LW * *", "2026-01-31", ["2026-02-27 09:00", "2026-03-31 09:00"]),
        ("59 23 31 12 *", "2026-12-31", ["2026-12-31 23:59", "2027-12-31 23:59"]),
        ("* * * * *", "2026-12-31T23:58", ["2026-12-31 23:59", "2027-01-01 00:00"]),
        ("0 22 * * FRIL", "2026-01-01", ["2026-01-30 22:00", "2026-02-27 22:00"]),
        ("0 22 * * 5l", "2026-01-01", ["2026-01-30 22:00"]),
        ("0 0 1 * mon", "2026-01-01", ["2026-01-05 00:00", "2026-01-12 00:00"]),
        ("0 0 13 * FRI", "2026-02-01", ["2026-02-06 00:00", "2026-02-13 00:00", "2026-02-20 00:00"]),
        ("5-5/10 3 * * *", "2026-01-01T03:00", ["2026-01-01 03:05", "2026-01-02 03:05"]),
        ("05-5/1,10-010/3 3 * * *", "2026-01-01T03:00", ["2026-01-01 03:05", "2026-01-01 03:10", "2026-01-02 03:05"]),
        ("5/25 3 * * *", "2026-01-01T03:00", ["2026-01-01 03:05", "2026-01-01 03:30", "2026-01-01 03:55"]),
        ("0 0 * * FRI-FRI/2", "2026-01-01", ["2026-01-02 00:00", "2026-01-09 00:00"]),
        ("0 0 * * 7", "2026-01-01", ["2026-01-04 00:00"]),
        ("0 0 * * 5-7", "2026-01-04", ["2026-01-09 00:00", "2026-01-10 00:00", "2026-01-11 00:00"]),
    ],
)
def test_days_that_are_easy_to_get_wrong(expression: str, after: str, expected: list[str]) -> None:
    assert upcoming(Schedule.cron(expression), after, len(expected)) == expected


def test_an_occurrence_is_read_in_the_zone_and_given_in_utc() -> None:
    in_kathmandu = Schedule.cron("0 2 * * *", zone="Asia/Kathmandu").next_after(utc("2026-01-01"))

    assert in_kathmandu == utc("2026-01-01T20:15")
    assert in_kathmandu.tzinfo is UTC


def test_the_month_and_the_day_are_those_of_the_zone_also_with_every_hour() -> None:
    first_of_may = Schedule.cron("0 * 1 5 *", zone="America/New_York").latest_until(
        utc("2026-04-30"), utc("2026-05-03")
    )

    assert first_of_may.times[0] == utc("2026-05-01T04:00")
    assert first_of_may.times[-1] == utc("2026-05-02T03:00")
    assert first_of_may.count == 24


def test_the_next_occurrence_is_strictly_later_and_may_be_a_moment_away() -> None:
    hourly = Schedule.cron("0 * * * *")

    assert hourly.next_after(utc("2026-01-01T12:00")) == utc("2026-01-01T13:00")
    assert hourly.next_after(utc("2026-01-01T11:59:59.999999")) == utc("2026-01-01T12:00")
    assert hourly.next_after(utc("2026-01-01T12:00:00.000001")) == utc("2026-01-01T13:00")


def test_the_zone_of_the_question_does_not_matter() -> None:
    daily = Schedule.cron("0 2 * * *")
    in_tokyo = utc("2026-01-01T12:00").astimezone(timezone(timedelta(hours=9)))

    assert daily.next_after(in_tokyo) == daily.next_after(utc("2026-01-01T12:00"))


def test_a_stretch_of_time_excludes_its_start_and_includes_its_end() -> None:
    hourly = Schedule.cron("0 * * * *")

    found = hourly.latest_until(utc("2026-01-01T12:00"), utc("2026-01-01T14:00"))

    times = (utc("2026-01-01T13:00"), utc("2026-01-01T14:00"))
    assert found == Occurrences(times, count=2, truncated=False, following=utc("2026-01-01T15:00"))


def test_nothing_is_due_in_an_empty_or_reversed_stretch() -> None:
    every_minute = Schedule.cron("* * * * *")
    nothing = Occurrences((), count=0, truncated=False, following=utc("2026-01-01T00:01"))

    assert every_minute.latest_until(utc("2026-01-01"), utc("2026-01-01")) == nothing
    assert every_minute.latest_until(utc("2026-01-02"), utc("2026-01-01")) == nothing


@pytest.mark.parametrize(("limit", "truncated"), [(23, True), (24, False), (25, False)])
def test_the_count_is_exact_up_to_the_limit_and_beyond_it_says_so(limit: int, truncated: bool) -> None:  # noqa: FBT001
    found = Schedule.cron("0 * * * *").latest_until(utc("2026-01-01"), utc("2026-01-02"), limit=limit)

    assert found.times == tuple(utc("2026-01-02") - timedelta(hours=n) for n in reversed(range(min(limit, 24))))
    assert found.count == 24
    assert found.truncated is truncated


@pytest.mark.parametrize("expression", ["* * * * *", "* 0-23 * * *"])
def test_ten_years_of_minutes_cost_no_more_than_the_newest_hundred(
    expression: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given a count of the matches that cronsim is asked for
    asked = []
    answer = CronSim.__next__

    def counted(sim: CronSim) -> datetime:
        asked.append(sim)
        return answer(sim)

    monkeypatch.setattr(CronSim, "__next__", counted)

    found = Schedule.cron(expression, zone="Europe/Berlin").latest_until(utc("2016-06-01"), utc("2026-06-01"))

    assert len(found.times) == 100
    assert found.times[-1] == utc("2026-06-01")
    assert {later - earlier for earlier, later in pairwise(found.times)} == {timedelta(minutes=1)}
    assert (found.count, found.truncated) == (101, True)
    assert len(asked) <= 110


@pytest.mark.parametrize("zone", ["Etc/UTC", "Asia/Tokyo", "America/New_York"])
@pytest.mark.parametrize("expression", ["0 0 29 2 *", "0 * 29 2 *", "59 23 31 12 *"])
def test_where_the_calendar_ends_so_do_the_occurrences(expression: str, zone: str) -> None:
    schedule = Schedule.cron(expression, zone=zone)

    assert schedule.next_after(datetime.max.replace(tzinfo=UTC)) is None
    assert schedule.latest_until(datetime.min.replace(tzinfo=UTC), utc("0001-03-01")).count <= 1
    assert schedule.latest_until(datetime.min.replace(tzinfo=UTC), utc("2026-01-01")).truncated


def test_a_single_instant_is_due_once() -> None:
    once = Schedule.at(utc("2026-03-01T22:00:30"))

    assert once.next_after(utc("2026-03-01T22:00:29")) == utc("2026-03-01T22:00:30")
    assert once.next_after(utc("2026-03-01T22:00:30")) is None
    assert once.latest_until(utc("2026-03-01"), utc("2026-03-01T22:00:30")).times == (utc("2026-03-01T22:00:30"),)
    assert once.latest_until(utc("2026-03-01"), utc("2026-03-01T22:00:29")).count == 0
    assert once.latest_until(utc("2026-03-01T22:00:30"), utc("2026-03-02")).count == 0


def test_a_single_instant_with_an_offset_is_given_in_utc() -> None:
    once = Schedule.at(datetime.fromisoformat("2026-03-01T22:00:00+05:45"))

    following = once.next_after(utc("2026-03-01"))

    assert following == utc("2026-03-01T16:15")
    assert following.tzinfo is UTC


def test_equal_schedules_are_equal_whatever_their_spelling() -> None:
    freeze = Exclusion.parse("12-20", "01-05", "freeze")

    same = {
        Schedule.cron("0  2 * * sun#1 ", zone="Europe/Berlin", exclusions=[freeze]),
        Schedule.cron("0 2 * * SUN#1", zone="Europe/Berlin", exclusions=(freeze,)),
    }

    assert len(same) == 1
    assert Schedule.cron("0 2 * * SUN#1", zone="Europe/Paris", exclusions=[freeze]) not in same
    assert Schedule.cron("0 2 * * SUN#1", zone="Europe/Berlin") not in same
    assert Schedule.at(utc("2026-03-01")) == Schedule.at(datetime.fromisoformat("2026-03-01T01:00:00+01:00"))


@pytest.mark.parametrize("ask", [Schedule.cron("0 2 * * *"), Schedule.at(utc("2026-03-01"))])
def test_a_question_without_an_offset_is_refused(ask: Schedule) -> None:
    naive = datetime(2026, 1, 1)  # noqa: DTZ001 - the mistake that is refused

    with pytest.raises(ValueError, match="no UTC offset"):
        ask.next_after(naive)
    with pytest.raises(ValueError, match="no UTC offset"):
        ask.latest_until(naive, utc("2026-01-02"))
    with pytest.raises(ValueError, match="no UTC offset"):
        occurrence_end(naive, timedelta(hours=1))


@given(
    uid=st.uuids().map(str),
    occurrence=st.datetimes(min_value=datetime(2020, 1, 1), max_value=datetime(2036, 1, 1)),  # noqa: DTZ001 - made aware below
    jitter=st.timedeltas(min_value=timedelta(microseconds=1), max_value=timedelta(days=1)),
)
def test_jitter_stays_below_its_limit_and_is_the_same_for_everyone(
    uid: str, occurrence: datetime, jitter: timedelta
) -> None:
    in_utc = occurrence.replace(tzinfo=UTC)
    in_tokyo = in_utc.astimezone(timezone(timedelta(hours=9)))

    delay = jitter_offset(uid=uid, occurrence=in_utc, jitter=jitter)

    assert timedelta() <= delay < jitter
    assert delay == jitter_offset(uid=uid, occurrence=in_tokyo, jitter=jitter)


def test_jitter_is_the_same_after_every_restart() -> None:
    delay = jitter_offset(
        uid="7f0c9f6e-6a38-4b0b-9d4e-0f3a4c1f5d11", occurrence=utc("2026-03-01T02:00"), jitter=timedelta(minutes=10)
    )

    assert delay == timedelta(seconds=281, microseconds=698950)


def test_jitter_spreads_evenly_over_objects_and_occurrences() -> None:
    hour = timedelta(hours=1)
    by_object = [jitter_offset(uid=f"{n}", occurrence=utc("2026-03-01"), jitter=hour) for n in range(6000)]
    by_day = [
        jitter_offset(uid="1", occurrence=utc("2020-01-01") + timedelta(days=n), jitter=hour) for n in range(6000)
    ]

    for delays in (by_object, by_day):
        # 1,000 in each ten minutes, give or take five standard deviations
        tenths = [sum(delay // timedelta(minutes=10) == n for delay in delays) for n in range(6)]
        assert all(abs(found - 1000) < 5 * 29 for found in tenths), tenths


def test_no_jitter_is_no_delay_and_a_negative_one_is_refused() -> None:
    occurrence = utc("2026-03-01")

    assert jitter_offset(uid="1", occurrence=occurrence, jitter=timedelta()) == timedelta()
    with pytest.raises(ValueError, match="negative"):
        jitter_offset(uid="1", occurrence=occurrence, jitter=timedelta(seconds=-1))
