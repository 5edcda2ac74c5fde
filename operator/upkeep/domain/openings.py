"""When a window is open, from its spec alone, so that everybody who asks gets the same answer."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from upkeep.api.window import Urgency, WindowSpec
from upkeep.domain.instants import read_instant, write_instant
from upkeep.domain.schedule import Schedule, ScheduleError, occurrence_end
from upkeep.domain.timetable import Declaration


@dataclass(frozen=True, slots=True, kw_only=True)
class Opening:
    """One occurrence of a window: it is open from `start` up to, and without, `end`."""

    start: datetime
    end: datetime


def read_spec(window: Mapping[str, Any]) -> WindowSpec:
    """The spec of a MaintenanceWindow, with the time at which an emergency opens that names none.

    Raises:
        ValidationError: it cannot be read.
    """
    spec = WindowSpec.model_validate(window.get("spec"))
    if spec.urgency is not Urgency.EMERGENCY or spec.start_at is not None:
        return spec
    start = read_instant(window["metadata"]["creationTimestamp"]) + (spec.notice_period or timedelta(0))
    return spec.model_copy(update={"start_at": write_instant(start)})


def declared(spec: WindowSpec) -> Declaration:
    """The schedule as the spec declares it."""
    return Declaration(cron=spec.schedule, instant=spec.start_at, zone=spec.time_zone, exclusions=spec.exclusions)


def schedule_of(spec: WindowSpec) -> Schedule:
    """The schedule of a window.

    Raises:
        ScheduleError: something in it is wrong.
    """
    schedule = declared(spec).schedule()
    if schedule is None:
        msg = "a window needs schedule or startAt"
        raise ScheduleError(msg)
    return schedule


def opening_at(spec: WindowSpec, now: datetime) -> Opening | None:
    """The newest opening that this time falls into, leaving out excluded ones; None while the window is closed.

    Raises:
        ScheduleError: the schedule is wrong.
    """
    return opening_in(schedule_of(spec), spec.duration, now)


def opening_in(schedule: Schedule, duration: timedelta, now: datetime) -> Opening | None:
    """The same for a schedule that was read already."""
    for start in reversed(schedule.latest_until(now - duration, now).times):
        if schedule.excluded(start) is None:
            return Opening(start=start, end=occurrence_end(start, duration))
    return None
