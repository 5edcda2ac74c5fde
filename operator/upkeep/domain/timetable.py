"""Which occurrence is due, which were missed, and what comes next.

A timetable counts from the last occurrence that was accounted for, never from now, so that nothing is lost while
nobody was looking; and from when its schedule was first seen, so that an edit never fires the past.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from itertools import takewhile
from typing import Final

from upkeep.api.scheduling import ExclusionPeriod
from upkeep.api.status import Ending, OccurrenceRecord, ScheduleAnchor, Trigger
from upkeep.domain.instants import read_instant, read_optional, write_instant
from upkeep.domain.schedule import Exclusion, Schedule, ScheduleError, jitter_offset

LISTED_MISSES: Final = 5
"""Up to this many missed occurrences are recorded one by one; more become one record with a count."""


class Reason(StrEnum):
    """Why an occurrence did not run."""

    OPERATOR_DOWN = "OperatorDown"
    SUSPENDED = "Suspended"
    DEADLINE_EXCEEDED = "DeadlineExceeded"
    WINDOW_CLOSED = "WindowClosed"
    CONCURRENCY_FORBIDDEN = "ConcurrencyForbidden"
    INVALID_SPEC = "InvalidSpec"
    EXCLUDED = "Excluded"
    TARGET_REFUSED = "TargetRefused"


@dataclass(frozen=True, slots=True, kw_only=True)
class Timetable:
    """A schedule and the point from which it counts.

    Attributes:
        schedule: the schedule.
        anchor: to be kept in the status.
        since: occurrences up to here are accounted for.
        uid: of the resource, the seed of its jitter.
        jitter: occurrences start up to this much later.
        name: of the schedule, where its resource has several.
    """

    schedule: Schedule
    anchor: ScheduleAnchor
    since: datetime
    uid: str
    jitter: timedelta = timedelta(0)
    name: str = ""

    def start_of(self, occurrence: datetime) -> datetime:
        """When an occurrence starts: its time and its share of the jitter."""
        return occurrence + jitter_offset(uid=self.uid, occurrence=occurrence, jitter=self.jitter)

    def next_after(self, instant: datetime) -> datetime | None:
        """The next occurrence that is not excluded, looking at no more than a thousand."""
        return self.included_from(self.schedule.next_after(instant))

    def included_from(self, occurrence: datetime | None) -> datetime | None:
        """This occurrence, or where it is excluded the next one that is not, looking at no more than a thousand."""
        for _ in range(1000):
            if occurrence is None or self.schedule.excluded(occurrence) is None:
                return occurrence
            occurrence = self.schedule.next_after(occurrence)
        return None

    def due(self, now: datetime) -> "Due":
        """What is to be accounted for at this time."""
        found = self.schedule.latest_until(self.since, now)
        # Only as far as the first that still waits for its jitter: what lies after it must not overtake it,
        # or it would never be accounted for.
        times = list(takewhile(lambda time: self.start_of(time) <= now, found.times))
        count = found.count - (len(found.times) - len(times))
        waiting = found.times[len(times) :]
        upcoming = waiting[0] if waiting else found.following
        return Due(
            latest=times[-1] if times else None,
            earlier=tuple(times[:-1]),
            earlier_count=max(0, count - 1),
            truncated=found.truncated,
            following=found.following,
            wake_at=self.start_of(upcoming) if upcoming else None,
        )

    def records(self, due: "Due", reason: Reason, message: str) -> list[OccurrenceRecord]:
        """The records, oldest first, of the occurrences before the latest, which nobody ran in their time."""
        if not due.earlier:
            return []
        if due.earlier_count > LISTED_MISSES:
            number = f"more than {due.earlier_count}" if due.truncated else str(due.earlier_count)
            several = f"{number} occurrences from {write_instant(due.earlier[0])} on: {message}"
            return [missed(due.earlier[0], reason, several, schedule=self.name, count=due.earlier_count)]
        return [
            self.exclusion_record(time) or missed(time, reason, message, schedule=self.name) for time in due.earlier
        ]

    def exclusion_record(self, occurrence: datetime) -> OccurrenceRecord | None:
        """The record of an excluded occurrence, None where it is not excluded."""
        exclusion = self.schedule.excluded(occurrence)
        if exclusion is None:
            return None
        return skipped(occurrence, Reason.EXCLUDED, exclusion.reason or "excluded by spec.exclusions", self.name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Due:
    """What is to be accounted for.

    Attributes:
        latest: the newest occurrence whose start has come, None where there is none.
        earlier: those before it that nobody accounted for, the newest hundred, oldest first.
        earlier_count: how many there were of those; where `truncated`, there were more.
        following: the first occurrence whose time has not come, excluded or not.
        wake_at: when the next occurrence starts.
    """

    latest: datetime | None
    earlier: tuple[datetime, ...]
    earlier_count: int
    truncated: bool
    following: datetime | None
    wake_at: datetime | None


def read_schedule(
    *, cron: str | None, instant: str | None, zone: str, exclusions: Sequence[ExclusionPeriod]
) -> Schedule | None:
    """The schedule that a spec describes; None where it has neither a cron expression nor an instant.

    Raises:
        ScheduleError: something in it is wrong.
    """
    periods = [Exclusion.parse(period.start, period.end, period.reason) for period in exclusions]
    if cron:
        return Schedule.cron(cron, zone=zone, exclusions=periods)
    if not instant:
        return None
    try:
        return Schedule.at(read_instant(instant).replace(microsecond=0), zone=zone, exclusions=periods)
    except ValueError as problem:
        raise ScheduleError(str(problem)) from problem


def anchored(
    expression: str, anchor: ScheduleAnchor | None, *, last: str | None, created: datetime, now: datetime, once: bool
) -> tuple[ScheduleAnchor, datetime]:
    """The anchor to keep, and the instant up to which everything is accounted for.

    A resource that nobody has seen yet counts from its creation; an edited schedule counts from when the edit was
    first seen. A single instant counts from always: setting it to the past means at once.
    """
    if anchor is None:
        anchor = ScheduleAnchor(expression=expression, since=write_instant(created))
    elif anchor.expression != expression:
        anchor = ScheduleAnchor(expression=expression, since=write_instant(now))
    since = read_instant(anchor.since)
    handled = read_optional(last)
    if once:
        return anchor, handled or datetime.min.replace(tzinfo=now.tzinfo)
    return anchor, max(since, handled) if handled else since


def missed(
    occurrence: datetime, reason: Reason, message: str, *, schedule: str = "", count: int | None = None
) -> OccurrenceRecord:
    """The record of a missed occurrence."""
    return _record(Ending.MISSED, occurrence, reason, message, schedule, count)


def skipped(occurrence: datetime, reason: Reason, message: str, schedule: str = "") -> OccurrenceRecord:
    """The record of an occurrence that was left out on purpose."""
    return _record(Ending.SKIPPED, occurrence, reason, message, schedule, None)


def _record(
    ending: Ending, occurrence: datetime, reason: Reason, message: str, schedule: str, count: int | None
) -> OccurrenceRecord:
    return OccurrenceRecord(
        ending=ending,
        reason=reason,
        message=message[:300],
        schedule=schedule or None,
        scheduled_time=write_instant(occurrence),
        count=count,
        trigger=Trigger.SCHEDULE,
    )
