"""Directories of one step, which leave nothing behind, however it ends."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def vacated(directory: Path) -> Iterator[Path]:
    """The directory, which is not there yet, for a program that makes it; it is gone after the block."""
    shutil.rmtree(directory, ignore_errors=True)
    try:
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)


@contextmanager
def emptied(directory: Path) -> Iterator[Path]:
    """The directory, which only this user can read; it is made anew, and gone after the block."""
    with vacated(directory):
        directory.mkdir(parents=True, mode=0o700)
        yield directory


def directory_size(directory: Path) -> int:
    """Bytes of the files in it."""
    return sum(path.stat().st_size for path in directory.rglob("*") if path.is_file())
