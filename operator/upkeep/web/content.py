"""What a page is told by files that somebody may replace at any time: its notice, and whose page it is."""

import logging
from dataclasses import replace
from pathlib import Path
from typing import Final

from upkeep.domain.branding import KEYS, LARGEST_LOGO, Brand, read_brand
from upkeep.web.notice import Notice, read_notice

_LOG: Final = logging.getLogger(__name__)


class Content:
    """The notice with its brand, read again whenever one of their files has changed.

    Args:
        file: JSON with title, message, language, translations and until.
        brand: directory with the entries of the branding as files, each of which may be missing; None: no branding.
    """

    def __init__(self, file: Path, brand: Path | None = None) -> None:
        self._file = file
        self._notice = Notice()
        self._seen: tuple[int, ...] | None = None
        self._complained = False
        self._entries = tuple(brand / key for key in KEYS) if brand else ()
        self._brand = Brand()
        self._entries_seen: tuple[tuple[int, ...] | None, ...] = ()

    def notice(self) -> Notice:
        """What the files say; when they cannot be read, the last thing that they said, or the defaults."""
        self._read_notice()
        self._read_brand()
        return replace(self._notice, brand=self._brand)

    def _read_notice(self) -> None:
        try:
            seen = _state(self._file)
            if seen != self._seen:
                self._notice = read_notice(self._file.read_text(encoding="utf-8", errors="replace"))
                self._seen = seen
                self._complained = False
        except OSError as error:
            if not self._complained:
                _LOG.warning("cannot read the content of the page, showing what is known: %s", error)
            self._seen, self._complained = None, True

    def _read_brand(self) -> None:
        seen = tuple(_state_or_none(path) for path in self._entries)
        if seen == self._entries_seen:
            return
        entries = {}
        for path in self._entries:
            try:
                with path.open("rb") as file:
                    entries[path.name] = file.read(LARGEST_LOGO + 1)
            except OSError:
                continue
        self._brand, self._entries_seen = read_brand(entries), seen
        for complaint in self._brand.complaints:
            _LOG.warning("of the branding is left out: %s", complaint)


def _state(path: Path) -> tuple[int, ...]:
    status = path.stat()
    return status.st_ino, status.st_mtime_ns, status.st_size


def _state_or_none(path: Path) -> tuple[int, ...] | None:
    try:
        return _state(path)
    except OSError:
        return None
