"""Rolling a plan back: the rollbacks of the tasks that ran, one after the other, the last task first.

After a rollback that failed nothing more is rolled back: what a task did may rest on what the ones before it did.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from pydantic import ValidationError

from upkeep.actions.contract import Outcome
from upkeep.api.task import TaskSpec
from upkeep.api.window import (
    PlanFailure,
    PlannedTaskStatus,
    RollbackStatus,
    TaskState,
    VerifyFailure,
    WindowOccurrence,
    WindowSpec,
)
from upkeep.domain.decision import StartRun
from upkeep.domain.history import JOB_DELETED, LOST_MESSAGE, settled
from upkeep.domain.identity import Identity
from upkeep.domain.origins import sources
from upkeep.domain.spec import explain
from upkeep.domain.window.ownrun import OwnRun, own_run
from upkeep.domain.window.plan import OVER, aborted
from upkeep.domain.window.snapshot import WindowSnapshot
from upkeep.domain.work import rollback_work

ROLLBACK: Final = "rollback"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reversal:
    """Where a rollback stands, and what starts now."""

    tasks: tuple[PlannedTaskStatus, ...]
    starts: tuple[StartRun, ...] = ()

    @property
    def over(self) -> bool:
        """Whether nothing of it is left to do."""
        return all(task.rollback is None or task.rollback.state in OVER for task in self.tasks)


def wanted(spec: WindowSpec, occurrence: WindowOccurrence) -> bool:
    """Whether what the plan did is to be undone: it failed, or the verification after it did."""
    if spec.plan is None:
        return False
    failed = spec.plan.on_failure is PlanFailure.ROLLBACK and aborted(spec.plan, occurrence.tasks)
    unhealthy = spec.verify is not None and spec.verify.on_failure is VerifyFailure.ROLLBACK
    return failed or (unhealthy and (occurrence.verified is False or _begun(occurrence.tasks)))


def reverse(
    snapshot: WindowSnapshot, tasks: Sequence[PlannedTaskStatus], *, start: datetime, closing: bool
) -> Reversal:
    """The next step back.

    Args:
        snapshot: what is there now.
        tasks: the tasks of the plan; every one of them has ended.
        start: when the opening was to begin.
        closing: nothing more starts.
    """
    found = {task.name: task.rollback for task in tasks}
    starts: list[StartRun] = []
    held: RollbackStatus | None = RollbackStatus(state=TaskState.SKIPPED, reason="WindowClosed") if closing else None
    for task in sorted((task for task in tasks if task.job), key=lambda task: task.start_time or "", reverse=True):
        state, begin = _step(snapshot, task, start, held)
        found[task.name] = state
        starts += [begin] if begin else []
        if state.state in {TaskState.RUNNING, TaskState.WAITING}:
            held = RollbackStatus(state=TaskState.WAITING, reason="Order", message=f"waits for {task.name}")
        elif state.state is TaskState.FAILED:
            message = f"the rollback of {task.name} failed, so that of this task was not tried"
            held = RollbackStatus(state=TaskState.SKIPPED, reason="RollbackFailed", message=message[:300])
    return Reversal(
        tasks=tuple(task.model_copy(update={"rollback": found[task.name]}) for task in tasks), starts=tuple(starts)
    )


def _begun(tasks: Sequence[PlannedTaskStatus]) -> bool:
    return any(task.rollback for task in tasks)


def _step(
    snapshot: WindowSnapshot, task: PlannedTaskStatus, start: datetime, held: RollbackStatus | None
) -> tuple[RollbackStatus, StartRun | None]:
    """Where the rollback of one task stands; what is `held` does not begin."""
    undoing = own_run(snapshot, start, f"{ROLLBACK}-{task.name}")
    name = undoing.name
    if run := undoing.found(snapshot):
        if not settled(run, snapshot.now):
            return RollbackStatus(state=TaskState.RUNNING, job=name), None
        good = (run.outcome or Outcome.UNKNOWN).good
        state = TaskState.SUCCEEDED if good else TaskState.FAILED
        return RollbackStatus(state=state, message=run.message[:300], job=name), None
    if task.rollback and task.rollback.state in OVER:
        return task.rollback, None
    if task.rollback and task.rollback.job:
        return RollbackStatus(state=TaskState.FAILED, reason=JOB_DELETED, message=LOST_MESSAGE, job=name), None
    return (held, None) if held else _begin(snapshot, task, undoing)


def _begin(
    snapshot: WindowSnapshot, task: PlannedTaskStatus, undoing: OwnRun
) -> tuple[RollbackStatus, StartRun | None]:
    resource = snapshot.tasks.get(task.name)
    if resource is None:
        return RollbackStatus(state=TaskState.FAILED, reason="TaskNotFound", message="its task was deleted"), None
    try:
        spec = TaskSpec.model_validate(resource.get("spec"))
    except ValidationError as problem:
        return RollbackStatus(state=TaskState.FAILED, reason="TaskInvalid", message=explain(problem)[:300]), None
    if spec.rollback is None:
        return RollbackStatus(state=TaskState.SKIPPED, reason="NoRollback", message="it has no rollback"), None
    owner = Identity.of(resource)
    found = sources(spec.rollback.steps, owner.namespace, snapshot.policies)
    work = rollback_work(owner, spec, spec.rollback, found)
    return RollbackStatus(state=TaskState.RUNNING, job=undoing.name), undoing.start(work)
