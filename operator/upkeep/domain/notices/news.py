"""What has happened to a window since its status was last written, as far as people should hear of it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from upkeep.api.status import Ending, OccurrenceRecord
from upkeep.api.window import WindowStatus
from upkeep.api.window.notices import NoticeKind
from upkeep.domain.account import Reason
from upkeep.domain.alerts import fires
from upkeep.domain.instants import read_instant
from upkeep.domain.notices.board import Board

_QUIET: Final = frozenset({Reason.SUSPENDED, Reason.EXCLUDED, Reason.SCHEDULE_CHANGED})
"""Why an opening did not come about that nobody was told of: somebody wanted it so, and nobody waits for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class News:
    """Something that people hear of."""

    kind: NoticeKind
    start: datetime
    text: str = ""
    reason: str = ""
    number: int | None = None


def news(before: WindowStatus, after: WindowStatus) -> Iterator[News]:
    """What is different, oldest first."""
    records = [record for record in after.history if record not in before.history and record.scheduled_time]
    for record in reversed(records):
        if record.ending is not Ending.RAN:
            yield _unopened(record)
    opening, last = after.occurrence, before.occurrence
    known = last is not None and opening is not None and last.start_time == opening.start_time and last.opened_at
    if opening and opening.opened_at and not known:
        yield News(kind=NoticeKind.OPENED, start=read_instant(opening.start_time))
    for record in reversed(records):
        if record.ending is Ending.RAN:
            good = record.outcome is not None and record.outcome.good
            kind = NoticeKind.COMPLETED if good else NoticeKind.FAILED
            yield News(kind=kind, start=read_instant(str(record.scheduled_time)), text=record.message)
    yield from _health(before, after)
    yield from _alerts(before, after)


def told_of(board: Board, item: News, channels: Sequence[str]) -> Board:
    """With the messages about it, for everybody whom it concerns."""
    told = board.told(item.start)
    if item.kind is NoticeKind.NOT_OPENED and not told and item.reason in _QUIET:
        return board
    withdrawn = board.round_of(item.start) and not told
    if item.kind is NoticeKind.NOT_OPENED and withdrawn:
        return board
    return board.saying(item.kind, item.start, (*channels, *told), text=item.text, number=item.number)


def _health(before: WindowStatus, after: WindowStatus) -> Iterator[News]:
    """What the checks after a window say, where they say something else than before."""
    over, last = after.occurrence, before.occurrence
    if over is None or over.watch is None or over.watch.healthy is None:
        return
    same = last is not None and last.start_time == over.start_time
    known = last.watch.healthy if same and last and last.watch else None
    if over.watch.healthy == (known is not False):
        return
    kind = NoticeKind.RECOVERED if over.watch.healthy else NoticeKind.UNHEALTHY
    start = read_instant(over.start_time)
    yield News(kind=kind, start=start, text=over.watch.message, number=over.watch.checks)


def _alerts(before: WindowStatus, after: WindowStatus) -> Iterator[News]:
    """Which alerts have come to fire after a window, and that all of them are resolved."""
    over, last = after.occurrence, before.occurrence
    if over is None or over.watch is None or not over.watch.alerts:
        return
    same = last is not None and last.start_time == over.start_time
    known = last.watch.alerts if same and last and last.watch else ()
    start, new = read_instant(over.start_time), over.watch.alerts[len(known) :]
    if new:
        yield News(kind=NoticeKind.ALERTS, start=start, text=fires(alert.name for alert in new), number=len(known) + 1)
    if over.watch.quiet and any(alert.firing for alert in known):
        yield News(kind=NoticeKind.RESOLVED, start=start, number=len(over.watch.alerts))


def _unopened(record: OccurrenceRecord) -> News:
    detail = f": {record.message}" if record.message else ""
    return News(
        kind=NoticeKind.NOT_OPENED,
        start=read_instant(str(record.scheduled_time)),
        text=f"{record.ending} ({record.reason}){detail}",
        reason=record.reason,
    )
