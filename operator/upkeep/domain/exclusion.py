"""Exclusions: the freezes and holidays in which nothing may start.

An exclusion says only whether it covers an instant; what then happens (a Skipped record with its reason) is
decided by whoever asks. It never changes when a schedule is due.
"""

import re
from dataclasses import dataclass
from datetime import date, datetime
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo

from upkeep.domain.cron import ScheduleError
from upkeep.domain.zone import utc

_DATE: Final = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
_MONTH_DAY: Final = re.compile(r"(\d{2})-(\d{2})", re.ASCII)
_INSTANT: Final = re.compile(
    r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(\.\d+)?(Z|[+-]\d{2}:\d{2})", re.ASCII | re.IGNORECASE
)
_LEAP_YEAR: Final = 2000
_SHOWN: Final = 64
_SPELLINGS: Final = (
    'a date "2026-12-20", a day of every year "12-20", or an instant with Z or an offset "2026-12-20T18:00:00+01:00"'
)


class MonthDay(NamedTuple):
    """A day of every year; 29 February is one in leap years only."""

    month: int
    day: int

    def isoformat(self) -> str:
        """Return the spelling that users write, for example `12-20`."""
        return f"{self.month:02}-{self.day:02}"


Side = date | MonthDay | datetime


@dataclass(frozen=True, slots=True)
class Exclusion:
    """A time in which nothing starts; both sides are of the same kind.

    Dates and days of the year are whole days of the schedule's zone and both belong to the exclusion; an
    instant as `end` does not. With days of the year, an end before the start means an end in the next year.

    Raises:
        ScheduleError: the sides are of different kinds, or the end comes before the start.
        ValueError: an instant is naive; `parse` never makes one.
    """

    start: Side
    end: Side
    reason: str = ""

    def __post_init__(self) -> None:
        if type(self.start) is not type(self.end):
            message = f"exclusion {self}: write both sides in the same way: {_SPELLINGS}"
            raise ScheduleError(message)
        if isinstance(self.start, datetime) and self.start == self.end:
            message = f"exclusion {self}: it has no length; write a later end, or a date for the whole day"
            raise ScheduleError(message)
        if not isinstance(self.start, MonthDay) and _order(self.start) > _order(self.end):
            message = f"exclusion {self}: it ends before it starts; swap the two sides"
            raise ScheduleError(message)

    @classmethod
    def parse(cls, from_: str, to: str | None = None, reason: str | None = None) -> "Exclusion":
        """Read an exclusion as a user wrote it; a day without `to` is that one day.

        Raises:
            ScheduleError: a side is no day or instant, or the two do not go together.
        """
        start = _side(from_)
        if to is None and isinstance(start, datetime):
            message = f'exclusion from "{from_}": write where it ends in "to", or a date for the whole day'
            raise ScheduleError(message)
        return cls(start, start if to is None else _side(to), reason or "")

    def covers(self, instant: datetime, place: ZoneInfo) -> bool:
        """Whether an aware instant falls into the exclusion, for a schedule in the given zone."""
        start, end = _order(self.start), _order(self.end)
        if isinstance(self.start, datetime):
            return start <= _order(instant) < end
        today = instant.astimezone(place).date()
        now = _order(MonthDay(today.month, today.day) if isinstance(self.start, MonthDay) else today)
        if start <= end:
            return start <= now <= end
        return now >= start or now <= end

    def __str__(self) -> str:
        start, end = self.start.isoformat(), self.end.isoformat()
        period = start if start == end else f"{start} to {end}"
        return f"{period} ({self.reason})" if self.reason else period


def _order(side: Side) -> tuple[int, ...]:
    """Return what compares two sides of one kind by time."""
    if isinstance(side, datetime):
        at = utc(side)
        return (*at.timetuple()[:6], at.microsecond)
    if isinstance(side, MonthDay):
        return side
    return (side.year, side.month, side.day)


def _side(text: str) -> Side:
    try:
        if _DATE.fullmatch(text):
            return date.fromisoformat(text)
        if match := _MONTH_DAY.fullmatch(text):
            day = date(_LEAP_YEAR, int(match[1]), int(match[2]))
            return MonthDay(day.month, day.day)
        if _INSTANT.fullmatch(text):
            instant = datetime.fromisoformat(text.upper())
            utc(instant)  # an offset can push the first and the last day out of the calendar
            return instant
    except (ValueError, OverflowError) as error:
        message = f'exclusion: "{text[:_SHOWN]}" does not exist ({error})'
        raise ScheduleError(message) from error
    message = f'exclusion: "{text[:_SHOWN]}" is no day or instant; write {_SPELLINGS}'
    raise ScheduleError(message)
