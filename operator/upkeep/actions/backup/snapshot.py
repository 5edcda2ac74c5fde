"""What is in a repository: a backup as restic reports it when it is made, and as it lists it later."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

SNAPSHOT: Final = "snapshot"
SNAPSHOT_TIME: Final = "snapshot_time"
"""Facts of what makes, tests or restores a snapshot: its short id, and when it was made."""
BYTES: Final = "bytes"
"""Metric of what makes one: the size of what was backed up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """One backup.

    Attributes:
        identifier: restic's short id.
        bytes: size of what was backed up.
        added: how many bytes of it were new to the repository, before compression.
        files: number of files.
    """

    identifier: str
    bytes: int
    added: int
    files: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """A snapshot as the repository lists it.

    Attributes:
        identifier: restic's whole id.
        time: when it was made.
        original: the id that it had before its tags were changed; empty where they were not.
        tags: as they were given.
    """

    identifier: str
    time: datetime
    original: str = ""
    tags: frozenset[str] = frozenset()

    @property
    def name(self) -> str:
        """The short id, as restic shows it to people."""
        return self.identifier[:8]

    def goes_by(self, beginning: str) -> bool:
        """Whether its id, or the one that it had before, begins so."""
        return self.identifier.startswith(beginning) or self.original.startswith(beginning)
