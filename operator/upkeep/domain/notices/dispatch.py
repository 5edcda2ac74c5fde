"""Brings messages to their channels, at most once each: records what came of attempts, gives up, claims the next one.

A message is claimed in the status before it is sent. When the claim's process is gone and has not said what came of it,
nobody knows whether the message arrived: it is never sent again. What a channel refused is tried again,
later and later.
"""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final

from upkeep.api.window.notices import Notice, NoticeKind, NoticeState
from upkeep.domain.instants import read_instant, write_instant
from upkeep.domain.notices.board import Board
from upkeep.domain.notices.post import Attempt, AwaitTurn, Message, NoticeKey, Post, Receipt, SendNotice

LONGEST_PAUSE: Final = timedelta(minutes=5)
PATIENCE: Final = timedelta(hours=24)
"""How long a result or a correction is offered to a channel."""
MOST_ATTEMPTS: Final = 300
"""About as many as fit into that time."""
_SECOND: Final = timedelta(seconds=1)
_SUPERSEDED: Final = frozenset({NoticeKind.ANNOUNCEMENT, NoticeKind.WITHDRAWN, NoticeKind.CHANGED, NoticeKind.OPENED})
"""Messages that say nothing of interest any more once there is a later one about the same opening."""


def settled(board: Board, post: Post) -> Board:
    """With what came of the attempts that were under way."""
    for notice in board.notices:
        if notice.state is not NoticeState.SENDING:
            continue
        attempt = Attempt(NoticeKey.of(notice), notice.claim or "")
        delivery = post.deliveries.get(attempt)
        if delivery is not None and delivery.receipt is Receipt.SENT:
            board = board.moved(notice, NoticeState.SENT, message=delivery.message)
        elif delivery is not None and delivery.receipt is Receipt.REFUSED:
            board = board.moved(notice, NoticeState.PENDING, message=delivery.message, attempts=notice.attempts + 1)
        elif delivery is not None:
            board = _doubtful(board, notice, delivery.message)
        elif attempt in post.in_flight:
            continue
        elif post.claimed(notice.claim):
            # The claim was written but its answer was lost: nothing has been sent.
            board = board.moved(notice, NoticeState.PENDING)
        else:
            board = _doubtful(board, notice, "the operator ended while it was being sent")
    return board


def given_up(board: Board, post: Post, over: Callable[[Notice], bool]) -> Board:
    """Without waiting any longer for channels that nobody needs any more.

    Args:
        board: the messages.
        post: their delivery.
        over: whether what a message is about is over.
    """
    for notice in board.notices:
        if notice.state is not NoticeState.PENDING:
            continue
        if _superseded(board, notice):
            tried = notice.attempts > 0 or notice.channel not in post.channels
            board = (
                _failed(board, notice, post)
                if tried
                else board.moved(notice, NoticeState.SKIPPED, message="a later message took its place")
            )
        elif over(notice) or _exhausted(notice, board.now):
            board = _failed(board, notice, post)
    return board


def claimed(
    board: Board, post: Post, compose: Callable[[Notice], Message]
) -> tuple[Board, list[SendNotice | AwaitTurn], datetime | None]:
    """With the messages claimed whose turn it is; what to do after that is written; when to decide again."""
    todo: list[SendNotice | AwaitTurn] = []
    wake_at: list[datetime] = []
    busy = {notice.channel for notice in board.notices if notice.state is NoticeState.SENDING}
    for notice in board.notices:
        channel = notice.channel
        if notice.state is not NoticeState.PENDING or channel in busy or channel not in post.channels:
            continue
        if (due := _due(notice)) > board.now:
            wake_at.append(due)
            continue
        busy.add(channel)
        if channel not in post.turns:
            todo.append(AwaitTurn(channel=channel))
        else:
            attempt = Attempt(NoticeKey.of(notice), post.claim)
            todo.append(SendNotice(attempt=attempt, message=compose(notice)))
            board = board.moved(notice, NoticeState.SENDING, claim=post.claim)
    return board, todo, min(wake_at, default=None)


def _due(notice: Notice) -> datetime:
    """When it may be tried: at least 1 s, 2 s, 4 s… after it was refused, which is known to the second."""
    if not notice.attempts:
        return read_instant(notice.time)
    pause = min(LONGEST_PAUSE, timedelta(seconds=2 ** min(notice.attempts - 1, 16)))
    return read_instant(notice.time) + pause + _SECOND


def _superseded(board: Board, notice: Notice) -> bool:
    """Whether a later message on the same channel says more about the same opening."""
    if notice.kind not in _SUPERSEDED:
        return False
    place = board.notices.index(notice)
    return any(
        later.occurrence == notice.occurrence
        and later.channel == notice.channel
        and later.state is not NoticeState.SKIPPED
        for later in board.notices[place + 1 :]
    )


def _exhausted(notice: Notice, now: datetime) -> bool:
    return notice.attempts >= MOST_ATTEMPTS or now - read_instant(notice.time) > PATIENCE


def _doubtful(board: Board, notice: Notice, why: str) -> Board:
    board = board.moved(notice, NoticeState.UNKNOWN, message=f"{why}; nobody knows whether it arrived")
    told = f"{named(notice)}: {why}: nobody knows whether it arrived, and it is not sent again"
    return board.warning("NotificationUnknown", told)


def _failed(board: Board, notice: Notice, post: Post) -> Board:
    missing = f"channel {notice.channel!r} is not configured"
    why = missing if notice.channel not in post.channels else notice.message or "it was too late to send it"
    board = board.moved(notice, NoticeState.FAILED, message=why)
    return board.warning("NotificationFailed", f"{named(notice)} was not delivered: {why}")


def named(notice: Notice) -> str:
    """A message, for people."""
    return f"{notice.kind} of {write_instant(read_instant(notice.occurrence))} on {notice.channel}"
