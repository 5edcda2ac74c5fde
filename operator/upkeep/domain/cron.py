"""Five-field cron expressions: which are accepted, and which minutes of a clock on the wall they name.

This module knows no time zone and must never be given one: every datetime here is naive. cronsim computes
the minutes, and its own handling of clock changes is not ours (it skips `*/2` in a gap, repeats it in a
repeated hour and, started inside one, can return an instant before its start): `schedule` maps wall times
to instants.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Final

from cronsim import CronSim, CronSimError

ONE_SECOND: Final = timedelta(seconds=1)

_LONGEST: Final = 1000
_SHOWN: Final = 80
_SEARCH_START: Final = datetime(2000, 1, 1)  # noqa: DTZ001 - wall times have no zone
_FOLLOWS_ELAPSED_TIME: Final = frozenset({"*", "*/1"})


class ScheduleError(ValueError):
    """A schedule that cannot be followed; the message says what is wrong and what to write instead."""


@dataclass(frozen=True, slots=True)
class _Field:
    """One of the five fields: its name, what it takes, and its values in order, as a user may spell them."""

    name: str
    takes: str
    values: Sequence[str]

    def position(self, value: str) -> int | None:
        if value in self.values:
            return self.values.index(value)
        number = int(value) - self.first if value.isdecimal() and len(value) <= len("99") else -1
        return number if 0 <= number < len(self.values) else None

    @property
    def first(self) -> int:
        return int(self.name in {"day-of-month", "month"})


def _numbers(first: int, last: int) -> tuple[str, ...]:
    return tuple(str(number) for number in range(first, last + 1))


_WEEKDAYS: Final = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")
_MONTHS: Final = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_FIELDS: Final = (
    _Field("minute", "0 to 59", _numbers(0, 59)),
    _Field("hour", "0 to 23", _numbers(0, 23)),
    _Field("day-of-month", "1 to 31, or L for the last day", _numbers(1, 31)),
    _Field("month", "1 to 12, or JAN to DEC", _MONTHS),
    _Field("day-of-week", "0 to 7, or SUN to SAT; SUN#1 is the first Sunday, SUNL the last one", _WEEKDAYS),
)
_MACROS: Final = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * SUN",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
_ZONE_PREFIX: Final = re.compile(r"(?:CRON_)?TZ=(\S*)\s*(.*)", re.IGNORECASE)
_REVERSED: Final = re.compile(r"([A-Z0-9]+)-([A-Z0-9]+)")
_NAMED_LAST: Final = re.compile(rf"\b({'|'.join(_WEEKDAYS)})L\b")
_RANGE_OF_ONE: Final = re.compile(r"\b0*([A-Z0-9]+)-0*\1/0*[1-9][0-9]*\b")


def normalised(expression: str) -> str:
    """Return the expression with single spaces and in capitals, so that equal schedules compare equal.

    Raises:
        ScheduleError: it does not have five fields, a field is wrong, or no day that exists matches it.
    """
    text = " ".join(expression.split())
    complaint = _complaint(text)
    if complaint is not None:
        shown = text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
        message = f'schedule "{shown}": {complaint}'
        raise ScheduleError(message)
    return text.upper()


def follows_elapsed_time(expression: str) -> bool:
    """Whether the hour field is `*` (or `*/1`), which takes every passing hour, also a repeated one."""
    return expression.split()[1] in _FOLLOWS_ELAPSED_TIME


def walls_after(expression: str, wall: datetime) -> Iterator[datetime]:
    """Yield the matching wall times strictly after a naive wall time, in order.

    They end where cronsim finds none for 50 years.
    """
    return CronSim(_for_cronsim(expression), wall)


def walls_until(expression: str, wall: datetime) -> Iterator[datetime]:
    """Yield the matching wall times at or before a naive wall time, newest first."""
    return CronSim(_for_cronsim(expression), wall.replace(microsecond=0) + ONE_SECOND, reverse=True)


def _for_cronsim(expression: str) -> str:
    """Respell what cronsim does not know (`SUNL` is its `0L`) or misreads (`5-5/10` as `5/10`, which is `5-59/10`)."""
    numbered = _NAMED_LAST.sub(lambda match: f"{_WEEKDAYS.index(match[1])}L", expression)
    return _RANGE_OF_ONE.sub(r"\1", numbered)


@lru_cache(maxsize=16_384)
def _complaint(text: str) -> str | None:
    """Say what is wrong with an expression, or None. An error would not be cached, and finding one is slow."""
    fields = text.upper().split()
    if len(text) > _LONGEST:
        return f"it has {len(text)} characters; {_LONGEST} are the most"
    if prefix := _ZONE_PREFIX.match(text):
        return f'a time zone does not belong here; set timeZone to "{prefix[1]}" and the schedule to "{prefix[2]}"'
    if len(fields) != len(_FIELDS) or text.startswith("@"):
        return _wrong_shape(text, fields)
    for field, value in zip(_FIELDS, fields, strict=True):
        if not _readable(field, value):
            return f'the {field.name} field "{value}" is wrong{_advice(field, value)}; it takes {field.takes}'
    try:
        next(walls_after(text.upper(), _SEARCH_START))
    except (CronSimError, StopIteration):
        return (
            f'no such day exists: day-of-month "{fields[2]}", month "{fields[3]}", day-of-week "{fields[4]}"; '
            "the last day of a month, however long it is, is L as day-of-month"
        )
    return None


def _wrong_shape(text: str, fields: Sequence[str]) -> str:
    if text.startswith("@"):
        macro = _MACROS.get(text.lower())
        instead = f'write "{macro}"' if macro else 'write five fields, for example "*/5 * * * *" for every 5 minutes'
        return f"names that begin with @ are not supported; {instead}"
    wanted = "minute hour day-of-month month day-of-week"
    if len(fields) == len(_FIELDS) + 1:
        return f'it has six fields; seconds (or a year) are not supported, write five: "{wanted}"'
    return f'it has {len(fields)} fields; write five: "{wanted}", for example "0 2 * * SUN"'


def _readable(field: _Field, value: str) -> bool:
    alone = ["*"] * len(_FIELDS)
    alone[_FIELDS.index(field)] = value
    try:
        CronSim(_for_cronsim(" ".join(alone)), _SEARCH_START)
    except CronSimError:
        return False
    return True


def _advice(field: _Field, value: str) -> str:
    """Say how to spell what was probably meant, for the two spellings people bring from elsewhere."""
    if "?" in value:
        return " (write * instead of ?)"
    for item in value.split(","):
        ends = _REVERSED.fullmatch(item)
        start, end = (field.position(ends[1]), field.position(ends[2])) if ends else (None, None)
        if start is not None and end is not None and start > end:
            return f' (a range cannot run backwards; write "{_wrapped(field, start, end)}" for "{item}")'
    return ""


def _wrapped(field: _Field, start: int, end: int) -> str:
    parts = ((start, len(field.values) - 1), (0, end))
    return ",".join(
        field.values[low] if low == high else f"{field.values[low]}-{field.values[high]}" for low, high in parts
    )
