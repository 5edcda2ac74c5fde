"""Schedules: when something is due, by two rules, through every clock change.

1. A cron schedule whose hour field is `*` follows elapsed time: it takes every passing minute that matches on the
   local clock, so that every 5 minutes stays every 5 minutes while clocks change.
2. Every other cron schedule follows the wall clock: a time that is skipped by a change is due once, at the first
   instant after the gap, and of a repeated hour only the first pass counts.

Nothing here knows what time it is: `now` is always a parameter. Everything returned is aware and in UTC.
"""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice, takewhile
from typing import Final, Protocol
from zoneinfo import ZoneInfo

from upkeep.domain import cron
from upkeep.domain.cron import ScheduleError
from upkeep.domain.exclusion import Exclusion
from upkeep.domain.zone import first_change, instant_of, last_change, offset_at, repeated_by, utc, wall_at, zone_named

__all__ = ["Exclusion", "Occurrences", "Schedule", "ScheduleError", "jitter_offset", "occurrence_end"]

DEFAULT_ZONE: Final = "Etc/UTC"
_FEW: Final = 3


@dataclass(frozen=True, slots=True)
class Occurrences:
    """The occurrences in a stretch of time.

    `times` are the newest, at most as many as were asked for, in ascending order. `count` is the number of all of
    them; where `truncated`, there are at least that many, and they were not counted further. `following` is the first
    one after that stretch of time.
    """

    times: tuple[datetime, ...]
    count: int
    truncated: bool
    following: datetime | None


class _Rule(Protocol):
    """How instants follow each other. Both iterators may end in OverflowError, where datetime itself ends."""

    def after(self, instant: datetime) -> Iterator[datetime]:
        """Yield the occurrences strictly after an instant in UTC, in order."""

    def until(self, instant: datetime) -> Iterator[datetime]:
        """Yield the occurrences at or before an instant in UTC, newest first."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """When something is due, and when it is excluded. Immutable, hashable and cheap to make again and again.

    Make one by `Schedule.cron` or `Schedule.at`, which check what they are given.
    """

    rule: _Rule
    zone: str
    exclusions: tuple[Exclusion, ...]

    @classmethod
    def cron(cls, expression: str, *, zone: str = DEFAULT_ZONE, exclusions: Sequence[Exclusion] = ()) -> "Schedule":
        """Make a schedule from a cron expression of five fields, in an IANA time zone.

        Raises:
            ScheduleError: the expression is wrong or can never match, or there is no such zone.
        """
        checked = cron.normalised(expression)
        place = zone_named(zone)
        rule = _ElapsedTime if cron.follows_elapsed_time(checked) else _WallClock
        return cls(rule(checked, place), zone, tuple(exclusions))

    @classmethod
    def at(cls, instant: datetime, *, zone: str = DEFAULT_ZONE, exclusions: Sequence[Exclusion] = ()) -> "Schedule":
        """Make a schedule that is due once, at an aware instant; the zone matters to exclusions only.

        Raises:
            ScheduleError: the instant is naive, or there is no such zone.
        """
        zone_named(zone)
        if instant.utcoffset() is None:
            text = instant.isoformat()
            message = f'instant "{text}": it has no offset; write "{text}Z" for UTC, or "{text}+02:00"'
            raise ScheduleError(message)
        return cls(_Once(utc(instant)), zone, tuple(exclusions))

    def next_after(self, instant: datetime) -> datetime | None:
        """Return the first occurrence strictly after an aware instant, whether excluded or not.

        None means that there is none any more, or none within the 50 years that cronsim looks ahead.
        """
        return next(self.after(instant), None)

    def after(self, instant: datetime) -> Iterator[datetime]:
        """Yield the occurrences strictly after an aware instant, in order, whether excluded or not."""
        return _within_calendar(self.rule.after(utc(instant)))

    def latest_until(self, since: datetime, until: datetime, *, limit: int = 100) -> Occurrences:
        """Return the occurrences in (since, until], whether excluded or not.

        Only the newest `limit` and one more are looked at, however long the stretch is.
        """
        start, end = utc(since), utc(until)
        if start >= end:
            return Occurrences(times=(), count=0, truncated=False, following=self.next_after(end))
        # Mostly there are none or one: then going forward finds the following one on the way.
        few: list[datetime] = []
        for time in islice(_within_calendar(self.rule.after(start)), min(_FEW, limit) + 1):
            if time > end:
                return Occurrences(times=tuple(few), count=len(few), truncated=False, following=time)
            few.append(time)
        newest_first = takewhile(lambda time: time > start, _within_calendar(self.rule.until(end)))
        found = list(islice(newest_first, limit + 1))
        return Occurrences(
            times=tuple(reversed(found[:limit])),
            count=len(found),
            truncated=len(found) > limit,
            following=self.next_after(end),
        )

    def excluded(self, occurrence: datetime) -> Exclusion | None:
        """Return the first exclusion that covers an aware instant, if any."""
        place = zone_named(self.zone)
        return next((each for each in self.exclusions if each.covers(utc(occurrence), place)), None)


def occurrence_end(start: datetime, duration: timedelta) -> datetime:
    """Return the end of what starts at an aware instant: exactly the duration later, whatever clocks do."""
    return utc(start) + duration


def jitter_offset(*, uid: str, occurrence: datetime, jitter: timedelta) -> timedelta:
    """Return by how much one occurrence of the object with this UID is delayed: uniform in [0, jitter).

    It depends on nothing but its arguments, so that every replica and every restart agree.

    Raises:
        ValueError: the occurrence is naive, or the jitter negative.
    """
    if jitter < timedelta():
        message = f"jitter cannot be negative: {jitter}"
        raise ValueError(message)
    if not jitter:
        return jitter
    digest = hashlib.sha256(f"{uid}/{utc(occurrence).isoformat()}".encode()).digest()
    fraction = int.from_bytes(digest[:8], "big")
    return timedelta(microseconds=fraction * (jitter // timedelta(microseconds=1)) >> 64)


@dataclass(frozen=True, slots=True)
class _Once:
    """Due at one instant."""

    instant: datetime

    def after(self, instant: datetime) -> Iterator[datetime]:
        if self.instant > instant:
            yield self.instant

    def until(self, instant: datetime) -> Iterator[datetime]:
        if self.instant <= instant:
            yield self.instant


@dataclass(frozen=True, slots=True)
class _WallClock:
    """Rule 2. The mapping from wall times to instants never goes backwards, so their order is kept."""

    expression: str
    place: ZoneInfo

    def after(self, instant: datetime) -> Iterator[datetime]:
        latest = instant
        for wall in cron.walls_after(self.expression, wall_at(instant, self.place)):
            due = instant_of(wall, self.place)
            # Not later: the second pass of a repeated hour, or one more time in the same gap.
            if due > latest:
                yield due
                latest = due

    def until(self, instant: datetime) -> Iterator[datetime]:
        earliest = None
        # In a second pass, the first pass has already been through wall times that are still to come.
        seen = wall_at(instant, self.place) + repeated_by(instant, self.place)
        for wall in cron.walls_until(self.expression, seen):
            due = instant_of(wall, self.place)
            if due <= instant and due != earliest:
                yield due
                earliest = due


@dataclass(frozen=True, slots=True)
class _ElapsedTime:
    """Rule 1. Between two clock changes, wall times and instants are a fixed offset apart."""

    expression: str
    place: ZoneInfo

    def after(self, instant: datetime) -> Iterator[datetime]:
        start = instant.replace(microsecond=0)
        offset = offset_at(start, self.place)
        walls = cron.walls_after(self.expression, wall_at(start, self.place))
        while (wall := next(walls, None)) is not None:
            due = wall.replace(tzinfo=UTC) - offset
            change = first_change(start, due, self.place)
            if change is None:
                yield due
                start = due
            else:
                start, offset = change, offset_at(change, self.place)
                walls = cron.walls_after(self.expression, wall_at(change, self.place) - cron.ONE_SECOND)

    def until(self, instant: datetime) -> Iterator[datetime]:
        end = instant.replace(microsecond=0)
        offset = offset_at(end, self.place)
        walls = cron.walls_until(self.expression, wall_at(end, self.place))
        while (wall := next(walls, None)) is not None:
            due = wall.replace(tzinfo=UTC) - offset
            change = last_change(due, end, self.place)
            if change is None:
                yield due
                end = due
            else:
                end = change - cron.ONE_SECOND
                offset = offset_at(end, self.place)
                walls = cron.walls_until(self.expression, wall_at(end, self.place))


def _within_calendar(times: Iterable[datetime]) -> Iterator[datetime]:
    """Yield the times up to the first or last year that a datetime can hold."""
    try:
        yield from times
    except OverflowError:
        return
