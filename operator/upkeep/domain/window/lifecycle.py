"""The life of a window: scheduled → preparing → active → verifying → closed, one step a decision.

Each decision does the next step and says when to look again; what was done stands in the status and, for maintenance
mode, on the targets themselves. Whatever happens, a window that is open is brought to its end: also when it was
edited, suspended or deleted meanwhile.
"""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from pydantic import ValidationError

from upkeep.api.window import WindowPhase, WindowSpec, WindowStatus
from upkeep.domain.account import Reason, missed
from upkeep.domain.conditions import Problem
from upkeep.domain.decision import Decision
from upkeep.domain.history import Ledger, expired_jobs
from upkeep.domain.instants import read_instant, write_instant, write_optional
from upkeep.domain.openings import declared, read_spec, schedule_of
from upkeep.domain.pause import INVALID_SCHEDULE, INVALID_SPEC
from upkeep.domain.recollection import recall
from upkeep.domain.schedule import ScheduleError
from upkeep.domain.spec import explain
from upkeep.domain.timetable import Mark, Timetable
from upkeep.domain.window.closing import closed, dismantled, tidied
from upkeep.domain.window.control import control
from upkeep.domain.window.extent import with_end, with_page
from upkeep.domain.window.freeze import is_freeze, lived
from upkeep.domain.window.opening import (
    begins,
    prepared,
    with_manual_occurrence,
    with_next_occurrence,
    without_abandoned,
)
from upkeep.domain.window.outcome import Ending, conditions, spec_problem
from upkeep.domain.window.requests import foreseen, still_cancelled, while_closed, while_open, with_requests
from upkeep.domain.window.requires import is_check
from upkeep.domain.window.running import opened
from upkeep.domain.window.silence import quiet
from upkeep.domain.window.snapshot import WindowSnapshot
from upkeep.domain.window.stage import Stage
from upkeep.domain.window.watching import health, watched

PROBLEM_POLL: Final = timedelta(seconds=30)
KEPT_JOBS: Final = 3
_BEFORE_OPENING: Final = frozenset({WindowPhase.SCHEDULED, WindowPhase.PREPARING})


def decide(snapshot: WindowSnapshot) -> Decision:
    """What should happen now."""
    known = recall(WindowStatus, snapshot.resource.get("status"))
    status = known.status
    stage = Stage(
        snapshot=snapshot,
        known=known,
        ledger=Ledger.of(known),
        occurrence=status.occurrence,
        requests=status.requests,
        cancelled=tuple(status.cancelled),
    )
    if snapshot.deleted:
        return dismantled(stage)
    mark = Mark.of(known, snapshot.resource, anchor=status.schedule_anchor, now=snapshot.now)
    try:
        spec = read_spec(snapshot.resource)
        timetable = _timetable(snapshot, spec, mark)
    except ValidationError as error:
        return _unreadable(stage, Problem(reason=INVALID_SPEC, message=explain(error)))
    except ScheduleError as error:
        return _unreadable(stage, Problem(reason=INVALID_SCHEDULE, message=str(error)))
    under_way = stage.current.tasks if stage.open else ()
    stage = replace(stage, spec=spec, timetable=timetable, problem=spec_problem(snapshot, spec, under_way))
    stage = with_requests(without_abandoned(stage, mark))
    if is_freeze(stage):
        return _decision(lived(stage))
    if stage.open:
        stage = while_open(stage)
    else:
        stage = with_next_occurrence(while_closed(stage))
        stage = stage if stage.open else with_manual_occurrence(stage)
    if not stage.open:
        return _decision(watched(tidied(stage)))
    if begins(stage):
        return _decision(replace(stage, phase=WindowPhase.PREPARING).waking(stage.now))
    stage = with_page(with_end(stage))
    return _decision(opened(stage) if stage.is_open_to_users else prepared(stage))


def _timetable(snapshot: WindowSnapshot, spec: WindowSpec, mark: Mark) -> Timetable:
    anchor, since = mark.anchored(declared(spec), snapshot.now)
    return Timetable(schedule=schedule_of(spec), anchor=anchor, since=since, uid=snapshot.resource["metadata"]["uid"])


def _unreadable(stage: Stage, problem: Problem) -> Decision:
    """A spec that cannot be read opens nothing, and what is open is closed."""
    stage = replace(stage, problem=problem)
    if not stage.open:
        return _decision(replace(tidied(stage), phase=WindowPhase.FAILED))
    if stage.is_open_to_users:
        return _decision(closed(stage, Ending.INVALID_SPEC))
    return _decision(closed(stage, missed(Reason.INVALID_SPEC, "the spec was made invalid before it opened")))


def _decision(stage: Stage) -> Decision:
    """The stage as a decision."""
    final = stage.waking(stage.now + PROBLEM_POLL) if stage.problem else stage
    cancelled = still_cancelled(stage)
    final = final.waking(*(read_instant(each.start_time) for each in cancelled))
    spec, status, timetable = stage.spec, stage.status, stage.timetable
    ahead = foreseen(stage) if spec else ()
    following = next((each.opening.start for each in ahead if each.opens), None)
    since = status.suspended_since
    if spec:
        since = (since or write_instant(stage.now)) if spec.suspend else None
    under_control = control(final, following)
    phase = final.phase or _resting_phase(final, following)
    hush = quiet(stage.snapshot, status, spec, stage.occurrence)
    if under_control.awaiting and phase in _BEFORE_OPENING:
        phase = WindowPhase.AWAITING_APPROVAL
    written = status.model_copy(
        update={
            **stage.ledger.remembered(),
            "observed_generation": stage.snapshot.resource["metadata"].get("generation"),
            "phase": phase,
            "next_schedule_time": write_optional(following),
            "upcoming": tuple(each.written() for each in ahead),
            "last_schedule_time": write_optional(stage.handled) or status.last_schedule_time,
            "suspended_since": since,
            "schedule_anchor": timetable.anchor if timetable else status.schedule_anchor,
            "requests": stage.requests,
            "cancelled": cancelled,
            "occurrence": stage.occurrence and stage.occurrence.model_copy(update={"silence": hush.silence}),
            "approval": under_control.approval,
            "checklist": under_control.checklist,
            "conditions": conditions(
                stage.snapshot,
                status,
                stage.ledger,
                stage.problem,
                phase=phase,
                upcoming=following,
                besides=(*under_control.facts, *health(stage), *((hush.fact,) if hush.fact else ())),
            ),
        }
    )
    verifications = [run for run in stage.snapshot.runs if run.owner_uid == stage.snapshot.identity.uid]
    is_closed = not stage.open
    return Decision(
        status=written,
        actions=(*stage.actions, *hush.actions),
        events=(*stage.events, *under_control.events, *hush.events, *stage.ledger.announcements),
        cleanup=expired_jobs(
            verifications, recorded=lambda run: is_closed or is_check(run), good=KEPT_JOBS, bad=KEPT_JOBS
        ),
        wake_at=final.waking(hush.wake_at).wake_at,
    )


def _resting_phase(stage: Stage, upcoming: datetime | None) -> WindowPhase:
    """The phase while nothing is open."""
    if stage.problem and stage.problem.reason.startswith("Invalid"):
        return WindowPhase.FAILED
    if stage.spec and stage.spec.suspend:
        return WindowPhase.SUSPENDED
    if upcoming:
        return WindowPhase.SCHEDULED
    last = stage.ledger.history[0] if stage.ledger.history else None
    if last is None:
        return WindowPhase.SCHEDULED
    if last.outcome is None:
        return WindowPhase.CANCELLED if last.reason == Reason.CANCELLED else WindowPhase.SKIPPED
    return WindowPhase.COMPLETED if last.outcome.good else WindowPhase.FAILED
