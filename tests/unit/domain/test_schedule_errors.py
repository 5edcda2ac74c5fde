"""Schedules that cannot be followed: each message says what is wrong and what to write instead."""

from datetime import UTC, datetime

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from upkeep.domain.schedule import Schedule, ScheduleError


@pytest.mark.parametrize(
    ("expression", "says"),
    [
        ("", ["0 fields", "minute hour day-of-month month day-of-week"]),
        ("0 2 * *", ["4 fields", '"0 2 * * SUN"']),
        ("0 0 2 * * *", ["six fields", "seconds", "minute hour day-of-month month day-of-week"]),
        ("0 0 2 * * * 2026", ["7 fields"]),
        ("60 * * * *", ['minute field "60"', "0 to 59"]),
        ("0 24 * * *", ['hour field "24"', "0 to 23"]),
        ("0 2 0 * *", ['day-of-month field "0"', "1 to 31", "L for the last day"]),
        ("0 2 * 13 *", ['month field "13"', "JAN to DEC"]),
        ("0 2 * * 8", ['day-of-week field "8"', "SUN to SAT"]),
        ("0 2 * * SUN#6", ['day-of-week field "SUN#6"', "SUN#1 is the first Sunday"]),
        ("0 2 * * SUNDAY", ['day-of-week field "SUNDAY"']),
        ("*/0 * * * *", ['minute field "*/0"']),
        ("5-5/0 * * * *", ['minute field "5-5/0"']),
        ("0 2 ? * SUN", ['day-of-month field "?"', "write * instead of ?"]),
        ("0 22-6 * * *", ["backwards", '"22-23,0-6" for "22-6"']),
        ("0 5-23,23-1 * * *", ['"23,0-1" for "23-1"']),
        ("0 2 25-5 * *", ['"25-31,1-5"']),
        ("0 2 * NOV-FEB *", ['"NOV-DEC,JAN-FEB"']),
        ("0 2 * * SAT-SUN", ['"SAT,SUN"']),
        ("0 2 * * 5-1", ['"FRI-SAT,SUN-MON"']),
        ("@daily", ['write "0 0 * * *"']),
        ("@Weekly", ['write "0 0 * * SUN"']),
        ("@hourly", ['write "0 * * * *"']),
        ("@every 5m", ['"*/5 * * * *"']),
        ("@reboot", ["not supported", "five fields"]),
        ("TZ=Europe/Berlin 0 2 * * *", ['timeZone to "Europe/Berlin"', 'schedule to "0 2 * * *"']),
        ("CRON_TZ=Asia/Tokyo 0 2 * * *", ['timeZone to "Asia/Tokyo"']),
        ("TZ=UTC 0 2 * *", ['timeZone to "UTC"']),
        ("0 0 30 2 *", ["no such day exists", '"30"', '"2"', "L as day-of-month"]),
        ("0 0 31 4,6,9,11 *", ["no such day exists"]),
        ("* * */20 * 1L", ["no such day exists", '"*/20"', '"1L"']),
        ("0" * 1001, ["1001 characters"]),
        ("9" * 900 + " * * * *", ["minute field"]),
    ],
)
def test_a_wrong_expression_is_refused_with_advice(expression: str, says: list[str]) -> None:
    with pytest.raises(ScheduleError) as refusal:
        Schedule.cron(expression)

    message = str(refusal.value)
    for part in says:
        assert part in message
    assert "\n" not in message


@pytest.mark.parametrize(
    "advised", ["0 22-23,0-6 * * *", "0 2 25-31,1-5 * *", "0 2 * NOV-DEC,JAN-FEB *", "0 2 * * FRI-SAT,SUN-MON"]
)
def test_what_is_advised_is_accepted(advised: str) -> None:
    assert Schedule.cron(advised).next_after(datetime(2026, 1, 1, tzinfo=UTC))


@given(
    st.text("0123456789*/,-#LW? @=SUNMOJAFEB\t\u0661\N{LATIN SMALL LETTER LONG S}", max_size=30) | st.text(max_size=20)
)
@example("0 2 * * L")
@example("0 2 L-3 * *")
@example("1/L * * * *")
@example(f"{'9' * 990} * * * *")
def test_whatever_is_written_is_either_followed_or_refused_as_a_schedule(expression: str) -> None:
    try:
        schedule = Schedule.cron(expression)
    except ScheduleError:
        return

    assert schedule.next_after(datetime(2026, 1, 1, tzinfo=UTC)) is not None


@pytest.mark.parametrize(
    ("zone", "says"),
    [
        ("Europe/Berlim", ["Europe/Berlin"]),
        ("europe/berlin", ["Europe/Berlin"]),
        ("Berlin", ["Europe/Berlin"]),
        ("America/NewYork", ["America/New_York"]),
        ("New York", ["America/New_York"]),
        ("Asia/Katmandhu", ["Asia/Kathmandu"]),
        ("", ["IANA name", "Europe/Berlin"]),
        ("Middle-earth/Bree", ["is unknown"]),
        ("../../etc/passwd", ["is unknown"]),
        ("/etc/localtime", ["is unknown"]),
        ("localtime", ["is unknown"]),
        ("Europe", ["is unknown"]),
        ("x" * 10_000, ["is unknown"]),
    ],
)
def test_an_unknown_zone_is_refused_with_the_nearest_names(zone: str, says: list[str]) -> None:
    with pytest.raises(ScheduleError) as refusal:
        Schedule.cron("0 2 * * *", zone=zone)

    message = str(refusal.value)
    assert "time zone" in message
    for part in says:
        assert part in message
    assert message.count(" or ") <= 2
    assert len(message) < 250


def test_a_fixed_offset_is_never_offered_the_zone_with_the_opposite_sign() -> None:
    with pytest.raises(ScheduleError) as refusal:
        Schedule.cron("0 2 * * *", zone="GMT+02")

    assert "Etc/GMT" not in str(refusal.value)


def test_a_single_instant_needs_an_offset_and_a_zone_that_exists() -> None:
    with pytest.raises(ScheduleError, match='write "2026-03-01T22:00:00Z"'):
        Schedule.at(datetime(2026, 3, 1, 22))  # noqa: DTZ001 - the mistake that is refused
    with pytest.raises(ScheduleError, match="time zone"):
        Schedule.at(datetime(2026, 3, 1, 22, tzinfo=UTC), zone="Nowhere/Atall")
