"""The messages of a window as its status keeps them: a value that grows, in which no key stands twice."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from upkeep.api.window.notices import MAX_NOTICES, Notice, NoticeKind, NoticeState
from upkeep.domain.decision import Announce, EventType
from upkeep.domain.instants import read_instant, write_instant
from upkeep.domain.notices.post import NoticeKey

MAX_TEXT: Final = 300
TOLD: Final = frozenset({NoticeState.SENDING, NoticeState.SENT, NoticeState.UNKNOWN})
"""States in which people may know of it."""
SENT_BEFORE: Final = "it was sent already when this status was lost"


@dataclass(frozen=True, slots=True, kw_only=True)
class Board:
    """All messages that are remembered, oldest first, and what is to be said about them by Events.

    Attributes:
        now: the time of the decision.
        begun: messages that this process has begun to send, whatever the status says.
    """

    notices: tuple[Notice, ...]
    now: datetime
    begun: frozenset[NoticeKey] = frozenset()
    events: tuple[Announce, ...] = ()

    def about(self, start: datetime) -> list[Notice]:
        """The messages about one opening."""
        occurrence = write_instant(start)
        return [notice for notice in self.notices if notice.occurrence == occurrence]

    def announced(self) -> list[datetime]:
        """The openings that were announced."""
        starts = {each.occurrence for each in self.notices if each.kind is NoticeKind.ANNOUNCEMENT}
        return sorted(read_instant(start) for start in starts)

    def round_of(self, start: datetime) -> int:
        """How often an opening was withdrawn."""
        rounds = [notice.round for notice in self.about(start) if notice.kind is NoticeKind.WITHDRAWN]
        return max(rounds, default=-1) + 1

    def told(self, start: datetime) -> tuple[str, ...]:
        """The channels that know of an opening, and of no withdrawal of it."""
        current = self.round_of(start)
        return tuple(
            dict.fromkeys(
                notice.channel
                for notice in self.about(start)
                if notice.kind is NoticeKind.ANNOUNCEMENT and notice.round == current and notice.state in TOLD
            )
        )

    def saying(
        self,
        kind: NoticeKind,
        start: datetime,
        channels: Iterable[str],
        *,
        lead: timedelta | None = None,
        text: str = "",
        number: int | None = None,
    ) -> "Board":
        """With one more message on each of these channels, unless it stands there already.

        Args:
            kind: what it is about.
            start: of which opening.
            channels: on which channels.
            lead: how long before the start it was due.
            text: what it tells beyond that.
            number: what tells it from others of its kind; left out: how often the opening was withdrawn.
        """
        known = {NoticeKey.of(notice) for notice in self.notices}
        new = []
        for channel in dict.fromkeys(channels):
            notice = Notice(
                occurrence=write_instant(start),
                kind=kind,
                lead=lead,
                round=self.round_of(start) if number is None else number,
                channel=channel,
                state=NoticeState.PENDING,
                time=write_instant(self.now),
                text=text[:MAX_TEXT],
            )
            key = NoticeKey.of(notice)
            if key in self.begun and key not in known:
                notice = self._moved(notice, NoticeState.SKIPPED, message=SENT_BEFORE)
            if key not in known:
                new.append(notice)
        return replace(self, notices=(*self.notices, *new))

    def skipping(self, start: datetime, lead: timedelta, message: str) -> "Board":
        """With an announcement that nobody gets, unless it stands there already."""
        about = self.about(start)
        if any(notice.lead == lead and notice.round == self.round_of(start) for notice in about):
            return self
        said = self.saying(NoticeKind.ANNOUNCEMENT, start, ("",), lead=lead)
        return said.with_each(
            lambda notice: (
                self._moved(notice, NoticeState.SKIPPED, message=message)
                if not notice.channel and notice.state is NoticeState.PENDING
                else notice
            )
        )

    def with_each(self, change: Callable[[Notice], Notice]) -> "Board":
        """With each message changed, or left as it is."""
        return replace(self, notices=tuple(change(notice) for notice in self.notices))

    def moved(self, old: Notice, state: NoticeState, **changes: object) -> "Board":
        """With one message in another state."""
        return self.with_each(lambda notice: self._moved(notice, state, **changes) if notice is old else notice)

    def warning(self, reason: str, message: str) -> "Board":
        """With one more warning."""
        return replace(self, events=(*self.events, Announce(type=EventType.WARNING, reason=reason, message=message)))

    def kept(self) -> tuple[Notice, ...]:
        """As many as a status holds: of what is done, that of the past goes first, and the oldest of it."""
        excess = len(self.notices) - MAX_NOTICES
        if excess <= 0:
            return self.notices
        order = sorted(range(len(self.notices)), key=self._worth)
        dropped = set(order[:excess])
        return tuple(notice for place, notice in enumerate(self.notices) if place not in dropped)

    def _worth(self, place: int) -> tuple[bool, bool, int]:
        notice = self.notices[place]
        ahead = read_instant(notice.occurrence) > self.now and notice.state is not NoticeState.SKIPPED
        return (not notice.state.final, ahead, place)

    def _moved(self, notice: Notice, state: NoticeState, **changes: object) -> Notice:
        update = {"state": state, "time": write_instant(self.now), "claim": None, **changes}
        return notice.model_copy(update=update)
