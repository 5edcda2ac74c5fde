"""Freezes and windows: a gate that keeps windows shut while one of them lasts, and the life of a freeze itself.

A freeze needs nothing but its spec to forbid; what it does here is to tell people: when it begins, that it lasts, and
that it is over.
"""

from dataclasses import replace
from datetime import datetime

from upkeep.actions.contract import Outcome
from upkeep.api.status import Ending, RunSummary, Trigger
from upkeep.api.window import WindowKind, WindowOccurrence, WindowPhase, WindowSpec
from upkeep.domain.account import Cause, Reason, missed
from upkeep.domain.decision import Announce, EventType
from upkeep.domain.freeze import Freeze, Frost, freezes_of
from upkeep.domain.instants import write_instant
from upkeep.domain.openings import Opening, opening_at
from upkeep.domain.pause import Pause
from upkeep.domain.preview import frost_of
from upkeep.domain.window.absence import absence
from upkeep.domain.window.closing import closed, tidied
from upkeep.domain.window.snapshot import WindowSnapshot
from upkeep.domain.window.stage import Stage


def freeze_gate(snapshot: WindowSnapshot, spec: WindowSpec, opening: Opening) -> Cause | None:
    """Skipped(Frozen) where a freeze covers the start of an opening, or the moment at which it would really open."""
    freezes = freezes_over(snapshot)
    moments = dict.fromkeys((opening.start, max(opening.start, snapshot.now)))
    frosts = (frost_of(spec, freezes, moment) for moment in moments)
    return next((frost.cause for frost in frosts if frost), None)


def frozen(snapshot: WindowSnapshot, spec: WindowSpec, at: datetime) -> Frost | None:
    """What forbids to begin anything more in a window at an instant; None where nothing does.

    Its `until` is when to look again, its `message` what to tell.
    """
    return frost_of(spec, freezes_over(snapshot), at)


def freezes_over(snapshot: WindowSnapshot) -> tuple[Freeze, ...]:
    """The freezes that apply to the window's namespace."""
    return freezes_of(snapshot.freezes)


def is_freeze(stage: Stage) -> bool:
    """Whether a window is a freeze, or was one when its status was written."""
    lasts = stage.open and stage.status.phase == WindowPhase.FROZEN
    return lasts or (stage.spec is not None and stage.spec.kind is WindowKind.FREEZE)


def lived(stage: Stage) -> Stage:
    """The life of a freeze, one step of it."""
    if stage.spec is None or stage.timetable is None:
        return stage
    freezes = stage.spec.kind is WindowKind.FREEZE
    if stage.open and stage.status.phase != WindowPhase.FROZEN:
        return closed(stage, missed(Reason.SCHEDULE_CHANGED, "it was made a freeze"))
    current = opening_at(stage.spec, stage.now) if freezes and not stage.spec.suspend else None
    stage = _unasked(_accounted(stage, current))
    if stage.open and (current is None or current.start != stage.start):
        return _ended(stage).waking(stage.now)
    if current is None:
        return tidied(stage)
    stage = stage.becoming(end_time=write_instant(current.end)) if stage.open else _begun(stage, current)
    return replace(stage, phase=WindowPhase.FROZEN).waking(current.end)


def _accounted(stage: Stage, current: Opening | None) -> Stage:
    """Account for what was due, and wake when the next one is; what lasts just now is recorded at its end."""
    if stage.timetable is None or stage.spec is None:
        return stage
    timetable, status = stage.timetable, stage.status
    due = timetable.due(stage.now)
    paused = Pause.of(status).ends(suspend=stage.spec.suspend)
    if stage.spec.suspend and not paused:
        return stage
    stage = stage.waking(due.wake_at)
    if due.latest is None:
        return stage
    lasting = {current.start} if current else set()
    lasting |= {stage.start} if stage.open else set()
    times = (*due.earlier, due.latest)
    unrun = timetable.unrun(times, lambda start: absence(status, start), ran=lasting, more=due.more)
    return replace(stage, handled=due.latest).recording(*unrun)


def _unasked(stage: Stage) -> Stage:
    """What can be asked of a window cannot be asked of a freeze: what it forbids stands in its spec alone."""
    for request, value in stage.asked.items():
        why = "it is a freeze: change its spec, suspend it, or delete it"
        stage = stage.saying("RequestRefused", f"{request.annotation}={value!r}: {why}", EventType.WARNING)
    return stage


def _begun(stage: Stage, opening: Opening) -> Stage:
    before = stage.occurrence
    occurrence = WindowOccurrence(
        start_time=write_instant(opening.start),
        end_time=write_instant(opening.end),
        opened_at=write_instant(stage.now),
        page_shown=bool(before and before.page_shown),
    )
    why = f": {stage.spec.reason}" if stage.spec and stage.spec.reason else ""
    return replace(stage, occurrence=occurrence).saying(
        "FreezeBegan", f"no maintenance begins until {occurrence.end_time}{why}"
    )


def _ended(stage: Stage) -> Stage:
    """The freeze is over: in its time, or because somebody has suspended or edited it."""
    now, occurrence = write_instant(stage.now), stage.current
    early = "" if stage.now >= stage.end else f", before its end at {occurrence.end_time}"
    summary = RunSummary(
        ending=Ending.RAN,
        message=f"froze until {now}{early}",
        scheduled_time=occurrence.start_time,
        trigger=Trigger.SCHEDULE,
        start_time=occurrence.opened_at,
        completion_time=now,
        outcome=Outcome.OK,
    )
    event = Announce(type=EventType.NORMAL, reason="FreezeEnded", message=f"maintenance may begin again{early}")
    stage = stage.becoming(closed_at=now)
    return replace(stage, phase=None, ledger=stage.ledger.with_result(summary, event))
