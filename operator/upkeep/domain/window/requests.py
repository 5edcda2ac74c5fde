"""What people ask of a window by annotating it: start-now, end-now, cancel, extend.

A value that is there for the first time is a request; the same value later is none, so that an annotation that stays
does nothing to the next opening. Who asked stands beside it, in `upkeep.dev/requested-by`.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from upkeep.actions.fields import format_duration, parse_duration
from upkeep.api.status import Trigger
from upkeep.api.window import CancelledOpening, HandledRequests, Intervention, Request, WindowOccurrence
from upkeep.domain.decision import EventType
from upkeep.domain.identity import BY_HAND_ANNOTATION, OWNER_KIND_LABEL
from upkeep.domain.instants import read_instant, write_instant
from upkeep.domain.preview import Foreseen, cancellations, upcoming
from upkeep.domain.window.freeze import freezes_over
from upkeep.domain.window.stage import Stage

REQUESTED_BY: Final = "upkeep.dev/requested-by"
_LONGEST: Final = 128


def with_requests(stage: Stage) -> Stage:
    """The stage with what is asked for anew; what is not there any more is forgotten."""
    annotations = _annotations(stage.snapshot.resource)
    present = {request: annotations[request.annotation] for request in Request if request.annotation in annotations}
    known = stage.status.requests or HandledRequests()
    remembered = HandledRequests(**{request.field: value for request, value in present.items()})
    asked = {request: value for request, value in present.items() if getattr(known, request.field) != value}
    forgotten = "requests" in stage.known.lost
    return replace(
        stage,
        requests=remembered if present else None,
        asked={} if forgotten else asked,
        asked_by=annotations.get(REQUESTED_BY, ""),
    )


def _annotations(resource: Mapping[str, Any]) -> dict[str, str]:
    found = resource["metadata"].get("annotations") or {}
    return {name: str(value)[:_LONGEST] for name, value in found.items()}


def while_closed(stage: Stage) -> Stage:
    """Carry out what can be asked of a window that is closed."""
    for request, value in stage.asked.items():
        match request:
            case Request.START_NOW if problem := _start_problem(stage):
                stage = _refused(stage, request, value, problem)
            case Request.CANCEL:
                stage = _next_cancelled(stage)
            case Request.END_NOW | Request.EXTEND:
                stage = _refused(stage, request, value, "it is not open")
    return stage


def wants_start(stage: Stage) -> bool:
    """Whether somebody asked for an opening now, and there is nothing against it but the gates."""
    return Request.START_NOW in stage.asked and stage.spec is not None and _start_problem(stage) is None


def while_open(stage: Stage) -> Stage:
    """Carry out what can be asked of a window that is open, or about to."""
    for request, value in stage.asked.items():
        match request:
            case Request.START_NOW:
                stage = _refused(stage, request, value, "it is open already, or about to")
            case Request.EXTEND:
                stage = _extended(stage, value)
            case Request.END_NOW | Request.CANCEL:
                stage = intervened(stage, request, value)
                if stage.is_open_to_users:
                    stage = stage.becoming(end_time=write_instant(stage.now))
                    stage = stage.saying("WindowEnded", f"ended early{by(stage)}")
    return stage


def ended_by_request(occurrence: WindowOccurrence) -> Intervention | None:
    """The request that ended an opening early, or called it off; None where nobody asked for that."""
    ends = (each for each in occurrence.interventions if each.request in {Request.END_NOW, Request.CANCEL})
    return next(ends, None)


def taken_back(stage: Stage) -> bool:
    """Whether what an opening serves is not asked for any more: start-now, or maintenance by hand."""
    metadata = stage.snapshot.resource["metadata"]
    annotations = metadata.get("annotations") or {}
    if stage.occurrence and stage.occurrence.trigger is Trigger.MANUAL:
        return Request.START_NOW.annotation not in annotations
    return OWNER_KIND_LABEL in (metadata.get("labels") or {}) and BY_HAND_ANNOTATION not in annotations


def intervened(stage: Stage, request: Request, value: str) -> Stage:
    """With a note of what was asked for."""
    note = Intervention(request=request, value=value, by=stage.asked_by, time=write_instant(stage.now))
    return stage.becoming(interventions=(*stage.current.interventions, note)[-20:])


def by(stage: Stage) -> str:
    """Who asked, as a part of a sentence."""
    return f" by {stage.asked_by}" if stage.asked_by else ""


def foreseen(stage: Stage) -> tuple[Foreseen, ...]:
    """What lies ahead of the window."""
    if stage.spec is None:
        return ()
    off = cancellations(stage.cancelled)
    return upcoming(stage.spec, stage.now, freezes=freezes_over(stage.snapshot), cancelled=off)


def still_cancelled(stage: Stage) -> tuple[CancelledOpening, ...]:
    """The cancelled openings whose time has not come; what was due before is accounted for by now."""
    return tuple(each for each in stage.cancelled if read_instant(each.start_time) > stage.now)


def _start_problem(stage: Stage) -> str | None:
    if stage.spec is None:
        return "its spec cannot be read"
    if stage.spec.suspend:
        return "it is suspended: set spec.suspend to false"
    if stage.spec.schedule is None and stage.timetable and stage.timetable.next_after(stage.now):
        return "it opens once, and has not done so yet: set spec.startAt to now"
    return None


def _next_cancelled(stage: Stage) -> Stage:
    following = next((each.opening.start for each in foreseen(stage) if each.opens), None)
    if following is None:
        return _refused(
            stage, Request.CANCEL, stage.asked[Request.CANCEL], "nothing lies ahead that could be cancelled"
        )
    entry = CancelledOpening(start_time=write_instant(following), by=stage.asked_by)
    stage = replace(stage, cancelled=(*stage.cancelled, entry)[-20:])
    return stage.saying("WindowCancelled", f"the opening of {entry.start_time} was cancelled{by(stage)}")


def _extended(stage: Stage, value: str) -> Stage:
    """Move the end; the value counts from the end as it was planned, so that asking twice does not extend twice."""
    try:
        extra = parse_duration(value)
        end = stage.end - parse_duration(stage.current.extended_by or "0s") + extra
    except (ValueError, OverflowError):
        return _refused(stage, Request.EXTEND, value, "write a duration, for example 30m")
    if end <= stage.now:
        return _refused(stage, Request.EXTEND, value, "it would have ended already: use end-now")
    stage = intervened(stage, Request.EXTEND, value)
    stage = stage.becoming(end_time=write_instant(end), extended_by=format_duration(extra))
    return stage.saying("WindowExtended", f"open until {stage.current.end_time}: extended by {value}{by(stage)}")


def _refused(stage: Stage, request: Request, value: str, why: str) -> Stage:
    return stage.saying("RequestRefused", f"{request.annotation}={value!r}: {why}", EventType.WARNING)
