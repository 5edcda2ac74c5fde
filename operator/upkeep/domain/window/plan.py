"""The plan of a window: which task may start now, and where each of them stands."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

from pydantic import ValidationError

from upkeep.actions.contract import Outcome
from upkeep.api.status import OccurrenceRecord, Trigger
from upkeep.api.task import TaskSpec, TaskStatus
from upkeep.api.window import Plan, PlanFailure, PlannedTask, PlannedTaskStatus, TaskState
from upkeep.domain.decision import Occasion, StartRun
from upkeep.domain.history import JOB_DELETED, LOST_MESSAGE, settled
from upkeep.domain.identity import Identity
from upkeep.domain.instants import write_optional
from upkeep.domain.recollection import recall
from upkeep.domain.run import Run, finding_summary, run_name
from upkeep.domain.spec import explain
from upkeep.domain.task import reference_problem
from upkeep.domain.window.snapshot import WindowSnapshot
from upkeep.domain.work import task_work

_KEPT_FINDINGS: Final = 5
_OVER: Final = frozenset({TaskState.SUCCEEDED, TaskState.FAILED, TaskState.SKIPPED})
_BAD: Final = frozenset({TaskState.FAILED, TaskState.SKIPPED})


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """Where the plan stands, and what starts now."""

    tasks: tuple[PlannedTaskStatus, ...]
    starts: tuple[StartRun, ...] = ()

    @property
    def over(self) -> bool:
        """Whether every task has come to an end."""
        return all(task.state in _OVER for task in self.tasks)

    @property
    def good(self) -> bool:
        """Whether every task has ended well."""
        return all(task.state is TaskState.SUCCEEDED for task in self.tasks)


def advance(
    snapshot: WindowSnapshot, plan: Plan, *, start: datetime, before: Sequence[PlannedTaskStatus], closing: bool
) -> Progress:
    """Where the plan of the opening at `start` stands.

    Args:
        snapshot: what is there now.
        plan: the plan.
        start: when the opening was to begin.
        before: where its tasks stood when the status was last written.
        closing: nothing more starts.
    """
    known = {task.name: task for task in before}
    states: dict[str, PlannedTaskStatus] = {}
    for planned in plan.tasks:
        run = _run_of(snapshot, planned.name, known.get(planned.name), start)
        if run:
            states[planned.name] = _state_of(planned, run, snapshot.now)
        else:
            states[planned.name] = _without_job(snapshot, planned, known.get(planned.name), start)
    aborted = plan.on_failure is PlanFailure.ABORT and any(state.state is TaskState.FAILED for state in states.values())
    progress = Progress(tasks=())
    starts: list[StartRun] = []
    for planned in _in_order(plan):
        state = states[planned.name]
        if state.state is TaskState.WAITING:
            running = sum(other.state is TaskState.RUNNING for other in states.values())
            room = plan.max_concurrency - running
            state, begin = _next_step(snapshot, planned, states, start, room=room, closing=closing, aborted=aborted)
            aborted = aborted or (plan.on_failure is PlanFailure.ABORT and state.state is TaskState.FAILED)
            starts += [begin] if begin else []
        states[planned.name] = state
    return replace(progress, tasks=tuple(states[planned.name] for planned in plan.tasks), starts=tuple(starts))


def left_running(tasks: Sequence[PlannedTaskStatus]) -> tuple[PlannedTaskStatus, ...]:
    """The tasks of a window that closes: what still runs goes on, but not as a part of the window any more."""
    changes = {"state": TaskState.FAILED, "reason": "Overran", "message": "still ran when the window closed"}
    return tuple(task.model_copy(update=changes) if task.state is TaskState.RUNNING else task for task in tasks)


def cycle(plan: Plan) -> tuple[str, ...]:
    """Tasks that wait for each other in a circle; empty where there is none."""
    waiting = {task.name: set(task.depends_on) for task in plan.tasks}
    while free := [name for name, needs in waiting.items() if not needs & waiting.keys()]:
        for name in free:
            del waiting[name]
    return tuple(waiting)


def _in_order(plan: Plan) -> Sequence[PlannedTask]:
    """The tasks so that each comes after what it depends on, else as they are written."""
    done: dict[str, PlannedTask] = {}
    rest = list(plan.tasks)
    while rest:
        ready = next((task for task in rest if all(name in done for name in task.depends_on)), rest[0])
        done[ready.name] = ready
        rest.remove(ready)
    return list(done.values())


def _next_step(
    snapshot: WindowSnapshot,
    planned: PlannedTask,
    states: Mapping[str, PlannedTaskStatus],
    start: datetime,
    *,
    room: int,
    closing: bool,
    aborted: bool,
) -> tuple[PlannedTaskStatus, StartRun | None]:
    failed = [name for name in planned.depends_on if states[name].state in _BAD]
    waiting = [name for name in planned.depends_on if states[name].state not in _OVER]
    if closing:
        return _status(planned, TaskState.SKIPPED, "WindowClosed", "the window ended before it could start"), None
    if failed:
        return _status(planned, TaskState.SKIPPED, "DependencyFailed", f"{failed[0]} did not end well"), None
    if aborted:
        return _status(planned, TaskState.SKIPPED, "PlanAborted", "a task before it failed"), None
    if waiting:
        return _status(planned, TaskState.WAITING, "Dependency", f"waits for {', '.join(waiting)}"), None
    if planned.name in snapshot.busy:
        return _status(planned, TaskState.WAITING, "AlreadyRunning", "waits for a run outside of this window"), None
    if room <= 0:
        return _status(planned, TaskState.WAITING, "MaxConcurrency", "waits for its turn"), None
    return _begin(snapshot, planned, start)


def _begin(
    snapshot: WindowSnapshot, planned: PlannedTask, start: datetime
) -> tuple[PlannedTaskStatus, StartRun | None]:
    resource = snapshot.tasks.get(planned.name)
    if resource is None:
        message = f"MaintenanceTask {planned.name!r} does not exist in this namespace: create it"
        return _status(planned, TaskState.FAILED, "TaskNotFound", message), None
    try:
        spec = TaskSpec.model_validate(resource.get("spec"))
    except ValidationError as problem:
        return _status(planned, TaskState.FAILED, "TaskInvalid", explain(problem)), None
    if problem_found := reference_problem(spec):
        return _status(planned, TaskState.FAILED, "TaskInvalid", problem_found.message), None
    owner = Identity.of(resource)
    occasion = window_occasion(snapshot, start)
    begin = StartRun(
        owner=owner,
        name=run_name(owner.name, owner.uid, occasion),
        occasion=occasion,
        work=task_work(owner, spec),
    )
    return _status(planned, TaskState.RUNNING, "", "", job=begin.name), begin


def window_occasion(snapshot: WindowSnapshot, start: datetime, part: str = "") -> Occasion:
    """What the runs of one opening are for."""
    return Occasion(trigger=Trigger.WINDOW, scheduled=start, schedule=part, window_uid=snapshot.identity.uid)


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
    if before and before.job and before.state in _OVER:
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
    return PlannedTaskStatus(name=planned.name, state=state, reason=reason, message=message[:300], job=job, **details)
