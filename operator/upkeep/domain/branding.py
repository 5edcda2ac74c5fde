"""Whose maintenance page it is: name, logo and colour, read from the entries of a ConfigMap.

The operator reads them to say what is wrong with them, the page to show the rest: nothing in here may fail, whatever it
is given, and nothing may need more than the standard library, for the page starts with it.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

NAME: Final = "name"
ACCENT: Final = "accentColor"
LOGOS: Final[Mapping[str, str]] = {"logo.svg": "image/svg+xml", "logo.png": "image/png"}
"""Keys of a logo with their media types; the first that can be used is shown."""
KEYS: Final = (NAME, ACCENT, *LOGOS)
"""All that is looked at."""
LARGEST_LOGO: Final = 64 * 1024
"""Bytes: a logo is sent with every answer."""
LONGEST_NAME: Final = 80

_COLOUR: Final = re.compile(r"#([0-9a-fA-F]{3}|[0-9a-fA-F]{6})")
_PNG: Final = b"\x89PNG\r\n\x1a\n"
_SVG: Final = re.compile(rb"<svg[\s>]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Logo:
    """A picture.

    Attributes:
        media: its media type.
        data: its bytes.
    """

    media: str
    data: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Brand:
    """What can be used of a branding.

    Attributes:
        name: of the application or company; may be empty.
        accent: a colour as `#rrggbb`; None: the page's own.
        logo: None where there is none.
        complaints: what cannot be used, for people, and what to write instead.
    """

    name: str = ""
    accent: str | None = None
    logo: Logo | None = None
    complaints: tuple[str, ...] = ()


def read_brand(entries: Mapping[str, bytes]) -> Brand:
    """The brand that the entries of a ConfigMap describe; what cannot be used of it is left out."""
    complaints: list[str] = []
    name = " ".join(entries.get(NAME, b"").decode(errors="replace").split())
    if len(name) > LONGEST_NAME:
        complaints.append(f"{NAME} is longer than {LONGEST_NAME} characters: shorten it")
        name = name[:LONGEST_NAME]
    accent = _accent(entries.get(ACCENT), complaints)
    logos = [_logo(key, entries[key], complaints) for key in LOGOS if key in entries]
    logo = next((found for found in logos if found is not None), None)
    return Brand(name=name, accent=accent, logo=logo, complaints=tuple(complaints))


def _accent(value: bytes | None, complaints: list[str]) -> str | None:
    if value is None:
        return None
    text = value.decode(errors="replace").strip()
    found = _COLOUR.fullmatch(text)
    if found is None:
        complaints.append(f"{ACCENT} {text[:20]!r} is no colour: write it as #0b7285")
        return None
    digits = found[1].lower()
    return "#" + (digits if len(digits) > len("fff") else "".join(digit * 2 for digit in digits))


def _logo(key: str, data: bytes, complaints: list[str]) -> Logo | None:
    media = LOGOS[key]
    if len(data) > LARGEST_LOGO:
        complaints.append(f"{key} has {len(data) // 1024} KiB: at most {LARGEST_LOGO // 1024} KiB can be shown")
        return None
    if not (_SVG.search(data[:4096]) if media == "image/svg+xml" else data.startswith(_PNG)):
        complaints.append(f"{key} is no {media} picture")
        return None
    return Logo(media=media, data=data)
