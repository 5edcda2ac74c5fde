"""What a MaintenanceTask needs now: the one place where its occurrences are decided.

The same snapshot at the same time always gives the same decision. A run is created before the status says so; its
name makes it unique, and the status, written with its resourceVersion, keeps it from coming back when its Job is gone.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Final

from pydantic import ValidationError

from upkeep.api.scheduling import ConcurrencyPolicy
from upkeep.api.status import OccurrenceRecord, Trigger
from upkeep.api.task import TaskSpec, TaskStatus
from upkeep.domain.account import Cause, Reason, missed, record, records
from upkeep.domain.binding import Surroundings, Waiting, binding_problem, verdict
from upkeep.domain.conditions import Problem, merge, readiness
from upkeep.domain.decision import Announce, Decision, DeleteJob, EventType, Occasion, StartRun
from upkeep.domain.history import SETTLING, Ledger, expired_jobs, last_run_fact, settled
from upkeep.domain.identity import RUN_NOW_ANNOTATION, Identity
from upkeep.domain.instants import write_instant, write_optional
from upkeep.domain.memory import Memory, allowances
from upkeep.domain.origins import sources, sources_problem
from upkeep.domain.pause import INVALID_SCHEDULE, INVALID_SPEC, Pause
from upkeep.domain.recollection import Recollection, recall
from upkeep.domain.run import Run, run_name
from upkeep.domain.runbook import advice
from upkeep.domain.schedule import ScheduleError
from upkeep.domain.spec import explain
from upkeep.domain.timetable import Declaration, Due, Mark, Timetable
from upkeep.domain.work import task_work

SUSPENDED: Final = "Suspended"
WAITING: Final = "Waiting"
_MAX_TOKEN: Final = 128
_MAX_ACTIVE: Final = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskSnapshot:
    """All that a decision about a task looks at.

    Attributes:
        resource: the MaintenanceTask as read.
        runs: its runs, of whatever trigger.
        now: the time of the decision.
        surroundings: the MaintenanceWindows that it names, and what they depend on.
        policies: the BackupPolicies whose backups it restores, as far as they exist, by name.
    """

    resource: Mapping[str, Any]
    runs: Sequence[Run]
    now: datetime
    surroundings: Surroundings = field(default_factory=Surroundings)
    policies: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


def decide(snapshot: TaskSnapshot) -> Decision:
    """What should happen now."""
    known = recall(TaskStatus, snapshot.resource.get("status"))
    try:
        spec = TaskSpec.model_validate(snapshot.resource.get("spec"))
    except ValidationError as error:
        problem = Problem(reason=INVALID_SPEC, message=explain(error))
        return _stalled(snapshot, known.status, _observed(snapshot, known, None), problem)
    seen = _observed(snapshot, known, spec)
    try:
        mark = Mark.of(known, snapshot.resource, anchor=known.status.schedule_anchor, now=snapshot.now)
        timetable = _timetable(snapshot, spec, mark)
    except ScheduleError as error:
        return _stalled(snapshot, known.status, seen, Problem(reason=INVALID_SCHEDULE, message=str(error)))
    plan = _Plan(
        snapshot=snapshot,
        spec=spec,
        known=known,
        ledger=seen.ledger,
        memory=seen.memory,
        problem=_reference_problem(spec, snapshot),
    )
    plan = plan.with_manual_run().without_abandoned(mark)
    due = timetable.due(snapshot.now) if timetable else None
    if timetable and due:
        plan = plan.with_occurrences(timetable, due)
    return plan.decision(timetable, due, seen.wake_at)


def reference_problem(spec: TaskSpec, policies: Mapping[str, Mapping[str, Any]]) -> Problem | None:
    """What a task refers to and does not have; None where all is there."""
    known = {connection.name for connection in spec.connections}
    back = spec.rollback.steps if spec.rollback else None
    steps = (*(spec.steps or ()), *(back or ()))
    for step in steps:
        for name in step.action.connection_names():
            if name not in known:
                defined = ", ".join(sorted(known)) or "none"
                message = (
                    f"step {step.name!r} uses connection {name!r}: add it to spec.connections (defined: {defined})"
                )
                return Problem(reason="ConnectionNotDefined", message=message)
    return sources_problem(steps, spec.connections, policies)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Plan:
    """A decision in the making."""

    snapshot: TaskSnapshot
    spec: TaskSpec
    known: Recollection[TaskStatus]
    ledger: Ledger
    memory: Memory
    problem: Problem | None
    actions: tuple[StartRun | DeleteJob, ...] = ()
    events: tuple[Announce, ...] = ()
    handled: datetime | None = None
    token: str | None = None
    waiting: Waiting | None = None
    postponed: bool = False
    """A Job is only stopped once a status tells of it: else nothing would, if this decision is cut short."""

    @property
    def status(self) -> TaskStatus:
        return self.known.status

    @property
    def identity(self) -> Identity:
        return Identity.of(self.snapshot.resource)

    @property
    def active(self) -> list[Run]:
        return [run for run in self.snapshot.runs if run.active and not self.ledger.recorded(run.name)]

    @property
    def starts(self) -> list[StartRun]:
        return [action for action in self.actions if isinstance(action, StartRun)]

    def with_manual_run(self) -> "_Plan":
        token = (self.snapshot.resource["metadata"].get("annotations") or {}).get(RUN_NOW_ANNOTATION, "")[:_MAX_TOKEN]
        if not token or token == self.status.last_manual_run:
            return self
        occasion = Occasion(trigger=Trigger.MANUAL, token=token)
        if not self.known.remembers_token or self._begun(occasion):
            return replace(self, token=token)
        refusal = self.problem.message if self.problem else ""
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

    def without_abandoned(self, mark: Mark) -> "_Plan":
        """Account for what was due of a schedule that is not there any more."""
        due = mark.abandoned(_declared(self.spec), self.snapshot.now)
        pause = Pause.of(self.status)
        cause = missed(Reason.SCHEDULE_CHANGED, "the schedule was changed before it could start")
        absent = [time for time in due.times if not self._begun(_scheduled(time))]
        return self.recording(*records(absent, lambda time: pause.cause(time) or cause, more=due.truncated))

    def with_occurrences(self, timetable: Timetable, due: Due) -> "_Plan":
        pause = Pause.of(self.status)
        paused = pause.ends(suspend=self.spec.suspend)
        if due.latest is None or (self.spec.suspend and not paused):
            return self
        absent = [*due.earlier, due.latest] if paused else due.earlier
        down = missed(Reason.OPERATOR_DOWN, "nobody was there to start it in its time")
        if self.status.phase == WAITING:
            down = missed(Reason.WINDOW_CLOSED, "its window had not opened when the next one was due")
        ran = {time for time in (*due.earlier, due.latest) if self._begun(_scheduled(time))}
        unrun = timetable.unrun(absent, lambda time: pause.cause(time) or down, ran=ran, more=due.more)
        plan = replace(self, handled=due.latest).recording(*unrun)
        if paused or due.latest in ran:
            return plan
        obstacle = timetable.exclusion(due.latest) or plan.obstacle(due.latest, timetable)
        if isinstance(obstacle, Waiting):
            return replace(plan, handled=due.earlier[-1] if due.earlier else None, waiting=obstacle)
        if obstacle:
            return plan.recording(record(due.latest, obstacle))
        if self.spec.concurrency_policy is ConcurrencyPolicy.REPLACE:
            if any(run.name not in self.status.active for run in self.active):
                return replace(self, postponed=True)
            plan = plan.stopping_active()
        return plan.starting(_scheduled(due.latest))

    def obstacle(self, due: datetime, timetable: Timetable) -> Cause | Waiting | None:
        """Why an occurrence cannot run, or for what it waits; None where it can run."""
        deadline = self.spec.starting_deadline_seconds
        late = (self.snapshot.now - timetable.start_of(due)).total_seconds()
        if deadline is not None and late > deadline:
            return missed(Reason.DEADLINE_EXCEEDED, f"{late:.0f}s late, startingDeadlineSeconds is {deadline}")
        if self.problem:
            return missed(Reason.INVALID_SPEC, self.problem.message)
        shut = verdict(self.spec.windows, self.snapshot.surroundings, self.identity.namespace, self.snapshot.now)
        if shut:
            return shut
        busy = [start.name for start in self.starts]
        if self.spec.concurrency_policy is ConcurrencyPolicy.FORBID:
            busy = [*(run.name for run in self.active), *busy]
        if busy and self.spec.concurrency_policy is not ConcurrencyPolicy.ALLOW:
            return missed(Reason.CONCURRENCY_FORBIDDEN, f"{busy[0]} still ran")
        return None

    def recording(self, *unrun: OccurrenceRecord) -> "_Plan":
        return replace(self, ledger=self.ledger.with_records(*unrun))

    def stopping_active(self) -> "_Plan":
        """Delete the Jobs of what still runs; how it went is not known then, whenever this decision is cut short."""
        plan = self
        for run in self.active:
            ledger = plan.ledger.with_start(run).with_lost(run.name, self.snapshot.now)
            doomed = DeleteJob(name=run.name, uid=run.uid)
            plan = replace(plan, actions=(*plan.actions, doomed), ledger=ledger)
        return plan

    def starting(self, occasion: Occasion) -> "_Plan":
        identity = self.identity
        found = sources(self.spec.steps, identity.namespace, self.snapshot.policies)
        start = StartRun(
            owner=identity,
            name=run_name(identity.name, identity.uid, occasion),
            occasion=occasion,
            work=task_work(identity, self.spec, list(self.memory.entries.values()), found),
        )
        return replace(self, actions=(*self.actions, start))

    def _begun(self, occasion: Occasion) -> bool:
        """Whether there was a run for this already: its Job or what is known of it says so."""
        name = run_name(self.identity.name, self.identity.uid, occasion)
        return any(name == run.name for run in self.snapshot.runs) or self.ledger.mentions(name)

    def decision(self, timetable: Timetable | None, due: Due | None, wake_at: datetime | None) -> Decision:
        now = self.snapshot.now
        upcoming = timetable.included_from(due.following) if timetable and due and not self.spec.suspend else None
        phase = self._phase(upcoming, running=bool(self.active or self.starts))
        since = self.status.suspended_since or write_instant(now)
        status = self.status.model_copy(
            update={
                **self.ledger.with_begun(self.starts, now).remembered(),
                **self.memory.remembered(),
                "observed_generation": self.snapshot.resource["metadata"].get("generation"),
                "phase": phase,
                "conditions": _conditions(
                    self.snapshot, self.status, self.ledger, self.problem, phase, self._outlook(upcoming)
                ),
                "next_schedule_time": write_optional(upcoming),
                "last_schedule_time": write_optional(self.handled) or self.status.last_schedule_time,
                "suspended_since": since if self.spec.suspend else None,
                "last_manual_run": self.token or self.status.last_manual_run,
                "schedule_anchor": timetable.anchor if timetable else None,
                "active": _unrecorded(self.snapshot, self.ledger, self.starts),
            }
        )
        expired = expired_jobs(
            self.snapshot.runs,
            recorded=self.ledger.covers,
            good=self.spec.successful_runs_history_limit,
            bad=self.spec.failed_runs_history_limit,
        )
        alarms = (
            wake_at,
            due.wake_at if due and not self.spec.suspend else None,
            now if self.postponed else None,
            *self._alarms(timetable, due),
        )
        times = [time for time in alarms if time]
        return Decision(
            actions=self.actions,
            events=(*self.events, *self.ledger.announcements, *(_started(start) for start in self.starts)),
            status=status,
            cleanup=expired,
            wake_at=min(times, default=None),
        )

    def _alarms(self, timetable: Timetable | None, due: Due | None) -> Sequence[datetime]:
        """When what waits for a window waits no longer."""
        if self.waiting is None or timetable is None or due is None or due.latest is None:
            return ()
        deadline = self.spec.starting_deadline_seconds
        late = [timetable.start_of(due.latest) + timedelta(seconds=deadline + 1)] if deadline else []
        return (self.waiting.until, *late)

    def _outlook(self, upcoming: datetime | None) -> str:
        overdue = f"; past the patch deadline: {self.memory.overdue}" if self.memory.overdue else ""
        if self.spec.suspend:
            return f"suspended{overdue}"
        if self.waiting:
            return f"{self.waiting.message}{overdue}"
        return (f"next run at {write_instant(upcoming)}" if upcoming else "runs only on demand or in windows") + overdue

    def _phase(self, upcoming: datetime | None, *, running: bool) -> str:
        if self.problem:
            return "Invalid"
        if running:
            return "Running"
        if self.spec.suspend:
            return SUSPENDED
        if self.waiting:
            return WAITING
        return "Scheduled" if upcoming else "Idle"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Observed:
    """What ended since the status was written, and when to look again: for what has not settled, or gets overdue."""

    ledger: Ledger
    memory: Memory
    wake_at: datetime | None


def _observed(snapshot: TaskSnapshot, known: Recollection[TaskStatus], spec: TaskSpec | None) -> _Observed:
    """The ledger and the memory with all that ended since; `spec` is None where it cannot be read."""
    memory = Memory.of(known.status.memory)
    deadlines = allowances(spec.patch_deadlines) if spec else None
    ledger = Ledger.of(known, pending=known.status.active, advice=advice(snapshot.resource)).with_vanished(
        snapshot.runs, snapshot.now
    )
    unsettled = []
    for run in sorted(snapshot.runs, key=lambda run: (run.created, run.name)):
        if ledger.covers(run):
            continue
        if run.active:
            ledger = ledger.with_start(run)
        elif settled(run, snapshot.now):
            memory = memory.with_end(run, deadlines)
            ledger = ledger.with_end(run, memory.ages())
        else:
            unsettled.append((run.finished or run.created) + SETTLING)
    if spec:
        memory = memory.of_steps(spec.steps or ())
    memory = memory.at(snapshot.now, ledger.last_run.findings if ledger.last_run else ())
    ledger = replace(ledger, announcements=(*ledger.announcements, *memory.announcements))
    alarms = [*unsettled, *([memory.next_due] if memory.next_due else [])]
    return _Observed(ledger=ledger, memory=memory, wake_at=min(alarms, default=None))


def _unrecorded(snapshot: TaskSnapshot, ledger: Ledger, starts: Sequence[StartRun]) -> list[str]:
    names = [*ledger.uncovered(snapshot.runs), *(start.name for start in starts)]
    return names[:_MAX_ACTIVE]


def _declared(spec: TaskSpec) -> Declaration:
    return Declaration(cron=spec.schedule, instant=spec.run_at, zone=spec.time_zone, exclusions=spec.exclusions)


def _scheduled(time: datetime) -> Occasion:
    return Occasion(trigger=Trigger.SCHEDULE, scheduled=time)


def _timetable(snapshot: TaskSnapshot, spec: TaskSpec, mark: Mark) -> Timetable | None:
    declaration = _declared(spec)
    schedule = declaration.schedule()
    if schedule is None:
        return None
    anchor, since = mark.anchored(declaration, snapshot.now)
    uid = snapshot.resource["metadata"]["uid"]
    return Timetable(schedule=schedule, anchor=anchor, since=since, uid=uid, jitter=spec.jitter or timedelta(0))


def _reference_problem(spec: TaskSpec, snapshot: TaskSnapshot) -> Problem | None:
    namespace = snapshot.resource["metadata"]["namespace"]
    return reference_problem(spec, snapshot.policies) or binding_problem(spec.windows, snapshot.surroundings, namespace)


def _stalled(snapshot: TaskSnapshot, status: TaskStatus, seen: _Observed, problem: Problem) -> Decision:
    """A spec that cannot be read starts nothing; what runs is followed to its end."""
    ledger = seen.ledger
    new = status.model_copy(
        update={
            **ledger.remembered(),
            **seen.memory.remembered(),
            "observed_generation": snapshot.resource["metadata"].get("generation"),
            "phase": "Invalid",
            "conditions": _conditions(snapshot, status, ledger, problem, "Invalid", ""),
            "next_schedule_time": None,
            "active": _unrecorded(snapshot, ledger, ()),
        }
    )
    return Decision(status=new, events=ledger.announcements, wake_at=seen.wake_at)


def _conditions(
    snapshot: TaskSnapshot,
    status: TaskStatus,
    ledger: Ledger,
    problem: Problem | None,
    phase: str,
    outlook: str,
) -> Sequence[Any]:
    trouble = next((run for run in snapshot.runs if run.trouble), None)
    if trouble and trouble.trouble and not problem:
        problem = Problem(reason=trouble.trouble.reason, message=f"{trouble.name}: {trouble.trouble.message}")
    facts = readiness(problem, reason=phase, message=outlook)
    facts += last_run_fact(ledger, status.conditions)
    generation = int(snapshot.resource["metadata"].get("generation") or 0)
    return merge(status.conditions, facts, generation=generation, now=snapshot.now)


def _started(start: StartRun) -> Announce:
    occasion = start.occasion
    what = f"due {write_instant(occasion.scheduled)}" if occasion.scheduled else f"run-now {occasion.token!r}"
    return Announce(type=EventType.NORMAL, reason="RunStarted", message=f"{start.name}: {what}")
