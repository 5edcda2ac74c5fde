"""The life of a window: scheduled → preparing → active → verifying → closed, one step a decision.

Each decision does the next step and says when to look again; what was done stands in the status and, for maintenance
mode, on the Ingresses themselves. Whatever happens, a window that is open is brought to its end: also when it was
edited, suspended or deleted meanwhile.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from pydantic import ValidationError

from upkeep.api.status import OccurrenceRecord
from upkeep.api.window import TargetState, TargetStatus, WindowOccurrence, WindowPhase, WindowSpec, WindowStatus
from upkeep.domain.account import Cause, Reason, missed, record, records, skipped
from upkeep.domain.conditions import Problem
from upkeep.domain.decision import (
    Action,
    Announce,
    Decision,
    EventType,
    HoldFinalizer,
    RemovePage,
    ShowPage,
    StartRun,
)
from upkeep.domain.history import LOST_MESSAGE, SETTLING, Ledger, expired_jobs, settled
from upkeep.domain.identity import FINALIZER
from upkeep.domain.instants import read_instant, read_optional, write_instant, write_optional
from upkeep.domain.openings import declared, schedule_of
from upkeep.domain.pause import INVALID_SCHEDULE, INVALID_SPEC, Pause
from upkeep.domain.recollection import Recollection, recall
from upkeep.domain.run import Run, run_name
from upkeep.domain.schedule import ScheduleError, occurrence_end
from upkeep.domain.spec import explain
from upkeep.domain.timetable import Mark, Timetable
from upkeep.domain.window.absence import absence, withdrawn
from upkeep.domain.window.mode import enter, leave, survey
from upkeep.domain.window.outcome import Ending, conditions, result, spec_problem, task_events
from upkeep.domain.window.plan import Progress, advance, left_running, window_occasion
from upkeep.domain.window.snapshot import WindowSnapshot
from upkeep.domain.work import steps_work

PREPARATION: Final = timedelta(seconds=60)
"""How long before the start the page is brought up, so that it answers when the window opens."""
PAGE_POLL: Final = timedelta(seconds=1)
PAGE_LINGER: Final = timedelta(seconds=15)
"""How long the page stays after the restore: routers may still send somebody there for a moment."""
PROBLEM_POLL: Final = timedelta(seconds=30)
KEPT_JOBS: Final = 3
VERIFICATION: Final = "verify"


def decide(snapshot: WindowSnapshot) -> Decision:
    """What should happen now."""
    known = recall(WindowStatus, snapshot.resource.get("status"))
    stage = _Stage(snapshot=snapshot, known=known, ledger=Ledger.of(known), occurrence=known.status.occurrence)
    if snapshot.deleted:
        return _dismantled(stage)
    mark = Mark.of(known, snapshot.resource, anchor=known.status.schedule_anchor, now=snapshot.now)
    try:
        spec = WindowSpec.model_validate(snapshot.resource.get("spec"))
        timetable = _timetable(snapshot, spec, mark)
    except ValidationError as error:
        return _unreadable(stage, Problem(reason=INVALID_SPEC, message=explain(error)))
    except ScheduleError as error:
        return _unreadable(stage, Problem(reason=INVALID_SCHEDULE, message=str(error)))
    stage = replace(stage, spec=spec, timetable=timetable, problem=spec_problem(snapshot, spec))
    stage = stage.without_abandoned(mark)
    if not stage.open:
        stage = stage.next_occurrence()
    if not stage.open:
        return stage.tidied().decision()
    if stage.begins:
        return replace(stage, phase=WindowPhase.PREPARING).waking(stage.now).decision()
    return (stage.opened() if stage.is_open_to_users else stage.prepared()).decision()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Stage:
    """A decision in the making."""

    snapshot: WindowSnapshot
    known: Recollection[WindowStatus]
    ledger: Ledger
    occurrence: WindowOccurrence | None
    spec: WindowSpec | None = None
    timetable: Timetable | None = None
    problem: Problem | None = None
    phase: WindowPhase | None = None
    handled: datetime | None = None
    actions: tuple[Action, ...] = ()
    events: tuple[Announce, ...] = ()
    wake_at: datetime | None = None

    @property
    def status(self) -> WindowStatus:
        """As it was."""
        return self.known.status

    @property
    def now(self) -> datetime:
        return self.snapshot.now

    @property
    def open(self) -> bool:
        """Whether an occurrence is under way, from its preparation to its close."""
        return self.occurrence is not None and self.occurrence.closed_at is None

    @property
    def is_open_to_users(self) -> bool:
        """Whether maintenance has begun, so that it must be brought to an end in order."""
        return self.occurrence is not None and self.occurrence.opened_at is not None

    @property
    def begins(self) -> bool:
        """Whether an occurrence with a page begins just now: its status must be written before the page is made."""
        known = self.status.occurrence
        anew = known is None or known.start_time != self.current.start_time
        return anew and self.spec is not None and self.spec.maintenance_mode is not None

    @property
    def current(self) -> WindowOccurrence:
        """The occurrence under way."""
        if self.occurrence is None:
            msg = f"{self.snapshot.identity} has no occurrence under way"
            raise RuntimeError(msg)
        return self.occurrence

    @property
    def start(self) -> datetime:
        return read_instant(self.current.start_time)

    @property
    def end(self) -> datetime:
        return read_instant(self.current.end_time)

    @property
    def finalizer_held(self) -> bool:
        return FINALIZER in self.snapshot.resource["metadata"].get("finalizers", ())

    def doing(self, *actions: Action) -> "_Stage":
        return replace(self, actions=(*self.actions, *actions))

    def saying(self, reason: str, message: str, kind: EventType = EventType.NORMAL) -> "_Stage":
        return replace(self, events=(*self.events, Announce(type=kind, reason=reason, message=message)))

    def waking(self, *times: datetime | None) -> "_Stage":
        known = [time for time in (self.wake_at, *times) if time is not None]
        return replace(self, wake_at=min(known, default=None))

    def becoming(self, **changes: object) -> "_Stage":
        return replace(self, occurrence=self.current.model_copy(update=changes))

    def recording(self, *unopened: OccurrenceRecord) -> "_Stage":
        return replace(self, ledger=self.ledger.with_records(*unopened))

    def without_abandoned(self, mark: Mark) -> "_Stage":
        """Account for what was due of a schedule that is not there any more."""
        if self.spec is None:
            return self
        due = mark.abandoned(declared(self.spec), self.now)
        changed = missed(Reason.SCHEDULE_CHANGED, "the schedule was changed before it could open")
        pause = Pause.of(self.status)
        return self.recording(*records(due.times, lambda time: pause.cause(time) or changed, more=due.truncated))

    def next_occurrence(self) -> "_Stage":
        """Account for what was due, and begin an opening whose time has come."""
        if self.timetable is None or self.spec is None:
            return self
        lead = PREPARATION if self.spec.maintenance_mode and not self.spec.suspend else timedelta(0)
        due = self.timetable.due(self.now + lead)
        stage = self.waking(due.wake_at - lead if due.wake_at else None)
        paused = Pause.of(self.status).ends(suspend=self.spec.suspend)
        if due.latest is None or (self.spec.suspend and not paused):
            return stage
        unopened = self.timetable.unrun(due.earlier, lambda start: absence(self.status, start), ran=(), more=due.more)
        stage = replace(stage, handled=due.latest).recording(*unopened)
        obstacle = stage.obstacle(self.timetable, due.latest, paused=paused)
        if obstacle:
            return stage.recording(record(due.latest, obstacle)).waking(self.now)
        before = self.occurrence
        begun = WindowOccurrence(
            start_time=write_instant(due.latest),
            end_time=write_instant(occurrence_end(due.latest, self.spec.duration)),
            # Without a page of its own it has to take down that of the one before.
            page_shown=bool(before and before.page_shown and not self.spec.maintenance_mode),
            targets=stage.targets(),
        )
        return replace(stage, occurrence=begun)

    def obstacle(self, timetable: Timetable, start: datetime, *, paused: bool) -> Cause | None:
        """Why an occurrence cannot open any more; None where it can."""
        if excluded := timetable.exclusion(start):
            return excluded
        end = occurrence_end(start, self.spec.duration) if self.spec else start
        if end <= self.now or (paused and start <= self.now):
            return absence(self.status, start)
        refused = next((target for target in self.targets() if target.state is TargetState.REFUSED), None)
        if refused:
            return skipped(Reason.TARGET_REFUSED, refused.message)
        if self.problem and self.problem.reason == "InvalidPlan":
            return skipped(Reason.INVALID_SPEC, self.problem.message)
        return None

    def targets(self) -> Sequence[TargetStatus]:
        mode = self.spec.maintenance_mode if self.spec else None
        return survey(self.snapshot, mode) if mode else ()

    def unopened(self) -> Ending | Cause | None:
        """Why what is in preparation is not going to open; None where it is."""
        if self.spec and self.timetable and (cause := withdrawn(self.spec, self.timetable, self.start)):
            return cause
        return Ending.NOT_OPENED if self.now >= self.end else None

    def prepared(self) -> "_Stage":
        """Bring up the page, and open when the time has come and it answers."""
        stage = replace(self, phase=WindowPhase.PREPARING)
        mode = self.spec.maintenance_mode if self.spec else None
        ending = self.unopened()
        if ending:
            return stage.closed(ending)
        if mode is None:
            return stage.waking(self.start) if self.now < self.start else stage.begun()
        if not self.current.page_shown:
            stage = stage.doing(ShowPage(until=self.end)).becoming(page_shown=True)
            return stage.waking(self.now + PAGE_POLL, self.end)
        if self.now < self.start:
            return stage.waking(self.start)
        if not self.snapshot.page_ready:
            return stage.waking(self.now + PAGE_POLL, self.end)
        if not self.finalizer_held:
            return stage.doing(HoldFinalizer(held=True)).waking(self.now)
        step = enter(self.snapshot, mode, tuple(self.current.targets), until=self.end)
        stage = stage.becoming(targets=step.targets)
        if step.refused:
            return stage.closed(Ending.REFUSED)
        return stage.begun() if step.done else stage.doing(*step.patches).waking(self.now)

    def begun(self) -> "_Stage":
        """Maintenance begins: from here on it is brought to its end in order."""
        held = sum(target.state is TargetState.MAINTENANCE for target in self.current.targets)
        shown = f", {held} in maintenance mode" if held else ""
        stage = self.becoming(opened_at=write_instant(self.now))
        stage = stage.saying("WindowOpened", f"open until {self.current.end_time}{shown}")
        return replace(stage, phase=WindowPhase.ACTIVE).waking(self.now)

    def opened(self) -> "_Stage":
        """Run the plan, verify, and close."""
        over = self.now >= self.end
        progress = Progress(tasks=())
        if self.spec and self.spec.plan:
            before = self.current.tasks
            progress = advance(self.snapshot, self.spec.plan, start=self.start, before=before, closing=over)
        stage = self.becoming(tasks=progress.tasks).doing(*progress.starts).waking(self.end, self._settling())
        stage = replace(stage, events=(*stage.events, *task_events(self.current.tasks, progress.tasks)))
        if not progress.over and not over:
            return replace(stage, phase=WindowPhase.ACTIVE)
        if self.spec and self.spec.verify and self.current.verified is None and not over:
            return stage.verified()
        unproven = self.spec is not None and self.spec.verify is not None and self.current.verified is None
        return stage.closed(Ending.DONE if progress.over and not unproven else Ending.OVERRAN)

    def verified(self) -> "_Stage":
        """Run the verification, and note how it went."""
        stage = replace(self, phase=WindowPhase.VERIFYING)
        if self.spec is None or self.spec.verify is None:
            return stage
        identity, occasion = self.snapshot.identity, window_occasion(self.snapshot, self.start, VERIFICATION)
        run = self._verification()
        if run is None and self.status.phase == WindowPhase.VERIFYING:
            stage = stage.saying("VerificationFailed", LOST_MESSAGE, EventType.WARNING)
            return stage.becoming(verified=False).waking(self.now)
        if run is None:
            work = steps_work(identity, self.spec.verify.steps, self.spec.connections, self.spec.verify.timeout)
            name = run_name(identity.name, identity.uid, occasion)
            return stage.doing(StartRun(owner=identity, name=name, occasion=occasion, work=work))
        if not settled(run, self.now):
            return stage
        passed = run.outcome is not None and run.outcome.good
        if not passed:
            stage = stage.saying("VerificationFailed", f"{run.name}: {run.message}", EventType.WARNING)
        return stage.becoming(verified=passed).waking(self.now)

    def closed(self, ending: Ending | Cause) -> "_Stage":
        """Let go of the targets; when nothing is left to write, the occurrence is over.

        A cause stands for an opening that did not come about.
        """
        step = leave(self.snapshot, tuple(self.current.targets))
        stage = replace(self.becoming(targets=step.targets), events=(*self.events, *step.events))
        if not step.done:
            phase = WindowPhase.VERIFYING if self.is_open_to_users else WindowPhase.PREPARING
            return replace(stage, phase=stage.phase or phase).doing(*step.patches).waking(self.now)
        if self.finalizer_held:
            stage = stage.doing(HoldFinalizer(held=False))
        page = self.current.page_shown or bool(step.targets)  # also where making it was the last thing that was done
        over = {"closed_at": write_instant(self.now), "page_shown": page, "tasks": left_running(self.current.tasks)}
        stage = replace(stage.becoming(**over), phase=None, wake_at=None).waking(self.now)
        if isinstance(ending, Cause):
            return stage.recording(record(self.start, ending))
        summary, event = result(self.snapshot, stage.current, ending)
        return replace(stage, ledger=stage.ledger.with_result(summary, event))

    def tidied(self) -> "_Stage":
        """Nothing is open: take down the page when nobody can be on his way to it any more."""
        stage = self
        step = leave(self.snapshot, tuple(self.occurrence.targets) if self.occurrence else ())
        if not step.done:
            stage = stage.doing(*step.patches).waking(self.now)
        elif self.finalizer_held:
            stage = stage.doing(HoldFinalizer(held=False))
        if "occurrence" in self.known.lost:
            return stage.doing(RemovePage())
        closed_at = read_optional(self.occurrence.closed_at) if self.occurrence else None
        if closed_at is None or not self.current.page_shown:
            return stage
        if self.now < closed_at + PAGE_LINGER:
            return stage.waking(closed_at + PAGE_LINGER)
        return stage.doing(RemovePage()).becoming(page_shown=False)

    def decision(self) -> Decision:
        """The stage as a decision."""
        stage = self.waking(self.now + PROBLEM_POLL) if self.problem else self
        upcoming = self.timetable.next_after(self.now) if self.timetable and self.spec else None
        upcoming = None if self.spec and self.spec.suspend else upcoming
        since = self.status.suspended_since
        if self.spec:
            since = (since or write_instant(self.now)) if self.spec.suspend else None
        phase = stage.phase or stage.resting_phase(upcoming)
        status = self.status.model_copy(
            update={
                **self.ledger.remembered(),
                "observed_generation": self.snapshot.resource["metadata"].get("generation"),
                "phase": phase,
                "next_schedule_time": write_optional(upcoming),
                "last_schedule_time": write_optional(self.handled) or self.status.last_schedule_time,
                "suspended_since": since,
                "schedule_anchor": self.timetable.anchor if self.timetable else self.status.schedule_anchor,
                "occurrence": self.occurrence,
                "conditions": conditions(
                    self.snapshot, self.status, self.ledger, self.problem, phase=phase, upcoming=upcoming
                ),
            }
        )
        verifications = [run for run in self.snapshot.runs if run.owner_uid == self.snapshot.identity.uid]
        closed = not self.open
        cleanup = expired_jobs(verifications, recorded=lambda _: closed, good=KEPT_JOBS, bad=KEPT_JOBS)
        return Decision(
            status=status,
            actions=self.actions,
            events=(*self.events, *self.ledger.announcements),
            cleanup=cleanup,
            wake_at=stage.wake_at,
        )

    def resting_phase(self, upcoming: datetime | None) -> WindowPhase:
        """The phase while nothing is open."""
        if self.problem and self.problem.reason.startswith("Invalid"):
            return WindowPhase.FAILED
        if self.spec and self.spec.suspend:
            return WindowPhase.SUSPENDED
        if upcoming:
            return WindowPhase.SCHEDULED
        last = self.ledger.history[0] if self.ledger.history else None
        if last is None:
            return WindowPhase.SCHEDULED
        if last.outcome is None:
            return WindowPhase.SKIPPED
        return WindowPhase.COMPLETED if last.outcome.good else WindowPhase.FAILED

    def _verification(self) -> Run | None:
        occasion = window_occasion(self.snapshot, self.start, VERIFICATION)
        return next((run for run in self.snapshot.runs if run.occasion == occasion), None)

    def _settling(self) -> datetime | None:
        ends = [run.finished or run.created for run in self.snapshot.runs if not run.active]
        return min((end + SETTLING for end in ends if end + SETTLING > self.now), default=None)


def _timetable(snapshot: WindowSnapshot, spec: WindowSpec, mark: Mark) -> Timetable:
    anchor, since = mark.anchored(declared(spec), snapshot.now)
    return Timetable(schedule=schedule_of(spec), anchor=anchor, since=since, uid=snapshot.resource["metadata"]["uid"])


def _unreadable(stage: _Stage, problem: Problem) -> Decision:
    """A spec that cannot be read opens nothing, and what is open is closed."""
    stage = replace(stage, problem=problem)
    if not stage.open:
        return replace(stage.tidied(), phase=WindowPhase.FAILED).decision()
    if stage.is_open_to_users:
        return stage.closed(Ending.INVALID_SPEC).decision()
    return stage.closed(missed(Reason.INVALID_SPEC, "the spec was made invalid before it opened")).decision()


def _dismantled(stage: _Stage) -> Decision:
    """Deleted: put everything back, then let it go."""
    known = tuple(stage.occurrence.targets) if stage.occurrence else ()
    step = leave(stage.snapshot, known)
    if not step.done:
        return Decision(status=stage.status, actions=step.patches, events=step.events, wake_at=stage.now)
    release = [HoldFinalizer(held=False)] if stage.finalizer_held else []
    return Decision(status=stage.status, actions=release, events=step.events)
