"""The plan of a window: which task may start now, and where each of them stands."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from pydantic import ValidationError

from upkeep.actions.contract import Outcome
from upkeep.actions.fields import format_duration
from upkeep.api.status import OccurrenceRecord
from upkeep.api.task import TaskSpec, TaskStatus
from upkeep.api.window import Overrun, Plan, PlanFailure, PlannedTask, PlannedTaskStatus, TaskState
from upkeep.domain.decision import StartRun, StopJob
from upkeep.domain.freeze import Frost
from upkeep.domain.history import JOB_DELETED, LOST_MESSAGE, settled
from upkeep.domain.identity import Identity
from upkeep.domain.instants import write_instant, write_optional
from upkeep.domain.origins import sources
from upkeep.domain.recollection import recall
from upkeep.domain.run import Run, finding_summary, run_name
from upkeep.domain.runbook import advice, advised, estimate
from upkeep.domain.spec import explain
from upkeep.domain.task import reference_problem
from upkeep.domain.window.ownrun import window_occasion
from upkeep.domain.window.selection import NOTHING_SELECTED, is_nothing
from upkeep.domain.window.snapshot import WindowSnapshot
from upkeep.domain.work import task_work

_KEPT_FINDINGS: Final = 5
_LONGEST: Final = 300
"""Characters of a task's message."""
OVER: Final = frozenset({TaskState.SUCCEEDED, TaskState.FAILED, TaskState.SKIPPED})
_BAD: Final = frozenset({TaskState.FAILED, TaskState.SKIPPED})
_MOMENT: Final = timedelta(seconds=1)
TASK_NOT_FOUND: Final = "TaskNotFound"
_LEFT: Final[Mapping[Overrun, tuple[str, str]]] = {
    Overrun.FINISH: ("Overran", "still ran when the window closed"),
    Overrun.STOP: ("Stopped", "still ran when the window closed, and was stopped"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """Where the plan stands, and what starts now."""

    tasks: tuple[PlannedTaskStatus, ...]
    starts: tuple[StartRun, ...] = ()
    wake_at: datetime | None = None

    @property
    def over(self) -> bool:
        """Whether every task has come to an end."""
        return all(task.state in OVER for task in self.tasks)

    @property
    def good(self) -> bool:
        """Whether every task has ended well."""
        return all(task.state is TaskState.SUCCEEDED for task in self.tasks)


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """An opening, as its plan sees it.

    Attributes:
        start: when it was to begin.
        end: when it ends.
        cutoff: no task starts later than this before the end.
        closing: nothing more starts.
        frost: what forbids to start anything for now; None where nothing does.
    """

    start: datetime
    end: datetime
    cutoff: timedelta
    closing: bool
    frost: Frost | None = None

    def latest_start(self, planned: PlannedTask) -> datetime:
        """From when on a task is not started any more."""
        return self.end - max(self.cutoff, planned.estimate or timedelta(0))


def advance(snapshot: WindowSnapshot, plan: Plan, course: Course, before: Sequence[PlannedTaskStatus]) -> Progress:
    """Where the plan of an opening stands; `before` is where it stood when the status was last written."""
    plan = _estimated(plan, snapshot)
    known = {task.name: task for task in before}
    states: dict[str, PlannedTaskStatus] = {}
    for planned in plan.tasks:
        run = _run_of(snapshot, planned.name, known.get(planned.name), course.start)
        if run:
            states[planned.name] = _state_of(planned, run, snapshot.now)
        else:
            states[planned.name] = _without_job(snapshot, planned, known.get(planned.name), course.start)
    starts: list[StartRun] = []
    for planned in _in_order(plan):
        if states[planned.name].state is TaskState.WAITING:
            states[planned.name], begin = _next_step(snapshot, plan, planned, states, course)
            starts += [begin] if begin else []
    waiting = [planned for planned in plan.tasks if states[planned.name].state is TaskState.WAITING]
    return Progress(
        tasks=tuple(
            _with_rollback(_advised(states[planned.name], snapshot), known.get(planned.name)) for planned in plan.tasks
        ),
        starts=tuple(starts),
        wake_at=min((course.latest_start(planned) + _MOMENT for planned in waiting), default=None),
    )


def _estimated(plan: Plan, snapshot: WindowSnapshot) -> Plan:
    """The plan with the estimates of the runbooks where it has none of its own."""
    tasks = [
        planned
        if planned.estimate
        else planned.model_copy(update={"estimate": estimate(snapshot.tasks.get(planned.name))})
        for planned in plan.tasks
    ]
    return plan.model_copy(update={"tasks": tasks})


def _advised(state: PlannedTaskStatus, snapshot: WindowSnapshot) -> PlannedTaskStatus:
    """With what the runbook of a task that has failed says."""
    words = advice(snapshot.tasks.get(state.name)) if state.state is TaskState.FAILED else ""
    return state.model_copy(update={"message": advised(state.message, words, longest=_LONGEST)}) if words else state


def _with_rollback(state: PlannedTaskStatus, before: PlannedTaskStatus | None) -> PlannedTaskStatus:
    return state.model_copy(update={"rollback": before.rollback}) if before and before.rollback else state


def aborted(plan: Plan, tasks: Iterable[PlannedTaskStatus]) -> bool:
    """Whether so many tasks have failed that nothing more starts."""
    failures = sum(task.state is TaskState.FAILED for task in tasks)
    return plan.on_failure is not PlanFailure.CONTINUE and failures > plan.max_errors


def missing(planned: PlannedTask) -> str:
    """What to say of a task of an expanded plan that is not there."""
    if planned.selector is None:
        return f"MaintenanceTask {planned.name!r} of the plan does not exist in this namespace: create it"
    return f"MaintenanceTask {planned.name!r} was chosen by its labels when the window opened, and was deleted since"


def left_running(tasks: Sequence[PlannedTaskStatus], overrun: Overrun) -> tuple[PlannedTaskStatus, ...]:
    """The tasks of a window that closes: what still runs is not a part of the window any more."""
    reason, message = _LEFT[overrun]
    changes = {"state": TaskState.FAILED, "reason": reason, "message": message}
    return tuple(task.model_copy(update=changes) if task.state is TaskState.RUNNING else task for task in tasks)


def still_running(snapshot: WindowSnapshot, tasks: Sequence[PlannedTaskStatus]) -> tuple[StopJob, ...]:
    """What stops the tasks of a window that still run."""
    running = {task.job for task in tasks if task.state is TaskState.RUNNING}
    return tuple(StopJob(name=run.name, uid=run.uid) for run in snapshot.runs if run.active and run.name in running)


def cycle(plan: Plan) -> tuple[str, ...]:
    """Tasks that wait for each other in a circle; empty where there is none."""
    waiting = {task.name: set(task.depends_on) for task in plan.tasks}
    while free := [name for name, needs in waiting.items() if not needs & waiting.keys()]:
        for name in free:
            del waiting[name]
    return tuple(waiting)


def _in_order(plan: Plan) -> Sequence[PlannedTask]:
    """The tasks so that each comes after what it depends on; else by priority, then as they are written."""
    done: dict[str, PlannedTask] = {}
    rest = sorted(plan.tasks, key=lambda task: -task.priority)
    while rest:
        ready = next((task for task in rest if all(name in done for name in task.depends_on)), rest[0])
        done[ready.name] = ready
        rest.remove(ready)
    return list(done.values())


def _next_step(
    snapshot: WindowSnapshot,
    plan: Plan,
    planned: PlannedTask,
    states: Mapping[str, PlannedTaskStatus],
    course: Course,
) -> tuple[PlannedTaskStatus, StartRun | None]:
    if is_nothing(planned.name):
        message = "no task had its labels when the window opened"
        return _status(planned, TaskState.SKIPPED, NOTHING_SELECTED, message), None
    failed = [name for name in planned.depends_on if name not in states or states[name].state in _BAD]
    if course.closing:
        return _status(planned, TaskState.SKIPPED, "WindowClosed", "the window ended before it could start"), None
    if failed:
        return _status(planned, TaskState.SKIPPED, "DependencyFailed", f"{failed[0]} did not end well"), None
    if aborted(plan, states.values()):
        return _status(planned, TaskState.SKIPPED, "PlanAborted", "a task before it failed"), None
    if snapshot.now > course.latest_start(planned):
        return _status(planned, TaskState.SKIPPED, "NoTimeLeft", _too_late(planned, course)), None
    if course.frost:
        return _status(planned, TaskState.WAITING, "Frozen", course.frost.message), None
    if obstacle := _wait(snapshot, plan, planned, states):
        return _status(planned, TaskState.WAITING, *obstacle), None
    return _begin(snapshot, planned, course.start)


def _too_late(planned: PlannedTask, course: Course) -> str:
    latest = f"it would have had to start by {write_instant(course.latest_start(planned))}"
    if planned.estimate and planned.estimate >= course.cutoff:
        return f"less time is left than its estimate of {format_duration(planned.estimate)}: {latest}"
    return f"the cutoff is {format_duration(course.cutoff)} before the end: {latest}"


def _wait(
    snapshot: WindowSnapshot, plan: Plan, planned: PlannedTask, states: Mapping[str, PlannedTaskStatus]
) -> tuple[str, str] | None:
    """For what a task has to wait: a reason, and a sentence; None where it may start."""
    waiting = [name for name in planned.depends_on if states[name].state not in OVER]
    if waiting:
        return "Dependency", f"waits for {', '.join(waiting)}"
    if planned.name in snapshot.busy:
        return "AlreadyRunning", "waits for a run outside of this window"
    if sum(other.state is TaskState.RUNNING for other in states.values()) >= plan.max_concurrency:
        return "MaxConcurrency", "waits for its turn"
    return None


def _begin(
    snapshot: WindowSnapshot, planned: PlannedTask, start: datetime
) -> tuple[PlannedTaskStatus, StartRun | None]:
    resource = snapshot.tasks.get(planned.name)
    if resource is None:
        return _status(planned, TaskState.FAILED, TASK_NOT_FOUND, missing(planned)), None
    try:
        spec = TaskSpec.model_validate(resource.get("spec"))
    except ValidationError as problem:
        return _status(planned, TaskState.FAILED, "TaskInvalid", explain(problem)), None
    if problem_found := reference_problem(spec, snapshot.policies):
        return _status(planned, TaskState.FAILED, "TaskInvalid", problem_found.message), None
    owner = Identity.of(resource)
    occasion = window_occasion(snapshot, start)
    memory = recall(TaskStatus, resource.get("status")).status.memory
    begin = StartRun(
        owner=owner,
        name=run_name(owner.name, owner.uid, occasion),
        occasion=occasion,
        work=task_work(owner, spec, memory, sources(spec.steps, owner.namespace, snapshot.policies)),
    )
    return _status(planned, TaskState.RUNNING, "", "", job=begin.name), begin


def _run_of(snapshot: WindowSnapshot, task: str, before: PlannedTaskStatus | None, start: datetime) -> Run | None:
    """The run of a task in this opening, also when the task was deleted, or made anew, since it started."""
    jobs = {_job_of(snapshot, task, start), before.job if before else None}
    return next((run for run in snapshot.runs if run.name in jobs), None)


def _job_of(snapshot: WindowSnapshot, task: str, start: datetime) -> str | None:
    resource = snapshot.tasks.get(task)
    if resource is None:
        return None
    return run_name(task, resource["metadata"]["uid"], window_occasion(snapshot, start))


def _without_job(
    snapshot: WindowSnapshot, planned: PlannedTask, before: PlannedTaskStatus | None, start: datetime
) -> PlannedTaskStatus:
    """Where a task stands that has no Job: it waits, or it ran and its Job was cleared away or deleted since."""
    if before and before.job and before.state in OVER:
        return before
    resource, job = snapshot.tasks.get(planned.name), _job_of(snapshot, planned.name, start)
    if resource and job and (record := _recorded(resource, job)):
        return _of_record(planned, record)
    if before is None or before.job is None:
        return _status(planned, TaskState.WAITING, "", "")
    lost = {"state": TaskState.FAILED, "reason": JOB_DELETED, "message": LOST_MESSAGE, "outcome": Outcome.UNKNOWN}
    return before.model_copy(update=lost)


def _recorded(resource: Mapping[str, Any], job: str) -> OccurrenceRecord | None:
    """What the task's own status says of how that Job ended; None where it says nothing that can be read."""
    history = recall(TaskStatus, resource.get("status")).status.history
    return next((record for record in history if record.job == job and record.completion_time), None)


def _of_record(planned: PlannedTask, record: OccurrenceRecord) -> PlannedTaskStatus:
    outcome = record.outcome or Outcome.UNKNOWN
    return PlannedTaskStatus(
        name=planned.name,
        state=TaskState.SUCCEEDED if outcome.good else TaskState.FAILED,
        reason=record.reason,
        message=record.message,
        job=record.job,
        outcome=outcome,
        start_time=record.start_time,
        completion_time=record.completion_time,
    )


def _state_of(planned: PlannedTask, run: Run, now: datetime) -> PlannedTaskStatus:
    if not settled(run, now):
        message = run.trouble.message if run.trouble else ""
        return _status(
            planned, TaskState.RUNNING, run.trouble.reason if run.trouble else "", message, job=run.name, run=run
        )
    outcome = run.outcome or Outcome.UNKNOWN
    state = TaskState.SUCCEEDED if outcome.good else TaskState.FAILED
    return _status(planned, state, "", run.message, job=run.name, run=run)


def _status(
    planned: PlannedTask, state: TaskState, reason: str, message: str, *, job: str | None = None, run: Run | None = None
) -> PlannedTaskStatus:
    details: dict[str, Any] = {}
    if run:
        details = {
            "outcome": run.outcome,
            "start_time": write_optional(run.started or run.created),
            "completion_time": write_optional(run.finished),
            "findings": tuple(map(finding_summary, run.report.findings[:_KEPT_FINDINGS])) if run.report else (),
        }
    return PlannedTaskStatus(
        name=planned.name, state=state, reason=reason, message=message[:_LONGEST], job=job, **details
    )
