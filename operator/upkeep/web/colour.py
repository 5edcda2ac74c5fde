"""Makes a page of somebody's colour that can still be read, by day and by night.

Contrast as in WCAG 2.2: https://www.w3.org/TR/WCAG22/#dfn-contrast-ratio.
"""

from collections.abc import Mapping
from typing import Final

READABLE: Final = 4.5
"""Contrast of text with its ground (WCAG 2.2, 1.4.3)."""
DAY: Final = ("#f7f4ee", "#e4edef")
NIGHT: Final = ("#0e1620", "#1c2f3c")
"""Top and bottom of the sky, as in the page's own style."""
_STEPS: Final = 20
_HILLS: Final = {"far": 0.3, "middle": 0.55, "near": 0.85}
"""How much of the colour there is in each row of hills; the rest is sky."""

Colour = tuple[float, float, float]


def palette(accent: str) -> Mapping[str, Mapping[str, str]]:
    """The colours of the page, for `day` and `night`, by the names of their variables in its style.

    Args:
        accent: as `#rrggbb`.
    """
    return {
        "day": {"accent": readable(accent, DAY, towards="#000000"), **_hills(accent, DAY[1])},
        "night": {
            "accent": readable(accent, NIGHT, towards="#ffffff"),
            **_hills(_mixed(accent, NIGHT[0], 0.5), NIGHT[1]),
        },
    }


def readable(colour: str, grounds: tuple[str, ...], *, towards: str) -> str:
    """The colour itself where text of it can be read on all grounds, else the nearest on the way to another."""
    for step in range(_STEPS + 1):
        mixed = _mixed(colour, towards, 1 - step / _STEPS)
        if all(contrast(mixed, ground) >= READABLE for ground in grounds):
            return mixed
    return towards


def contrast(one: str, other: str) -> float:
    """From 1, none, to 21."""
    darker, lighter = sorted((_luminance(one), _luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


def _hills(accent: str, sky: str) -> dict[str, str]:
    return {name: _mixed(accent, sky, share) for name, share in _HILLS.items()}


def _mixed(one: str, other: str, share: float) -> str:
    """A colour with so much of the one, and the rest of the other."""
    parts = (round(255 * (a * share + b * (1 - share))) for a, b in zip(_parts(one), _parts(other), strict=True))
    return "#" + "".join(f"{part:02x}" for part in parts)


def _luminance(colour: str) -> float:
    red, green, blue = (
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4  # noqa: PLR2004 - of the formula
        for part in _parts(colour)
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _parts(colour: str) -> Colour:
    red, green, blue = (int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5))
    return red, green, blue
