"""How long an opening lasts, also when that is changed while it is under way."""

from datetime import timedelta
from typing import Final

from upkeep.actions.fields import parse_duration
from upkeep.domain.decision import ShowPage
from upkeep.domain.instants import write_instant
from upkeep.domain.schedule import occurrence_end
from upkeep.domain.window.requests import ended_by_request
from upkeep.domain.window.stage import Stage

_MOMENT: Final = timedelta(seconds=1)


def with_end(stage: Stage) -> Stage:
    """The opening under way with the end that follows from the duration as it is now.

    An opening that the schedule does not know any more keeps the end that it had, and so does one that was ended.
    """
    if stage.spec is None or stage.timetable is None or ended_by_request(stage.current):
        return stage
    if stage.start not in stage.timetable.schedule.latest_until(stage.start - _MOMENT, stage.start).times:
        return stage
    end = occurrence_end(stage.start, stage.spec.duration + parse_duration(stage.current.extended_by or "0s"))
    return stage.becoming(end_time=write_instant(end))


def with_page(stage: Stage) -> Stage:
    """The opening under way with a page that says what the spec says now; its status must hold the end already."""
    before, seen = stage.status.occurrence, stage.status.observed_generation
    mode = stage.spec.maintenance_mode if stage.spec else None
    if before is None or not stage.current.page_shown or mode is None or mode.backend:
        return stage
    edited = seen != stage.snapshot.resource["metadata"].get("generation")
    moved = before.end_time != stage.current.end_time
    told = (edited or moved) and stage.now < stage.end
    return stage.doing(ShowPage(until=stage.end)) if told else stage
