"""Change control over the life of a window: where approval and checklist stand, and what is said of them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from upkeep.api.window import (
    ApprovalStatus,
    ChecklistItemStatus,
    PlannedTaskStatus,
    TaskState,
    WindowOccurrence,
    WindowSpec,
)
from upkeep.domain.conditions import Fact, Problem
from upkeep.domain.decision import Announce, EventType
from upkeep.domain.instants import read_instant
from upkeep.domain.window.approval import POLICY_MISSING, approval_status, changed_since, lacking
from upkeep.domain.window.checklist import CHECKLIST_INCOMPLETE, advice, checklist_status, open_items
from upkeep.domain.window.plan import Progress
from upkeep.domain.window.snapshot import WindowSnapshot
from upkeep.domain.window.stage import Stage

APPROVED: Final = "Approved"
CHECKLIST_COMPLETE: Final = "ChecklistComplete"


@dataclass(frozen=True, slots=True, kw_only=True)
class Control:
    """Where change control stands.

    Attributes:
        approval: for the status.
        checklist: for the status.
        facts: for the conditions.
        events: what is new.
        awaiting: the next opening needs an approval that is not there.
    """

    approval: ApprovalStatus | None = None
    checklist: Sequence[ChecklistItemStatus] = ()
    facts: Sequence[Fact] = ()
    events: Sequence[Announce] = ()
    awaiting: bool = False


def control(stage: Stage, upcoming: datetime | None) -> Control:
    """Where approval and checklist of a window stand; `upcoming` is the start of its next opening."""
    spec, known = stage.spec, stage.status
    if spec is None:
        return Control(approval=known.approval, checklist=known.checklist)
    approval, problem = _approval(stage, spec, upcoming)
    checklist = _checklist(stage, spec, upcoming)
    facts = [*_approval_facts(stage.occurrence, approval, problem), *_checklist_facts(stage.snapshot, checklist)]
    return Control(
        approval=approval,
        checklist=checklist,
        facts=facts,
        events=(*_approval_events(known.approval, approval, problem), *_tick_events(known.checklist, checklist)),
        awaiting=problem is not None and not (stage.open and stage.is_open_to_users),
    )


def with_approval(stage: Stage) -> Stage:
    """The opening under way with who approved it, where somebody has."""
    if stage.spec is None:
        return stage
    found = approval_status(stage.snapshot, stage.spec, stage.status.approval, stage.start)
    if found is None or found.approved_by is None:
        return stage
    return stage.becoming(
        approved_by=found.approved_by, approved_at=found.approved_at, approved_generation=found.generation
    )


def under_control(stage: Stage, progress: Progress) -> tuple[Stage, Progress]:
    """An open window and its plan, which starts nothing more while the window is not what was approved."""
    if stage.spec is None:
        return stage, progress
    problem = changed_since(stage.snapshot, stage.spec, stage.current, stage.start)
    if problem is None:
        return with_approval(stage), progress
    held = {start.name for start in progress.starts}
    tasks = tuple(_waiting(task, problem) if task.job in held else task for task in progress.tasks)
    return stage, replace(progress, tasks=tasks, starts=())


def left_open(stage: Stage) -> tuple[str, ...]:
    """What is to be done while the window is open, and nobody has ticked."""
    if stage.spec is None or stage.spec.checklist is None:
        return ()
    return open_items(stage.snapshot, stage.spec.checklist.during, stage.start)


def waiting_for_ticks(stage: Stage, items: Sequence[str]) -> Stage:
    """The plan is over, but not what people do (`items`): the window stays open, and says once why."""
    reason = CHECKLIST_INCOMPLETE if items else None
    if stage.current.waiting_for == reason:
        return stage
    stage = stage.becoming(waiting_for=reason)
    if not items:
        return stage
    return stage.saying(
        CHECKLIST_INCOMPLETE, f"waits for {', '.join(items)}. {advice(stage.snapshot, items[0], stage.start)}"
    )


def _waiting(task: PlannedTaskStatus, problem: Problem) -> PlannedTaskStatus:
    changes = {"state": TaskState.WAITING, "reason": problem.reason, "message": problem.message[:300], "job": None}
    return task.model_copy(update=changes)


def _approval(
    stage: Stage, spec: WindowSpec, upcoming: datetime | None
) -> tuple[ApprovalStatus | None, Problem | None]:
    """Where the approval stands of what is under way, else of what comes next."""
    start = stage.start if stage.open else upcoming
    if start is None:
        return None, None
    found, under_way = approval_status(stage.snapshot, spec, stage.status.approval, start), stage.occurrence
    if found is None or under_way is None or not (stage.open and stage.is_open_to_users):
        return found, lacking(stage.snapshot, spec, start)
    if found.approved_by is None and changed_since(stage.snapshot, spec, under_way, start) is None:
        # Once it is open, the annotations may go, or be used for the next opening.
        found = ApprovalStatus(
            occurrence=under_way.start_time,
            approved_by=under_way.approved_by,
            approved_at=under_way.approved_at,
            generation=under_way.approved_generation,
        )
    return found, changed_since(stage.snapshot, spec, under_way, start)


def _approval_facts(
    last: WindowOccurrence | None, approval: ApprovalStatus | None, problem: Problem | None
) -> Sequence[Fact]:
    if problem:
        # Without the policy nobody can tell whether it was approved.
        status = None if problem.reason == POLICY_MISSING else False
        return [Fact(type=APPROVED, status=status, reason=problem.reason, message=problem.message)]
    who, when = (approval.approved_by, approval.occurrence) if approval else (None, "")
    if who is None and last:
        who, when = last.approved_by, last.start_time
    return [Fact(type=APPROVED, status=True, reason=APPROVED, message=_approved(who, when))] if who else []


def _approved(user: str, occurrence: str) -> str:
    return f"{user} approved the opening of {occurrence}"


def _approval_events(
    before: ApprovalStatus | None, after: ApprovalStatus | None, problem: Problem | None
) -> Sequence[Announce]:
    was, now = (status.approved_by if status else None for status in (before, after))
    if after and now and (before is None or (was, before.occurrence, before.generation) != _key(after)):
        return [Announce(type=EventType.NORMAL, reason=APPROVED, message=_approved(now, after.occurrence))]
    if before and was and after and after.occurrence == before.occurrence and problem:
        return [Announce(type=EventType.WARNING, reason=problem.reason, message=problem.message[:1000])]
    return []


def _key(approval: ApprovalStatus) -> tuple[str | None, str, int | None]:
    return approval.approved_by, approval.occurrence, approval.generation


def _checklist(stage: Stage, spec: WindowSpec, upcoming: datetime | None) -> Sequence[ChecklistItemStatus]:
    if spec.checklist is None:
        return ()
    last = stage.occurrence if stage.open or stage.is_open_to_users else None
    return checklist_status(stage.snapshot, spec.checklist, stage.status.checklist, last=last, upcoming=upcoming)


def _checklist_facts(snapshot: WindowSnapshot, checklist: Sequence[ChecklistItemStatus]) -> Sequence[Fact]:
    if not checklist:
        return []
    waiting = [item for item in checklist if item.required and item.ticked_by is None]
    if not waiting:
        return [Fact(type=CHECKLIST_COMPLETE, status=True, reason="AllTicked", message="everything required is ticked")]
    first = waiting[0]
    told = ", ".join(f"{item.name} ({item.moment.lower()})" for item in waiting)
    how = advice(snapshot, first.name, read_instant(first.occurrence))
    return [Fact(type=CHECKLIST_COMPLETE, status=False, reason="ItemsOpen", message=f"open: {told}. {how}")]


def _tick_events(before: Sequence[ChecklistItemStatus], after: Sequence[ChecklistItemStatus]) -> Sequence[Announce]:
    known = {(item.name, item.occurrence): item.ticked_by for item in before}
    return [
        Announce(
            type=EventType.NORMAL,
            reason="ItemTicked",
            message=f"{item.ticked_by} ticked {item.name} for the opening of {item.occurrence}",
        )
        for item in after
        if item.ticked_by and known.get((item.name, item.occurrence)) != item.ticked_by
    ]
