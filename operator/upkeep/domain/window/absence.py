"""Why an opening of a window does not come about."""

from datetime import datetime, timedelta
from typing import Final

from upkeep.api.window import WindowSpec, WindowStatus
from upkeep.domain.account import Cause, Reason, missed
from upkeep.domain.instants import read_optional
from upkeep.domain.pause import Pause
from upkeep.domain.timetable import Timetable

_MOMENT: Final = timedelta(seconds=1)


def absence(status: WindowStatus, start: datetime) -> Cause:
    """Why an opening was not opened in its time: a pause, the opening before it, or nobody was there."""
    cause, last = Pause.of(status).cause(start), status.occurrence
    if cause:
        return cause
    closed_at = read_optional(last.closed_at) if last else None
    if last and closed_at and start < closed_at:
        return missed(Reason.CONCURRENCY_FORBIDDEN, f"the opening of {last.start_time} was not over yet")
    return missed(Reason.OPERATOR_DOWN, "nobody was there to open it in its time")


def withdrawn(spec: WindowSpec, timetable: Timetable, start: datetime) -> Cause | None:
    """Why an opening in preparation must not open after all: its window was edited; None where it may."""
    if spec.suspend:
        return missed(Reason.SUSPENDED, "it was suspended before it opened")
    if start not in timetable.schedule.latest_until(start - _MOMENT, start).times:
        return missed(Reason.SCHEDULE_CHANGED, "the schedule was changed before it opened")
    return timetable.exclusion(start)
