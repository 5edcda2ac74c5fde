"""Folds what ended into a status: last run, history, failures in a row."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final

from upkeep.actions.contract import Outcome
from upkeep.api.status import Condition, Ending, OccurrenceRecord, ResourceStatus, RunSummary
from upkeep.api.task import FindingAge
from upkeep.domain.conditions import LAST_RUN_SUCCEEDED, Fact
from upkeep.domain.decision import Announce, DeleteJob, EventType, StartRun
from upkeep.domain.instants import read_instant, write_instant, write_optional
from upkeep.domain.recollection import Recollection
from upkeep.domain.run import Run, RunState
from upkeep.domain.runbook import advised

HISTORY: Final = 10
SETTLING: Final = timedelta(seconds=10)
"""How long the end of a Job may be ahead of its Pod's last words before it counts without them."""

_LONGEST_EVENT: Final = 1000
_LONGEST_CONDITION: Final = 32768
"""Characters; as much as a condition's message may have."""

_NO_AGES: Final[Mapping[str, FindingAge]] = {}
JOB_DELETED: Final = "JobDeleted"
LOST_MESSAGE: Final = "its Job was deleted before it ended"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ledger:
    """The part of a status that remembers, as a value that grows.

    Attributes:
        pending: names of the Jobs that were seen or started, and whose end is not recorded yet.
        advice: what is told besides of a run that ended badly.
    """

    last_run: RunSummary | None
    history: tuple[OccurrenceRecord, ...]
    last_successful_time: str | None
    consecutive_failures: int
    pending: frozenset[str] = frozenset()
    announcements: tuple[Announce, ...] = ()
    advice: str = ""

    @classmethod
    def of(cls, known: Recollection[Any], *, pending: Iterable[str] = (), advice: str = "") -> "Ledger":
        """What a status remembers."""
        status: ResourceStatus = known.status
        last = status.last_run
        begun = {last.job} if last and last.job and not last.completion_time else set()
        return cls(
            last_run=status.last_run,
            history=tuple(status.history),
            last_successful_time=status.last_successful_time,
            consecutive_failures=status.consecutive_failures,
            pending=frozenset({*pending, *begun}),
            announcements=known.complaint,
            advice=advice,
        )

    def recorded(self, job: str) -> bool:
        """Whether the end of a Job stands in the record."""
        return any(record.job == job and record.completion_time for record in self._records())

    def mentions(self, job: str) -> bool:
        """Whether a Job of this name was ever started, as far as the record goes back."""
        return job in self.pending or any(record.job == job for record in self._records())

    def covers(self, run: Run) -> bool:
        """Whether the end of a run is recorded, or was so long ago that the history has let it go."""
        if self.recorded(run.name):
            return True
        if run.active or run.name in self.pending or len(self.history) < HISTORY:
            return False
        return write_instant(run.started or run.created) <= min(_moment(record) for record in self.history)

    def uncovered(self, runs: Iterable[Run]) -> list[str]:
        """Names of the Jobs whose end is still to be recorded, in the order of their creation."""
        return [run.name for run in sorted(runs, key=_age) if not self.covers(run)]

    def with_records(self, *records: OccurrenceRecord) -> "Ledger":
        """Adds occurrences that did not run, with their Events."""
        events = [
            Announce(
                type=EventType.WARNING if record.ending is Ending.MISSED else EventType.NORMAL,
                reason=f"{record.ending}{record.reason}",
                message=describe(record),
            )
            for record in records
        ]
        return replace(
            self,
            history=_newest_first((*reversed(records), *self.history)),
            announcements=(*self.announcements, *events),
        )

    def with_begun(self, starts: Iterable[StartRun], now: datetime) -> "Ledger":
        """Shows what is started now as the last run, so that it is known also when its Job vanishes at once."""
        ledger = self
        for start in starts:
            begun = RunSummary(
                ending=Ending.RAN,
                schedule=start.occasion.schedule or None,
                scheduled_time=write_optional(start.occasion.scheduled),
                trigger=start.occasion.trigger,
                job=start.name,
                start_time=write_instant(now),
            )
            ledger = replace(ledger, last_run=begun)
        return ledger

    def with_start(self, run: Run) -> "Ledger":
        """Shows a run that has begun as the last one."""
        if self.last_run and (self.last_run.job == run.name or not _is_latest(run, self.last_run)):
            return self
        return replace(self, last_run=run.summary())

    def with_result(self, summary: RunSummary, event: Announce) -> "Ledger":
        """Adds a result that is not that of a single Job: how a window went."""
        good = summary.outcome is not None and summary.outcome.good
        return replace(
            self,
            last_run=summary,
            history=_newest_first((_record_of(summary), *self.history)),
            last_successful_time=summary.completion_time if good else self.last_successful_time,
            consecutive_failures=0 if good else self.consecutive_failures + 1,
            announcements=(*self.announcements, event),
        )

    def remembered(self) -> dict[str, Any]:
        """The fields of a status that hold this."""
        return {
            "last_run": self.last_run,
            "history": self.history,
            "last_successful_time": self.last_successful_time,
            "consecutive_failures": self.consecutive_failures,
        }

    def with_end(self, run: Run, ages: Mapping[str, FindingAge] = _NO_AGES) -> "Ledger":
        """Adds a run that has ended, with its Event; `ages` are those of its findings, by fingerprint."""
        good = run.outcome is not None and run.outcome.good
        finished = write_instant(run.finished or run.created)
        latest = self.last_run is None or _is_latest(run, self.last_run)
        return replace(
            self,
            last_run=run.summary(ages) if latest else self.last_run,
            history=_newest_first((run.record(), *(kept for kept in self.history if kept.job != run.name))),
            last_successful_time=max(finished, self.last_successful_time or "") if good else self.last_successful_time,
            consecutive_failures=0 if good else self.consecutive_failures + 1,
            pending=self.pending - {run.name},
            announcements=(*self.announcements, end_event(run, advice=self.advice)),
        )

    def with_vanished(self, runs: Iterable[Run], now: datetime) -> "Ledger":
        """Adds the runs whose Jobs somebody deleted before their end was recorded."""
        here = {run.name for run in runs}
        ledger = self
        for job in sorted(self.pending - here):
            ledger = ledger.with_lost(job, now)
        return ledger

    def with_lost(self, job: str, now: datetime) -> "Ledger":
        """Adds a run whose Job is deleted before its end was seen: it ran, and nobody knows how it went."""
        if self.recorded(job):
            return replace(self, pending=self.pending - {job})
        last = self.last_run if self.last_run and self.last_run.job == job else None
        known = last or RunSummary(ending=Ending.RAN, job=job)
        told = {"outcome": Outcome.UNKNOWN, "reason": JOB_DELETED, "message": LOST_MESSAGE}
        summary = known.model_copy(update={**told, "completion_time": write_instant(now)})
        event = Announce(type=EventType.WARNING, reason="RunUnknown", message=f"{job}: {LOST_MESSAGE}")
        return replace(
            self,
            last_run=summary if last else self.last_run,
            history=_newest_first((_record_of(summary), *(kept for kept in self.history if kept.job != job))),
            consecutive_failures=self.consecutive_failures + 1,
            pending=self.pending - {job},
            announcements=(*self.announcements, event),
        )

    def _records(self) -> list[OccurrenceRecord]:
        return [*self.history, *([self.last_run] if self.last_run else [])]


def end_event(run: Run, *, advice: str = "") -> Announce:
    """The Event that says how a run ended; where it ended badly, with an advice."""
    outcome = run.outcome or Outcome.UNKNOWN
    seconds = f" after {(run.finished - run.started).total_seconds():.0f}s" if run.finished and run.started else ""
    reason = {Outcome.FAILED: "RunFailed", Outcome.UNKNOWN: "RunUnknown"}.get(outcome, "RunSucceeded")
    counts = run.report.counts if run.report else None
    found = f" ({counts.critical} critical, {counts.warning} warnings)" if counts and counts.total else ""
    kind = EventType.NORMAL if outcome.good else EventType.WARNING
    message = f"{run.name}: {outcome}{seconds}{found}" + (f": {run.message}" if run.message else "")
    message = advised(message, "" if outcome.good else advice, longest=_LONGEST_EVENT)
    return Announce(type=kind, reason=reason, message=message)


def describe(record: OccurrenceRecord) -> str:
    """One sentence on an occurrence that did not run."""
    what = f"schedule {record.schedule!r}, " if record.schedule else ""
    return f"{record.ending}({record.reason}) {what}{record.scheduled_time}: {record.message}"


def settled(run: Run, now: datetime) -> bool:
    """Whether the end of a run may be recorded: its Pod's last words are in, or will not come any more."""
    return not run.active and (run.settled or (run.finished or run.created) + SETTLING <= now)


def expired_jobs(runs: Iterable[Run], *, recorded: Callable[[Run], bool], good: int, bad: int) -> list[DeleteJob]:
    """The Jobs of ended runs beyond the history limits, oldest first to go; only of runs whose end is `recorded`."""
    ended = sorted((run for run in runs if not run.active and recorded(run)), key=_age, reverse=True)
    beyond = [run for run in ended if run.state is RunState.SUCCEEDED][good:]
    beyond += [run for run in ended if run.state is RunState.FAILED][bad:]
    return [DeleteJob(name=run.name, uid=run.uid) for run in beyond]


def _age(run: Run) -> tuple[datetime, str]:
    return run.created, run.name


def _moment(record: OccurrenceRecord) -> str:
    return record.start_time or record.scheduled_time or record.completion_time or ""


def _record_of(summary: RunSummary) -> OccurrenceRecord:
    return OccurrenceRecord(**{name: getattr(summary, name) for name in OccurrenceRecord.model_fields})


def _newest_first(records: Iterable[OccurrenceRecord]) -> tuple[OccurrenceRecord, ...]:
    ordered = sorted(records, key=_moment, reverse=True)
    return tuple(ordered[:HISTORY])


def _is_latest(run: Run, last: RunSummary) -> bool:
    if last.job == run.name or not last.start_time:
        return True
    return (run.started or run.created) >= read_instant(last.start_time)


def last_run_fact(ledger: Ledger, known: Sequence[Condition]) -> list[Fact]:
    """LastRunSucceeded: of the last run that has ended, also while the next one runs; nothing before the first."""
    last = ledger.last_run
    if last and last.outcome:
        message = ": ".join(part for part in (last.job, last.message) if part)
        message = message if last.outcome.good else advised(message, ledger.advice, longest=_LONGEST_CONDITION)
        return [
            Fact(
                type=LAST_RUN_SUCCEEDED,
                status=last.outcome.good,
                reason=str(last.outcome).capitalize(),
                message=message,
            )
        ]
    return [
        Fact(
            type=condition.type,
            status={"True": True, "False": False}.get(condition.status),
            reason=condition.reason,
            message=condition.message,
        )
        for condition in known
        if condition.type == LAST_RUN_SUCCEEDED
    ]
