"""Corrections for those who were told when maintenance ends, when that has changed: by an edit, or by an extension.

Every message that names an end keeps which one it was when it was claimed. What a channel was told last is compared
with what is true now; so each change is told once, whoever looks at it, and one that is undone before anybody heard of
it is not told at all.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from upkeep.api.window import WindowOccurrence
from upkeep.api.window.notices import Notice, NoticeKind, NoticeState
from upkeep.domain.instants import read_instant, write_instant
from upkeep.domain.notices.announcements import Outlook
from upkeep.domain.notices.board import TOLD, Board
from upkeep.domain.schedule import occurrence_end

NAMING: Final = frozenset({NoticeKind.ANNOUNCEMENT, NoticeKind.OPENED, NoticeKind.CHANGED})
"""Messages that say when an opening ends."""
_SAYS_IT_ANYWAY: Final = frozenset({NoticeKind.OPENED, NoticeKind.CHANGED})
_BACK: Final = "it ends again when people were told"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ends:
    """When openings end.

    Attributes:
        outlook: what is going to happen.
        current: the opening that is under way, or the last one.
    """

    outlook: Outlook
    current: WindowOccurrence | None

    def of(self, start: datetime) -> datetime | None:
        """When an opening ends at the latest; None where it is over, or will not come about."""
        if self.current and read_instant(self.current.start_time) == start:
            return None if self.current.closed_at else read_instant(self.current.end_time)
        return occurrence_end(start, self.outlook.spec.duration) if self.outlook.ahead(start) else None


def changed(board: Board, ends: Ends) -> Board:
    """With a correction for everybody who knows another end than that which is true now."""
    for start in sorted({read_instant(notice.occurrence) for notice in board.notices if notice.end}):
        end = ends.of(start)
        for channel, told in _known(board, start).items() if end else ():
            board = _corrected(board, start, channel, told=told, true=write_instant(end or start))
    return board.with_each(lambda notice: _dated(notice, ends))


def _corrected(board: Board, start: datetime, channel: str, *, told: str, true: str) -> Board:
    waiting = [
        notice
        for notice in board.about(start)
        if notice.channel == channel and notice.state is NoticeState.PENDING and notice.kind in _SAYS_IT_ANYWAY
    ]
    if told != true:
        number = max((notice.round for notice in board.about(start) if notice.kind is NoticeKind.CHANGED), default=0)
        if waiting:
            return board
        return board.saying(NoticeKind.CHANGED, start, (channel,), text=told, number=number + 1)
    for notice in waiting:
        if notice.kind is NoticeKind.CHANGED:
            board = board.moved(notice, NoticeState.SKIPPED, message=_BACK)
    return board


def _known(board: Board, start: datetime) -> Mapping[str, str]:
    """By channel: which end people were told last, or could not be told; none where they know of no such opening."""
    known: dict[str, str] = {}
    for notice in board.about(start):
        if notice.kind is NoticeKind.WITHDRAWN:
            known.pop(notice.channel, None)
        elif notice.end and (notice.state in TOLD or (notice.state is NoticeState.FAILED and notice.channel in known)):
            known[notice.channel] = notice.end
    return known


def _dated(notice: Notice, ends: Ends) -> Notice:
    """A message that is still to be sent names the end as it is now."""
    if notice.kind not in NAMING or notice.state is not NoticeState.PENDING:
        return notice
    end = ends.of(read_instant(notice.occurrence))
    return notice.model_copy(update={"end": write_instant(end)}) if end else notice
