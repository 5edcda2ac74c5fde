"""The restic repository: made on first use, written to, checked; every failure says what happened to what.

It must never make a new repository over the remains of an old one, and never take a partial backup for a whole one.
Exit codes are those of restic's documentation ("Scripting"): 3 partial, 10 no repository, 11 locked, 12 wrong
password; restic before 0.17 answers 1 instead of the last three and is understood by its words.
"""

import asyncio
import json
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Final

from pydantic import Field

from upkeep.actions.backup.damage import DamagedError
from upkeep.actions.backup.process import Finished, run
from upkeep.actions.backup.snapshot import Snapshot, Stored
from upkeep.actions.connections import SecretReference
from upkeep.actions.contract import ActionError, Context
from upkeep.actions.fields import Model

CREDENTIALS_NAME: Final = "repository"
"""The sub-directory of the credentials in which the repository's Secret is mounted."""
REPOSITORY_BYTES: Final = "repository_bytes"
"""What those who write to it measure: its size afterwards."""

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
_NO_SPACE: Final = "no space left"
_SURROUNDINGS: Final = (
    (_NO_SPACE, "the volume is full: enlarge it"),
    ("permission denied", _MOUNT := "check that the volume is mounted writable and its fsGroup fits the Pod"),
    ("read-only file system", _MOUNT),
)
_UNREADABLE_SNAPSHOT: Final = ("could not load snapshot", 'Ignoring "')
"""restic, before 0.15 and since, leaves such a snapshot out of its list, and ends well."""
_ONLY_READING: Final = ("--no-lock", "--no-cache")
_PARTS: Final = ("config", "data", "index", "keys", "snapshots")
_STATUS_LINES_PER_SECOND: Final = "0.02"
_UNLOCK_SECONDS: Final = 10.0
_LONGEST_PATIENCE: Final = 600.0
_PATIENT_PART: Final = 0.1
"""Of the time that a step has, how much it may wait for locks of others."""
_RETRY_SECONDS: Final = 1.0
_LONGEST_RETRY_SECONDS: Final = 20.0
_BINARY_STEP: Final = 1024


class Repository(Model):
    """Where backups are kept."""

    path: Annotated[str, Field(max_length=4096, pattern=r"^/")]
    """Directory of the repository on a mounted volume."""
    password_secret_ref: SecretReference | None = None
    """The Secret whose key `password` is mounted, named in messages."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Restic:
    """restic, pointed at one repository.

    Attributes:
        path: directory of the repository.
        password_file: the mounted file with its password.
        secret: name of the Secret, for messages.
        scratch: writable directory for the cache and temporary files; relative paths start here.
        only_reads: it may not write, not even a lock, and believes nothing but the repository itself: no cache.
        patience: seconds that it waits for those who have locked the repository.
    """

    path: Path
    password_file: Path
    secret: str
    scratch: Path
    only_reads: bool = False
    patience: float = 0.0

    @classmethod
    def of(cls, repository: Repository, context: Context, *, only_reads: bool = False) -> "Restic":
        """Find the password.

        Raises:
            ActionError: the Secret or its key `password` is missing.
        """
        reference = repository.password_secret_ref
        secret = reference.name if reference else CREDENTIALS_NAME
        password_file = context.secret_file(CREDENTIALS_NAME, _PASSWORD_KEY, holder="the repository", secret=secret)
        if not only_reads:
            (context.scratch / _CACHE).mkdir(parents=True, exist_ok=True)
        return cls(
            path=Path(repository.path),
            password_file=password_file,
            secret=secret,
            scratch=context.scratch,
            only_reads=only_reads,
            patience=min(_LONGEST_PATIENCE, context.remaining * _PATIENT_PART),
        )

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

    async def latest(self, *, host: str, tag: str) -> Stored | None:
        """The newest snapshot of a host with a tag; None where there is none.

        Raises:
            DamagedError: a snapshot cannot be read: it might have been the newest.
            ActionError: the repository cannot be opened.
        """
        return max(await self.stored(host=host, tag=tag), key=lambda stored: stored.time, default=None)

    async def stored(self, *, host: str, tag: str) -> Sequence[Stored]:
        """The snapshots of a host with a tag, or with all of several, by commas.

        Raises:
            DamagedError: a snapshot cannot be read: it might have been one of them.
            ActionError: the repository cannot be opened.
        """
        found = await self._listed(["snapshots", f"--host={host}", f"--tag={tag}"])
        return [
            Stored(
                identifier=str(each["id"]),
                time=datetime.fromisoformat(str(each["time"])),
                original=str(each.get("original") or ""),
                tags=frozenset(each.get("tags") or ()),
            )
            for each in found
        ]

    async def unkept(self, options: Sequence[str], *, host: str, tag: str) -> set[str]:
        """The ids of those of them that restic would forget by these `--keep` options. It forgets none.

        Raises:
            DamagedError: a snapshot cannot be read.
            ActionError: the repository cannot be opened.
        """
        one_group = "--group-by="
        groups = await self._listed(["forget", "--dry-run", one_group, f"--host={host}", f"--tag={tag}", *options])
        return {str(each["id"]) for group in groups for each in group.get("remove") or ()}

    async def forget(self, snapshots: Sequence[Stored]) -> None:
        """Remove snapshots. Their data stays until the next `prune`.

        Raises:
            ActionError: not all could be removed, or the repository cannot be opened.
        """
        await self._demand("remove snapshots from", ["forget", *(each.identifier for each in snapshots)])

    async def prune(self) -> None:
        """Remove the data that no snapshot needs.

        Raises:
            DamagedError: data is missing that a snapshot needs; nothing was removed.
            ActionError: it could not be done: no room, or the repository cannot be opened.
        """
        finished = await self._unlocked(["prune"])
        self._judge("prune", finished, damage=True)

    async def size(self) -> int:
        """Bytes of all files of the repository; files that vanish meanwhile do not count."""
        return await asyncio.to_thread(_size, self.path)

    async def restore(self, snapshot: Stored, target: Path) -> None:
        """Bring all files of a snapshot back, and read them again to compare them with the repository.

        Raises:
            DamagedError: the repository does not give all of them back as they were.
            ActionError: they could not be restored: no room, or the repository cannot be opened.
        """
        finished = await self._unlocked(["restore", snapshot.identifier, f"--target={target}", "--verify"])
        if finished.code and _NO_SPACE in finished.errors:
            msg = f"cannot restore from repository {self.path}: the scratch volume is full: raise scratchSize"
            raise ActionError(msg)
        self._judge("restore from", finished, damage=True)

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
        self._judge("check", finished, damage=True)

    async def _listed(self, arguments: Sequence[str]) -> Sequence[dict[str, Any]]:
        """The documents of a list of which nothing is left out."""
        finished = await self._unlocked(arguments)
        if any(words in finished.errors for words in _UNREADABLE_SNAPSHOT):
            raise self._damaged(finished)
        self._judge("list", finished, damage=True)
        found: Sequence[dict[str, Any]] = json.loads(finished.output.strip() or "[]") or []
        return found

    async def _demand(self, doing: str, arguments: Sequence[str]) -> Finished:
        finished = await self._unlocked(arguments)
        self._judge(doing, finished)
        return finished

    async def _unlocked(self, arguments: Sequence[str]) -> Finished:
        """Run restic; where it finds a lock, remove those whose owner is gone, and try again while patience lasts."""
        try:
            return await self._waiting(arguments)
        except asyncio.CancelledError:
            # Interrupted while it takes its lock, restic leaves it behind; nobody else could remove it for 30 minutes.
            if not self.only_reads:
                with suppress(TimeoutError):
                    async with asyncio.timeout(_UNLOCK_SECONDS):
                        await self._run(["unlock"])
            raise

    async def _waiting(self, arguments: Sequence[str]) -> Finished:
        end, pause = time.monotonic() + self.patience, _RETRY_SECONDS
        finished = await self._run(arguments)
        if _meaning(finished) != _LOCKED:
            return finished
        while True:
            await self._run(["unlock"])
            finished = await self._run(arguments)
            if _meaning(finished) != _LOCKED or time.monotonic() + pause > end:
                return finished
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST_RETRY_SECONDS)

    async def _run(self, arguments: Sequence[str]) -> Finished:
        return await run(
            ["restic", "--json", *(_ONLY_READING if self.only_reads else ()), *arguments],
            environment={
                "RESTIC_REPOSITORY": str(self.path),
                "RESTIC_PASSWORD_FILE": str(self.password_file),
                "RESTIC_CACHE_DIR": str(self.scratch / _CACHE),
                "RESTIC_PROGRESS_FPS": _STATUS_LINES_PER_SECOND,
            },
            directory=self.scratch,
        )

    def _judge(self, doing: str, finished: Finished, *, damage: bool = False) -> None:
        """Raise what it means that restic failed; with `damage`, what nothing else explains is a damaged repository."""
        meaning = _meaning(finished)
        if meaning == 0:
            return
        complaint = _complaint(finished)
        explained = meaning in {_LOCKED, _WRONG_PASSWORD} or any(words in finished.errors for words, _ in _SURROUNDINGS)
        explained = explained or meaning < 0  # a signal ended it: that says nothing about the repository
        if damage and not explained and (meaning != _NO_REPOSITORY or self._remains()):
            raise self._damaged(finished)
        match meaning:
            case 3:
                advice = f"only a part was backed up: {complaint}: the snapshot is not complete, run it again"
            case 10:
                advice = "there is no repository: the first backup makes it; check the volume and path"
            case 11:
                advice = f"{complaint}: wait until the other run has ended, then run this again"
            case 12:
                advice = f"wrong password (or a damaged key file): check the Secret {self.secret!r}"
            case _ if meaning < 0:
                advice = f"signal {-meaning} ended restic, by a lack of memory or by somebody: run it again"
            case _:
                advice = f"{complaint}: {_remedy(finished.errors)}"
        msg = f"cannot {doing} repository {self.path}: {advice}"
        raise ActionError(msg)

    def _damaged(self, finished: Finished) -> DamagedError:
        lines = [line.strip() for line in finished.errors.splitlines() if line.strip()]
        return DamagedError(f"repository {self.path} is damaged: {'; '.join(lines[:3])[:300] or finished.complaint}")

    def _remains(self) -> list[str]:
        return [part for part in _PARTS if (self.path / part).exists()]


def readable_size(size: float) -> str:
    """A number of bytes for people: `512 B`, `12.3 MiB`."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < _BINARY_STEP:
            return f"{size:.0f} B" if unit == "B" else f"{size:.1f} {unit}"
        size /= _BINARY_STEP
    return f"{size:.1f} TiB"


def _size(directory: Path) -> int:
    total = 0
    for path in directory.rglob("*"):
        with suppress(OSError):
            total += path.lstat().st_size if path.is_file() else 0
    return total


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


def _remedy(errors: str) -> str:
    return next((advice for words, advice in _SURROUNDINGS if words in errors), "look into the log and the volume")


def _documents(text: str) -> list[dict[str, Any]]:
    found = []
    for line in text.splitlines():
        if line.startswith("{"):
            try:
                found.append(json.loads(line))
            except ValueError:
                continue
    return found
