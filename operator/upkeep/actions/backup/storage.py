"""Where the files of a repository are: what has to be known and done there that restic itself does not offer.

That is little: which files there are, how large they are, what is in one, and how one is removed. It must never write
what is in a repository: that is restic's.
"""

import asyncio
import os
import time
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from upkeep.actions.contract import ActionError

STORAGE_NAME: Final = "storage"
"""The sub-directory of the credentials in which the Secret of a server that keeps repositories is mounted."""
PIECE: Final = 1024 * 1024
"""Bytes of a file that are in memory at a time."""
REPOSITORY_VARIABLE: Final = "RESTIC_REPOSITORY"
WRITABLE: Final = "check that the volume is mounted writable and its fsGroup fits the Pod"


class GoneError(ActionError):
    """A file that was there is not there any more: somebody changes the repository."""


class UnreachableError(ActionError):
    """A server does not answer now; it may in a moment."""


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """A file of a repository.

    Attributes:
        bytes: its size.
        age: for how many seconds it has been there, by the clock of the storage.
        storage_class: in which the server says that it is; empty where it says nothing.
    """

    bytes: int
    age: float
    storage_class: str = ""


class Storage(ABC):
    """Where one repository is.

    Attributes:
        name: how messages call it.
        advice: where to look when nothing else is known.
        room: what to do when there is none left.
    """

    name: str
    advice: str
    room: str

    @property
    def options(self) -> Sequence[str]:
        """Options for restic; never a secret."""
        return ()

    @abstractmethod
    @contextmanager
    def credentials(self, scratch: Path) -> Iterator[Mapping[str, str]]:
        """The variables by which restic finds the repository; what they name is there for as long as the block."""

    @abstractmethod
    async def probe(self) -> None:
        """See that it can be used, where restic would try again for many minutes before it says what is wrong.

        Raises:
            ActionError: it cannot: why, and what to do.
        """

    @abstractmethod
    async def files(self, part: str = "") -> Mapping[str, File]:
        """The files whose names begin so, by their names in the repository; none where there is no repository.

        Raises:
            ActionError: they cannot be listed.
        """

    async def free(self) -> int | None:
        """Bytes that are left; None where nobody knows, as in a bucket."""
        return None

    @abstractmethod
    def content(self, name: str) -> AsyncGenerator[bytes, None]:
        """A file, piece by piece.

        Raises:
            GoneError: there is no such file.
            ActionError: it cannot be read.
        """

    @abstractmethod
    async def put(self, name: str) -> None:
        """Make an empty file that is none of restic's.

        Raises:
            ActionError: it cannot be made.
        """

    @abstractmethod
    async def remove(self, name: str) -> None:
        """Remove a file; it may be gone already.

        Raises:
            ActionError: it cannot be removed.
        """


class Volume(Storage):
    """A directory on a mounted volume."""

    advice = "look into the log and the volume"
    room = "the volume is full: enlarge it"

    def __init__(self, directory: Path) -> None:
        self.name = str(directory)
        self._directory = directory

    @contextmanager
    def credentials(self, scratch: Path) -> Iterator[Mapping[str, str]]:  # noqa: ARG002 - it needs none
        """Only its name."""
        yield {REPOSITORY_VARIABLE: self.name}

    async def probe(self) -> None:
        """It is a directory: restic says at once what is wrong with one."""

    async def files(self, part: str = "") -> Mapping[str, File]:
        """Files that vanish meanwhile are left out."""
        return await asyncio.to_thread(self._files, part)

    async def free(self) -> int | None:
        """What the file system has left for others than root."""
        with suppress(OSError):
            known = os.statvfs(self._directory)
            return known.f_bavail * known.f_frsize
        return None

    async def content(self, name: str) -> AsyncGenerator[bytes, None]:
        """Without keeping other work waiting."""
        try:
            with await asyncio.to_thread((self._directory / name).open, "rb") as file:
                while piece := await asyncio.to_thread(file.read, PIECE):
                    yield piece
        except FileNotFoundError as error:
            msg = f"file {name} of repository {self.name} has gone: run this again"
            raise GoneError(msg) from error
        except OSError as error:
            msg = self._refusal("read from", error)
            raise ActionError(msg) from error

    async def put(self, name: str) -> None:
        """Make it, and the directory where it is missing."""
        try:
            self._directory.mkdir(parents=True, exist_ok=True)
            (self._directory / name).touch()
        except OSError as error:
            msg = self._refusal("write to", error)
            raise ActionError(msg) from error

    async def remove(self, name: str) -> None:
        """Unlink it."""
        try:
            (self._directory / name).unlink(missing_ok=True)
        except OSError as error:
            msg = self._refusal("remove a file of", error)
            raise ActionError(msg) from error

    def _files(self, part: str) -> Mapping[str, File]:
        found: dict[str, File] = {}
        now = time.time()
        for path in (self._directory / part.rpartition("/")[0]).rglob("*"):
            name = path.relative_to(self._directory).as_posix()
            with suppress(OSError):
                if name.startswith(part) and path.is_file():
                    known = path.lstat()
                    found[name] = File(bytes=known.st_size, age=now - known.st_mtime)
        return found

    def _refusal(self, doing: str, error: OSError) -> str:
        reason = (error.strerror or type(error).__name__).lower()
        advice = self.room if "space" in reason else WRITABLE
        return f"cannot {doing} repository {self.name}: {reason}: {advice}"
