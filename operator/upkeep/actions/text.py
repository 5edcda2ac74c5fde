"""What people read: text from servers, certificates and file systems, made safe to show, and numbers in words."""

from typing import Final

_BINARY_STEP: Final = 1024


def readable(text: str) -> str:
    """Any text of a server or file system, safe to show: unprintable characters are written as escapes."""
    decoded = text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode() for character in decoded
    )


def several(count: int, thing: str, things: str = "") -> str:
    """A number of things: `1 table`, `2 tables`; `things` are more than one where that is not said with an `s`."""
    return f"{count} {thing if count == 1 else things or f'{thing}s'}"


def readable_size(size: float) -> str:
    """A number of bytes: `512 B`, `12.3 MiB`."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < _BINARY_STEP:
            return f"{size:.0f} B" if unit == "B" else f"{size:.1f} {unit}"
        size /= _BINARY_STEP
    return f"{size:.1f} TiB"
