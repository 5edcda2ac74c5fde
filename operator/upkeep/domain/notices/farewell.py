"""What people are told when a window is deleted: that what they wait for does not come, or that it is over.

Nothing of it can be claimed or recorded, because the status is gone with the window. It goes to those who knew, and to
nobody else.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from pydantic import ValidationError

from upkeep.api.window import WindowStatus
from upkeep.api.window.notices import Notice, NoticeKind, NoticeState
from upkeep.domain.identity import Identity
from upkeep.domain.instants import read_instant, write_instant
from upkeep.domain.notices.board import TOLD, Board
from upkeep.domain.notices.post import Message
from upkeep.domain.notices.text import compose
from upkeep.domain.openings import read_spec
from upkeep.domain.recollection import recall

_GONE: Final = "the window was deleted"
_CUT_SHORT: Final = "the window was deleted while it was open"


def farewell(window: Mapping[str, Any], now: datetime) -> Sequence[tuple[str, Message]]:
    """Messages about a MaintenanceWindow that is gone, each with the name of its channel."""
    status = recall(WindowStatus, window.get("status")).status
    board = Board(notices=tuple(status.notices), now=now)
    try:
        spec = read_spec(window)
    except ValidationError:
        spec = None
    current, identity, messages = status.occurrence, Identity.of(window), []
    if current and current.opened_at and current.closed_at is None:
        told = [each.channel for each in board.notices if _opened(each, current.start_time)]
        messages += _told(NoticeKind.FAILED, current.start_time, told, _CUT_SHORT)
    for start in board.announced():
        if start > now:
            messages += _told(NoticeKind.WITHDRAWN, write_instant(start), board.told(start), _GONE)
    return [(notice.channel, compose(notice, identity, spec, now)) for notice in messages]


def _opened(notice: Notice, occurrence: str) -> bool:
    return notice.occurrence == occurrence and notice.kind is NoticeKind.OPENED and notice.state in TOLD


def _told(kind: NoticeKind, occurrence: str, channels: Sequence[str], text: str) -> list[Notice]:
    time = write_instant(read_instant(occurrence))
    return [
        Notice(occurrence=occurrence, kind=kind, channel=channel, state=NoticeState.PENDING, time=time, text=text)
        for channel in channels
    ]
