"""Which openings are to be announced now, and which announcements have become untrue.

Announcements are counted from the last one that was accounted for, never from now: none is lost while nobody was there,
and none is made twice. One whose time had passed when the window was created or edited is not made late: people get one
message about the next opening, which says how long it is until then.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from upkeep.api.window import WindowSpec
from upkeep.api.window.notices import Announced, NoticeKind, leads_of
from upkeep.domain.instants import read_instant, write_instant
from upkeep.domain.notices.board import Board
from upkeep.domain.schedule import Schedule

MOST_AT_ONCE: Final = 5
"""Openings that are announced late at once, after a time in which nobody was there."""
_LOOKED_AT: Final = 1000
_MOMENT: Final = timedelta(seconds=1)
_PAST: Final = "it was due before the window was created or changed"
_LATE: Final = "nobody was there when it was due, and a later one says more"
_TOO_LATE: Final = "nobody was there before the opening"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlook:
    """What is going to happen by the spec of a window.

    Attributes:
        spec: the spec.
        schedule: its schedule.
        now: the time of the decision.
        handled: openings up to here are accounted for, or under way.
        preparing: the start of the opening that is being prepared, if one is.
        obstacles: openings ahead that will not come about for another reason than the spec of the window, and why.
    """

    spec: WindowSpec
    schedule: Schedule
    now: datetime
    handled: datetime
    preparing: datetime | None = None
    obstacles: Mapping[datetime, str] = field(default_factory=dict)

    @property
    def leads(self) -> list[timedelta]:
        """How long before an opening it is announced, longest first; empty where nobody is told or nothing opens."""
        return leads_of(self.spec.announcements) if self.spec.notify and not self.spec.suspend else []

    @property
    def channels(self) -> Sequence[str]:
        """Who is told."""
        return self.spec.notify.channels if self.spec.notify else ()

    @property
    def plan(self) -> str:
        """Fingerprint of everything that announcements follow from."""
        spec = self.spec
        periods = [[each.start, each.end] for each in spec.exclusions]
        facts = [spec.schedule, spec.start_at, spec.time_zone, periods, spec.suspend, [*self.channels]]
        leads = [lead.total_seconds() for lead in self.leads]
        return hashlib.sha256(json.dumps([*facts, leads]).encode()).hexdigest()[:12]

    def objection(self, start: datetime) -> str | None:
        """Why an opening that is still ahead will not come about; None where it will."""
        if self.spec.suspend:
            return "the window was suspended"
        if start not in self.schedule.latest_until(start - _MOMENT, start).times:
            following = self.following()
            moved = f"; the next opening is at {write_instant(following)}" if following else ""
            return f"the schedule was changed{moved}"
        exclusion = self.schedule.excluded(start)
        if exclusion:
            return exclusion.reason or "it was excluded"
        return self.obstacles.get(start)

    def following(self) -> datetime | None:
        """The next opening that will come about, as far as anybody can tell now."""
        if self.preparing and self.preparing > self.now:
            return self.preparing
        start = self.schedule.next_after(max(self.now, self.handled))
        for _ in range(_LOOKED_AT):
            if start is None or not (self.schedule.excluded(start) or start in self.obstacles):
                return start
            start = self.schedule.next_after(start)
        return None

    def ahead(self, start: datetime) -> bool:
        """Whether an opening is still to come, and will."""
        if start <= self.now or (start <= self.handled and start != self.preparing):
            return False
        return self.objection(start) is None

    def wake_at(self) -> datetime | None:
        """When the next announcement is due."""
        starts = ((lead, self.schedule.next_after(self.now + lead)) for lead in self.leads)
        return min((start - lead for lead, start in starts if start), default=None)


def corrected(board: Board, outlook: Outlook) -> Board:
    """With a correction for each opening that was announced and will not come about then."""
    for start in board.announced():
        if start <= board.now or start <= outlook.handled:
            continue
        told, objection = board.told(start), outlook.objection(start)
        if told and objection:
            board = board.saying(NoticeKind.WITHDRAWN, start, told, text=objection)
    return board


def announced(
    board: Board, outlook: Outlook, known: Announced | None, *, forgotten: bool
) -> tuple[Board, Announced | None]:
    """With the announcements that are due, and up to when they are accounted for.

    Args:
        board: the messages so far.
        outlook: what is going to happen.
        known: up to when they were accounted for; None where they never were.
        forgotten: the status cannot be relied on: what was due until now counts as made.
    """
    mark = Announced(until=write_instant(board.now), plan=outlook.plan)
    if forgotten or (known is None and not outlook.leads):
        return board, mark if forgotten or known else None
    if known is None or known.plan != mark.plan:
        return _caught_up(board, outlook), mark
    grown = _due(board, outlook, since=read_instant(known.until))
    return grown, known if grown.notices == board.notices else mark


def _caught_up(board: Board, outlook: Outlook) -> Board:
    """After a change: one message about the next opening, and one about each that takes place after all."""
    following = outlook.following()
    back = [start for start in board.announced() if board.round_of(start) and outlook.ahead(start)]
    for start in sorted({*back, *([following] if following else [])}):
        past = [lead for lead in outlook.leads if start - lead <= board.now]
        if past:
            board = _nearest(board, outlook, start, past, _PAST)
    return board


def _due(board: Board, outlook: Outlook, *, since: datetime) -> Board:
    """What has come due since."""
    due: dict[datetime, list[timedelta]] = {}
    for lead in outlook.leads:
        for start in outlook.schedule.latest_until(since + lead, board.now + lead, limit=2 * MOST_AT_ONCE).times:
            if outlook.objection(start) is None:
                due.setdefault(start, []).append(lead)
    ahead = [start for start in sorted(due) if outlook.ahead(start)]
    for start in sorted(due):
        if start in ahead[:MOST_AT_ONCE]:
            board = _nearest(board, outlook, start, due[start], _LATE)
        else:
            for lead in due[start]:
                board = board.skipping(start, lead, _LATE if start in ahead else _TOO_LATE)
    return board


def _nearest(board: Board, outlook: Outlook, start: datetime, leads: Sequence[timedelta], why: str) -> Board:
    """One announcement for all that are due of one opening: the one that is nearest to it."""
    nearest = min(leads)
    for lead in leads:
        if lead != nearest:
            board = board.skipping(start, lead, why)
    return board.saying(NoticeKind.ANNOUNCEMENT, start, outlook.channels, lead=nearest)
