"""What a maintenance page has to say, and what follows from it for people and for machines.

Whatever the content file looks like, there is a notice: a page that cannot be read must still be a page.
"""

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from upkeep.domain.branding import Brand
from upkeep.web.language import direction, preferred_language
from upkeep.web.words import ENGLISH, WORDS, Words, words

DEFAULT_TITLE: Final = WORDS[ENGLISH].title
DEFAULT_MESSAGE: Final = WORDS[ENGLISH].message

SHORTEST_RETRY: Final = 5
"""Seconds a client is asked to wait at least, also when the end has passed: it may come back any moment."""
UNKNOWN_RETRY: Final = 60
"""Seconds a client is asked to wait when the end is not known."""

_LANGUAGE: Final = re.compile(r"[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8}){0,3}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Text:
    """Title and message in one language; the message is plain text, blank lines separate its paragraphs."""

    title: str = DEFAULT_TITLE
    message: str = DEFAULT_MESSAGE


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """What is to be said, in every language, and until when.

    Attributes:
        title: the heading.
        message: plain text; blank lines separate paragraphs.
        language: in which they are.
        translations: the same in other languages, by language tag.
        until: when the maintenance is over, time zone aware; None when that is not known.
        brand: whose page it is.
    """

    title: str = DEFAULT_TITLE
    message: str = DEFAULT_MESSAGE
    language: str = ENGLISH
    translations: Mapping[str, Text] = field(default_factory=dict)
    until: datetime | None = None
    brand: Brand = field(default_factory=Brand)

    def retry_after(self, now: datetime) -> int:
        """Whole seconds until it is worth to ask again."""
        if self.until is None:
            return UNKNOWN_RETRY
        return max(SHORTEST_RETRY, math.ceil((self.until - now).total_seconds()))

    def overdue(self, now: datetime) -> bool:
        """Whether the expected end has passed."""
        return self.until is not None and self.until <= now

    @property
    def end_instant(self) -> str:
        """The expected end for machines, in RFC 3339; empty when it is not known."""
        return f"{self.until:%Y-%m-%dT%H:%M:%SZ}" if self.until else ""

    def edition(self, accept_language: str = "") -> "Edition":
        """The notice in the language that a client wants, after its Accept-Language header."""
        texts = self._texts()
        language = preferred_language(accept_language, texts, otherwise=self.language)
        text = texts.get(language, Text(title=self.title, message=self.message))
        spoken, known = words(language)
        return Edition(notice=self, language=language, text=text, spoken=spoken, words=known)

    def _texts(self) -> dict[str, Text]:
        """All that there is, by language; what nobody wrote is known in every language."""
        unwritten = (self.title, self.message) == (DEFAULT_TITLE, DEFAULT_MESSAGE)
        built_in = {tag: Text(title=known.title, message=known.message) for tag, known in WORDS.items()}
        own = {} if unwritten else {self.language: Text(title=self.title, message=self.message)}
        return {**(built_in if unwritten else {}), **self.translations, **own}


@dataclass(frozen=True, slots=True, kw_only=True)
class Edition:
    """A notice in one language.

    Attributes:
        notice: what is said.
        language: in which.
        text: title and message.
        spoken: the language of the page's own words; it may be another, where the page does not know this one.
        words: the page's own words.
    """

    notice: Notice
    language: str
    text: Text
    spoken: str
    words: Words

    @property
    def direction(self) -> str:
        """`ltr` or `rtl`."""
        return direction(self.language)

    @property
    def paragraphs(self) -> list[str]:
        """The message in paragraphs, their line breaks kept."""
        return [paragraph.strip() for paragraph in re.split(r"\n\s*\n", self.text.message) if paragraph.strip()]

    def prospect(self, now: datetime) -> str:
        """When it will be over, in words: `Back in about 25 minutes`."""
        until = self.notice.until
        if until is None:
            return self.words.soon
        if self.notice.overdue(now):
            return self.words.any_moment
        return self.words.back_in.format(duration=self.words.duration(until - now))

    @property
    def end(self) -> str:
        """The expected end for people, in UTC; empty when it is not known."""
        return self.words.instant(self.notice.until) if self.notice.until else ""


def read_notice(text: str) -> Notice:
    """The notice in a content file; what is missing or of the wrong type is replaced by its default."""
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        return Notice()
    if not isinstance(content, dict):
        return Notice()
    return Notice(
        title=_text(content.get("title")).strip() or DEFAULT_TITLE,
        message=_text(content.get("message"), default=DEFAULT_MESSAGE),
        language=_language(content.get("language")) or ENGLISH,
        translations=_translations(content.get("translations")),
        until=_instant(content.get("until")),
    )


def _text(value: object, *, default: str = "") -> str:
    """The text as it can be sent: half a surrogate pair, which JSON allows, has no encoding."""
    return value.encode(errors="replace").decode() if isinstance(value, str) else default


def _language(value: object) -> str:
    return value if isinstance(value, str) and _LANGUAGE.fullmatch(value) else ""


def _translations(value: object) -> dict[str, Text]:
    items: list[Any] = value if isinstance(value, list) else []
    found: dict[str, Text] = {}
    for item in items:
        content = item if isinstance(item, dict) else {}
        language, title = _language(content.get("language")), _text(content.get("title")).strip()
        if language and title:
            found[language] = Text(title=title, message=_text(content.get("message")))
    return found


def _instant(value: object) -> datetime | None:
    try:
        instant = datetime.fromisoformat(_text(value))
        return instant.astimezone(UTC) if instant.tzinfo else None
    except (ValueError, OverflowError):
        return None
