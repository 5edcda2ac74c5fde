"""While a window is open: its plan, then its verification."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from upkeep.api.window import Verification, WindowPhase, WindowSpec
from upkeep.domain.decision import EventType, StartRun
from upkeep.domain.history import LOST_MESSAGE, SETTLING, settled
from upkeep.domain.instants import read_optional
from upkeep.domain.run import Run, run_name
from upkeep.domain.window.closing import closed
from upkeep.domain.window.control import left_open, under_control, waiting_for_ticks
from upkeep.domain.window.extent import lasts_until_its_end
from upkeep.domain.window.freeze import frozen
from upkeep.domain.window.mode import enter
from upkeep.domain.window.outcome import Ending, task_events
from upkeep.domain.window.plan import Course, Progress, advance, window_occasion
from upkeep.domain.window.stage import Stage
from upkeep.domain.work import steps_work

VERIFICATION: Final = "verify"
TARGET_POLL: Final = timedelta(seconds=10)
"""How often an open window looks whether a target was made anew, or has come to match a selector."""


def opened(stage: Stage) -> Stage:
    """Run the plan, verify, and close."""
    over = stage.now >= stage.end
    stage = stage if over else _with_targets(stage)
    progress = Progress(tasks=())
    before = stage.current.tasks
    if stage.spec and stage.spec.plan:
        frost = frozen(stage.snapshot, stage.spec, stage.now)
        course = Course(start=stage.start, end=stage.end, cutoff=stage.spec.cutoff, closing=over, frost=frost)
        progress = advance(stage.snapshot, stage.spec.plan, course, before)
        stage = stage.waking(frost.until if frost else None)
    stage, progress = under_control(stage, progress)
    stage = stage.becoming(tasks=progress.tasks).doing(*progress.starts)
    stage = stage.waking(stage.end, progress.wake_at, _settling(stage))
    stage = replace(stage, events=(*stage.events, *task_events(before, progress.tasks)))
    if not over and (not progress.over or (stage.spec and lasts_until_its_end(stage.spec))):
        return replace(stage, phase=WindowPhase.ACTIVE)
    undone = left_open(stage)
    stage = waiting_for_ticks(stage, undone)
    if undone and not over:
        return replace(stage, phase=WindowPhase.ACTIVE)
    if stage.now < (until := _open_until(stage)):
        return replace(stage, phase=WindowPhase.ACTIVE).waking(until)
    if stage.spec and stage.spec.verify and stage.current.verified is None and not over:
        return _verified(stage, stage.spec, stage.spec.verify)
    unproven = stage.spec is not None and stage.spec.verify is not None and stage.current.verified is None
    if undone:
        return closed(stage.becoming(left_open=undone), Ending.CHECKLIST_INCOMPLETE)
    return closed(stage, Ending.DONE if progress.over and not unproven else Ending.OVERRAN)


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
    mode, opened_at = stage.spec.maintenance_mode if stage.spec else None, read_optional(stage.current.opened_at)
    if mode is None or opened_at is None or not stage.current.page_shown:
        return stage
    step = enter(stage.snapshot, mode, tuple(stage.current.targets), until=stage.end, opened=opened_at)
    stage = stage.becoming(targets=step.targets).doing(*step.patches).waking(stage.now + TARGET_POLL)
    return replace(stage, events=(*stage.events, *step.events))


def _verified(stage: Stage, spec: WindowSpec, verify: Verification) -> Stage:
    """Run the verification, and note how it went."""
    stage = replace(stage, phase=WindowPhase.VERIFYING)
    identity, occasion = stage.snapshot.identity, window_occasion(stage.snapshot, stage.start, VERIFICATION)
    run = _verification(stage)
    if run is None and stage.status.phase == WindowPhase.VERIFYING:
        stage = stage.saying("VerificationFailed", LOST_MESSAGE, EventType.WARNING)
        return stage.becoming(verified=False).waking(stage.now)
    if run is None:
        work = steps_work(identity, verify.steps, spec.connections, verify.timeout)
        name = run_name(identity.name, identity.uid, occasion)
        return stage.doing(StartRun(owner=identity, name=name, occasion=occasion, work=work))
    if not settled(run, stage.now):
        return stage
    passed = run.outcome is not None and run.outcome.good
    if not passed:
        stage = stage.saying("VerificationFailed", f"{run.name}: {run.message}", EventType.WARNING)
    return stage.becoming(verified=passed).waking(stage.now)


def _verification(stage: Stage) -> Run | None:
    occasion = window_occasion(stage.snapshot, stage.start, VERIFICATION)
    return next((run for run in stage.snapshot.runs if run.occasion == occasion), None)


def _settling(stage: Stage) -> datetime | None:
    ends = [run.finished or run.created for run in stage.snapshot.runs if not run.active]
    return min((end + SETTLING for end in ends if end + SETTLING > stage.now), default=None)
