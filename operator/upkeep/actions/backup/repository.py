"""The restic repository: made on first use, written to, checked; every failure says what happened to what.

It must never make a new repository over the remains of an old one, and never take a partial backup for a whole one.
Exit codes are those of restic's documentation ("Scripting"): 3 partial, 10 no repository, 11 locked, 12 wrong
password; restic before 0.17 answers 1 instead of the last three and is understood by its words.
"""

import asyncio
import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final

from pydantic import Field

from upkeep.actions.backup.process import Finished, run
from upkeep.actions.connections import SecretReference
from upkeep.actions.contract import ActionError, Context
from upkeep.actions.fields import Model

CREDENTIALS_NAME: Final = "repository"
"""The sub-directory of the credentials in which the repository's Secret is mounted."""

_PASSWORD_KEY: Final = "password"  # noqa: S105 - the name of the key, not a password
_CACHE: Final = "restic-cache"
_NO_REPOSITORY: Final = 10
_LOCKED: Final = 11
_WRONG_PASSWORD: Final = 12
_LOCK_WORDS: Final = "repository is already locked"
_WORDS: Final = (
    ("Is there a repository at the following location", _NO_REPOSITORY),
    (_LOCK_WORDS, _LOCKED),
    ("wrong password or no key found", _WRONG_PASSWORD),
)
_SURROUNDINGS: Final = (
    ("no space left", "the volume is full: enlarge it"),
    ("permission denied", _MOUNT := "check that the volume is mounted writable and its fsGroup fits the Pod"),
    ("read-only file system", _MOUNT),
)
_PARTS: Final = ("config", "data", "index", "keys", "snapshots")
_STATUS_LINES_PER_SECOND: Final = "0.02"
_UNLOCK_SECONDS: Final = 10.0
_BINARY_STEP: Final = 1024


class Repository(Model):
    """Where backups are kept."""

    path: Annotated[str, Field(max_length=4096, pattern=r"^/")]
    """Directory of the repository on a mounted volume."""
    password_secret_ref: SecretReference | None = None
    """The Secret whose key `password` is mounted, named in messages."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """One backup.

    Attributes:
        identifier: restic's short id.
        bytes: size of what was backed up.
        added: how many bytes of it were new to the repository, before compression.
        files: number of files.
    """

    identifier: str
    bytes: int
    added: int
    files: int


class DamagedError(ActionError):
    """The repository does not pass its check."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Restic:
    """restic, pointed at one repository.

    Attributes:
        path: directory of the repository.
        password_file: the mounted file with its password.
        secret: name of the Secret, for messages.
        scratch: writable directory for the cache and temporary files; relative paths start here.
    """

    path: Path
    password_file: Path
    secret: str
    scratch: Path

    @classmethod
    def of(cls, repository: Repository, context: Context) -> "Restic":
        """Find the password.

        Raises:
            ActionError: the Secret or its key `password` is missing.
        """
        reference = repository.password_secret_ref
        secret = reference.name if reference else CREDENTIALS_NAME
        password_file = context.secret_file(CREDENTIALS_NAME, _PASSWORD_KEY, holder="the repository", secret=secret)
        (context.scratch / _CACHE).mkdir(parents=True, exist_ok=True)
        return cls(path=Path(repository.path), password_file=password_file, secret=secret, scratch=context.scratch)

    async def ensure(self) -> bool:
        """Open the repository, or make it where there is none yet; True if it was made.

        Raises:
            ActionError: it cannot be opened or made, or only remains of one are there.
        """
        finished = await self._unlocked(["cat", "config"])
        if _meaning(finished) != _NO_REPOSITORY:
            self._judge("open", finished)
            return False
        remains = self._remains()
        if remains:
            msg = (
                f"repository {self.path} has {', '.join(remains)} but no config: it is damaged; restore its config "
                "file from a copy, or name another path"
            )
            raise ActionError(msg)
        await self._demand("create", ["init"])
        return True

    async def backup(self, path: str, *, host: str, tags: Sequence[str]) -> Snapshot:
        """Back up a directory, relative to `scratch`.

        Raises:
            ActionError: it failed, also where only some files could not be read.
        """
        tagging = [f"--tag={tag}" for tag in tags]
        finished = await self._demand("back up into", ["backup", f"--host={host}", *tagging, "--", path])
        summaries = [line for line in _documents(finished.output) if line.get("message_type") == "summary"]
        if not summaries or not summaries[-1].get("snapshot_id"):
            msg = f"cannot back up into repository {self.path}: restic named no snapshot: look into the log"
            raise ActionError(msg)
        summary = summaries[-1]
        return Snapshot(
            identifier=str(summary["snapshot_id"])[:8],
            bytes=int(summary["total_bytes_processed"]),
            added=int(summary["data_added"]),
            files=int(summary["total_files_processed"]),
        )

    async def snapshots(self) -> int:
        """Number of snapshots.

        Raises:
            ActionError: the repository cannot be opened.
        """
        finished = await self._demand("list", ["snapshots"])
        found = json.loads(finished.output or "[]")
        return len(found or [])

    async def check(self, *, read_data_subset: str | None) -> None:
        """Check the structure, and read back a part of the data.

        Args:
            read_data_subset: how much to read, for example `5%`; None reads no data.

        Raises:
            DamagedError: the repository is damaged.
            ActionError: it could not be checked: not there, locked, or the password is wrong.
        """
        reading = [f"--read-data-subset={read_data_subset}"] if read_data_subset else []
        finished = await self._unlocked(["check", *reading])
        complaint = _complaint(finished)
        meaning = _meaning(finished)
        expected = meaning in {0, _LOCKED, _WRONG_PASSWORD} or any(words in complaint for words, _ in _SURROUNDINGS)
        if not expected and (meaning != _NO_REPOSITORY or self._remains()):
            lines = [line.strip() for line in finished.errors.splitlines() if line.strip()]
            msg = f"repository {self.path} is damaged: {'; '.join(lines[:3])[:300] or complaint}"
            raise DamagedError(msg)
        self._judge("check", finished)

    async def _demand(self, doing: str, arguments: Sequence[str]) -> Finished:
        finished = await self._unlocked(arguments)
        self._judge(doing, finished)
        return finished

    async def _unlocked(self, arguments: Sequence[str]) -> Finished:
        """Run restic; where it finds a lock, remove those whose owner is gone and try once more."""
        try:
            finished = await self._run(arguments)
        except asyncio.CancelledError:
            # Interrupted while it takes its lock, restic leaves it behind; nobody else could remove it for 30 minutes.
            with suppress(TimeoutError):
                async with asyncio.timeout(_UNLOCK_SECONDS):
                    await self._run(["unlock"])
            raise
        if _meaning(finished) != _LOCKED:
            return finished
        await self._run(["unlock"])
        return await self._run(arguments)

    async def _run(self, arguments: Sequence[str]) -> Finished:
        return await run(
            ["restic", "--json", *arguments],
            environment={
                "RESTIC_REPOSITORY": str(self.path),
                "RESTIC_PASSWORD_FILE": str(self.password_file),
                "RESTIC_CACHE_DIR": str(self.scratch / _CACHE),
                "RESTIC_PROGRESS_FPS": _STATUS_LINES_PER_SECOND,
            },
            directory=self.scratch,
        )

    def _judge(self, doing: str, finished: Finished) -> None:
        meaning = _meaning(finished)
        if meaning == 0:
            return
        complaint = _complaint(finished)
        match meaning:
            case 3:
                advice = f"only a part was backed up: {complaint}: the snapshot is not complete, run it again"
            case 10:
                advice = "there is no repository: the first backup makes it; check the volume and path"
            case 11:
                advice = f"{complaint}: wait until the other run has ended, then run this again"
            case 12:
                advice = f"wrong password (or a damaged key file): check the Secret {self.secret!r}"
            case _:
                advice = f"{complaint}: {_remedy(complaint)}"
        msg = f"cannot {doing} repository {self.path}: {advice}"
        raise ActionError(msg)

    def _remains(self) -> list[str]:
        return [part for part in _PARTS if (self.path / part).exists()]


def readable_size(size: float) -> str:
    """A number of bytes for people: `512 B`, `12.3 MiB`."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < _BINARY_STEP:
            return f"{size:.0f} B" if unit == "B" else f"{size:.1f} {unit}"
        size /= _BINARY_STEP
    return f"{size:.1f} TiB"


def _meaning(finished: Finished) -> int:
    """The exit code as restic 0.17 and later would give it."""
    if finished.code != 1:
        return finished.code
    return next((code for words, code in _WORDS if words in finished.errors), 1)


def _complaint(finished: Finished) -> str:
    """What restic says was wrong; with --json newer versions say it as a document."""
    messages = [
        str(document["message"])
        for document in _documents(finished.errors)
        if document.get("message_type") == "exit_error"
    ]
    locks = [line for line in finished.errors.splitlines() if _LOCK_WORDS in line]
    return next((line.removeprefix("Fatal: ") for line in [*messages, *locks]), finished.complaint)


def _remedy(complaint: str) -> str:
    return next((advice for words, advice in _SURROUNDINGS if words in complaint), "look into the log and the volume")


def _documents(text: str) -> list[dict[str, Any]]:
    found = []
    for line in text.splitlines():
        if line.startswith("{"):
            try:
                found.append(json.loads(line))
            except ValueError:
                continue
    return found
