"""Which occurrence is due, which were not run in their time, and what comes next.

A timetable counts from the last occurrence that was accounted for, never from now, so that nothing is lost while
nobody was looking; and from when its schedule was first seen, so that an edit never fires the past.
"""

from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from upkeep.api.scheduling import ExclusionPeriod
from upkeep.api.status import OccurrenceRecord, ScheduleAnchor
from upkeep.domain.account import Cause, Reason, records, skipped
from upkeep.domain.instants import read_instant, read_optional, write_instant
from upkeep.domain.recollection import Recollection
from upkeep.domain.schedule import Exclusion, Occurrences, Schedule, ScheduleError, jitter_offset

_ALWAYS: Final = datetime.min.replace(tzinfo=UTC)
_NEVER: Final = Occurrences(times=(), count=0, truncated=False, following=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Declaration:
    """A schedule as a spec declares it: a cron expression, or a single instant, or neither."""

    cron: str | None = None
    instant: str | None = None
    zone: str
    exclusions: Sequence[ExclusionPeriod] = ()

    @property
    def expression(self) -> str | None:
        """What tells one schedule from another; None where there is none."""
        when = self.instant if self.cron is None else self.cron
        return f"{when} {self.zone}" if when is not None else None

    @property
    def once(self) -> bool:
        """Whether it is a single instant."""
        return self.cron is None

    def schedule(self) -> Schedule | None:
        """The schedule; None where there is none.

        Raises:
            ScheduleError: something in it is wrong.
        """
        periods = [Exclusion.parse(period.start, period.end, period.reason) for period in self.exclusions]
        if self.cron is not None:
            return Schedule.cron(self.cron, zone=self.zone, exclusions=periods)
        if self.instant is None:
            return None
        try:
            return Schedule.at(read_instant(self.instant).replace(microsecond=0), zone=self.zone, exclusions=periods)
        except ValueError as problem:
            raise ScheduleError(str(problem)) from problem

    def formerly(self, expression: str) -> "Declaration":
        """What was declared when `expression` was noted, with the exclusions of today."""
        when, _, zone = expression.rpartition(" ")
        single = " " not in when
        return Declaration(
            cron=None if single else when, instant=when if single else None, zone=zone, exclusions=self.exclusions
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """Up to where the occurrences of a schedule are accounted for, as far as its status remembers.

    Attributes:
        anchor: which schedule was seen last, and since when.
        handled: the last occurrence that was accounted for.
        created: when a resource was created that nobody has looked at yet; None once somebody has.
        horizon: up to here everything counts as accounted for, because the status could not be read.
    """

    anchor: ScheduleAnchor | None
    handled: str | None
    created: datetime | None
    horizon: datetime | None

    @classmethod
    def of(
        cls, known: Recollection[Any], resource: Mapping[str, Any], *, anchor: ScheduleAnchor | None, now: datetime
    ) -> "Mark":
        """The mark of a resource with one schedule."""
        metadata, status = resource["metadata"], known.status
        # One that was edited already may have had another schedule until now.
        untouched = status.observed_generation is None and metadata.get("generation", 1) == 1
        return cls(
            anchor=anchor,
            handled=status.last_schedule_time,
            created=read_instant(metadata["creationTimestamp"]) if untouched else None,
            horizon=known.horizon(now),
        )

    def anchored(self, declaration: Declaration, now: datetime) -> tuple[ScheduleAnchor, datetime]:
        """The anchor to keep, and the instant up to which everything is accounted for.

        A resource that nobody has seen yet counts from its creation; a schedule that was edited or added counts from
        when that was first seen. A single instant counts from always: setting it to the past means at once.
        """
        expression = declaration.expression or ""
        anchor = self.anchor
        if anchor is None or anchor.expression != expression:
            first = now if anchor or self.created is None else self.created
            anchor = ScheduleAnchor(expression=expression, since=write_instant(first))
        begin = _ALWAYS if declaration.once else read_instant(anchor.since)
        return anchor, max(begin, self._accounted)

    def abandoned(self, declaration: Declaration, now: datetime) -> Occurrences:
        """What was due of the schedule that stood there before this one, and was not accounted for."""
        if self.anchor is None or self.anchor.expression == declaration.expression:
            return _NEVER
        former = declaration.formerly(self.anchor.expression)
        try:
            schedule = former.schedule()
        except ScheduleError:
            return _NEVER
        begin = _ALWAYS if former.once else read_instant(self.anchor.since)
        return schedule.latest_until(max(begin, self._accounted), now) if schedule else _NEVER

    @property
    def _accounted(self) -> datetime:
        return max(read_optional(self.handled) or _ALWAYS, self.horizon or _ALWAYS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Due:
    """What is to be accounted for.

    Attributes:
        latest: the newest occurrence whose start has come, None where there is none.
        earlier: those before it that nobody accounted for, the newest hundred, oldest first.
        more: whether there are still older ones, which nobody counted.
        following: the first occurrence whose time has not come, excluded or not.
        wake_at: when the next occurrence starts.
    """

    latest: datetime | None
    earlier: tuple[datetime, ...]
    more: bool
    following: datetime | None
    wake_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Timetable:
    """A schedule and the point from which it counts.

    Attributes:
        schedule: the schedule.
        anchor: to be kept in the status.
        since: occurrences up to here are accounted for.
        uid: of the resource, the seed of its jitter.
        jitter: occurrences start up to this much later, but always before the next one is due.
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
        if not self.jitter:
            return occurrence
        following = self.schedule.next_after(occurrence)
        room = min(self.jitter, following - occurrence) if following else self.jitter
        return occurrence + jitter_offset(uid=self.uid, occurrence=occurrence, jitter=room)

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

    def due(self, now: datetime) -> Due:
        """What is to be accounted for at this time."""
        found = self.schedule.latest_until(self.since, now)
        times = found.times
        upcoming = times[-1] if times and self.start_of(times[-1]) > now else None
        if upcoming:
            times = times[:-1]
        else:
            upcoming = found.following
        return Due(
            latest=times[-1] if times else None,
            earlier=times[:-1],
            more=found.truncated,
            following=found.following,
            wake_at=self.start_of(upcoming) if upcoming else None,
        )

    def unrun(
        self,
        times: Sequence[datetime],
        cause_of: Callable[[datetime], Cause],
        *,
        ran: Container[datetime],
        more: bool = False,
    ) -> list[OccurrenceRecord]:
        """The records of those of some occurrences that did not run; what is excluded was skipped, whatever else."""
        absent = [time for time in times if time not in ran]
        return records(absent, lambda time: self.exclusion(time) or cause_of(time), schedule=self.name, more=more)

    def exclusion(self, occurrence: datetime) -> Cause | None:
        """Why an occurrence is excluded; None where it is not."""
        exclusion = self.schedule.excluded(occurrence)
        if exclusion is None:
            return None
        return skipped(Reason.EXCLUDED, exclusion.reason or "excluded by spec.exclusions")
