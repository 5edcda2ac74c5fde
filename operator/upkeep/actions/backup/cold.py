"""Classes of storage that have to be thawed before they can be read, and what is written beside a copy in them."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Final

MARKER: Final = "upkeep-copy.json"
"""Object beside the files of a copy; restic takes no notice of it."""


class ColdClass(StrEnum):
    """Classes whose objects have to be thawed."""

    GLACIER = "GLACIER"
    DEEP_ARCHIVE = "DEEP_ARCHIVE"

    @property
    def thaw_time(self) -> str:
        """How long thawing takes, from Amazon's standard retrieval to its bulk retrieval.

        Source: Amazon S3 User Guide, "Understanding archive retrieval options".
        """
        return _THAW_TIMES[self]


_THAW_TIMES: Final = {ColdClass.GLACIER: "3h to 12h", ColdClass.DEEP_ARCHIVE: "12h to 48h"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Marker:
    """What is known of a copy, as it stands beside it.

    Attributes:
        begun: when the last run that came to its end began: what the repository had then is in the copy.
        time: when that run ended; both None before the first has.
        snapshots: the whole ids of the snapshots that the copy holds since then.
        gone: file of the copy that the repository has no longer → when that was first seen.
        attempt: of the run that wrote this.
    """

    begun: datetime | None = None
    time: datetime | None = None
    snapshots: Sequence[str] = ()
    gone: Mapping[str, datetime] = field(default_factory=dict)
    attempt: str = ""

    def encode(self) -> bytes:
        """As JSON, for people too."""
        gone: dict[str, list[str]] = {}
        for name, since in sorted(self.gone.items()):
            gone.setdefault(since.isoformat(), []).append(name)
        document = {
            "about": "A copy of a restic repository, made by Upkeep. Data has to be thawed before restic can read it.",
            "begun": self.begun.isoformat() if self.begun else None,
            "complete": self.time.isoformat() if self.time else None,
            "snapshots": list(self.snapshots),
            "gone": gone,
            "attempt": self.attempt,
        }
        return f"{json.dumps(document, indent=1)}\n".encode()

    @classmethod
    def decode(cls, content: bytes | None) -> "Marker":
        """What can be read of it; what cannot is as if it had never been there, so that nothing is removed early."""
        try:
            document = json.loads(content or b"{}")
            return cls(
                begun=_instant(document.get("begun")),
                time=_instant(document.get("complete")),
                snapshots=[str(each) for each in document.get("snapshots") or ()],
                gone={
                    str(name): seen
                    for since, names in (document.get("gone") or {}).items()
                    if (seen := _instant(since))
                    for name in names
                },
            )
        except (ValueError, TypeError, AttributeError, OverflowError):
            return cls()


def _instant(text: object) -> datetime | None:
    return datetime.fromisoformat(str(text)).astimezone(UTC) if text else None
