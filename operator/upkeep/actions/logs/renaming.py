"""Gives a log file another name and puts an empty one in its place, which its writer can open."""

import errno
import os
import stat
from contextlib import suppress
from typing import Final

from upkeep.actions.volume.tree import PARTIAL, Entry

_CREATE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
_NO_LINKS: Final = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS)
_FOREIGN: Final = (
    "a new file would belong to user 65532, so that its writer could not open it: let the group write (chmod g+w), "
    "or set method: CopyTruncate"
)


def renamed(entry: Entry, status: os.stat_result, copy: str) -> str:
    """Give a file the name `copy`, and an empty one its own; what was in the way and left all as it was, or nothing.

    Raises:
        OSError: it could not be done.
    """
    successor = f".{entry.name}{PARTIAL}"
    with suppress(FileNotFoundError):
        os.unlink(successor, dir_fd=entry.parent)
    file = os.open(successor, _CREATE, 0o600, dir_fd=entry.parent)
    try:
        if not _alike(file, status):
            return _FOREIGN
        os.rename(entry.name, copy, src_dir_fd=entry.parent, dst_dir_fd=entry.parent)
        _take_place(entry, successor)
        os.fsync(entry.parent)
    finally:
        os.close(file)
        with suppress(FileNotFoundError):
            os.unlink(successor, dir_fd=entry.parent)
    return ""


def _alike(file: int, status: os.stat_result) -> bool:
    """Give a new file owner, group and mode of another as far as that can be; whether who wrote that can write it."""
    for owner in (status.st_uid, -1):
        with suppress(PermissionError):
            os.fchown(file, owner, status.st_gid)
            break
    os.fchmod(file, stat.S_IMODE(status.st_mode) & 0o666)
    made = os.fstat(file)
    by_group = made.st_gid == status.st_gid and made.st_mode & stat.S_IWGRP
    return made.st_uid == status.st_uid or bool(by_group) or bool(made.st_mode & stat.S_IWOTH)


def _take_place(entry: Entry, successor: str) -> None:
    """Let the new file have the name; a writer that was faster has made its own, which stays."""
    try:
        os.link(successor, entry.name, src_dir_fd=entry.parent, dst_dir_fd=entry.parent, follow_symlinks=False)
    except FileExistsError:
        return
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        os.rename(successor, entry.name, src_dir_fd=entry.parent, dst_dir_fd=entry.parent)
