"""The lines of log files of a volume, the compressed ones too, one at a time: files may be larger than the memory."""

import os
import re
import stat
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Annotated, Final

from pydantic import Field

from upkeep.actions.contract import Action, Outcome
from upkeep.actions.fields import Duration, LabelName, format_duration
from upkeep.actions.logs.moment import Clock
from upkeep.actions.logs.packing import MAGIC, pieces, unpacked
from upkeep.actions.volume.tree import Entry, FilePattern, InnerPath, Tree, matches, named

_LONGEST_LINE: Final = 8192
_OPEN: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def compiled(text: str) -> re.Pattern[str]:
    """A regular expression that a user wrote.

    Raises:
        ValueError: it is none; says where.
    """
    try:
        return re.compile(text)
    except (re.error, OverflowError, RecursionError) as error:
        msg = f"{text!r} is not a regular expression: {error}"
        raise ValueError(msg) from error


Expression = Annotated[str, Field(min_length=1, max_length=512)]
"""A regular expression in Python's spelling; whether it is one, the action that has it finds out (`compiled`)."""


@dataclass(slots=True, kw_only=True)
class Reading:
    """What was read; `problems` has what could not be, safe to show."""

    files: int = 0
    lines: int = 0
    problems: list[str] = field(default_factory=list)

    @property
    def outcome(self) -> Outcome:
        """Unknown, if a file could not be read."""
        return Outcome.UNKNOWN if self.problems else Outcome.OK

    def none_found(self, since: timedelta) -> str:
        """That there was nothing to read, and what to do, for a message."""
        return f"no file of these names was written to in the last {format_duration(since)}: check path and files"

    def words(self) -> str:
        """How much was read, and what not, for a message."""
        read = f"{self.lines} lines of {self.files} files"
        if not self.problems:
            return read
        return f"{read}, but {len(self.problems)} files or directories could not be read: {named(self.problems)}"


class LogReader(Action):
    """Base of what reads the lines of the last time in log files."""

    connection: LabelName
    """Name of a volume connection."""
    path: InnerPath = ""
    """Directory in the volume; left out: all of it. Directories below are read too."""
    files: Annotated[list[FilePattern], Field(min_length=1, max_length=32)] = Field(
        default_factory=lambda: ["*.log", "*.log[-.]*"]
    )
    """Names of files; `*` stands for any characters, `?` for one, `[-.]` for one of these. Also compressed (gzip)."""
    since: Duration = Field(default="1d", validate_default=True)
    """How far back it looks, by the time in a line; a line without one belongs to the line before it."""

    def lines(self, tree: Tree, reading: Reading) -> Iterator[str]:
        """The lines that are young enough, of all files that were written to since; a long line is cut."""
        now = datetime.now(UTC)
        oldest = now - min(self.since, now - datetime.fromtimestamp(0, UTC))
        for entry in tree.walk():
            if not self._chosen(entry, oldest):
                continue
            reading.files += 1
            try:
                yield from _young(entry, tree, Clock(now), oldest, reading)
            except (OSError, zlib.error) as error:
                why = error.strerror if isinstance(error, OSError) else "it is not whole gzip"
                reading.problems.append(f"{entry.path}: {why}: {_advice(error)}")
        reading.problems += [f"{directory}: let the group 65532 read it" for directory in tree.unreadable]

    def _chosen(self, entry: Entry, oldest: datetime) -> bool:
        return entry.regular and entry.status.st_mtime >= oldest.timestamp() and matches(entry.name, self.files)


def _young(entry: Entry, tree: Tree, clock: Clock, oldest: datetime, reading: Reading) -> Iterator[str]:
    young = True
    for raw in _split(_content(entry, tree)):
        line = raw.decode("utf-8", "replace")
        moment = clock.read(line)
        if moment is not None:
            young = moment >= oldest
        if young:
            reading.lines += 1
            yield line


def _content(entry: Entry, tree: Tree) -> Iterator[bytes]:
    source = os.open(entry.name, _OPEN, dir_fd=entry.parent)
    try:
        if not stat.S_ISREG(os.fstat(source).st_mode):
            return
        content = pieces(source, tree)
        yield from unpacked(content) if os.pread(source, len(MAGIC), 0) == MAGIC else content
    finally:
        os.close(source)


def _split(content: Iterator[bytes]) -> Iterator[bytes]:
    """Lines without their ends, each cut to a length that is still read."""
    begun = b""
    for piece in content:
        *whole, last = piece.split(b"\n")
        for line in whole:
            yield (begun + line)[:_LONGEST_LINE]
            begun = b""
        begun = (begun + last)[:_LONGEST_LINE]
    if begun:
        yield begun


def _advice(error: Exception) -> str:
    if isinstance(error, PermissionError):
        return "let the group 65532 read it"
    return "look at it, and at the state of the volume"
