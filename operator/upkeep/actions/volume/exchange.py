"""Lets two names of a file system change places in one instant, so that there is never a moment without either.

Python has no call for that; the C library has (renameat2, Linux 3.15 and later).
"""

import ctypes
import errno
import os
from typing import Final

_EXCHANGE: Final = 2
"""RENAME_EXCHANGE of linux/fs.h."""
_UNABLE: Final = (errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP)
"""What file systems answer that cannot do it, such as NFS and CephFS."""


def exchanged(first: str, directory: int, second: str, other: int) -> bool:
    """Let two names, each in an open directory, change places; False where the file system cannot do that.

    Raises:
        OSError: it was refused; nothing has changed.
    """
    library = ctypes.CDLL(None, use_errno=True)
    if library.renameat2(directory, os.fsencode(first), other, os.fsencode(second), _EXCHANGE) == 0:
        return True
    number = ctypes.get_errno()
    if number in _UNABLE:
        return False
    raise OSError(number, os.strerror(number), second)


def flush(directory: int) -> None:
    """Bring all of the file system of an open directory on disk.

    Raises:
        OSError: not all of it could be written.
    """
    library = ctypes.CDLL(None, use_errno=True)
    if library.syncfs(directory) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
