"""From an occurrence that is due to a window that is open: gates let it pass, the page comes up, targets go over."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from upkeep.api.status import Trigger
from upkeep.api.window import MaintenanceMode, Request, TargetState, TargetStatus, WindowOccurrence, WindowPhase
from upkeep.domain.account import Cause, Reason, missed, record, records, skipped
from upkeep.domain.decision import EventType, HoldFinalizer, ShowPage
from upkeep.domain.instants import write_instant
from upkeep.domain.openings import Opening, declared
from upkeep.domain.pause import Pause
from upkeep.domain.preview import cancellations
from upkeep.domain.schedule import occurrence_end
from upkeep.domain.timetable import Mark
from upkeep.domain.window.absence import absence, withdrawn
from upkeep.domain.window.closing import closed
from upkeep.domain.window.companions import has_companions
from upkeep.domain.window.control import with_approval
from upkeep.domain.window.gates import verdict
from upkeep.domain.window.held import Held
from upkeep.domain.window.mode import enter, survey
from upkeep.domain.window.outcome import Ending
from upkeep.domain.window.requests import ended_by_request, intervened, taken_back, wants_start
from upkeep.domain.window.stage import Stage

PREPARATION: Final = timedelta(seconds=60)
"""How long before the start the page is brought up, so that it answers when the window opens."""
PAGE_POLL: Final = timedelta(seconds=1)
_TAKEN_BACK: Final = skipped(Reason.CANCELLED, "what asked for it was taken back before it opened")


def without_abandoned(stage: Stage, mark: Mark) -> Stage:
    """Account for what was due of a schedule that is not there any more."""
    if stage.spec is None:
        return stage
    due = mark.abandoned(declared(stage.spec), stage.now)
    changed = missed(Reason.SCHEDULE_CHANGED, "the schedule was changed before it could open")
    pause = Pause.of(stage.status)
    return stage.recording(*records(due.times, lambda time: pause.cause(time) or changed, more=due.truncated))


def with_next_occurrence(stage: Stage) -> Stage:
    """Account for what was due, and begin an opening whose time has come."""
    spec, timetable, status = stage.spec, stage.timetable, stage.status
    if spec is None or timetable is None:
        return stage
    lead = PREPARATION if (spec.maintenance_mode or spec.requires) and not spec.suspend else timedelta(0)
    due = timetable.due(stage.now + lead)
    stage = stage.waking(due.wake_at - lead if due.wake_at else None)
    paused = Pause.of(status).ends(suspend=spec.suspend)
    if due.latest is None or (spec.suspend and not paused):
        return stage
    unopened = timetable.unrun(due.earlier, lambda start: absence(status, start), ran=(), more=due.more)
    stage = replace(stage, handled=due.latest).recording(*unopened)
    end = occurrence_end(due.latest, spec.duration)
    obstacle = timetable.exclusion(due.latest) or _cancelled(stage, due.latest)
    obstacle = obstacle or _obstacle(stage, due.latest, end, paused=paused)
    if obstacle:
        return stage.recording(record(due.latest, obstacle)).waking(stage.now)
    return _with_occurrence(stage, due.latest, end, Trigger.SCHEDULE)


def with_manual_occurrence(stage: Stage) -> Stage:
    """Begin an opening that somebody asked for."""
    if stage.spec is None or not wants_start(stage):
        return stage
    start = stage.now.replace(microsecond=0)
    stage = _with_occurrence(stage, start, occurrence_end(start, stage.spec.duration), Trigger.MANUAL)
    return intervened(stage, Request.START_NOW, stage.asked[Request.START_NOW]).waking(stage.now)


def _with_occurrence(stage: Stage, start: datetime, end: datetime, trigger: Trigger) -> Stage:
    before, mode = stage.occurrence, stage.spec.maintenance_mode if stage.spec else None
    begun = WindowOccurrence(
        start_time=write_instant(start),
        end_time=write_instant(end),
        trigger=trigger,
        # Without a page of its own it has to take down that of the one before.
        page_shown=bool(before and before.page_shown and not mode),
        targets=_targets(stage),
        companions=has_companions(mode),
    )
    return replace(stage, occurrence=begun)


def _cancelled(stage: Stage, start: datetime) -> Cause | None:
    told = cancellations(stage.cancelled).get(start)
    return skipped(Reason.CANCELLED, f"it was {told}") if told else None


def _obstacle(stage: Stage, start: datetime, end: datetime, *, paused: bool) -> Cause | None:
    """Why an occurrence cannot open any more; None where it can."""
    if end <= stage.now and taken_back(stage):
        return _TAKEN_BACK
    if end <= stage.now or (paused and start <= stage.now):
        return absence(stage.status, start)
    refused = next((target for target in _targets(stage) if target.state is TargetState.REFUSED), None)
    if refused:
        return skipped(Reason.TARGET_REFUSED, refused.message)
    if stage.problem and stage.problem.reason == "InvalidPlan":
        return skipped(Reason.INVALID_SPEC, stage.problem.message)
    return None


def _targets(stage: Stage) -> Sequence[TargetStatus]:
    mode = stage.spec.maintenance_mode if stage.spec else None
    return survey(stage.snapshot, mode) if mode else ()


def begins(stage: Stage) -> bool:
    """Whether an occurrence begins just now of which a status must be written before anything is done for it.

    A page is found again by it; and what somebody asked for has no other memory of when it began.
    """
    known = stage.status.occurrence
    anew = known is None or known.start_time != stage.current.start_time
    shown = stage.spec is not None and stage.spec.maintenance_mode is not None
    return anew and (shown or stage.current.trigger is Trigger.MANUAL)


def prepared(stage: Stage) -> Stage:
    """Open when the time has come, nothing holds it back, and its page answers."""
    stage = replace(stage, phase=WindowPhase.PREPARING)
    ending = _unopened(stage) or _verdict(stage)
    if isinstance(ending, Held):
        return _waiting(stage, ending)
    if ending:
        return closed(stage, ending)
    if stage.current.waiting_for:
        stage = stage.becoming(waiting_for=None)
    if stage.spec and stage.spec.maintenance_mode:
        return _entered(stage, stage.spec.maintenance_mode)
    return stage.waking(stage.start) if stage.now < stage.start else begun(stage)


def _entered(stage: Stage, mode: MaintenanceMode) -> Stage:
    """Bring up the page; from the start on, when it answers, send the users of the targets to it.

    What they are sent to instead of a page is there already: a gate has seen to that.
    """
    if mode.backend is None and not stage.current.page_shown:
        stage = stage.doing(ShowPage(until=stage.end)).becoming(page_shown=True)
        return stage.waking(stage.now + PAGE_POLL, stage.end)
    if stage.now < stage.start:
        return stage.waking(stage.start)
    if not stage.snapshot.page_ready:
        return stage.waking(stage.now + PAGE_POLL, stage.end)
    if not stage.finalizer_held:
        return stage.doing(HoldFinalizer(held=True)).waking(stage.now)
    step = enter(stage.snapshot, mode, tuple(stage.current.targets), until=stage.end)
    stage = stage.becoming(targets=step.targets)
    if step.refused:
        return closed(stage.saying("TargetRefused", step.refused.message, EventType.WARNING), Ending.REFUSED)
    return begun(stage) if step.done else stage.doing(*step.writes).waking(stage.now)


def begun(stage: Stage) -> Stage:
    """Maintenance begins: from here on it is brought to its end in order."""
    held = sum(target.state is TargetState.MAINTENANCE for target in stage.current.targets)
    shown = f", {held} in maintenance mode" if held else ""
    stage = with_approval(stage.becoming(opened_at=write_instant(stage.now)))
    stage = stage.saying("WindowOpened", f"open until {stage.current.end_time}{shown}")
    return replace(stage, phase=WindowPhase.ACTIVE).waking(stage.now)


def _unopened(stage: Stage) -> Ending | Cause | None:
    """Why what is in preparation is not going to open; None where it is."""
    if request := ended_by_request(stage.current):
        who = f" by {request.by}" if request.by else ""
        return skipped(Reason.CANCELLED, f"it was cancelled{who} before it opened")
    if taken_back(stage):
        return _TAKEN_BACK
    by_schedule = stage.current.trigger is Trigger.SCHEDULE
    if by_schedule and stage.spec and stage.timetable:
        cause = withdrawn(stage.spec, stage.timetable, stage.start)
        if cause:
            return cause
    if stage.now < stage.end:
        return None
    if isinstance(refused := _verdict(stage), Cause):
        return refused
    held = stage.current.waiting_for
    return skipped(Reason.HELD, f"{held} held it back until its end") if held else Ending.NOT_OPENED


def _verdict(stage: Stage) -> Held | Cause | None:
    if stage.spec is None:
        return None
    return verdict(stage.snapshot, stage.spec, Opening(start=stage.start, end=stage.end))


def _waiting(stage: Stage, held: Held) -> Stage:
    """A gate holds the opening back: say so once, and ask again."""
    if stage.current.waiting_for != held.reason:
        stage = stage.becoming(waiting_for=held.reason).saying("WindowHeld", f"{held.reason}: {held.message}")
    until = stage.start if stage.now < stage.start else stage.end
    return stage.doing(*held.starts).waking(held.wake_at, until)
