"""The findings of a step as a few bytes each, so that many more than a report can tell of have their ages kept.

A termination message has 4096 bytes for everything. Of a finding that does not fit into it in words, at least its
fingerprint arrives, and what its deadline depends on.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from upkeep.actions.contract import Finding, Grade

MOST: Final = 64
"""Findings of a step, the worst first, whose ages are kept."""

_MINUTE: Final = timedelta(minutes=1)
_EPOCH: Final = datetime.fromtimestamp(0, tz=UTC)
_GRADES: Final = {grade.value[0]: grade for grade in Grade}
_LAST: Final = datetime(2400, 1, 1, tzinfo=UTC)
_WORD: Final = re.compile(r"([0-9a-f]{8})([chml]?)((?<=[chml])[0-9a-f]{1,7})?", re.ASCII)
"""Seven digits are enough until the year 2480."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sighting:
    """That a finding was seen.

    Attributes:
        fingerprint: as of the finding.
        grade: None for what has no deadline.
        since: from when its deadline counts, to the minute; None: from when it was first seen.
    """

    fingerprint: str
    grade: Grade | None = None
    since: datetime | None = None

    @classmethod
    def of(cls, finding: Finding) -> "Sighting":
        """That this one was seen."""
        since = finding.since if finding.grade and finding.since and finding.since.tzinfo else None
        told = since if since and _EPOCH <= since < _LAST else None
        return cls(fingerprint=finding.fingerprint, grade=finding.grade, since=told)

    def encode(self) -> str:
        """The fingerprint, the initial of the grade, and the minute in hexadecimal: at most 16 characters."""
        minute = f"{(self.since - _EPOCH) // _MINUTE:x}" if self.since else ""
        return f"{self.fingerprint}{self.grade.value[0] if self.grade else ''}{minute}"


def encode(findings: Iterable[Finding], *, most: int = MOST) -> str:
    """The first of the findings, each fingerprint once, separated by spaces."""
    seen = {finding.fingerprint: Sighting.of(finding).encode() for finding in findings}
    return " ".join([*seen.values()][:most])


def decode(text: str) -> list[Sighting]:
    """What `encode` wrote; what cannot be read is left out."""
    return [seen for word in text.split() if (seen := _sighting(word))]


def _sighting(word: str) -> Sighting | None:
    match = _WORD.fullmatch(word)
    if match is None:
        return None
    fingerprint, grade, minute = match.groups()
    since = _EPOCH + int(minute, 16) * _MINUTE if minute else None
    return Sighting(fingerprint=fingerprint, grade=_GRADES.get(grade), since=since)
