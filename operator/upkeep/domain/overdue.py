"""Whether a policy does what it says: what was due and did not end well, for whatever reason, is overdue by itself.

Nothing here looks at runs. One that failed, one that never began because the cluster refused it, and one of which
nobody knows anything are all the same: the backup is not there.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from upkeep.actions.fields import format_duration
from upkeep.api.backup import FULL_RESTORE, INTEGRITY, PRUNE, RESTORE_TEST, BackupScheduleStatus
from upkeep.api.coldcopy import COLD_COPY
from upkeep.api.status import Condition
from upkeep.domain.conditions import Fact
from upkeep.domain.decision import Announce, EventType
from upkeep.domain.instants import read_instant, write_instant
from upkeep.domain.timetable import Timetable

OVERDUE: Final = "Overdue"
ON_TIME: Final = "OnTime"
BACKUP_OVERDUE: Final = "BackupOverdue"
VERIFICATION_OVERDUE: Final = "VerificationOverdue"
COLD_COPY_OVERDUE: Final = "ColdCopyOverdue"
_REASONS: Final = (BACKUP_OVERDUE, VERIFICATION_OVERDUE, COLD_COPY_OVERDUE)
"""What matters most comes first."""
_NO_BACKUPS: Final = {
    INTEGRITY: VERIFICATION_OVERDUE,
    RESTORE_TEST: VERIFICATION_OVERDUE,
    FULL_RESTORE: VERIFICATION_OVERDUE,
    COLD_COPY: COLD_COPY_OVERDUE,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Late:
    """A schedule of which an occurrence has not ended well in its time."""

    schedule: str
    due: datetime
    succeeded: str | None

    @property
    def reason(self) -> str:
        return _NO_BACKUPS.get(self.schedule, BACKUP_OVERDUE)

    def __str__(self) -> str:
        last = f"last one at {self.succeeded}" if self.succeeded else "none ever did"
        return f"{self.schedule}, due at {write_instant(self.due)}, has not ended well ({last})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Lateness:
    """What is overdue.

    Attributes:
        late: of which schedules, backups first.
        wake_at: when more may be, if nothing ends well until then.
    """

    late: Sequence[_Late] = ()
    wake_at: datetime | None = None

    @classmethod
    def at(
        cls,
        now: datetime,
        timetables: Iterable[Timetable],
        schedules: Iterable[BackupScheduleStatus],
        grace: timedelta,
    ) -> "Lateness":
        """What is overdue at this time.

        Args:
            now: the time.
            timetables: of a policy.
            schedules: where each of its schedules stands.
            grace: so long after its time, what has not ended well is overdue.
        """
        successes = {each.name: each.last_successful_time for each in schedules}
        late, alarms = [], []
        for timetable in timetables:
            if timetable.name == PRUNE:
                continue
            succeeded = successes.get(timetable.name)
            begin = read_instant(timetable.anchor.since)
            begin = max(begin, read_instant(succeeded)) if succeeded else begin
            due = timetable.next_after(begin)
            if due is None:
                continue
            if due + grace <= now:
                late.append(_Late(schedule=timetable.name, due=due, succeeded=succeeded))
            else:
                alarms.append(due + grace)
        return cls(late=sorted(late, key=lambda each: _REASONS.index(each.reason)), wake_at=min(alarms, default=None))

    def fact(self, *, suspended: str | None, grace: timedelta) -> Fact:
        """The condition; `suspended` is since when nothing is expected."""
        if suspended:
            message = f"suspended since {suspended}: nothing is expected"
            return Fact(type=OVERDUE, status=False, reason="Suspended", message=message)
        if not self.late:
            message = f"all that was due ended well within {format_duration(grace)}"
            return Fact(type=OVERDUE, status=False, reason=ON_TIME, message=message)
        advice = "see lastRun and the condition Ready for why"
        return Fact(
            type=OVERDUE, status=True, reason=self.late[0].reason, message=f"{'; '.join(map(str, self.late))}: {advice}"
        )


def remembered(known: Sequence[Condition]) -> Sequence[Fact]:
    """The condition as it was, for a spec that cannot be read."""
    return [
        Fact(
            type=OVERDUE,
            status={"True": True, "False": False}.get(each.status),
            reason=each.reason,
            message=each.message,
        )
        for each in known
        if each.type == OVERDUE
    ]


def overdue_news(known: Sequence[Condition], now: Fact) -> Sequence[Announce]:
    """The Events of a condition that changes: that something is overdue, and that it is not any more."""
    before = next((each.reason for each in known if each.type == OVERDUE and each.status == "True"), None)
    if (now.reason if now.status else None) == before:
        return ()
    if now.status:
        return [Announce(type=EventType.WARNING, reason=now.reason, message=now.message[:1000])]
    return [Announce(type=EventType.NORMAL, reason=f"Backup{now.reason}", message=now.message)]
