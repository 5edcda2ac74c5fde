"""What is said about a window: its problems, its conditions, and how an opening went."""

from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum

from upkeep.actions.contract import Outcome
from upkeep.api.status import Condition, RunSummary, StepSummary
from upkeep.api.status import Ending as RecordEnding
from upkeep.api.window import (
    Plan,
    PlannedTaskStatus,
    TargetState,
    TaskState,
    WindowOccurrence,
    WindowPhase,
    WindowSpec,
    WindowStatus,
)
from upkeep.api.window.plan import MAX_TASKS
from upkeep.domain.conditions import Fact, Problem, merge, readiness
from upkeep.domain.decision import Announce, EventType
from upkeep.domain.history import Ledger, last_run_fact
from upkeep.domain.instants import write_instant
from upkeep.domain.run import Run
from upkeep.domain.runbook import advice
from upkeep.domain.window.backups import backups_problem
from upkeep.domain.window.branding import branding_problem
from upkeep.domain.window.mode import mode_problem, seen_by_users
from upkeep.domain.window.plan import TASK_NOT_FOUND, cycle, missing
from upkeep.domain.window.requires import is_check
from upkeep.domain.window.selection import NOTHING_SELECTED, is_nothing, selected
from upkeep.domain.window.snapshot import WindowSnapshot

MAINTENANCE_MODE = "MaintenanceMode"


class Ending(StrEnum):
    """How an opening came to its end."""

    DONE = "Done"
    OVERRAN = "Overran"
    CHECKLIST_INCOMPLETE = "ChecklistIncomplete"
    NOT_OPENED = "PageNotReady"
    REFUSED = "TargetRefused"
    INVALID_SPEC = "InvalidSpec"
    CANCELLED = "Cancelled"
    ENDED = "EndedEarly"


_WHY = {
    Ending.DONE: "",
    Ending.OVERRAN: "the window ended before its plan and verification did",
    Ending.CHECKLIST_INCOMPLETE: "the window ended before its checklist was ticked",
    Ending.NOT_OPENED: "its maintenance page did not become ready in time, so nothing was started",
    Ending.REFUSED: "a target cannot be put into maintenance mode, so nothing was started",
    Ending.INVALID_SPEC: "its spec was made invalid while it was open",
    Ending.CANCELLED: "it was cancelled while it was open",
    Ending.ENDED: "it was ended early",
}


def spec_problem(
    snapshot: WindowSnapshot, spec: WindowSpec, under_way: Sequence[PlannedTaskStatus] = ()
) -> Problem | None:
    """What other objects show to be wrong with a window; None where all is there.

    Args:
        snapshot: what was seen.
        spec: the spec.
        under_way: the tasks of the opening that is under way.
    """
    if spec.plan and (problem := _plan_problem(snapshot, spec.plan, under_way)):
        return problem
    if spec.requires and (problem := backups_problem(snapshot, spec.requires.verified_backups or ())):
        return problem
    known = {connection.name for connection in spec.connections}
    required = (spec.requires.steps or ()) if spec.requires else ()
    for step in (*required, *(spec.verify.steps if spec.verify else ())):
        for name in step.action.connection_names():
            if name not in known:
                message = f"step {step.name!r} uses connection {name!r}: add it to spec.connections"
                return Problem(reason="ConnectionNotDefined", message=message)
    if spec.maintenance_mode and (problem := mode_problem(snapshot, spec.maintenance_mode)):
        return problem
    page = spec.maintenance_mode.page if spec.maintenance_mode else None
    branding = page.branding if page else None
    return branding_problem(snapshot, branding) if branding else None


def _plan_problem(snapshot: WindowSnapshot, plan: Plan, under_way: Sequence[PlannedTaskStatus]) -> Problem | None:
    selection = selected(snapshot, plan, under_way)
    tasks = selection.expanded
    if circle := cycle(plan) or cycle(tasks):
        return Problem(reason="InvalidPlan", message=f"these tasks wait for each other: {', '.join(circle)}")
    if selection.excess:
        message = (
            f"the plan has {selection.excess} more than the {MAX_TASKS} tasks that a window may have: choose fewer"
        )
        return Problem(reason="InvalidPlan", message=message)
    ended = {task.name for task in under_way if task.state is not TaskState.WAITING}
    for planned in tasks.tasks:
        gone = planned.name not in snapshot.tasks and not is_nothing(planned.name)
        if gone and (planned.selector is None or planned.name not in ended):
            return Problem(reason=TASK_NOT_FOUND, message=missing(planned))
    for part in selection.empty:
        message = f"{part} of the plan: this namespace has no such MaintenanceTask; label one, or correct the selector"
        return Problem(reason=NOTHING_SELECTED, message=message)
    return None


def result(snapshot: WindowSnapshot, occurrence: WindowOccurrence, ending: Ending) -> tuple[RunSummary, Announce]:
    """How an opening went, for the status, and its Event."""
    tasks = occurrence.tasks
    done = sum(task.state is TaskState.SUCCEEDED for task in tasks)
    conflicts = [target.name for target in occurrence.targets if target.state is TargetState.CONFLICT]
    complete = ending in {Ending.DONE, Ending.ENDED} and done == len(tasks)
    good = complete and occurrence.verified is not False and not conflicts
    parts = [_WHY[ending]] if _WHY[ending] else []
    parts += [f"{done} of {len(tasks)} tasks succeeded"] if tasks else []
    if occurrence.verified is not None:
        parts.append("verification passed" if occurrence.verified else "verification failed")
    parts += _advice(snapshot, tasks)
    parts += _rolled_back(tasks)
    restored = sum(target.state is TargetState.RESTORED for target in occurrence.targets)
    parts += [f"{restored} of {len(occurrence.targets)} targets restored"] if occurrence.targets else []
    parts += [f"not restored where others had changed them: {', '.join(conflicts)}"] if conflicts else []
    parts += [f"left open: {', '.join(occurrence.left_open)}"] if occurrence.left_open else []
    parts += [f"approved by {occurrence.approved_by}"] if occurrence.approved_by else []
    counts = [run.report.counts for run in snapshot.runs if run.report and _counts(run, occurrence)]
    summary = RunSummary(
        ending=RecordEnding.RAN,
        reason="" if good else str(ending),
        message=", ".join(parts) or "nothing to do",
        scheduled_time=occurrence.start_time,
        trigger=occurrence.trigger,
        start_time=occurrence.opened_at or occurrence.start_time,
        completion_time=occurrence.closed_at,
        outcome=Outcome.OK if good else Outcome.FAILED,
        critical_findings=sum(count.critical for count in counts),
        warning_findings=sum(count.warning for count in counts),
        steps=[
            StepSummary(name=task.name, outcome=task.outcome or task.state.lower(), message=task.message)
            for task in tasks
        ],
    )
    event = Announce(
        type=EventType.NORMAL if good else EventType.WARNING,
        reason="WindowCompleted" if good else "WindowFailed",
        message=summary.message,
    )
    return summary, event


def _advice(snapshot: WindowSnapshot, tasks: Sequence[PlannedTaskStatus]) -> list[str]:
    """What the runbook of the first task that has failed says."""
    failed = (task.name for task in tasks if task.state is TaskState.FAILED)
    found = ((name, advice(snapshot.tasks.get(name))) for name in failed)
    return next(([f"{name} failed ({words})"] for name, words in found if words), [])


def _rolled_back(tasks: Sequence[PlannedTaskStatus]) -> list[str]:
    rollbacks = [task.rollback for task in tasks if task.rollback]
    done = sum(each.state is TaskState.SUCCEEDED for each in rollbacks)
    return [f"{done} of {len(rollbacks)} tasks rolled back"] if rollbacks else []


def task_events(before: Sequence[PlannedTaskStatus], after: Sequence[PlannedTaskStatus]) -> list[Announce]:
    """What to say about tasks whose state has changed."""
    known = {task.name: task.state for task in before}
    events = []
    for task in after:
        if task.state in _SAID and known.get(task.name) is not task.state:
            kind, reason = _SAID[task.state]
            details = ": ".join(part for part in (task.reason, task.message or task.job or "") if part)
            events.append(Announce(type=kind, reason=reason, message=f"{task.name}: {details}"[:1000]))
    return events


def rollback_events(before: Sequence[PlannedTaskStatus], after: Sequence[PlannedTaskStatus]) -> list[Announce]:
    """What to say about tasks whose rollback has changed its state."""
    known = {task.name: task.rollback.state for task in before if task.rollback}
    events = []
    for task in after:
        if task.rollback and task.rollback.state in _BACK and known.get(task.name) is not task.rollback.state:
            kind, reason = _BACK[task.rollback.state]
            details = ": ".join(part for part in (task.rollback.reason, task.rollback.message) if part)
            events.append(Announce(type=kind, reason=reason, message=f"{task.name}: {details or task.rollback.job}"))
    return events


_BACK = {
    TaskState.RUNNING: (EventType.WARNING, "RollbackStarted"),
    TaskState.SUCCEEDED: (EventType.NORMAL, "TaskRolledBack"),
    TaskState.FAILED: (EventType.WARNING, "RollbackFailed"),
    TaskState.SKIPPED: (EventType.WARNING, "RollbackSkipped"),
}
_SAID = {
    TaskState.RUNNING: (EventType.NORMAL, "TaskStarted"),
    TaskState.SUCCEEDED: (EventType.NORMAL, "TaskSucceeded"),
    TaskState.FAILED: (EventType.WARNING, "TaskFailed"),
    TaskState.SKIPPED: (EventType.WARNING, "TaskSkipped"),
}


def conditions(
    snapshot: WindowSnapshot,
    status: WindowStatus,
    ledger: Ledger,
    problem: Problem | None,
    *,
    phase: WindowPhase,
    upcoming: datetime | None,
    besides: Sequence[Fact] = (),
) -> Sequence[Condition]:
    """Ready, Reconciling, Stalled, MaintenanceMode, LastRunSucceeded, and what is known besides."""
    message = f"opens at {write_instant(upcoming)}" if upcoming else "does not open again"
    message = "no maintenance begins meanwhile" if phase is WindowPhase.FROZEN else message
    facts = readiness(problem, reason=str(phase), message=message)
    seen = seen_by_users(snapshot)
    facts.append(
        Fact(
            type=MAINTENANCE_MODE,
            status=seen is not None,
            reason="On" if seen else "Off",
            message=seen or "",
        )
    )
    facts += [*last_run_fact(ledger, status.conditions), *besides]
    generation = int(snapshot.resource["metadata"].get("generation") or 0)
    return merge(status.conditions, facts, generation=generation, now=snapshot.now)


def _counts(run: Run, occurrence: WindowOccurrence) -> bool:
    """Whether what a run has found is of this opening, and not of checks that have held it back."""
    scheduled = run.occasion.scheduled
    return scheduled is not None and write_instant(scheduled) == occurrence.start_time and not is_check(run)
