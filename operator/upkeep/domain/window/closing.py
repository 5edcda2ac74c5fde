"""The end of an opening: targets go back, the page goes when nobody can be on his way to it any more."""

from dataclasses import replace
from datetime import timedelta
from typing import Final

from upkeep.api.window import Overrun, WindowPhase
from upkeep.domain.account import Cause, record
from upkeep.domain.decision import Decision, HoldFinalizer, RemovePage
from upkeep.domain.instants import read_optional, write_instant
from upkeep.domain.window.mode import leave
from upkeep.domain.window.outcome import Ending, result
from upkeep.domain.window.plan import left_running, still_running
from upkeep.domain.window.silence import quiet
from upkeep.domain.window.stage import Stage

PAGE_LINGER: Final = timedelta(seconds=15)
"""How long the page stays after the restore: routers may still send somebody there for a moment."""


def closed(stage: Stage, ending: Ending | Cause) -> Stage:
    """Let go of the targets; when nothing is left to write, the occurrence is over.

    A cause stands for an opening that did not come about.
    """
    step = leave(stage.snapshot, tuple(stage.current.targets))
    stage = replace(stage.becoming(targets=step.targets), events=(*stage.events, *step.events))
    if not step.done:
        phase = WindowPhase.VERIFYING if stage.is_open_to_users else WindowPhase.PREPARING
        return replace(stage, phase=stage.phase or phase).doing(*step.patches).waking(stage.now)
    if stage.finalizer_held:
        stage = stage.doing(HoldFinalizer(held=False))
    # Also where making it was the last thing that was done.
    page = stage.current.page_shown or bool(step.targets) or bool(stage.spec and stage.spec.maintenance_mode)
    overrun = stage.spec.overrun if stage.spec else Overrun.FINISH
    overrun = Overrun.STOP if ending is Ending.CANCELLED else overrun
    if overrun is Overrun.STOP:
        stage = stage.doing(*still_running(stage.snapshot, stage.current.tasks))
    over = {
        "closed_at": write_instant(stage.now),
        "page_shown": page,
        "tasks": left_running(stage.current.tasks, overrun),
    }
    stage = replace(stage.becoming(**over), phase=None, wake_at=None).waking(stage.now)
    if isinstance(ending, Cause):
        return stage.recording(record(stage.start, ending))
    summary, event = result(stage.snapshot, stage.current, ending)
    return replace(stage, ledger=stage.ledger.with_result(summary, event))


def tidied(stage: Stage) -> Stage:
    """Nothing is open: take down the page when nobody can be on his way to it any more."""
    step = leave(stage.snapshot, tuple(stage.occurrence.targets) if stage.occurrence else ())
    if not step.done:
        stage = stage.doing(*step.patches).waking(stage.now)
    elif stage.finalizer_held:
        stage = stage.doing(HoldFinalizer(held=False))
    if "occurrence" in stage.known.lost:
        return stage.doing(RemovePage())
    closed_at = read_optional(stage.occurrence.closed_at) if stage.occurrence else None
    if closed_at is None or not stage.current.page_shown:
        return stage
    if stage.now < closed_at + PAGE_LINGER:
        return stage.waking(closed_at + PAGE_LINGER)
    return stage.doing(RemovePage()).becoming(page_shown=False)


def dismantled(stage: Stage) -> Decision:
    """Deleted: put everything back, then let it go."""
    hush = quiet(stage.snapshot, stage.status, None, stage.occurrence)
    known = tuple(stage.occurrence.targets) if stage.occurrence else ()
    step = leave(stage.snapshot, known)
    if not step.done:
        return Decision(status=stage.status, actions=step.patches, events=step.events, wake_at=stage.now)
    release = [HoldFinalizer(held=False)] if stage.finalizer_held else []
    return Decision(status=stage.status, actions=[*release, *hush.actions], events=step.events)
