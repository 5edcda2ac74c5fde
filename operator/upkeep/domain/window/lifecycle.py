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

from upkeep.api.window import TargetState, TargetStatus, WindowOccurrence, WindowPhase, WindowSpec, WindowStatus
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
from upkeep.domain.history import SETTLING, Ledger, expired_jobs, settled
from upkeep.domain.identity import FINALIZER
from upkeep.domain.instants import read_instant, read_optional, write_instant, write_optional
from upkeep.domain.openings import schedule_of
from upkeep.domain.run import Run, run_name
from upkeep.domain.schedule import ScheduleError, occurrence_end
from upkeep.domain.spec import explain
from upkeep.domain.timetable import Reason, Timetable, anchored, missed, skipped
from upkeep.domain.window.mode import enter, holds_any, leave, survey
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
    status = WindowStatus.model_validate(snapshot.resource.get("status") or {})
    stage = _Stage(snapshot=snapshot, status=status, ledger=Ledger.of(status), occurrence=status.occurrence)
    if snapshot.deleted:
        return _dismantled(stage)
    try:
        spec = WindowSpec.model_validate(snapshot.resource.get("spec"))
        timetable = _timetable(snapshot, spec, status)
    except ValidationError as error:
        return _unreadable(stage, Problem(reason="InvalidSpec", message=explain(error)))
    except ScheduleError as error:
        return _unreadable(stage, Problem(reason="InvalidSchedule", message=str(error)))
    stage = replace(stage, spec=spec, timetable=timetable, problem=spec_problem(snapshot, spec))
    if not stage.open:
        stage = stage.next_occurrence()
    if not stage.open:
        return stage.tidied().decision()
    return (stage.opened() if stage.is_open_to_users else stage.prepared()).decision()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Stage:
    """A decision in the making."""

    snapshot: WindowSnapshot
    status: WindowStatus
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

    def next_occurrence(self) -> "_Stage":
        """Account for what was due, and begin an opening whose time has come."""
        if self.timetable is None or self.spec is None:
            return self
        lead = PREPARATION if self.spec.maintenance_mode else timedelta(0)
        due = self.timetable.due(self.now + lead)
        stage = self.waking(due.wake_at - lead if due.wake_at else None)
        if due.latest is None or self.spec.suspend:
            return stage
        stage = replace(stage, handled=due.latest)
        was_suspended = self.status.phase == WindowPhase.SUSPENDED
        reason = Reason.SUSPENDED if was_suspended else Reason.OPERATOR_DOWN
        why = "the window was suspended" if was_suspended else "nobody was there to open it in its time"
        for record in self.timetable.records(due, reason, why):
            stage = replace(stage, ledger=stage.ledger.with_record(record))
        end = occurrence_end(due.latest, self.spec.duration)
        unopened = self.timetable.exclusion_record(due.latest)
        if unopened is None and (end <= self.now or (was_suspended and due.latest <= self.now)):
            unopened = missed(due.latest, reason, why)
        refused = next((target for target in stage.targets() if target.state is TargetState.REFUSED), None)
        if unopened is None and refused:
            unopened = skipped(due.latest, Reason.TARGET_REFUSED, refused.message)
        if unopened is None and self.problem and self.problem.reason == "InvalidPlan":
            unopened = skipped(due.latest, Reason.INVALID_SPEC, self.problem.message)
        if unopened:
            return replace(stage, ledger=stage.ledger.with_record(unopened)).waking(self.now)
        begun = WindowOccurrence(
            start_time=write_instant(due.latest), end_time=write_instant(end), targets=stage.targets()
        )
        return replace(stage, occurrence=begun)

    def targets(self) -> Sequence[TargetStatus]:
        mode = self.spec.maintenance_mode if self.spec else None
        return survey(self.snapshot, mode) if mode else ()

    def prepared(self) -> "_Stage":
        """Bring up the page, and open when the time has come and it answers."""
        stage = replace(self, phase=WindowPhase.PREPARING)
        mode = self.spec.maintenance_mode if self.spec else None
        if self.now >= self.end:
            return stage.closed(Ending.NOT_OPENED)
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
        step = enter(self.snapshot, mode, until=self.end)
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

    def closed(self, ending: Ending) -> "_Stage":
        """Let go of the targets; when nothing is left to write, the occurrence is over."""
        step = leave(self.snapshot, tuple(self.current.targets))
        stage = replace(self.becoming(targets=step.targets), events=(*self.events, *step.events))
        if not step.done:
            return stage.doing(*step.patches).waking(self.now)
        if self.finalizer_held:
            stage = stage.doing(HoldFinalizer(held=False))
        stage = stage.becoming(closed_at=write_instant(self.now), tasks=left_running(stage.current.tasks))
        summary, event = result(self.snapshot, stage.current, ending)
        stage = replace(stage, ledger=stage.ledger.with_result(summary, event), phase=None)
        return replace(stage, wake_at=None).waking(self.now)

    def tidied(self) -> "_Stage":
        """Nothing is open: take down the page when nobody can be on his way to it any more."""
        stage = self
        if holds_any(self.snapshot):
            step = leave(self.snapshot, tuple(self.occurrence.targets) if self.occurrence else ())
            stage = stage.doing(*step.patches).waking(self.now)
        elif self.finalizer_held:
            stage = stage.doing(HoldFinalizer(held=False))
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
        phase = stage.phase or stage.resting_phase(upcoming)
        status = self.status.model_copy(
            update={
                **self.ledger.remembered(),
                "observed_generation": self.snapshot.resource["metadata"].get("generation"),
                "phase": phase,
                "next_schedule_time": write_optional(upcoming),
                "last_schedule_time": write_optional(self.handled) or self.status.last_schedule_time,
                "schedule_anchor": self.timetable.anchor if self.timetable else None,
                "occurrence": self.occurrence,
                "conditions": conditions(
                    self.snapshot, self.status, self.ledger, self.problem, phase=phase, upcoming=upcoming
                ),
            }
        )
        verifications = [run for run in self.snapshot.runs if run.owner_uid == self.snapshot.identity.uid]
        cleanup = [] if self.open else expired_jobs(verifications, recorded=[], good=KEPT_JOBS, bad=KEPT_JOBS)
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


def _timetable(snapshot: WindowSnapshot, spec: WindowSpec, status: WindowStatus) -> Timetable:
    metadata = snapshot.resource["metadata"]
    anchor, since = anchored(
        f"{spec.schedule or spec.start_at} {spec.time_zone}",
        status.schedule_anchor,
        last=status.last_schedule_time,
        created=read_instant(metadata["creationTimestamp"]),
        now=snapshot.now,
        once=spec.start_at is not None,
    )
    return Timetable(schedule=schedule_of(spec), anchor=anchor, since=since, uid=metadata["uid"])


def _unreadable(stage: _Stage, problem: Problem) -> Decision:
    """A spec that cannot be read opens nothing, and what is open is closed."""
    stage = replace(stage, problem=problem)
    if stage.open:
        return stage.closed(Ending.INVALID_SPEC).decision()
    return replace(stage.tidied(), phase=WindowPhase.FAILED).decision()


def _dismantled(stage: _Stage) -> Decision:
    """Deleted: put everything back, then let it go."""
    known = tuple(stage.occurrence.targets) if stage.occurrence else ()
    step = leave(stage.snapshot, known)
    if not step.done:
        return Decision(status=stage.status, actions=step.patches, events=step.events, wake_at=stage.now)
    release = [HoldFinalizer(held=False)] if stage.finalizer_held else []
    return Decision(status=stage.status, actions=release, events=step.events)
