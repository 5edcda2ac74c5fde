"""The end of an opening: targets go back, the page goes when nobody can be on his way to it any more."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from upkeep.api.window import Overrun, TargetState, WindowPhase
from upkeep.domain.account import Cause, record
from upkeep.domain.decision import Decision, HoldFinalizer, PlaceCompanion, RemovePage
from upkeep.domain.instants import read_optional, write_instant
from upkeep.domain.window.mode import ModeStep, leave
from upkeep.domain.window.outcome import Ending, result
from upkeep.domain.window.plan import left_running, still_running
from upkeep.domain.window.silence import quiet
from upkeep.domain.window.stage import Stage

PAGE_LINGER: Final = timedelta(seconds=15)
"""How long the page stays after the restore: routers may still send somebody there for a moment."""
_LINGER_POLL: Final = timedelta(seconds=2)
"""How often a window that is deleted looks whether its targets are there: its namespace may be going as a whole."""
_BACK: Final = frozenset({TargetState.RESTORED, TargetState.CONFLICT})


def closed(stage: Stage, ending: Ending | Cause) -> Stage:
    """Let go of the targets; when nothing is left to write, the occurrence is over.

    A cause stands for an opening that did not come about.
    """
    step = leave(stage.snapshot, tuple(stage.current.targets))
    stage = replace(stage.becoming(targets=step.targets), events=(*stage.events, *step.events))
    # What was there before a crash in the middle of this must not come back.
    stage = replace(stage, actions=tuple(each for each in stage.actions if not isinstance(each, PlaceCompanion)))
    if not step.done:
        phase = WindowPhase.VERIFYING if stage.is_open_to_users else WindowPhase.PREPARING
        return replace(stage, phase=stage.phase or phase).doing(*step.writes).waking(stage.now)
    # Also where making it was the last thing that was done.
    mode = stage.spec.maintenance_mode if stage.spec else None
    elsewhere = mode is not None and mode.backend is not None
    page = stage.current.page_shown or (not elsewhere and bool(step.targets or mode))
    if stage.finalizer_held and not page:
        stage = stage.doing(HoldFinalizer(held=False))
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
        stage = stage.doing(*step.writes).waking(stage.now)
    closed_at = read_optional(stage.occurrence.closed_at) if stage.occurrence else None
    if closed_at and stage.current.page_shown:
        if stage.now < closed_at + PAGE_LINGER:
            return stage.waking(closed_at + PAGE_LINGER)
        stage = stage.doing(RemovePage()).becoming(page_shown=False)
    if stage.finalizer_held and step.done:
        stage = stage.doing(HoldFinalizer(held=False))
    return stage.doing(RemovePage()) if "occurrence" in stage.known.lost else stage


def dismantled(stage: Stage) -> Decision:
    """Deleted: put everything back, then let it go, and with it its page, when nobody can be on his way there."""
    hush = quiet(stage.snapshot, stage.status, None, stage.occurrence)
    known = tuple(stage.occurrence.targets) if stage.occurrence else ()
    step = leave(stage.snapshot, known)
    if not step.done:
        return Decision(status=stage.status, actions=step.writes, events=step.events, wake_at=stage.now)
    since, until = _back_since(stage), _page_needed_until(stage, step)
    events = () if since else step.events
    if until and stage.now < until:
        if since is None:
            stage = stage.becoming(restored_at=write_instant(stage.now))
        status = stage.status.model_copy(update={"occurrence": stage.occurrence})
        wake_at = min(until, stage.now + _LINGER_POLL)
        return Decision(status=status, actions=hush.actions, events=events, wake_at=wake_at)
    release = [HoldFinalizer(held=False)] if stage.finalizer_held else []
    return Decision(status=stage.status, actions=[*release, *hush.actions], events=events)


def _back_since(stage: Stage) -> datetime | None:
    """Since when its targets are back; None where they have just gone back, or nobody remembers."""
    over = stage.occurrence
    return read_optional(over.restored_at) or read_optional(over.closed_at) if over else None


def _page_needed_until(stage: Stage, step: ModeStep) -> datetime | None:
    """Until when routers may send somebody to the page; None where no target is left that could."""
    if stage.occurrence is None or not stage.finalizer_held:
        return None
    if all(target.state not in _BACK for target in step.targets):
        return None
    return (_back_since(stage) or stage.now) + PAGE_LINGER
