"""Time zones: finding one by the name a user wrote, and mapping between its wall clock and instants.

Instants are aware and in UTC; wall times are naive. Arithmetic must only be done on these two: adding to a
datetime that carries a zone moves its wall clock, not the instant.
"""

from datetime import UTC, datetime, timedelta
from difflib import SequenceMatcher
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo, available_timezones

from upkeep.domain.cron import ScheduleError

_PROBE: Final = timedelta(days=1)
"""How far apart offsets are looked at: since 1970, no zone has changed its clock twice within six days."""
_ALIKE: Final = 0.7
_MOST_SUGGESTIONS: Final = 3


@lru_cache(maxsize=1)
def _names() -> frozenset[str]:
    # `localtime` means another zone on each machine, so two replicas could disagree.
    return frozenset(available_timezones()) - {"localtime"}


@lru_cache(maxsize=1024)
def zone_named(name: str) -> ZoneInfo:
    """Find a zone of the IANA database by its exact name, for example `Europe/Berlin`.

    Raises:
        ScheduleError: there is none; the message names up to three that are spelled alike.
    """
    if name in _names():
        return ZoneInfo(name)
    close = _alike(name)
    hint = f"; did you mean {' or '.join(close)}?" if close else "; write an IANA name, for example Europe/Berlin"
    message = f'time zone "{name[:64]}" is unknown{hint}'
    raise ScheduleError(message)


def _alike(name: str) -> list[str]:
    """Compare with whole names and with their last part alone, so that `berlin` finds Europe/Berlin."""
    wanted = name[:64].casefold().replace(" ", "_")
    matcher = SequenceMatcher(b=wanted)
    scored = []
    for candidate in _names():
        # Etc/GMT+2 lies two hours *west*: offering it to somebody who wrote UTC+2 would be a trap.
        if candidate.startswith("Etc/GMT"):
            continue
        folded = candidate.casefold()
        score = 0.0
        for part in {folded, folded.rpartition("/")[2]}:
            matcher.set_seq1(part)
            if matcher.real_quick_ratio() >= _ALIKE and matcher.quick_ratio() >= _ALIKE:
                score = max(score, matcher.ratio())
        if score >= _ALIKE:
            scored.append((-score, candidate))
    return [candidate for _, candidate in sorted(scored)[:_MOST_SUGGESTIONS]]


def utc(instant: datetime) -> datetime:
    """Return an aware datetime in UTC.

    Raises:
        ValueError: it is naive, so nobody can say which instant it is.
    """
    if instant.utcoffset() is None:
        message = f"{instant.isoformat()} has no UTC offset"
        raise ValueError(message)
    return instant.astimezone(UTC)


def offset_at(instant: datetime, place: ZoneInfo) -> timedelta:
    """Return what is added to UTC at an instant to get the wall time."""
    return _offset(instant.astimezone(place))


def wall_at(instant: datetime, place: ZoneInfo) -> datetime:
    """Return the wall time, to the second below, at an instant."""
    return instant.astimezone(place).replace(tzinfo=None, fold=0, microsecond=0)


def instant_of(wall: datetime, place: ZoneInfo) -> datetime:
    """Return the first instant at which the wall clock shows a time, or has just leapt over it.

    In a repeated hour that is the first pass; for a time in a gap it is the end of the gap. Later wall times
    never give earlier instants.
    """
    before = _offset(wall.replace(tzinfo=place, fold=0))
    after = _offset(wall.replace(tzinfo=place, fold=1))
    as_utc = wall.replace(tzinfo=UTC)
    if before >= after:
        return as_utc - before
    return _bisect(as_utc - after, as_utc - before, place)


def repeated_by(instant: datetime, place: ZoneInfo) -> timedelta:
    """Return how far the clock was set back, for an instant in the second pass of a repeated hour; else 0."""
    local = instant.astimezone(place)
    return _offset(local.replace(fold=0)) - _offset(local) if local.fold else timedelta()


def first_change(after: datetime, until: datetime, place: ZoneInfo) -> datetime | None:
    """Return the first instant in (after, until] from which on the offset differs from that at `after`."""
    low = after
    while low < until:
        high = min(low + _PROBE, until)
        if offset_at(low, place) != offset_at(high, place):
            return _bisect(low, high, place)
        low = high
    return None


def last_change(after: datetime, until: datetime, place: ZoneInfo) -> datetime | None:
    """Return the first instant of those before `until` that share its offset, if after `after` it changed."""
    high = until
    while high > after:
        low = max(high - _PROBE, after)
        if offset_at(low, place) != offset_at(high, place):
            return _bisect(low, high, place)
        high = low
    return None


def _bisect(low: datetime, high: datetime, place: ZoneInfo) -> datetime:
    """Find the second in (low, high] at which the one change between the two takes effect."""
    old = offset_at(low, place)
    apart = (high - low) // timedelta(seconds=1)
    none_yet, changed = 0, apart
    while changed - none_yet > 1:
        middle = (none_yet + changed) // 2
        if offset_at(low + timedelta(seconds=middle), place) == old:
            none_yet = middle
        else:
            changed = middle
    return low + timedelta(seconds=changed)


def _offset(local: datetime) -> timedelta:
    offset = local.utcoffset()
    return offset if offset is not None else timedelta()
