"""Times in which nothing could be started by schedule, because it was suspended or its spec could not be read.

What falls into such a time is missed when it is over. It is never caught up: to resume or to repair something must not
set off what is past.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from upkeep.api.status import ResourceStatus
from upkeep.domain.account import Cause, Reason, missed
from upkeep.domain.conditions import STALLED
from upkeep.domain.instants import read_instant, read_optional

INVALID_SPEC: Final = "InvalidSpec"
INVALID_SCHEDULE: Final = "InvalidSchedule"
_UNREADABLE: Final = frozenset({INVALID_SPEC, INVALID_SCHEDULE})


@dataclass(frozen=True, slots=True, kw_only=True)
class Pause:
    """Since when a resource was suspended or unreadable when its status was written; None where it was not."""

    suspended: datetime | None
    unreadable: datetime | None

    @classmethod
    def of(cls, status: ResourceStatus) -> "Pause":
        """As the last status tells it."""
        stalled = (each for each in status.conditions if each.type == STALLED and each.status == "True")
        since = (read_instant(each.last_transition_time) for each in stalled if each.reason in _UNREADABLE)
        return cls(suspended=read_optional(status.suspended_since), unreadable=next(since, None))

    def ends(self, *, suspend: bool) -> bool:
        """Whether it is over now that the spec can be read, and says `suspend` or not."""
        return self.unreadable is not None or (self.suspended is not None and not suspend)

    def cause(self, occurrence: datetime) -> Cause | None:
        """Why an occurrence in it did not run; None for one before it."""
        if self.suspended and occurrence > self.suspended:
            return missed(Reason.SUSPENDED, "it was suspended")
        if self.unreadable and occurrence > self.unreadable:
            return missed(Reason.INVALID_SPEC, "the spec could not be read")
        return None
