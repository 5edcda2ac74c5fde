"""Tells how much room files take, directory by directory, and how full their volume is."""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from heapq import nlargest
from typing import Annotated, ClassVar, Final

from pydantic import Field

from upkeep.actions.contract import Action, Context, Finding, Outcome, Result, Severity
from upkeep.actions.fields import LabelName
from upkeep.actions.thresholds import Graded
from upkeep.actions.volume.tree import InnerPath, Tree, work_in

_MEBIBYTE: Final = 1024 * 1024
_BLOCK: Final = 512
_NAMED: Final = 20
_DIRECTLY: Final = "."


@dataclass(slots=True, kw_only=True)
class _Room:
    """Bytes on the volume by directory, and how full the volume is."""

    directories: dict[str, float] = field(default_factory=dict)
    files: int = 0
    disk_percent: float = 0.0
    inodes_percent: float = 0.0
    unreadable: Sequence[str] = ()


class LogsSize(Action, Graded):
    """Reports directories above a limit, and how full the volume is, in bytes and in inodes.

    Each directory right below `path` is measured with all that is in it, the files of `path` itself together as `.`.
    What counts is the room that files take on the volume (as du tells), sparse files and hard links for what they are.
    Locks: none. Privileges: group 65532 may list the directories. Source of the defaults: 80 and 95 percent leave time
    to act before writers fail; some file systems slow down above 95.
    """

    action_name: ClassVar[str] = "logsSize"
    check: ClassVar[bool] = True
    graded_by: ClassVar[tuple[str, str]] = ("warning_percent", "critical_percent")
    finds: ClassVar[Mapping[str, str]] = {
        "logs.size.directory": "a directory that takes as much room as maxMebibytes, or more",
        "logs.size.disk": "the volume is almost full",
        "logs.size.inodes": "the volume has almost no room for more files",
    }

    connection: LabelName
    """Name of a volume connection."""
    path: InnerPath = ""
    """Directory in the volume; left out: all of it."""
    max_mebibytes: Annotated[int, Field(ge=0, le=1073741824)] = 1024
    """Size of a directory, in MiB, from which on it is a warning."""
    warning_percent: Annotated[float, Field(ge=0, le=100)] = 80
    """Use of the volume's bytes or inodes, in percent, from which on it is a warning."""
    critical_percent: Annotated[float, Field(ge=0, le=100)] = 95
    """Use of the volume's bytes or inodes, in percent, from which on it is critical."""

    async def run(self, context: Context) -> Result:
        """Go through all files once.

        Raises:
            ActionError: the directory cannot be opened.
        """
        room = await work_in(context, self.connection, self.path, _measure)
        total = sum(room.directories.values())
        message = (
            f"{total / _MEBIBYTE:.1f} MiB in {room.files} files; volume {room.disk_percent:.0f} % full, "
            f"inodes {room.inodes_percent:.0f} %"
        )
        outcome = Outcome.OK
        if room.unreadable:
            outcome = Outcome.UNKNOWN
            message = (
                f"{len(room.unreadable)} directories cannot be read, the first {room.unreadable[0]!r}: let the group "
                f"65532 read them; without them {message}"
            )
        return Result(
            outcome=outcome,
            message=message,
            findings=[*self._large(room), *self._full(room)],
            metrics={
                "bytes": float(total),
                "files": float(room.files),
                "disk_used_percent": round(room.disk_percent, 2),
                "inodes_used_percent": round(room.inodes_percent, 2),
            },
        )

    def _large(self, room: _Room) -> Iterator[Finding]:
        limit = self.max_mebibytes * _MEBIBYTE
        large = ((size, name) for name, size in room.directories.items() if size >= limit)
        for size, name in nlargest(_NAMED, large):
            yield Finding(
                check_id="logs.size.directory",
                severity=Severity.WARNING,
                object=f"{self.connection} {name}",
                observed=round(size / _MEBIBYTE, 2),
                threshold=self.max_mebibytes,
                unit="MiB",
                recommendation="rotate and compress what is written there (logsRotate), or keep less of it",
            )

    def _full(self, room: _Room) -> Iterator[Finding]:
        for what, percent in (("disk", room.disk_percent), ("inodes", room.inodes_percent)):
            if percent < self.warning_percent:
                continue
            critical = percent >= self.critical_percent
            yield Finding(
                check_id=f"logs.size.{what}",
                severity=Severity.CRITICAL if critical else Severity.WARNING,
                object=self.connection,
                observed=round(percent, 2),
                threshold=self.critical_percent if critical else self.warning_percent,
                unit="percent",
                recommendation="free room on the volume or enlarge it: writers fail when it is full",
            )


def _measure(tree: Tree) -> _Room:
    room = _Room()
    for entry in tree.walk():
        directory, slash, _ = entry.path.partition("/")
        place = directory if slash else _DIRECTLY
        room.directories.setdefault(place, 0.0)
        if not entry.regular:
            continue
        room.files += 1
        room.directories[place] += entry.status.st_blocks * _BLOCK / max(1, entry.status.st_nlink)
    volume = os.fstatvfs(tree.root)
    room.disk_percent = 100 - 100 * volume.f_bavail / volume.f_blocks if volume.f_blocks else 0.0
    room.inodes_percent = 100 - 100 * volume.f_favail / volume.f_files if volume.f_files else 0.0
    room.unreadable = tree.unreadable
    return room
