"""A directory of one step, in which what is to be stored is put together."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def emptied(directory: Path) -> Iterator[Path]:
    """The directory, which only this user can read; it is made anew, and gone after the block."""
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True, mode=0o700)
    try:
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def directory_size(directory: Path) -> int:
    """Bytes of the files in it."""
    return sum(path.stat().st_size for path in directory.rglob("*") if path.is_file())
