"""What a MaintenanceTask needs now: the one place where its occurrences are decided.

The same snapshot at the same time always gives the same decision. A run is created before the status says so; its
name makes it unique, and the status, written with its resourceVersion, keeps it from coming back when its Job is gone.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final

from pydantic import ValidationError

from upkeep.api.scheduling import ConcurrencyPolicy
from upkeep.api.status import OccurrenceRecord, Trigger
from upkeep.api.task import TaskSpec, TaskStatus
from upkeep.api.window import WindowSpec
from upkeep.domain.conditions import Problem, merge, readiness
from upkeep.domain.decision import Announce, Decision, DeleteJob, EventType, Occasion, StartRun
from upkeep.domain.history import SETTLING, Ledger, expired_jobs, last_run_fact, settled
from upkeep.domain.identity import RUN_NOW_ANNOTATION, Identity
from upkeep.domain.instants import read_instant, write_instant, write_optional
from upkeep.domain.openings import opening_at
from upkeep.domain.run import Run, run_name
from upkeep.domain.schedule import ScheduleError
from upkeep.domain.spec import explain
from upkeep.domain.timetable import Due, Reason, Timetable, anchored, missed, read_schedule
from upkeep.domain.work import task_work

SUSPENDED: Final = "Suspended"
_MAX_TOKEN: Final = 128


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskSnapshot:
    """All that a decision about a task looks at.

    Attributes:
        resource: the MaintenanceTask as read.
        runs: its runs, of whatever trigger.
        windows: the MaintenanceWindows of its namespace that it names, as read.
        now: the time of the decision.
    """

    resource: Mapping[str, Any]
    runs: Sequence[Run]
    windows: Mapping[str, Mapping[str, Any]]
    now: datetime


def decide(snapshot: TaskSnapshot) -> Decision:
    """What should happen now."""
    status = TaskStatus.model_validate(snapshot.resource.get("status") or {})
    ledger, wake_at = _observed(snapshot, status)
    try:
        spec = TaskSpec.model_validate(snapshot.resource.get("spec"))
        timetable = _timetable(snapshot, spec, status)
    except ValidationError as problem:
        return _stalled(snapshot, status, ledger, Problem(reason="InvalidSpec", message=explain(problem)))
    except ScheduleError as problem:
        return _stalled(snapshot, status, ledger, Problem(reason="InvalidSchedule", message=str(problem)))
    problem_found = _reference_problem(spec, snapshot)
    plan = _Plan(snapshot=snapshot, spec=spec, status=status, ledger=ledger)
    plan = plan.with_manual_run(problem_found)
    due = timetable.due(snapshot.now) if timetable else None
    if timetable and due:
        plan = plan.with_occurrences(timetable, due, problem_found)
    return plan.decision(timetable, due, problem_found, wake_at)


def reference_problem(spec: TaskSpec) -> Problem | None:
    """What a task refers to and does not have; None where all is there."""
    known = {connection.name for connection in spec.connections}
    for step in spec.steps or ():
        for name in step.action.connection_names():
            if name not in known:
                defined = ", ".join(sorted(known)) or "none"
                message = (
                    f"step {step.name!r} uses connection {name!r}: add it to spec.connections (defined: {defined})"
                )
                return Problem(reason="ConnectionNotDefined", message=message)
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Plan:
    """A decision in the making."""

    snapshot: TaskSnapshot
    spec: TaskSpec
    status: TaskStatus
    ledger: Ledger
    actions: tuple[StartRun | DeleteJob, ...] = ()
    events: tuple[Announce, ...] = ()
    handled: datetime | None = None
    token: str | None = None

    @property
    def identity(self) -> Identity:
        return Identity.of(self.snapshot.resource)

    @property
    def active(self) -> list[Run]:
        return [run for run in self.snapshot.runs if run.active and not self.ledger.has_end(run.name)]

    @property
    def starts(self) -> list[StartRun]:
        return [action for action in self.actions if isinstance(action, StartRun)]

    def with_manual_run(self, problem: Problem | None) -> "_Plan":
        token = (self.snapshot.resource["metadata"].get("annotations") or {}).get(RUN_NOW_ANNOTATION, "")[:_MAX_TOKEN]
        if not token or token == self.status.last_manual_run:
            return self
        occasion = Occasion(trigger=Trigger.MANUAL, token=token)
        if any(run.occasion == occasion for run in self.snapshot.runs):
            return replace(self, token=token)
        refusal = problem.message if problem else ""
        if self.active and self.spec.concurrency_policy is not ConcurrencyPolicy.ALLOW:
            refusal = f"{self.active[0].name} still runs: ask again when it has ended"
        if refusal:
            event = Announce(
                type=EventType.WARNING,
                reason="ManualRunRefused",
                message=f"run-now {token!r} was not started: {refusal}",
            )
            return replace(self, token=token, events=(*self.events, event))
        return replace(self, token=token).starting(occasion)

    def with_occurrences(self, timetable: Timetable, due: Due, problem: Problem | None) -> "_Plan":
        if due.latest is None or self.spec.suspend:
            return self
        plan = replace(self, handled=due.latest)
        if self.status.phase == SUSPENDED:
            return plan.all_missed(timetable, due, Reason.SUSPENDED, "the task was suspended")
        for record in timetable.records(due, Reason.OPERATOR_DOWN, "nobody was there to start it in its time"):
            plan = replace(plan, ledger=plan.ledger.with_record(record))
        unrun = timetable.exclusion_record(due.latest) or self._obstacle(due.latest, timetable, problem)
        if unrun:
            return replace(plan, ledger=plan.ledger.with_record(unrun))
        if self.spec.concurrency_policy is ConcurrencyPolicy.REPLACE:
            for run in self.active:
                ledger = plan.ledger.with_loss(run.summary(), self.snapshot.now)
                doomed = DeleteJob(name=run.name, uid=run.uid)
                plan = replace(plan, actions=(*plan.actions, doomed), ledger=ledger)
        return plan.starting(Occasion(trigger=Trigger.SCHEDULE, scheduled=due.latest))

    def _obstacle(self, due: datetime, timetable: Timetable, problem: Problem | None) -> OccurrenceRecord | None:
        """The record of an occurrence that cannot run, None where it can."""
        now = self.snapshot.now
        occasion = Occasion(trigger=Trigger.SCHEDULE, scheduled=due)
        if any(run.occasion == occasion for run in self.snapshot.runs):
            return None
        deadline = self.spec.starting_deadline_seconds
        late = (now - timetable.start_of(due)).total_seconds()
        if deadline is not None and late > deadline:
            return missed(due, Reason.DEADLINE_EXCEEDED, f"{late:.0f}s late, startingDeadlineSeconds is {deadline}")
        if problem:
            return missed(due, Reason.INVALID_SPEC, problem.message)
        if self.spec.windows and not self._window_open():
            names = ", ".join(self.spec.windows)
            return missed(due, Reason.WINDOW_CLOSED, f"none of its windows was open: {names}")
        busy = [*(run.name for run in self.active), *(start.name for start in self.starts)]
        if busy and self.spec.concurrency_policy is ConcurrencyPolicy.FORBID:
            return missed(due, Reason.CONCURRENCY_FORBIDDEN, f"{busy[0]} still ran")
        return None

    def _window_open(self) -> bool:
        windows = (self.snapshot.windows.get(name) for name in self.spec.windows)
        return any(window and _is_open(window, self.snapshot.now) for window in windows)

    def all_missed(self, timetable: Timetable, due: Due, reason: Reason, message: str) -> "_Plan":
        plan = self
        if due.latest is None:
            return plan
        every = (
            *timetable.records(due, reason, message),
            timetable.exclusion_record(due.latest) or missed(due.latest, reason, message),
        )
        for record in every:
            plan = replace(plan, ledger=plan.ledger.with_record(record))
        return plan

    def starting(self, occasion: Occasion) -> "_Plan":
        if any(run.occasion == occasion for run in self.snapshot.runs):
            return self
        identity = self.identity
        start = StartRun(
            owner=identity,
            name=run_name(identity.name, identity.uid, occasion),
            occasion=occasion,
            work=task_work(identity, self.spec),
        )
        ledger = self.ledger.with_begin(start, self.snapshot.now)
        return replace(self, actions=(*self.actions, start), ledger=ledger)

    def decision(
        self, timetable: Timetable | None, due: Due | None, problem: Problem | None, wake_at: datetime | None
    ) -> Decision:
        upcoming = timetable.included_from(due.following) if timetable and due and not self.spec.suspend else None
        active = [*(run.name for run in self.active), *(start.name for start in self.starts)]
        handled = write_optional(self.handled) or self.status.last_schedule_time
        phase = self._phase(problem, active, upcoming)
        status = self.status.model_copy(
            update={
                **self.ledger.remembered(),
                "observed_generation": self.snapshot.resource["metadata"].get("generation"),
                "phase": phase,
                "conditions": _conditions(self.snapshot, self.status, self.ledger, problem, phase, upcoming),
                "next_schedule_time": write_optional(upcoming),
                "last_schedule_time": handled,
                "last_manual_run": self.token or self.status.last_manual_run,
                "schedule_anchor": timetable.anchor if timetable else None,
                "active": active,
            }
        )
        expired = expired_jobs(
            self.snapshot.runs,
            recorded=status.history,
            good=self.spec.successful_runs_history_limit,
            bad=self.spec.failed_runs_history_limit,
        )
        times = [time for time in (wake_at, due.wake_at if due and not self.spec.suspend else None) if time]
        return Decision(
            actions=self.actions,
            events=(*self.events, *self.ledger.announcements, *(_started(start) for start in self.starts)),
            status=status,
            cleanup=expired,
            wake_at=min(times, default=None),
        )

    def _phase(self, problem: Problem | None, active: Sequence[str], upcoming: datetime | None) -> str:
        if problem:
            return "Invalid"
        if active:
            return "Running"
        if self.spec.suspend:
            return SUSPENDED
        return "Scheduled" if upcoming else "Idle"


def _observed(snapshot: TaskSnapshot, status: TaskStatus) -> tuple[Ledger, datetime | None]:
    """The ledger with all that ended since, and when to look for what has not settled yet."""
    ledger, wake_at = Ledger.of(status).with_losses(status.active, snapshot.runs, snapshot.now), None
    for run in sorted(snapshot.runs, key=lambda run: (run.created, run.name)):
        if ledger.covers(run):
            continue
        if run.active:
            ledger = ledger.with_start(run)
        elif settled(run, snapshot.now):
            ledger = ledger.with_end(run)
        else:
            wake_at = (run.finished or run.created) + SETTLING
    return ledger, wake_at


def _timetable(snapshot: TaskSnapshot, spec: TaskSpec, status: TaskStatus) -> Timetable | None:
    schedule = read_schedule(cron=spec.schedule, instant=spec.run_at, zone=spec.time_zone, exclusions=spec.exclusions)
    if schedule is None:
        return None
    metadata = snapshot.resource["metadata"]
    anchor, since = anchored(
        f"{spec.schedule or spec.run_at} {spec.time_zone}",
        status.schedule_anchor,
        last=status.last_schedule_time,
        created=read_instant(metadata["creationTimestamp"]),
        now=snapshot.now,
        once=spec.run_at is not None,
    )
    return Timetable(
        schedule=schedule, anchor=anchor, since=since, uid=metadata["uid"], jitter=spec.jitter or timedelta(0)
    )


def _reference_problem(spec: TaskSpec, snapshot: TaskSnapshot) -> Problem | None:
    problem = reference_problem(spec)
    absent = [name for name in spec.windows if name not in snapshot.windows]
    if problem or not absent:
        return problem
    message = f"MaintenanceWindow {absent[0]!r} does not exist in this namespace: create it or remove it from windows"
    return Problem(reason="WindowNotFound", message=message)


def _is_open(window: Mapping[str, Any], now: datetime) -> bool:
    try:
        spec = WindowSpec.model_validate(window.get("spec"))
        return not spec.suspend and opening_at(spec, now) is not None
    except (ValidationError, ScheduleError):
        return False


def _stalled(snapshot: TaskSnapshot, status: TaskStatus, ledger: Ledger, problem: Problem) -> Decision:
    """A spec that cannot be read starts nothing; what runs is followed to its end."""
    active = [run.name for run in snapshot.runs if run.active]
    new = status.model_copy(
        update={
            **ledger.remembered(),
            "observed_generation": snapshot.resource["metadata"].get("generation"),
            "phase": "Invalid",
            "conditions": _conditions(snapshot, status, ledger, problem, "Invalid", None),
            "next_schedule_time": None,
            "active": active,
        }
    )
    return Decision(status=new, events=ledger.announcements)


def _conditions(
    snapshot: TaskSnapshot,
    status: TaskStatus,
    ledger: Ledger,
    problem: Problem | None,
    phase: str,
    upcoming: datetime | None,
) -> Sequence[Any]:
    trouble = next((run for run in snapshot.runs if run.trouble), None)
    if trouble and trouble.trouble and not problem:
        problem = Problem(reason=trouble.trouble.reason, message=f"{trouble.name}: {trouble.trouble.message}")
    message = f"next run at {write_instant(upcoming)}" if upcoming else "runs only on demand or in windows"
    facts = readiness(problem, reason=phase, message="suspended" if phase == SUSPENDED else message)
    facts += last_run_fact(ledger, status.conditions)
    generation = int(snapshot.resource["metadata"].get("generation") or 0)
    return merge(status.conditions, facts, generation=generation, now=snapshot.now)


def _started(start: StartRun) -> Announce:
    occasion = start.occasion
    what = f"due {write_instant(occasion.scheduled)}" if occasion.scheduled else f"run-now {occasion.token!r}"
    return Announce(type=EventType.NORMAL, reason="RunStarted", message=f"{start.name}: {what}")
