"""The status page in one language: each maintenance in the language that fits its reader best."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from upkeep.domain.bulletin import Bulletin, Entry, State
from upkeep.domain.instants import write_instant
from upkeep.domain.zone import zone_named
from upkeep.web.language import direction, preferred_language
from upkeep.web.status.words import STATUS_WORDS, StatusWords
from upkeep.web.words import ENGLISH, WORDS, Words

STALE_AFTER: Final = timedelta(minutes=1)
"""From this age on what is known is called out of date."""
_DAY: Final = timedelta(days=1)
_HALF_HOUR: Final = timedelta(minutes=30)
_HOURS: Final = timedelta(hours=36)
_MINUTES: Final = timedelta(minutes=90)
"""Times longer than these are told in days, and in hours."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One maintenance, ready to be shown.

    Attributes:
        entry: what it is.
        title: never empty.
        paragraphs: of its message.
        language: of title and message.
        span: from when to when, in the time zone of its owners.
        prospect: when it begins or ends, in words; empty for what is over.
        result: how it ended, in words; empty for what has not.
        elapsed: how much of it has passed, from 0 to 1.
    """

    entry: Entry
    title: str
    paragraphs: list[str]
    language: str
    span: str
    prospect: str
    result: str
    elapsed: float

    @property
    def direction(self) -> str:
        """`ltr` or `rtl`."""
        return direction(self.language)

    @property
    def start(self) -> str:
        """For machines."""
        return write_instant(self.entry.start)

    @property
    def end(self) -> str:
        """For machines."""
        return write_instant(self.entry.end)

    @property
    def offset(self) -> int:
        """Minutes by which the clocks of its owners are ahead of UTC when it begins."""
        ahead = _local(self.entry.start, self.entry.zone).utcoffset() or timedelta(0)
        return int(ahead.total_seconds() // 60)

    def written(self) -> dict[str, Any]:
        """For programs."""
        return {
            "id": self.entry.id,
            "state": str(self.entry.state),
            "title": self.title,
            "message": "\n\n".join(self.paragraphs),
            "language": self.language,
            "start": self.start,
            "end": self.end,
            "timeZone": self.entry.zone,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusEdition:
    """The whole page in one language.

    Attributes:
        name: of the page.
        language: of the page's own words.
        words: those that it shares with the maintenance page.
        own: the rest of them.
        as_of: when all this was true.
        stale: whether that is long ago.
    """

    name: str
    language: str
    words: Words
    own: StatusWords
    active: list[Item]
    ahead: list[Item]
    over: list[Item]
    as_of: datetime
    stale: bool

    @property
    def headline(self) -> str:
        """All of it in one line."""
        return self.own.busy if self.active else self.own.calm

    @property
    def as_of_words(self) -> str:
        """Of when it is, and whether that is too long ago."""
        pattern = self.own.stale if self.stale else self.own.as_of
        return pattern.format(time=self.words.instant(self.as_of.astimezone(UTC)))

    def written(self) -> dict[str, Any]:
        """For programs."""
        return {
            "status": "maintenance" if self.active else "none",
            "asOf": write_instant(self.as_of),
            "stale": self.stale,
            "active": [item.written() for item in self.active],
            "upcoming": [item.written() for item in self.ahead],
            "past": [item.written() for item in self.over],
        }


def edition(bulletin: Bulletin, now: datetime, *, as_of: datetime, name: str, accept_language: str) -> StatusEdition:
    """The page for a reader.

    Args:
        bulletin: what there is to be told.
        now: the time.
        as_of: when the bulletin was known to be true.
        name: of the page; empty for the usual one.
        accept_language: the header of the request; empty where there is none.
    """
    language = preferred_language(accept_language, WORDS, otherwise=ENGLISH)
    words, own = WORDS[language], STATUS_WORDS[language]

    def items(entries: Iterable[Entry]) -> list[Item]:
        return [_item(entry, now, accept_language, language, words, own) for entry in entries]

    return StatusEdition(
        name=name or own.page,
        language=language,
        words=words,
        own=own,
        active=items(bulletin.active),
        ahead=items(bulletin.ahead),
        over=items(bulletin.over),
        as_of=as_of,
        stale=now - as_of > STALE_AFTER,
    )


def _item(entry: Entry, now: datetime, accept_language: str, language: str, words: Words, own: StatusWords) -> Item:
    title, message, spoken = own.unnamed, "", language
    if wording := entry.wording:
        spoken = preferred_language(accept_language, wording.translations, otherwise=wording.language)
        title, message = (wording.title, wording.message)
        if spoken != wording.language:
            title, message = wording.translations[spoken]
    start, end = _local(entry.start, entry.zone), _local(entry.end, entry.zone)
    length = (entry.end - entry.start).total_seconds()
    return Item(
        entry=entry,
        title=title,
        paragraphs=[part.strip() for part in re.split(r"\n\s*\n", message) if part.strip()],
        language=spoken,
        span=words.span(start, end) if end > start else words.instant(start),
        prospect=_prospect(entry, now, words, own),
        result=own.result(entry.state),
        elapsed=min(1.0, max(0.0, (now - entry.start).total_seconds() / length)) if length > 0 else 1.0,
    )


def _prospect(entry: Entry, now: datetime, words: Words, own: StatusWords) -> str:
    if entry.state is State.ACTIVE:
        if entry.end <= now:
            return words.any_moment
        return own.ends_in.format(duration=words.duration(entry.end - now))
    if entry.state is State.PLANNED:
        if entry.start <= now:
            return own.starts_now
        return own.starts_in.format(duration=words.duration(_nearest(entry.start - now)))
    return ""


def _nearest(rest: timedelta) -> timedelta:
    """The time until something begins to the nearest day or half hour: rounded up, people would come too late."""
    unit = _DAY if rest > _HOURS else _HALF_HOUR if rest > _MINUTES else timedelta(minutes=1)
    return round(rest / unit) * unit


def _local(moment: datetime, zone: str) -> datetime:
    try:
        return moment.astimezone(zone_named(zone))
    except OverflowError:
        return moment
