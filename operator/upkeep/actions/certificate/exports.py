"""Exports of certificates in a directory of a volume: one directory for each instant, whole or not there at all."""

import hashlib
import os
import re
import shutil
import stat
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import Annotated, Final

from pydantic import Field

from upkeep.actions.volume.tree import PARTIAL, Tree, directory

SUMS: Final = "SHA256SUMS"
"""Name of the file with the checksums, as `sha256sum --check` reads it."""
STAMP: Final = "%Y%m%dT%H%M%SZ"
SUFFIX: Final = ".p12"
_STAMPED: Final = re.compile(r"[0-9]{8}T[0-9]{6}Z", re.ASCII)
_CREATE: Final = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
_OPEN: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_LEFT_SECONDS: Final = 86400
"""The age from which on nobody can still be at work on an export."""
_LARGEST: Final = 4 * 1024 * 1024

DirectoryName = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9_-][A-Za-z0-9._-]*$")]
"""Of a directory at the top of a volume."""


def written(tree: Tree, parent: int, stamp: str, files: Mapping[str, bytes]) -> Mapping[str, bytes]:
    """Bring an export of these files, and their checksums, on disk; returns what is there when it is read back.

    Raises:
        OSError: it cannot be written; nothing of it is left.
        StoppedError: the step was cancelled; nothing of it is left.
    """
    draft = f".{stamp}{PARTIAL}"
    os.mkdir(draft, 0o750, dir_fd=parent)
    try:
        sums = "".join(f"{hashlib.sha256(data).hexdigest()}  {name}\n" for name, data in sorted(files.items()))
        with _folder(draft, parent) as folder:
            for name, data in {**files, SUMS: sums.encode()}.items():
                tree.see_whether_stopped()
                _write(folder, name, data)
            os.fsync(folder)
            found = {name: content(folder, name) for name in files}
        os.rename(draft, stamp, src_dir_fd=parent, dst_dir_fd=parent)
        os.fsync(parent)
    except BaseException:
        _remove(parent, draft)
        raise
    return found


def stamps(parent: int) -> list[str]:
    """The exports in an open directory, the oldest first."""
    with _entries(parent) as entries:
        return sorted(
            found.name for found in entries if _STAMPED.fullmatch(found.name) and found.is_dir(follow_symlinks=False)
        )


def instant(stamp: str) -> datetime:
    """When an export was made, by its name."""
    return datetime.strptime(stamp, STAMP).replace(tzinfo=UTC)


def prune(parent: int, keep: int) -> int:
    """Remove all but the newest exports, and what was left by runs that were killed; how many exports."""
    old = stamps(parent)[:-keep]
    for stamp in old:
        _remove(parent, stamp)
    with _entries(parent) as entries:
        left = [
            found.name
            for found in entries
            if found.name.endswith(PARTIAL) and found.stat(follow_symlinks=False).st_mtime < time.time() - _LEFT_SECONDS
        ]
    for name in left:
        _remove(parent, name)
    return len(old)


def read(parent: int, stamp: str, name: str) -> bytes:
    """One file of an export, which is what it was when it was written.

    Raises:
        FileNotFoundError: the export has none of this name.
        OSError: it cannot be read.
        ValueError: its checksum is another, or there is none.
    """
    with _folder(stamp, parent) as folder:
        data = content(folder, name)
        sums = dict(line.split("  ", 1)[::-1] for line in content(folder, SUMS).decode().splitlines())
    if sums.get(name) != hashlib.sha256(data).hexdigest():
        msg = f"the checksum of {name} in {stamp} is another than {SUMS} has"
        raise ValueError(msg)
    return data


def content(folder: int, name: str) -> bytes:
    """The content of a file in an open directory; links are not followed."""
    file = os.open(name, _OPEN, dir_fd=folder)
    with os.fdopen(file, "rb") as opened:
        if not stat.S_ISREG(os.fstat(file).st_mode):
            raise FileNotFoundError
        return opened.read(_LARGEST)


@contextmanager
def within(tree: Tree, name: str) -> Iterator[int]:
    """The directory of exports, made where it is missing."""
    with directory(name, tree.root) as found:
        yield found


def _write(folder: int, name: str, data: bytes) -> None:
    file = os.open(name, _CREATE, 0o640, dir_fd=folder)
    with os.fdopen(file, "wb") as opened:
        opened.write(data)
        opened.flush()
        os.fsync(file)
        # What is read back has to come from the disk, not from the memory in which it was just written.
        os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)


def _remove(parent: int, name: str) -> None:
    with suppress(FileNotFoundError):
        shutil.rmtree(name, dir_fd=parent)


@contextmanager
def _folder(name: str, parent: int) -> Iterator[int]:
    folder = os.open(name, _FOLDER, dir_fd=parent)
    try:
        yield folder
    finally:
        os.close(folder)


@contextmanager
def _entries(parent: int) -> Iterator[Iterator[os.DirEntry[str]]]:
    # A descriptor of its own: two scans of one descriptor share their place.
    with _folder(".", parent) as folder, os.scandir(folder) as entries:
        yield entries
