"""The files below a directory of a volume, reached only through open directories, so that nothing leads out of it.

A name is resolved in the directory that is open, never as a path, and no symbolic link is followed: whoever can write
into the volume can change names while a step runs, but cannot make it touch what lies elsewhere. Whatever is of another
file system is left alone. What the walk keeps in memory grows with the depth of the directories, not with the files.
"""

import asyncio
import errno
import os
import stat
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from pathlib import PurePosixPath
from typing import Annotated, Final, TypeVar

from pydantic import Field

from upkeep.actions.connections import VolumeTarget
from upkeep.actions.contract import ActionError, Context
from upkeep.actions.text import readable

PARTIAL: Final = ".upkeep-partial"
"""How the name of a file ends that is being written; what a Pod left that was killed has it too."""
_NAMED_IN_MESSAGE: Final = 3
_DEEPEST: Final = 64
_READ: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC

InnerPath = Annotated[str, Field(max_length=512, pattern=r"^([^/.][^/]*(/[^/.][^/]*)*)?$")]
"""A path inside of a volume, relative; no part of it begins with a dot. Empty for all of the volume."""

FilePattern = Annotated[str, Field(min_length=1, max_length=128, pattern=r"^[^/]+$")]
"""Which names of files: `*` stands for any characters, `?` for one."""

Answer = TypeVar("Answer")


class StoppedError(Exception):
    """The step was cancelled; the thread that worked for it has left everything as it was between two files."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A file or directory.

    Attributes:
        parent: descriptor of the open directory in which it has its name; closed when the walk goes on.
        name: its name there.
        path: where it is, relative to the directory of the step; safe to show.
        status: what lstat said of it, for a directory before the walk went into it.
        left: true for a directory when the walk comes back from it.
    """

    parent: int
    name: str
    path: str
    status: os.stat_result
    left: bool = False

    @property
    def regular(self) -> bool:
        """Whether it is a file with content of its own: no link, pipe, socket or device."""
        return stat.S_ISREG(self.status.st_mode)

    @property
    def directory(self) -> bool:
        """Whether it is a directory."""
        return stat.S_ISDIR(self.status.st_mode)

    def content(self, most: int) -> bytes:
        """The first so many bytes of the file; nothing where it is no longer one with content of its own.

        Raises:
            OSError: it cannot be read.
        """
        with os.fdopen(os.open(self.name, _READ, dir_fd=self.parent), "rb") as opened:
            return opened.read(most) if stat.S_ISREG(os.fstat(opened.fileno()).st_mode) else b""

    def neighbours(self) -> list[str]:
        """Names of the files in the same directory, without links."""
        # A descriptor of its own: two scans of one descriptor share their place, and the walk would begin again.
        directory = os.open(".", _DIRECTORY, dir_fd=self.parent)
        try:
            with os.scandir(directory) as names:
                return [found.name for found in names if found.is_file(follow_symlinks=False)]
        finally:
            os.close(directory)


@dataclass(slots=True, kw_only=True)
class Tree:
    """A directory of a volume while a step works in it.

    Attributes:
        root: its descriptor.
        unreadable: directories that could not be read so far; safe to show.
        stopped: set when the step was cancelled.
        enter: whether the walk goes into a directory, given its descriptor.
        twice: whether the walk tells of a directory again when it comes back from it.
    """

    root: int
    unreadable: list[str] = field(default_factory=list)
    stopped: threading.Event = field(default_factory=threading.Event)
    enter: Callable[[int], bool] = field(default=lambda _: True)
    twice: bool = False

    def see_whether_stopped(self) -> None:
        """Leave, if the step was cancelled.

        Raises:
            StoppedError: it was.
        """
        if self.stopped.is_set():
            raise StoppedError

    def walk(self) -> Iterator[Entry]:
        """Every file and directory below, each directory before what is in it."""
        yield from self._below(self.root, "", os.fstat(self.root).st_dev, 0)

    def _below(self, directory: int, path: str, device: int, depth: int) -> Iterator[Entry]:
        with os.scandir(directory) as names:
            for found in names:
                self.see_whether_stopped()
                shown = f"{path}{readable(found.name)}"
                try:
                    status = os.stat(found.name, dir_fd=directory, follow_symlinks=False)
                except FileNotFoundError:
                    continue
                if status.st_dev != device:
                    continue
                entry = Entry(parent=directory, name=found.name, path=shown, status=status)
                yield entry
                if entry.directory:
                    yield from self._inside(entry, device, depth)

    def _inside(self, entry: Entry, device: int, depth: int) -> Iterator[Entry]:
        if depth >= _DEEPEST:
            self.unreadable.append(entry.path)
            return
        try:
            directory = os.open(entry.name, _DIRECTORY, dir_fd=entry.parent)
        except FileNotFoundError:
            return
        except OSError:
            self.unreadable.append(entry.path)
            return
        try:
            if not self.enter(directory):
                return
            yield from self._below(directory, f"{entry.path}/", device, depth + 1)
            if self.twice:
                yield replace(entry, left=True)
        finally:
            os.close(directory)


def matches(name: str, patterns: Sequence[str]) -> bool:
    """Whether the name of a file fits one of the patterns; files that are being written by a step never do."""
    return not name.endswith(PARTIAL) and any(fnmatchcase(name, pattern) for pattern in patterns)


def named(problems: Sequence[str]) -> str:
    """The first of them, for a message."""
    return "; ".join(problems[:_NAMED_IN_MESSAGE]) + ("; …" if problems[_NAMED_IN_MESSAGE:] else "")


def advice(error: OSError) -> str:
    """What is wrong with a file that should be changed, and what to do."""
    why = error.strerror or type(error).__name__
    if error.errno == errno.EBUSY:
        return f"{why}: let its writer rotate it"
    if isinstance(error, PermissionError):
        return f"{why}: let the group 65532 read and write it and its directory"
    return f"{why}: free room on the volume, or look at its state"


async def work_in(context: Context, name: str, path: str, work: Callable[[Tree], Answer]) -> Answer:
    """Let a thread work in a directory of a volume; when the step is cancelled, wait until it has come to a good end.

    Raises:
        ActionError: no such connection or directory, or `work` raised it.
    """
    with opened(context, name, path) as root:
        return await attended(Tree(root=root), work)


async def attended(tree: Tree, work: Callable[[Tree], Answer]) -> Answer:
    """Let a thread work in an open directory; when the step is cancelled, wait until it has come to a good end."""
    running = asyncio.get_running_loop().run_in_executor(None, work, tree)
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        tree.stopped.set()
        await asyncio.wait([running])
        running.exception()
        raise


@contextmanager
def directory(name: str, parent: int) -> Iterator[int]:
    """The directory of this name, made where it is missing; a link in its place is refused (OSError)."""
    with suppress(FileExistsError):
        os.mkdir(name, 0o775, dir_fd=parent)
    found = os.open(name, _DIRECTORY, dir_fd=parent)
    try:
        yield found
    finally:
        os.close(found)


@contextmanager
def within(path: PurePosixPath, top: int, *, make: bool = False) -> Iterator[int]:
    """The directory at a path below an open one, made where that is wanted and it is missing; no link is followed.

    Raises:
        OSError: it is not there, or something on the way is no directory.
    """
    with ExitStack() as stack:
        current = os.dup(top)
        stack.callback(os.close, current)
        for part in path.parts:
            if make:
                current = stack.enter_context(directory(part, current))
            else:
                current = os.open(part, _DIRECTORY, dir_fd=current)
                stack.callback(os.close, current)
        yield current


@contextmanager
def opened(context: Context, name: str, path: str) -> Iterator[int]:
    """The descriptor of a directory of a volume.

    Raises:
        ActionError: no such connection or directory.
    """
    claim, volume = context.target(name, VolumeTarget).claim_name, os.fspath(context.volumes / name)
    with ExitStack() as stack:
        try:
            current = os.open(volume, _DIRECTORY)
            stack.callback(os.close, current)
            for part in path.split("/") if path else ():
                current = os.open(part, _DIRECTORY, dir_fd=current)
                stack.callback(os.close, current)
        except (OSError, ValueError) as error:
            why = (isinstance(error, OSError) and error.strerror) or "no such name"
            msg = (
                f"cannot open {readable(path)!r} in PersistentVolumeClaim {claim!r}: {why}: check the path, that no "
                "part of it is a symbolic link, and that the group 65532 may read it"
            )
            raise ActionError(msg) from error
        yield current
