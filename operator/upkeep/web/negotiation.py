"""Which of the representations a client wants, after its Accept header (RFC 9110, section 12.5.1)."""

from collections.abc import Sequence
from typing import Final, NamedTuple

HTML: Final = "text/html"
JSON: Final = "application/json"
TEXT: Final = "text/plain"

_PREFERENCE: Final = (JSON, HTML, TEXT)
"""What is sent of several that a client likes equally. A browser that wants to show a page always says `text/html`;
`*/*` alone, or no header at all, is a program."""


class Range(NamedTuple):
    """One of the things that a client can take, in lower case, and how much it likes it, from 0 to 1."""

    value: str
    quality: float

    def matches(self, offer: str) -> int:
        """How closely a media type: 2 exactly, 1 by its type, 0 as one of all; -1 not at all."""
        if self.value == offer:
            return 2
        if self.value == f"{offer.split('/', maxsplit=1)[0]}/*":
            return 1
        return 0 if self.value == "*/*" else -1


def negotiated(accept: str) -> str:
    """The media type to send: the one with the highest quality, of several the one that was named most closely.

    A header that accepts none of them gets JSON: a maintenance is never a 406.
    """
    wanted = ranges(accept) or [Range("*/*", 1.0)]
    rated = [(*_rating(offer, wanted), -index, offer) for index, offer in enumerate(_PREFERENCE)]
    quality, _, _, best = max(rated)
    return best if quality > 0 else JSON


def ranges(header: str) -> list[Range]:
    """What a header of the Accept family names, in its order; what cannot be read of it is liked not at all."""
    found = []
    for part in header.split(","):
        value, *parameters = (piece.strip().lower() for piece in part.split(";"))
        if value:
            found.append(Range(value, _quality(parameters)))
    return found


def _rating(offer: str, wanted: Sequence[Range]) -> tuple[float, int]:
    """Quality and closeness of the range that matches most closely."""
    closeness, quality = max((found.matches(offer), found.quality) for found in wanted)
    return (quality, closeness) if closeness >= 0 else (0.0, -1)


def _quality(parameters: Sequence[str]) -> float:
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "q":
            try:
                return min(1.0, max(0.0, float(value)))
            except ValueError:
                return 0.0
    return 1.0
