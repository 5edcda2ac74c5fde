"""Adds to a decision about a window what people are told of it.

It comes last: it looks at what the decision makes of the status, and never changes what the window does.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Final

from pydantic import ValidationError

from upkeep.api.status import Condition
from upkeep.api.window import UpcomingState, WindowOccurrence, WindowPhase, WindowSpec, WindowStatus
from upkeep.api.window.notices import Notice, NoticeKind, NoticeState
from upkeep.domain.conditions import Fact, merge
from upkeep.domain.decision import Decision
from upkeep.domain.instants import read_instant, read_optional
from upkeep.domain.notices.announcements import Outlook, announced, corrected
from upkeep.domain.notices.board import Board
from upkeep.domain.notices.dispatch import claimed, given_up, named, settled
from upkeep.domain.notices.ends import Ends, changed
from upkeep.domain.notices.news import news, told_of
from upkeep.domain.notices.post import Message
from upkeep.domain.notices.text import compose
from upkeep.domain.openings import read_spec, schedule_of
from upkeep.domain.recollection import Recollection, recall
from upkeep.domain.schedule import ScheduleError
from upkeep.domain.window.snapshot import WindowSnapshot

NOTIFIED: Final = "Notified"
NOT_CONFIGURED: Final = "ChannelNotConfigured"
TRUSTED_AGE: Final = timedelta(hours=1)
"""A window that is older than this and has no status at all has lost it."""
_ALWAYS: Final = datetime.min.replace(tzinfo=UTC)
_MARKS: Final = frozenset({"notices", "announced"})


def with_notices(snapshot: WindowSnapshot, decision: Decision) -> Decision:
    """The decision, and with it the messages that are due, sent or to be recorded."""
    after = decision.status
    if not isinstance(after, WindowStatus) or not _concerned(snapshot, after):
        return decision
    known = recall(WindowStatus, snapshot.resource.get("status"))
    outlook = _outlook(snapshot, after)
    board = settled(Board(notices=tuple(after.notices), now=snapshot.now, begun=snapshot.post.begun), snapshot.post)
    mark = after.announced
    if not snapshot.deleted:
        for item in news(known.status, after):
            board = told_of(board, item, outlook.channels if outlook else ())
        if outlook:
            board = corrected(board, outlook)
            board, mark = announced(board, outlook, mark, forgotten=_forgotten(snapshot, known))
            board = changed(board, Ends(outlook=outlook, current=after.occurrence))
        board = given_up(board, snapshot.post, lambda notice: _over(notice, after, outlook, snapshot.now))
    spec = outlook.spec if outlook else None

    def text(notice: Notice) -> Message:
        return compose(notice, snapshot.identity, spec, snapshot.now)

    board, todo, retry_at = claimed(board, snapshot.post, text)
    times = [decision.wake_at, retry_at, outlook.wake_at() if outlook else None, _end(board)]
    status = after.model_copy(
        update={
            "phase": _phase(after, board, outlook),
            "notices": board.kept(),
            "announced": mark,
            "conditions": _conditions(snapshot, known.status, after, board, spec),
        }
    )
    return replace(
        decision,
        status=status,
        events=(*decision.events, *board.events),
        cleanup=(*decision.cleanup, *todo),
        wake_at=min((time for time in times if time is not None), default=None),
    )


def _concerned(snapshot: WindowSnapshot, status: WindowStatus) -> bool:
    spec = snapshot.resource.get("spec")
    return bool(status.notices or status.announced or (isinstance(spec, dict) and spec.get("notify")))


def _phase(status: WindowStatus, board: Board, outlook: Outlook | None) -> str | None:
    """Announced instead of Scheduled, once people know of the next opening."""
    following = outlook.following() if outlook and status.phase == WindowPhase.SCHEDULED else None
    return WindowPhase.ANNOUNCED if following and board.told(following) else status.phase


def _outlook(snapshot: WindowSnapshot, status: WindowStatus) -> Outlook | None:
    """What is going to happen; None where the spec cannot be read."""
    try:
        spec = read_spec(snapshot.resource)
        schedule = schedule_of(spec)
    except (ValidationError, ScheduleError):
        return None
    current = status.occurrence
    return Outlook(
        spec=spec,
        schedule=schedule,
        now=snapshot.now,
        handled=read_optional(status.last_schedule_time) or _ALWAYS,
        preparing=read_instant(current.start_time) if current and _prepared(current) else None,
        obstacles={
            read_instant(each.start_time): each.reason or str(each.state)
            for each in status.upcoming
            if each.state is not UpcomingState.PLANNED
        },
    )


def _prepared(occurrence: WindowOccurrence) -> bool:
    return occurrence.opened_at is None and occurrence.closed_at is None


def _forgotten(snapshot: WindowSnapshot, known: Recollection[WindowStatus]) -> bool:
    """Whether nobody can say what was announced."""
    if known.lost & _MARKS:
        return True
    age = snapshot.now - read_instant(snapshot.resource["metadata"]["creationTimestamp"])
    return known.status.observed_generation is None and known.status.announced is None and age > TRUSTED_AGE


def _over(notice: Notice, status: WindowStatus, outlook: Outlook | None, now: datetime) -> bool:
    """Whether what a message is about is over, so that nobody needs it any more."""
    start, current = read_instant(notice.occurrence), status.occurrence
    if notice.kind is NoticeKind.ANNOUNCEMENT:
        return start <= now or (outlook is not None and outlook.objection(start) is not None)
    if notice.kind is NoticeKind.CHANGED and start > now:
        return outlook is not None and outlook.objection(start) is not None
    if notice.kind in {NoticeKind.OPENED, NoticeKind.CHANGED}:
        return current is None or current.start_time != notice.occurrence or current.closed_at is not None
    return False


def _end(board: Board) -> datetime | None:
    """When the next announcement is given up that could not be delivered."""
    waiting = [
        read_instant(notice.occurrence)
        for notice in board.notices
        if notice.kind is NoticeKind.ANNOUNCEMENT and notice.state is NoticeState.PENDING
    ]
    return min((start for start in waiting if start > board.now), default=None)


def _conditions(
    snapshot: WindowSnapshot, before: WindowStatus, after: WindowStatus, board: Board, spec: WindowSpec | None
) -> Sequence[Condition]:
    others = [condition for condition in after.conditions if condition.type != NOTIFIED]
    fact = _fact(snapshot, board, spec)
    if fact is None:
        return others
    generation = int(snapshot.resource["metadata"].get("generation") or 0)
    return [*others, *merge(before.conditions, [fact], generation=generation, now=snapshot.now)]


def _fact(snapshot: WindowSnapshot, board: Board, spec: WindowSpec | None) -> Fact | None:
    """Whether people hear of this window: what is wrong on a channel counts until a message gets through on it."""
    if spec is None or spec.notify is None:
        return None
    missing = [name for name in spec.notify.channels if name not in snapshot.post.channels]
    if missing:
        namespace = snapshot.identity.namespace
        advice = (
            f"not configured for namespace {namespace}: {', '.join(missing)}; correct spec.notify.channels, or ask "
            "the platform team to add it to the channels of Upkeep (chart value channels.secretName)"
        )
        return Fact(type=NOTIFIED, status=False, reason=NOT_CONFIGURED, message=advice)
    last = {}
    for notice in board.notices:
        if notice.channel and (notice.state.final or notice.attempts) and notice.state is not NoticeState.SKIPPED:
            last[notice.channel] = notice
    for state, reason in _TROUBLE:
        for notice in last.values():
            if notice.state is state:
                return Fact(type=NOTIFIED, status=False, reason=reason, message=f"{named(notice)}: {notice.message}")
    if any(notice.state is NoticeState.SENT for notice in last.values()):
        return Fact(type=NOTIFIED, status=True, reason="Delivered", message="")
    return Fact(type=NOTIFIED, status=True, reason="NothingToSay", message="no message was due yet")


_TROUBLE: Final = (
    (NoticeState.FAILED, "NotDelivered"),
    (NoticeState.UNKNOWN, "DeliveryUnknown"),
    (NoticeState.PENDING, "Retrying"),
    (NoticeState.SENDING, "Retrying"),
)
