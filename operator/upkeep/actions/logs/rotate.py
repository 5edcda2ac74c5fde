"""Takes the content of log files into dated, compressed ones, and keeps the newest of these.

It must never lose a line that it did not say: the content is on disk, under its new name, before the file is emptied,
and what was renamed is compressed only when its writer has begun another file.
"""

import errno
import os
import re
import stat
import time
import zlib
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, ClassVar, Final

from pydantic import Field

from upkeep.actions.contract import Action, Context, Finding, Outcome, Result, Severity
from upkeep.actions.fields import LabelName
from upkeep.actions.logs.copying import put_away
from upkeep.actions.logs.packing import write
from upkeep.actions.logs.renaming import renamed
from upkeep.actions.logs.writer import WriterSignal
from upkeep.actions.text import readable
from upkeep.actions.volume.tree import (
    PARTIAL,
    Entry,
    FilePattern,
    InnerPath,
    StoppedError,
    Tree,
    advice,
    matches,
    named,
    work_in,
)

_MEBIBYTE: Final = 1024 * 1024
_CHUNK: Final = 256 * 1024
_ROTATED: Final = re.compile(r"-[0-9]{8}T[0-9]{6}Z(\.gz)?", re.ASCII)
_GZIP: Final = 16 + zlib.MAX_WBITS
_OPEN: Final = os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_ROUNDS: Final = 1000
"""How often lines that came meanwhile are fetched before a file that never rests is given up."""
_REOPENING_SECONDS: Final = 300
"""How long after a file was renamed its writer may go on in it, until it has opened the new one."""
_LEFT_SECONDS: Final = 86400
"""The age from which on nobody can still be at work on a copy."""
_DURABLE_ROUNDS: Final = 2
"""How many of these wait for the disk. The rest is little, and waiting would give the writer time to write more."""
_STILL_OLD: Final = "its writer still writes into {copy}: set `signal`, or method: CopyTruncate"


class RotateMethod(StrEnum):
    """How the content leaves a file."""

    COPY_TRUNCATE = "CopyTruncate"
    RENAME = "Rename"


@dataclass(slots=True, kw_only=True)
class _Tally:
    """What was done; `problems` has what could not be, safe to show."""

    rotated: int = 0
    waiting: int = 0
    compressed: int = 0
    removed: int = 0
    before: int = 0
    after: int = 0
    problems: list[str] = field(default_factory=list)


class LogsRotate(Action):
    """Takes the content of log files into dated files next to them, compresses these, and removes the oldest.

    `app.log` becomes `app.log-20260301T020000Z.gz`. CopyTruncate copies and empties the file: its writer needs no
    signal, but has to append (O_APPEND), as loggers do; a line written in the microseconds between the last look at
    the file and its emptying is lost. Rename gives the file its new name and makes an empty one: no line is lost; its
    writer has to open it anew, by itself or at a signal, and only then the next run compresses the renamed one. Files
    with several hard links, symbolic links, pipes and devices are never touched. A step that is stopped leaves the
    file that it was at as it was. Locks: none. Privileges: group 65532 may read and write the files and their
    directories.
    """

    action_name: ClassVar[str] = "logsRotate"
    finds: ClassVar[Mapping[str, str]] = {
        "logs.rotate.failed": "a file that was not rotated, or a copy whose writer still writes into it",
        "logs.rotate.signal": "the writer was not told to open its files anew",
    }

    connection: LabelName
    """Name of a volume connection."""
    path: InnerPath = ""
    """Directory in the volume; left out: all of it. Directories below are worked through too."""
    files: Annotated[list[FilePattern], Field(min_length=1, max_length=32)] = Field(default_factory=lambda: ["*.log"])
    """Names of files; `*` stands for any characters, `?` for one. Left out: `*.log`."""
    min_mebibytes: Annotated[float, Field(ge=0, le=1048576)] = 1
    """A file that is smaller than this, in MiB, or empty, is left alone."""
    keep: Annotated[int, Field(ge=1, le=10000)] = 14
    """How many copies of each file are kept, the newest ones."""
    compress: bool = True
    """Whether copies are compressed (gzip)."""
    method: RotateMethod = RotateMethod.COPY_TRUNCATE
    """CopyTruncate, or Rename."""
    signal: WriterSignal | None = None
    """What tells the writer to open its files anew, after files were rotated. Left out: nothing does."""

    def connection_names(self) -> Sequence[str]:
        """The volume, and what the signal is sent to."""
        return [self.connection, *([self.signal.connection] if self.signal else [])]

    async def run(self, context: Context) -> Result:
        """Rotate every file that is large enough.

        Raises:
            ActionError: the directory cannot be opened.
        """
        tally = await work_in(context, self.connection, self.path, self._work_through)
        metrics = {
            "rotated_files": float(tally.rotated),
            "compressed_files": float(tally.compressed),
            "removed_files": float(tally.removed),
            "bytes_before": float(tally.before),
            "bytes_after": float(tally.after),
        }
        done = (
            f"{tally.rotated} files rotated ({tally.before / _MEBIBYTE:.1f} MiB → {tally.after / _MEBIBYTE:.1f} MiB), "
            f"{tally.removed} old copies removed"
        )
        if self.method is RotateMethod.RENAME:
            done = f"{done}, {tally.compressed} of earlier runs compressed"
        findings = [_problem(self.connection, problem) for problem in tally.problems]
        if self.signal and (tally.rotated or tally.waiting):
            if fault := await self.signal.send(context):
                findings.append(_problem(self.connection, f"{self.signal.shown}: {fault}", check="signal"))
            done += f"; the writer was not told to open its files anew: {fault}" if fault else ", writer told"
        if tally.problems:
            done = f"{len(tally.problems)} files not rotated: {named(tally.problems)}; {done}"
        if findings:
            return Result(outcome=Outcome.FAILED, message=done, findings=findings, metrics=metrics)
        outcome = Outcome.CHANGED if tally.rotated or tally.compressed or tally.removed else Outcome.OK
        return Result(outcome=outcome, message=done, metrics=metrics)

    def _work_through(self, tree: Tree) -> _Tally:
        tally = _Tally()
        for entry in tree.walk():
            if not entry.regular or not self._chosen(entry.name):
                continue
            try:
                if self.method is RotateMethod.RENAME:
                    self._settle(tree, entry, tally)
                if entry.status.st_size and entry.status.st_size >= self.min_mebibytes * _MEBIBYTE:
                    self._rotate(tree, entry, tally)
                tally.removed += self._remove_oldest(entry)
            except OSError as error:
                tally.problems.append(f"{entry.path}: {advice(error)}")
        tally.problems += [f"{directory}: let the group 65532 read it" for directory in tree.unreadable]
        return tally

    def _chosen(self, name: str) -> bool:
        return not _ROTATED.search(name) and matches(name, self.files)

    def _rotate(self, tree: Tree, entry: Entry, tally: _Tally) -> None:
        source = os.open(entry.name, _OPEN, dir_fd=entry.parent)
        try:
            now = os.fstat(source)
            if not stat.S_ISREG(now.st_mode) or now.st_nlink != 1:
                tally.problems.append(f"{entry.path}: it has several hard links: remove all but one")
                return
            at_once = self.compress and self.method is RotateMethod.COPY_TRUNCATE
            plain = f"{entry.name}-{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
            copy = f"{plain}.gz" if at_once else plain
            if _there(entry.parent, plain) or _there(entry.parent, f"{plain}.gz"):
                if self.method is RotateMethod.COPY_TRUNCATE:
                    tally.problems.append(f"{entry.path}: it was rotated in this very second: run this again")
                return
            if self.method is RotateMethod.RENAME:
                before = after = now.st_size
                if problem := renamed(entry, now, copy):
                    tally.problems.append(f"{entry.path}: {problem}")
                    return
            else:
                before, after = self._move(tree, entry, source, copy)
        finally:
            os.close(source)
        tally.rotated += 1
        tally.before += before
        tally.after += after

    def _move(self, tree: Tree, entry: Entry, source: int, copy: str) -> tuple[int, int]:
        """Bring the content under its new name and empty the file; bytes read and written."""
        partial = f".{copy}{PARTIAL}"
        mode = stat.S_IMODE(entry.status.st_mode) & 0o666
        target = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode, dir_fd=entry.parent)
        try:
            read = self._drain(source, target, tree)
            os.fsync(target)
            os.rename(partial, copy, src_dir_fd=entry.parent, dst_dir_fd=entry.parent)
            os.fsync(entry.parent)
            read += self._empty(source, target, read)
        except (OSError, StoppedError):
            for name in (partial, copy):
                with suppress(FileNotFoundError):
                    os.unlink(name, dir_fd=entry.parent)
            raise
        else:
            os.fsync(target)
            return read, os.fstat(target).st_size
        finally:
            os.close(target)

    def _empty(self, source: int, target: int, read: int) -> int:
        """Fetch what came meanwhile until nothing has, and empty the file in that moment; bytes fetched."""
        fetched = 0
        for number in range(_ROUNDS):
            if os.fstat(source).st_size <= read + fetched:
                os.ftruncate(source, 0)
                return fetched
            fetched += self._drain(source, target)
            if number < _DURABLE_ROUNDS:
                os.fsync(target)
        raise OSError(errno.EBUSY, "it is written to without a pause")

    def _drain(self, source: int, target: int, tree: Tree | None = None) -> int:
        """Append what the source still has to the target; bytes read. Compressed it is a gzip member."""
        packer = zlib.compressobj(wbits=_GZIP) if self.compress else None
        read = 0
        while chunk := os.read(source, _CHUNK):
            if tree:
                tree.see_whether_stopped()
            read += len(chunk)
            write(target, packer.compress(chunk) if packer else chunk)
        if packer:
            write(target, packer.flush())
        return read

    def _settle(self, tree: Tree, entry: Entry, tally: _Tally) -> None:
        """Compress what earlier runs have renamed, except for what its writer may still write into."""
        plain = [name for name in _copies(entry) if not name.endswith(".gz")]
        if plain and not entry.status.st_size:
            # The writer has not begun the new file.
            newest = plain.pop()
            tally.waiting += 1
            written = os.stat(newest, dir_fd=entry.parent, follow_symlinks=False).st_mtime
            if written > _rotated_at(newest) + _REOPENING_SECONDS:
                tally.problems.append(f"{entry.path}: {_STILL_OLD.format(copy=readable(newest))}")
        for name in plain if self.compress else ():
            status = os.stat(name, dir_fd=entry.parent, follow_symlinks=False)
            copy = Entry(parent=entry.parent, name=name, path=f"{entry.path}{name[len(entry.name) :]}", status=status)
            problem, _ = put_away(tree, copy, entry.parent, pack=True)
            tally.compressed += not problem
            if problem:
                tally.problems.append(f"{copy.path}: {problem}")

    def _remove_oldest(self, entry: Entry) -> int:
        copies = _copies(entry)
        for name in copies[: -self.keep]:
            os.unlink(name, dir_fd=entry.parent)
        for name in entry.neighbours():
            if name.startswith(f".{entry.name}-") and name.endswith(PARTIAL):
                _remove_left(entry.parent, name)
        return max(0, len(copies) - self.keep)


def _copies(entry: Entry) -> list[str]:
    """The names of a file's copies, the oldest first."""
    return sorted(
        name for name in entry.neighbours() if name.startswith(entry.name) and _ROTATED.fullmatch(name, len(entry.name))
    )


def _rotated_at(copy: str) -> float:
    """When a copy was made, by its name."""
    try:
        return datetime.strptime(copy[-len("20260301T020000Z") :], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC).timestamp()
    except ValueError:
        return time.time()


def _remove_left(directory: int, name: str) -> None:
    """Remove what the Pod of an earlier run left that was killed."""
    with suppress(FileNotFoundError):
        if os.stat(name, dir_fd=directory, follow_symlinks=False).st_mtime < time.time() - _LEFT_SECONDS:
            os.unlink(name, dir_fd=directory)


def _there(directory: int, name: str) -> bool:
    try:
        os.stat(name, dir_fd=directory, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


def _problem(connection: str, problem: str, *, check: str = "failed") -> Finding:
    where, _, why = problem.partition(": ")
    return Finding(
        check_id=f"logs.rotate.{check}",
        severity=Severity.WARNING,
        object=f"{connection} {where}",
        observed=1,
        threshold=1,
        unit="",
        recommendation=why,
    )
