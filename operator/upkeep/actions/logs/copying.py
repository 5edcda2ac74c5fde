"""A copy of a file in another directory that is known to be on the disk and whole before the file may go.

It must never say that a copy is there which was not read back and found to be the same.
"""

import errno
import hashlib
import os
import stat
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Final

from upkeep.actions.logs.packing import MAGIC, packed, pieces, unpacked, write
from upkeep.actions.volume.tree import PARTIAL, Entry, Tree

CHANGED: Final = "it was changed while it was archived: its writer still uses it, choose other files or a longer time"
_DIFFERS: Final = "the archive has a file of this name with other content: move one of them away"
_UNSOUND: Final = "the archived copy was not the same when it was read back: the file stays; look at the disk"
_OPEN: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_CREATE: Final = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC


def put_away(tree: Tree, entry: Entry, archive: int, *, pack: bool | None = None) -> tuple[str, int]:
    """Bring a file into an open directory and remove it where it was, once its copy is known to be whole.

    Args:
        tree: the directory of the step.
        entry: the file.
        archive: descriptor of the directory; where it is that of the file, it has to be packed.
        pack: whether it is compressed on the way; None: unless it is already.

    Returns:
        What was wrong and kept the file where it was, or nothing; and the size of the copy.

    Raises:
        OSError: it could not be read, written or removed; the file is still there.
        StoppedError: the step was cancelled.
    """
    with _opened(entry.parent, entry.name) as source:
        if not same(os.fstat(source), entry.status):
            return CHANGED, 0
        packing = os.pread(source, len(MAGIC), 0) != MAGIC if pack is None else pack
        name = f"{entry.name}.gz" if packing else entry.name
        problem = _compared(tree, source, archive, name, packed_too=packing)
        if problem is None:
            problem = _copied(tree, entry, source, archive, name, pack=packing)
        if problem:
            return problem, 0
        after = os.stat(name, dir_fd=archive, follow_symlinks=False).st_size
        os.unlink(entry.name, dir_fd=entry.parent)
    return "", after


def same(now: os.stat_result, before: os.stat_result) -> bool:
    """Whether it is the same file, not written to since."""
    return (now.st_dev, now.st_ino, now.st_size, now.st_mtime_ns) == (
        before.st_dev,
        before.st_ino,
        before.st_size,
        before.st_mtime_ns,
    )


def _compared(tree: Tree, source: int, archive: int, name: str, *, packed_too: bool) -> str | None:
    """What is wrong with the file of this name in the archive, nothing if it has the same content; None without one.

    An earlier run leaves it that was stopped between archiving and removing.
    """
    try:
        with _opened(archive, name) as there:
            alike = _digest(pieces(source, tree)) == _digest(pieces(there, tree), packed_too=packed_too)
            return "" if alike else _DIFFERS
    except FileNotFoundError:
        return None


def _copied(tree: Tree, entry: Entry, source: int, archive: int, name: str, *, pack: bool) -> str:
    """Bring the content into the archive, on disk and read back; what was wrong, or nothing."""
    partial = f".{name}{PARTIAL}"
    with suppress(FileNotFoundError):
        os.unlink(partial, dir_fd=archive)
    target = os.open(partial, _CREATE, stat.S_IMODE(entry.status.st_mode) & 0o666, dir_fd=archive)
    try:
        digest = hashlib.sha256()
        content = _watched(pieces(source, tree), digest.update)
        for piece in packed(content) if pack else content:
            write(target, piece)
        os.utime(target, ns=(entry.status.st_atime_ns, entry.status.st_mtime_ns))
        os.fsync(target)
        # What is read back has to come from the disk, not from the memory in which it was just written.
        os.posix_fadvise(target, 0, 0, os.POSIX_FADV_DONTNEED)
        if _digest(pieces(target, tree), packed_too=pack) != digest.digest():
            return _UNSOUND
        os.rename(partial, name, src_dir_fd=archive, dst_dir_fd=archive)
        os.fsync(archive)
        if not same(os.stat(entry.name, dir_fd=entry.parent, follow_symlinks=False), entry.status):
            os.unlink(name, dir_fd=archive)
            return CHANGED
    finally:
        os.close(target)
        with suppress(FileNotFoundError):
            os.unlink(partial, dir_fd=archive)
    return ""


def _digest(content: Iterator[bytes], *, packed_too: bool = False) -> bytes:
    """A digest of the content, or of what is packed in it; empty if it is not whole gzip."""
    digest = hashlib.sha256()
    try:
        for piece in unpacked(content) if packed_too else content:
            digest.update(piece)
    except zlib.error:
        return b""
    return digest.digest()


def _watched(content: Iterator[bytes], see: Callable[[bytes], None]) -> Iterator[bytes]:
    for piece in content:
        see(piece)
        yield piece


@contextmanager
def _opened(directory: int, name: str) -> Iterator[int]:
    """A file with content of its own; no link, pipe or device in its place."""
    file = os.open(name, _OPEN, dir_fd=directory)
    try:
        if not stat.S_ISREG(os.fstat(file).st_mode):
            raise OSError(errno.EEXIST, "it is no file with content of its own")
        yield file
    finally:
        os.close(file)
