"""Which of the representations a client wants, after its Accept header (RFC 9110, section 12.5.1)."""

from collections.abc import Sequence
from typing import Final, NamedTuple

HTML: Final = "text/html"
JSON: Final = "application/json"
TEXT: Final = "text/plain"

_PREFERENCE: Final = (JSON, HTML, TEXT)
"""What is sent of several that a client likes equally. A browser that wants to show a page always says `text/html`;
`*/*` alone, or no header at all, is a program."""


class _Range(NamedTuple):
    media: str
    quality: float

    def matches(self, offer: str) -> int:
        """How closely: 2 exactly, 1 by its type, 0 as one of all; -1 not at all."""
        if self.media == offer:
            return 2
        if self.media == f"{offer.split('/', maxsplit=1)[0]}/*":
            return 1
        return 0 if self.media == "*/*" else -1


def negotiated(accept: str) -> str:
    """The media type to send: the one with the highest quality, of several the one that was named most closely.

    A header that accepts none of them gets JSON: a maintenance is never a 406.
    """
    ranges = _ranges(accept) or [_Range("*/*", 1.0)]
    rated = [(*_rating(offer, ranges), -index, offer) for index, offer in enumerate(_PREFERENCE)]
    quality, _, _, best = max(rated)
    return best if quality > 0 else JSON


def _rating(offer: str, ranges: Sequence[_Range]) -> tuple[float, int]:
    """Quality and closeness of the range that matches most closely."""
    closeness, quality = max((found.matches(offer), found.quality) for found in ranges)
    return (quality, closeness) if closeness >= 0 else (0.0, -1)


def _ranges(accept: str) -> list[_Range]:
    ranges = []
    for part in accept.split(","):
        media, *parameters = (piece.strip().lower() for piece in part.split(";"))
        if media:
            ranges.append(_Range(media, _quality(parameters)))
    return ranges


def _quality(parameters: Sequence[str]) -> float:
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "q":
            try:
                return min(1.0, max(0.0, float(value)))
            except ValueError:
                return 0.0
    return 1.0
