"""Accounts for occurrences that did not run: every one of them ends up in exactly one record.

A few are recorded one by one; many of the same cause become one record with their number, so that a long absence
does not push everything else out of the history.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

from upkeep.api.status import Ending, OccurrenceRecord, Trigger
from upkeep.domain.instants import write_instant

LISTED: Final = 5
"""Up to this many occurrences of one cause are recorded one by one."""


class Reason(StrEnum):
    """Why an occurrence did not run."""

    OPERATOR_DOWN = "OperatorDown"
    SUSPENDED = "Suspended"
    DEADLINE_EXCEEDED = "DeadlineExceeded"
    WINDOW_CLOSED = "WindowClosed"
    CONCURRENCY_FORBIDDEN = "ConcurrencyForbidden"
    INVALID_SPEC = "InvalidSpec"
    SCHEDULE_CHANGED = "ScheduleChanged"
    EXCLUDED = "Excluded"
    FROZEN = "Frozen"
    TARGET_REFUSED = "TargetRefused"
    NOT_APPROVED = "NotApproved"
    CHECKLIST_INCOMPLETE = "ChecklistIncomplete"
    REQUIREMENT_NOT_MET = "RequirementNotMet"
    HELD = "Held"
    CANCELLED = "Cancelled"


@dataclass(frozen=True, slots=True)
class Cause:
    """Why an occurrence did not run: missed, or skipped on purpose."""

    ending: Ending
    reason: Reason
    message: str


def missed(reason: Reason, message: str) -> Cause:
    """The cause of an occurrence that should have run."""
    return Cause(Ending.MISSED, reason, message)


def skipped(reason: Reason, message: str) -> Cause:
    """The cause of an occurrence that was left out on purpose."""
    return Cause(Ending.SKIPPED, reason, message)


def record(occurrence: datetime, cause: Cause, *, schedule: str = "") -> OccurrenceRecord:
    """The record of one occurrence; `schedule` is the name of its schedule where its resource has several."""
    return OccurrenceRecord(
        ending=cause.ending,
        reason=cause.reason,
        message=cause.message[:300],
        schedule=schedule or None,
        scheduled_time=write_instant(occurrence),
        trigger=Trigger.SCHEDULE,
    )


def records(
    times: Sequence[datetime], cause_of: Callable[[datetime], Cause], *, schedule: str = "", more: bool = False
) -> list[OccurrenceRecord]:
    """The records of several occurrences.

    Args:
        times: oldest first.
        cause_of: why one of them did not run.
        schedule: name of their schedule where their resource has several.
        more: there are more, older ones; nobody counted how many. They count as one of the cause of the oldest.
    """
    groups: dict[Cause, list[datetime]] = {}
    for time in times:
        groups.setdefault(cause_of(time), []).append(time)
    written = []
    for cause, group in groups.items():
        uncounted = more and group[0] == times[0]
        if uncounted or len(group) > LISTED:
            written.append(_summed(group, cause, schedule, uncounted=uncounted))
        else:
            written += [record(time, cause, schedule=schedule) for time in group]
    return written


def _summed(group: Sequence[datetime], cause: Cause, schedule: str, *, uncounted: bool) -> OccurrenceRecord:
    first, last = write_instant(group[0]), write_instant(group[-1])
    number = len(group) + uncounted
    which = f"at least {number} occurrences up to {last}" if uncounted else f"{number} occurrences, {first} to {last}"
    told = Cause(cause.ending, cause.reason, f"{which}: {cause.message}")
    return record(group[0], told, schedule=schedule).model_copy(update={"count": number})
