"""When a line of a log was written, by the time that it begins with or has near its beginning."""

import re
from datetime import datetime, timedelta
from typing import Final

_NEAR_THE_BEGINNING: Final = 160
_COLONS: Final = 2
"""How many a time has at least; to count them first is much faster."""
_TIME: Final = re.compile(
    r"(?P<iso>\d{4}[-/]\d\d[-/]\d\d[T ]\d\d:\d\d:\d\d)(?:[.,]\d+)?(?: ?(?P<zone>Z|[+-]\d\d:?\d\d)(?!\d))?"
    r"|(?P<web>\d\d/[A-Z][a-z]{2}/\d{4}:\d\d:\d\d:\d\d [+-]\d{4})"
    r"|^(?:<\d{1,3}>)?(?P<syslog>[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d)",
    re.ASCII,
)
_AHEAD: Final = timedelta(days=2)
"""A time of syslog has no year: one that is further ahead than this is of the year before."""


class Clock:
    """Reads times from lines: ISO 8601, those of nginx and Apache, and of syslog. Without a zone they are UTC."""

    def __init__(self, now: datetime) -> None:
        self._now = now
        self._known = ""
        self._moment: datetime | None = None

    def read(self, line: str) -> datetime | None:
        """The time in the line; None if it has none."""
        if line.count(":", 0, _NEAR_THE_BEGINNING) < _COLONS:
            return None
        found = _TIME.search(line, 0, _NEAR_THE_BEGINNING)
        if found is None:
            return None
        if found[0] != self._known:
            self._known, self._moment = found[0], self._parse(found)
        return self._moment

    def _parse(self, found: re.Match[str]) -> datetime | None:
        try:
            if found["iso"]:
                zone = (found["zone"] or "Z").replace("Z", "+00:00")
                return datetime.fromisoformat(found["iso"].replace("/", "-") + zone)
            if found["web"]:
                return datetime.strptime(found["web"], "%d/%b/%Y:%H:%M:%S %z")
            written = datetime.strptime(f"{self._now.year} {found['syslog']} +0000", "%Y %b %d %H:%M:%S %z")
            return written if written <= self._now + _AHEAD else written.replace(year=written.year - 1)
        except ValueError:
            return None
