"""While a window is open: its plan, the way back where that failed, then its verification."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from upkeep.api.window import Request, WindowPhase, WindowSpec
from upkeep.domain.history import SETTLING
from upkeep.domain.window.closing import closed
from upkeep.domain.window.companions import has_companions
from upkeep.domain.window.control import left_open, under_control, waiting_for_ticks
from upkeep.domain.window.freeze import frozen
from upkeep.domain.window.mode import enter
from upkeep.domain.window.outcome import Ending, rollback_events, task_events
from upkeep.domain.window.plan import Course, Progress, advance
from upkeep.domain.window.requests import ended_by_request
from upkeep.domain.window.rollback import reverse, wanted
from upkeep.domain.window.selection import selected
from upkeep.domain.window.stage import Stage
from upkeep.domain.window.verification import due, verified

TARGET_POLL: Final = timedelta(seconds=10)
"""How often an open window looks whether a target was made anew, or has come to match a selector."""


def opened(stage: Stage) -> Stage:
    """Run the plan, verify, and close."""
    over = stage.now >= stage.end
    stage = stage if over else _with_targets(stage)
    progress = Progress(tasks=())
    before = stage.current.tasks
    if stage.spec and stage.spec.plan:
        stage, progress = _advanced(stage, stage.spec, closing=over)
    stage, progress = under_control(stage, progress)
    stage = stage.becoming(tasks=progress.tasks).doing(*progress.starts)
    stage = stage.waking(stage.end, progress.wake_at, _settling(stage))
    stage = replace(stage, events=(*stage.events, *task_events(before, progress.tasks)))
    if not progress.over and not over:
        return replace(stage, phase=WindowPhase.ACTIVE)
    undone = left_open(stage)
    stage = waiting_for_ticks(stage, undone)
    if undone and not over:
        return replace(stage, phase=WindowPhase.ACTIVE)
    if stage.now < (until := _open_until(stage)):
        return replace(stage, phase=WindowPhase.ACTIVE).waking(until)
    if stage.spec and wanted(stage.spec, stage.current):
        stage, back = _reversed(stage, closing=over)
        if not back and not over:
            return replace(stage, phase=WindowPhase.ROLLING_BACK)
    if stage.spec and not over and (verify := due(stage.spec, stage.current)):
        return verified(stage, stage.spec, verify)
    unproven = stage.spec is not None and stage.spec.verify is not None and stage.current.verified is None
    if request := ended_by_request(stage.current):
        return closed(stage, Ending.CANCELLED if request.request is Request.CANCEL else Ending.ENDED)
    if undone:
        return closed(stage.becoming(left_open=undone), Ending.CHECKLIST_INCOMPLETE)
    return closed(stage, Ending.DONE if progress.over and not unproven else Ending.OVERRAN)


def _advanced(stage: Stage, spec: WindowSpec, *, closing: bool) -> tuple[Stage, Progress]:
    """The plan of an open window, one step on; first of all it is written down which tasks it has."""
    before = stage.current.tasks
    if spec.plan is None:
        return stage, Progress(tasks=())
    selection = selected(stage.snapshot, spec.plan, before)
    if selection.is_news(before):
        stage = stage.saying("TasksSelected", message) if (message := selection.message()) else stage
        if not closing:
            return stage, Progress(tasks=selection.waiting(before), wake_at=stage.now)
    frost = frozen(stage.snapshot, spec, stage.now)
    course = Course(start=stage.start, end=stage.end, cutoff=spec.cutoff, closing=closing, frost=frost)
    progress = advance(stage.snapshot, selection.expanded, course, before)
    progress = replace(progress, tasks=selection.written(progress.tasks))
    return stage.waking(frost.until if frost else None), progress


def _open_until(stage: Stage) -> datetime:
    """Until when a window stays open that has no plan: to its end, but for the time that its verification may take.

    Others work in it: tasks and backups that name it, or people. One with a plan is done when its plan is, or when
    people have ticked off what they do meanwhile.
    """
    if stage.spec is None or stage.spec.plan is not None or stage.current.verified is not None:
        return stage.start
    if stage.spec.checklist and any(item.required for item in stage.spec.checklist.during):
        return stage.start
    return stage.end - (stage.spec.verify.timeout if stage.spec.verify else timedelta(0))


def _with_targets(stage: Stage) -> Stage:
    """Let what comes to be a target join, and go what is none any more."""
    mode = stage.spec.maintenance_mode if stage.spec else None
    if mode is None or not (mode.backend or stage.current.page_shown):
        return stage
    if mode.backend and not stage.snapshot.page_ready:
        # What is sent there stays; nobody else is sent to where nobody answers.
        return stage.waking(stage.now + TARGET_POLL)
    step = enter(stage.snapshot, mode, tuple(stage.current.targets), until=stage.end, opened=True)
    beside = stage.current.companions or has_companions(mode)
    stage = stage.becoming(targets=step.targets, companions=beside).doing(*step.writes).waking(stage.now + TARGET_POLL)
    return replace(stage, events=(*stage.events, *step.events))


def _reversed(stage: Stage, *, closing: bool) -> tuple[Stage, bool]:
    """One step back, and whether it was the last one."""
    before = stage.current.tasks
    reversal = reverse(stage.snapshot, before, start=stage.start, closing=closing)
    stage = stage.becoming(tasks=reversal.tasks).doing(*reversal.starts)
    return replace(stage, events=(*stage.events, *rollback_events(before, reversal.tasks))), reversal.over


def _settling(stage: Stage) -> datetime | None:
    ends = [run.finished or run.created for run in stage.snapshot.runs if not run.active]
    return min((end + SETTLING for end in ends if end + SETTLING > stage.now), default=None)
