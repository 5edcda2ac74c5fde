"""Removes temporary files that nobody has used for long. It must never remove one that somebody still uses.

Without `dryRun: false` it only counts. A file is judged again, by the same inode, right before it is removed.
"""

import fcntl
import os
import stat
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from fnmatch import fnmatchcase
from typing import Annotated, ClassVar, Final, Self

from pydantic import Field, model_validator

from upkeep.actions.contract import Action, Context, Finding, Outcome, Result, Severity
from upkeep.actions.fields import Duration, LabelName, format_duration
from upkeep.actions.volume.tree import Entry, FilePattern, InnerPath, Tree, advice, named, work_in

_MEBIBYTE: Final = 1024 * 1024
_BLOCK: Final = 512
_OPEN: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_LEAST: Final = timedelta(hours=1)
_TOO_FRESH: Final = "olderThan must be at least 1h: what is younger may be in use"


@dataclass(slots=True, kw_only=True)
class _Tally:
    """What was found and done; `problems` has what could not be, safe to show."""

    found: int = 0
    removed: int = 0
    directories: int = 0
    bytes: int = 0
    locked: int = 0
    problems: list[str] = field(default_factory=list)


class LogsCleanTemp(Action):
    """Removes files below a directory that were neither written nor read for a time; by default it only counts them.

    Directories go too, once they are empty, if nothing was made or removed in them for as long. A directory or file
    that a program has locked (flock) is left alone, a directory with all in it, as systemd-tmpfiles does. Symbolic
    links, pipes, sockets and devices are never touched. Locks: takes flock on what it removes, for a moment, and on a
    directory while it is in it. Privileges: group 65532 may read the files and change their directories.
    """

    action_name: ClassVar[str] = "logsCleanTemp"
    finds: ClassVar[Mapping[str, str]] = {
        "logs.clean-temp": "a dry run would remove files",
    }

    connection: LabelName
    """Name of a volume connection."""
    path: InnerPath
    """Directory in the volume, which itself stays; an empty text for all of the volume."""
    files: Annotated[list[FilePattern], Field(min_length=1, max_length=32)] = Field(default_factory=lambda: ["*"])
    """Names of files; `*` stands for any characters, `?` for one. Left out: all."""
    older_than: Duration = Field(default="7d", validate_default=True)
    """For how long nobody has written or read a file; at least 1h."""
    dry_run: bool = True
    """Only count what would be removed. Set it to false to remove it."""

    @model_validator(mode="after")
    def _sensible(self) -> Self:
        if self.older_than < _LEAST:
            raise ValueError(_TOO_FRESH)
        return self

    async def run(self, context: Context) -> Result:
        """Go through all files once.

        Raises:
            ActionError: the directory cannot be opened.
        """
        tally = await work_in(context, self.connection, self.path, self._work_through)
        metrics = {
            "found_files": float(tally.found),
            "removed_files": float(tally.removed),
            "removed_directories": float(tally.directories),
            "bytes": float(tally.bytes),
            "locked": float(tally.locked),
        }
        size, age = f"{tally.bytes / _MEBIBYTE:.1f} MiB", format_duration(self.older_than)
        locked = f"; {tally.locked} in use (locked)" if tally.locked else ""
        if self.dry_run:
            message = f"dry run: would remove {tally.found} files of {size}, unused for {age}{locked}"
            findings = self._finding(tally) if tally.found else []
        else:
            message = f"{tally.removed} files of {size} and {tally.directories} directories removed, unused for {age}"
            message, findings = f"{message}{locked}", []
        outcome = Outcome.CHANGED if tally.removed or tally.directories else Outcome.OK
        if tally.problems:
            outcome = Outcome.FAILED
            message = f"{len(tally.problems)} could not be removed or looked at: {named(tally.problems)}; {message}"
        return Result(outcome=outcome, message=message, findings=findings, metrics=metrics)

    def _finding(self, tally: _Tally) -> Sequence[Finding]:
        return [
            Finding(
                check_id="logs.clean-temp",
                severity=Severity.INFO,
                object=f"{self.connection} {self.path or '.'}",
                observed=tally.found,
                threshold=1,
                unit="files",
                recommendation="set dryRun: false to remove them",
            )
        ]

    def _work_through(self, tree: Tree) -> _Tally:
        tally = _Tally()
        oldest = time.time() - self.older_than.total_seconds()

        def enter(directory: int) -> bool:
            free = _lock(directory)
            tally.locked += not free
            return free

        tree.enter, tree.twice = enter, True
        for entry in tree.walk():
            try:
                if entry.left:
                    self._leave(entry, oldest, tally)
                elif (
                    entry.regular
                    and any(fnmatchcase(entry.name, pattern) for pattern in self.files)
                    and _unused_since(entry.status) < oldest
                ):
                    self._remove(entry, oldest, tally)
            except FileNotFoundError:
                continue
            except OSError as error:
                tally.problems.append(f"{entry.path}: {advice(error)}")
        tally.problems += [f"{directory}: let the group 65532 read it" for directory in tree.unreadable]
        return tally

    def _remove(self, entry: Entry, oldest: float, tally: _Tally) -> None:
        file = os.open(entry.name, _OPEN, dir_fd=entry.parent)
        try:
            now = os.fstat(file)
            same = (now.st_dev, now.st_ino) == (entry.status.st_dev, entry.status.st_ino)
            if not same or not stat.S_ISREG(now.st_mode) or _unused_since(now) >= oldest:
                return
            if not _lock(file):
                tally.locked += 1
                return
            if not self.dry_run:
                os.unlink(entry.name, dir_fd=entry.parent)
                tally.removed += 1
            tally.found += 1
            tally.bytes += now.st_blocks * _BLOCK if now.st_nlink == 1 else 0
        finally:
            os.close(file)

    def _leave(self, entry: Entry, oldest: float, tally: _Tally) -> None:
        # The time before anything was removed in it: that counts as use too, and a directory that is used stays.
        if self.dry_run or entry.status.st_mtime >= oldest:
            return
        try:
            os.rmdir(entry.name, dir_fd=entry.parent)
        except OSError as error:
            if isinstance(error, PermissionError):
                raise
            return
        tally.directories += 1


def _unused_since(status: os.stat_result) -> float:
    # NB: not the time of its last change (ctime): giving a volume to a group, as a Pod starts, changes every file.
    return max(status.st_mtime, status.st_atime)


def _lock(file: int) -> bool:
    """Whether nobody else has locked it; it is locked until it is closed."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
