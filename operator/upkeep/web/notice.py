"""What a maintenance page has to say, and what follows from it for people and for machines.

Whatever the content file looks like, there is a notice: a page that cannot be read must still be a page.
"""

import json
import math
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

DEFAULT_TITLE: Final = "Down for maintenance"
DEFAULT_MESSAGE: Final = "We are working on it and will be back soon."

SHORTEST_RETRY: Final = 5
"""Seconds a client is asked to wait at least, also when the end has passed: it may come back any moment."""
UNKNOWN_RETRY: Final = 60
"""Seconds a client is asked to wait when the end is not known."""

_MINUTES_UP_TO: Final = 90
_HOURS_UP_TO: Final = 36


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """Title, message and expected end.

    Attributes:
        title: the heading.
        message: plain text; blank lines separate paragraphs.
        until: when the maintenance is over, time zone aware; None when that is not known.
    """

    title: str = DEFAULT_TITLE
    message: str = DEFAULT_MESSAGE
    until: datetime | None = None

    @property
    def paragraphs(self) -> list[str]:
        """The message in paragraphs, their line breaks kept."""
        return [paragraph.strip() for paragraph in re.split(r"\n\s*\n", self.message) if paragraph.strip()]

    def retry_after(self, now: datetime) -> int:
        """Whole seconds until it is worth to ask again."""
        if self.until is None:
            return UNKNOWN_RETRY
        return max(SHORTEST_RETRY, math.ceil((self.until - now).total_seconds()))

    def overdue(self, now: datetime) -> bool:
        """Whether the expected end has passed."""
        return self.until is not None and self.until <= now

    def prospect(self, now: datetime) -> str:
        """When it will be over, in words: `Back in about 25 minutes`."""
        if self.until is None:
            return "Back soon"
        if self.overdue(now):
            return "Back any moment now"
        return f"Back in {_in_words(self.until - now)}"

    @property
    def end(self) -> str:
        """The expected end for people, in UTC; empty when it is not known."""
        return f"{self.until:%A, %-d %B %Y, %H:%M} UTC" if self.until else ""

    @property
    def end_instant(self) -> str:
        """The expected end for machines, in RFC 3339; empty when it is not known."""
        return f"{self.until:%Y-%m-%dT%H:%M:%SZ}" if self.until else ""


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
        until=_instant(content.get("until")),
    )


def _text(value: object, *, default: str = "") -> str:
    """The text as it can be sent: half a surrogate pair, which JSON allows, has no encoding."""
    return value.encode(errors="replace").decode() if isinstance(value, str) else default


def _instant(value: object) -> datetime | None:
    try:
        instant = datetime.fromisoformat(_text(value))
        return instant.astimezone(UTC) if instant.tzinfo else None
    except (ValueError, OverflowError):
        return None


def _in_words(rest: timedelta) -> str:
    """A duration rounded up, so that nobody is promised too much."""
    minutes = math.ceil(rest.total_seconds() / 60)
    if minutes <= 1:
        return "about a minute"
    if minutes <= _MINUTES_UP_TO:
        return f"about {minutes} minutes"
    half_hours = math.ceil(minutes / 30)
    if half_hours <= _HOURS_UP_TO * 2:
        return f"about {half_hours // 2}{'½' if half_hours % 2 else ''} hours"
    return f"about {math.ceil(minutes / 60 / 24)} days"
