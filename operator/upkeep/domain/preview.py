"""What lies ahead of a window: which of its occurrences open, and which do not and why.

It asks the same questions as the decision that opens the window, so that the two cannot differ. What nobody can know
beforehand, such as an approval that is missing or an alert that fires, it leaves out.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import takewhile
from typing import Final

from upkeep.api.window import CancelledOpening, UpcomingOpening, UpcomingState, WindowKind, WindowSpec
from upkeep.domain.freeze import Freeze, Frost, frost_at
from upkeep.domain.instants import read_instant, write_instant
from upkeep.domain.openings import Opening, schedule_of
from upkeep.domain.schedule import Schedule, occurrence_end

SHOWN: Final = 5
"""How many openings a status shows, and how many of those that do not open."""
_LOOKS: Final = 1000
_NONE: Final[Mapping[datetime, str]] = {}
_TICK: Final = timedelta(seconds=1)
"""Occurrences lie on whole seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Foreseen:
    """An occurrence that lies ahead.

    Attributes:
        opening: when it opens, or would have.
        state: whether it opens.
        reason: why it does not; empty where it does.
        frozen_until: the end of the freeze that it falls into.
    """

    opening: Opening
    state: UpcomingState
    reason: str = ""
    frozen_until: datetime | None = None

    @property
    def opens(self) -> bool:
        """Whether it opens."""
        return self.state is UpcomingState.PLANNED

    def written(self) -> UpcomingOpening:
        """As it stands in a status."""
        start, end = write_instant(self.opening.start), write_instant(self.opening.end)
        return UpcomingOpening(start_time=start, end_time=end, state=self.state, reason=self.reason)


def preview(
    spec: WindowSpec,
    since: datetime,
    until: datetime,
    *,
    freezes: Sequence[Freeze] = (),
    cancelled: Mapping[datetime, str] = _NONE,
) -> Iterator[Foreseen]:
    """The occurrences of a window that start in [since, until), in order; none where it is suspended.

    Args:
        spec: of the window, as `read_spec` gives it.
        since: an aware instant.
        until: an aware instant.
        freezes: those that apply to its namespace.
        cancelled: the starts that people have called off, with a sentence on each.

    Raises:
        ScheduleError: its schedule is wrong.
    """
    schedule = schedule_of(spec)
    starts = iter(()) if spec.suspend else takewhile(lambda start: start < until, schedule.after(since - _TICK))
    return (_foreseen(spec, schedule, start, freezes, cancelled) for start in starts if start >= since)


def cancellations(openings: Iterable[CancelledOpening]) -> dict[datetime, str]:
    """The starts that people have called off, as a status tells them, with a sentence on each."""
    return {read_instant(each.start_time): f"cancelled by {each.by}" if each.by else "cancelled" for each in openings}


def upcoming(
    spec: WindowSpec,
    now: datetime,
    *,
    freezes: Sequence[Freeze] = (),
    cancelled: Mapping[datetime, str] = _NONE,
) -> tuple[Foreseen, ...]:
    """The next openings after now, and with them the first of those before that do not open.

    It changes only when one of them passes, or with the spec, a freeze or what is cancelled. No more than a thousand
    are looked at.

    Args:
        spec: of the window, as `read_spec` gives it.
        now: an aware instant.
        freezes: those that apply to its namespace.
        cancelled: the starts that people have called off, with a sentence on each.

    Raises:
        ScheduleError: the schedule is wrong.
    """
    schedule, found = schedule_of(spec), []
    room = {True: SHOWN, False: SHOWN}
    starts = iter(()) if spec.suspend else schedule.after(now)
    for _ in range(_LOOKS):
        start = next(starts, None)
        if start is None or not room[True]:
            break
        foreseen = _foreseen(spec, schedule, start, freezes, cancelled)
        if room[foreseen.opens]:
            room[foreseen.opens] -= 1
            found.append(foreseen)
        elif foreseen.frozen_until:
            # All before its end is frozen too: an hourly window in a month of freeze is no reason to look so often.
            starts = schedule.after(foreseen.frozen_until - _TICK)
    return tuple(found)


def _foreseen(
    spec: WindowSpec,
    schedule: Schedule,
    start: datetime,
    freezes: Sequence[Freeze],
    cancelled: Mapping[datetime, str],
) -> Foreseen:
    opening = Opening(start=start, end=_end(start, spec.duration))
    if exclusion := schedule.excluded(start):
        return Foreseen(opening=opening, state=UpcomingState.EXCLUDED, reason=str(exclusion))
    frost = frost_of(spec, freezes, start)
    if frost:
        return Foreseen(opening=opening, state=UpcomingState.FROZEN, reason=frost.message, frozen_until=frost.until)
    if start in cancelled:
        return Foreseen(opening=opening, state=UpcomingState.CANCELLED, reason=cancelled[start])
    return Foreseen(opening=opening, state=UpcomingState.PLANNED)


def frost_of(spec: WindowSpec, freezes: Sequence[Freeze], instant: datetime) -> Frost | None:
    """What forbids a window to open at an instant; a freeze is never frozen itself."""
    return None if spec.kind is WindowKind.FREEZE else frost_at(freezes, instant, urgency=spec.urgency)


def _end(start: datetime, duration: timedelta) -> datetime:
    """The end of an opening; where it lies beyond what a datetime can hold, the last instant there is."""
    try:
        return occurrence_end(start, duration)
    except OverflowError:
        return datetime.max.replace(tzinfo=UTC)
