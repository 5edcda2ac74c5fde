"""Folds what ended into a status: last run, history, failures in a row."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final

from upkeep.actions.contract import Outcome
from upkeep.api.status import Condition, Ending, OccurrenceRecord, ResourceStatus, RunSummary
from upkeep.domain.conditions import LAST_RUN_SUCCEEDED, Fact
from upkeep.domain.decision import Announce, DeleteJob, EventType, StartRun
from upkeep.domain.instants import read_instant, write_instant, write_optional
from upkeep.domain.run import Run, RunState

HISTORY: Final = 10
SETTLING: Final = timedelta(seconds=10)
"""How long the end of a Job may be ahead of its Pod's last words before it counts without them."""

JOB_DELETED: Final = "JobDeleted"
LOST_MESSAGE: Final = "its Job was deleted before it ended"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ledger:
    """The part of a status that remembers, as a value that grows."""

    last_run: RunSummary | None
    history: tuple[OccurrenceRecord, ...]
    last_successful_time: str | None
    consecutive_failures: int
    announcements: tuple[Announce, ...] = ()

    @classmethod
    def of(cls, status: ResourceStatus) -> "Ledger":
        """What a status remembers."""
        return cls(
            last_run=status.last_run,
            history=tuple(status.history),
            last_successful_time=status.last_successful_time,
            consecutive_failures=status.consecutive_failures,
        )

    def covers(self, run: Run) -> bool:
        """Whether the end of a run is recorded, or was so long ago that the history has let it go."""
        if self.has_end(run.name):
            return True
        begun = [read_instant(record.start_time) for record in self.history if record.start_time]
        return not run.active and len(self.history) >= HISTORY and bool(begun) and run.created < min(begun)

    def has_end(self, job: str | None) -> bool:
        """Whether the end of the run with this Job is recorded."""
        records = [record for record in (*self.history, self.last_run) if record]
        return any(record.job == job and record.completion_time for record in records)

    def with_record(self, record: OccurrenceRecord, *, quiet: bool = False) -> "Ledger":
        """Adds an occurrence that did not run, with its Event."""
        kind = EventType.WARNING if record.ending is Ending.MISSED else EventType.NORMAL
        event = Announce(type=kind, reason=f"{record.ending}{record.reason}", message=describe(record))
        return replace(
            self,
            history=_newest_first((record, *self.history)),
            announcements=self.announcements if quiet else (*self.announcements, event),
        )

    def with_begin(self, start: StartRun, now: datetime) -> "Ledger":
        """Shows a run that begins now as the last one, in the same status that says that it was started."""
        begun = RunSummary(
            ending=Ending.RAN,
            schedule=start.occasion.schedule or None,
            scheduled_time=write_optional(start.occasion.scheduled),
            trigger=start.occasion.trigger,
            job=start.name,
            start_time=write_instant(now),
        )
        return replace(self, last_run=begun)

    def with_start(self, run: Run) -> "Ledger":
        """Shows a run that has begun as the last one."""
        if self.last_run and self.last_run.job == run.name:
            return self
        return replace(self, last_run=run.summary())

    def with_result(self, summary: RunSummary, event: Announce) -> "Ledger":
        """Adds a result that is not that of a single Job: how a window went."""
        good = summary.outcome is not None and summary.outcome.good
        record = OccurrenceRecord(**{name: getattr(summary, name) for name in OccurrenceRecord.model_fields})
        return replace(
            self,
            last_run=summary,
            history=_newest_first((record, *self.history)),
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

    def with_loss(self, lost: RunSummary, now: datetime) -> "Ledger":
        """Adds a run whose Job somebody deleted before its end was seen: it ran, and nobody knows how it went."""
        end = lost.model_copy(
            update={
                "outcome": Outcome.UNKNOWN,
                "reason": JOB_DELETED,
                "message": LOST_MESSAGE,
                "completion_time": write_instant(now),
            }
        )
        event = Announce(type=EventType.WARNING, reason="RunUnknown", message=f"{lost.job}: {LOST_MESSAGE}")
        ledger = self.with_result(end, event)
        was_last = self.last_run is None or self.last_run.job == lost.job
        return ledger if was_last else replace(ledger, last_run=self.last_run)

    def with_losses(self, active: Sequence[str], runs: Iterable[Run], now: datetime) -> "Ledger":
        """Adds the runs that were active when the status was written, and whose Jobs are not there any more."""
        present = {run.name for run in runs}
        ledger = self
        unfinished = (
            [self.last_run] if self.last_run and self.last_run.job and not self.last_run.completion_time else []
        )
        others = [
            RunSummary(ending=Ending.RAN, job=name) for name in active if name not in {run.job for run in unfinished}
        ]
        for lost in (*others, *unfinished):
            if lost.job not in present and not ledger.has_end(lost.job):
                ledger = ledger.with_loss(lost, now)
        return ledger

    def with_end(self, run: Run) -> "Ledger":
        """Adds a run that has ended, with its Event."""
        good = run.outcome is not None and run.outcome.good
        finished = write_instant(run.finished or run.created)
        latest = self.last_run is None or _is_latest(run, self.last_run)
        return replace(
            self,
            last_run=run.summary() if latest else self.last_run,
            history=_newest_first((run.record(), *(kept for kept in self.history if kept.job != run.name))),
            last_successful_time=finished if good else self.last_successful_time,
            consecutive_failures=0 if good else self.consecutive_failures + 1,
            announcements=(*self.announcements, end_event(run)),
        )


def end_event(run: Run) -> Announce:
    """The Event that says how a run ended."""
    outcome = run.outcome or Outcome.UNKNOWN
    seconds = f" after {(run.finished - run.started).total_seconds():.0f}s" if run.finished and run.started else ""
    reason = {Outcome.FAILED: "RunFailed", Outcome.UNKNOWN: "RunUnknown"}.get(outcome, "RunSucceeded")
    counts = run.report.counts if run.report else None
    found = f" ({counts.critical} critical, {counts.warning} warnings)" if counts and counts.total else ""
    kind = EventType.NORMAL if outcome.good else EventType.WARNING
    message = f"{run.name}: {outcome}{seconds}{found}" + (f": {run.message}" if run.message else "")
    return Announce(type=kind, reason=reason, message=message[:1000])


def describe(record: OccurrenceRecord) -> str:
    """One sentence on an occurrence that did not run."""
    what = f"schedule {record.schedule!r}, " if record.schedule else ""
    return f"{record.ending}({record.reason}) {what}{record.scheduled_time}: {record.message}"


def settled(run: Run, now: datetime) -> bool:
    """Whether the end of a run may be recorded: its Pod's last words are in, or will not come any more."""
    return not run.active and (run.settled or (run.finished or run.created) + SETTLING <= now)


def expired_jobs(runs: Iterable[Run], *, recorded: Sequence[OccurrenceRecord], good: int, bad: int) -> list[DeleteJob]:
    """The Jobs of ended runs beyond the history limits; only of runs whose end is recorded already."""
    known = {record.job for record in recorded if record.completion_time}
    oldest = min((read_instant(record.start_time) for record in recorded if record.start_time), default=None)
    ended = sorted((run for run in runs if not run.active), key=lambda run: (run.created, run.name), reverse=True)
    safe = [run for run in ended if run.name in known or (oldest and run.created < oldest)]
    beyond = [run for run in safe if run.state is RunState.SUCCEEDED][good:]
    beyond += [run for run in safe if run.state is RunState.FAILED][bad:]
    return [DeleteJob(name=run.name, uid=run.uid) for run in beyond]


def _newest_first(records: Iterable[OccurrenceRecord]) -> tuple[OccurrenceRecord, ...]:
    ordered = sorted(records, key=lambda record: record.start_time or record.scheduled_time or "", reverse=True)
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
