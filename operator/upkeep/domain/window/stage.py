"""A decision about a window in the making: what was found, and what has been decided so far."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

from upkeep.api.status import OccurrenceRecord
from upkeep.api.window import (
    CancelledOpening,
    HandledRequests,
    Request,
    WindowOccurrence,
    WindowPhase,
    WindowSpec,
    WindowStatus,
)
from upkeep.domain.conditions import Problem
from upkeep.domain.decision import Action, Announce, EventType
from upkeep.domain.history import Ledger
from upkeep.domain.identity import FINALIZER
from upkeep.domain.instants import read_instant
from upkeep.domain.recollection import Recollection
from upkeep.domain.timetable import Timetable
from upkeep.domain.window.snapshot import WindowSnapshot


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """A value that grows with each step of a decision.

    Attributes:
        snapshot: what was seen.
        known: the status as it was.
        ledger: what is remembered of occurrences that are over.
        occurrence: the opening that is under way, or the last one.
        spec: None where it cannot be read.
        timetable: None where the spec cannot be read.
        problem: what is wrong with the window, for its conditions.
        phase: where it stands; None: nothing is under way.
        handled: occurrences up to here are accounted for.
        requests: what people ask for by annotations; remembered, so that it is done once.
        asked: what of it is new, with the value of its annotation.
        asked_by: who asked.
        cancelled: openings ahead that people have cancelled.
        actions: to be done, in this order.
        events: to be said.
        wake_at: when to decide again.
    """

    snapshot: WindowSnapshot
    known: Recollection[WindowStatus]
    ledger: Ledger
    occurrence: WindowOccurrence | None
    spec: WindowSpec | None = None
    timetable: Timetable | None = None
    problem: Problem | None = None
    phase: WindowPhase | None = None
    handled: datetime | None = None
    requests: HandledRequests | None = None
    asked: Mapping[Request, str] = field(default_factory=dict)
    asked_by: str = ""
    cancelled: tuple[CancelledOpening, ...] = ()
    actions: tuple[Action, ...] = ()
    events: tuple[Announce, ...] = ()
    wake_at: datetime | None = None

    @property
    def status(self) -> WindowStatus:
        """As it was."""
        return self.known.status

    @property
    def now(self) -> datetime:
        """The time of the decision."""
        return self.snapshot.now

    @property
    def open(self) -> bool:
        """Whether an occurrence is under way, from its preparation to its close."""
        return self.occurrence is not None and self.occurrence.closed_at is None

    @property
    def is_open_to_users(self) -> bool:
        """Whether maintenance has begun, so that it must be brought to an end in order."""
        return self.occurrence is not None and self.occurrence.opened_at is not None

    @property
    def current(self) -> WindowOccurrence:
        """The occurrence under way."""
        if self.occurrence is None:
            msg = f"{self.snapshot.identity} has no occurrence under way"
            raise RuntimeError(msg)
        return self.occurrence

    @property
    def start(self) -> datetime:
        """When the occurrence under way is to open."""
        return read_instant(self.current.start_time)

    @property
    def end(self) -> datetime:
        """When it closes at the latest."""
        return read_instant(self.current.end_time)

    @property
    def finalizer_held(self) -> bool:
        """Whether the window cannot vanish."""
        return FINALIZER in self.snapshot.resource["metadata"].get("finalizers", ())

    def doing(self, *actions: Action) -> "Stage":
        """With more to do."""
        return replace(self, actions=(*self.actions, *actions))

    def saying(self, reason: str, message: str, kind: EventType = EventType.NORMAL) -> "Stage":
        """With one more Event."""
        return replace(self, events=(*self.events, Announce(type=kind, reason=reason, message=message[:1000])))

    def waking(self, *times: datetime | None) -> "Stage":
        """Deciding again at the earliest of these times, where that is before what was planned."""
        known = [time for time in (self.wake_at, *times) if time is not None]
        return replace(self, wake_at=min(known, default=None))

    def becoming(self, **changes: object) -> "Stage":
        """With the occurrence under way changed."""
        return replace(self, occurrence=self.current.model_copy(update=changes))

    def recording(self, *unopened: OccurrenceRecord) -> "Stage":
        """With records of occurrences that did not come about."""
        return replace(self, ledger=self.ledger.with_records(*unopened))
