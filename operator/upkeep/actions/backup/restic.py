"""The restic repository: made on first use, written to, checked; every failure says what happened to what.

It must never make a new repository over the remains of an old one, and never take a partial backup for a whole one.
"""

import asyncio
import json
import logging
import re
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any, Final, TypeVar

from upkeep.actions.backup.complaint import LOCKED, NO_REPOSITORY, NO_SPACE, Complaint, documents, meaning, refused
from upkeep.actions.backup.contents import Contents
from upkeep.actions.backup.creation import Creation, step_back
from upkeep.actions.backup.damage import DamagedError
from upkeep.actions.backup.lock import Departed
from upkeep.actions.backup.process import Finished, run
from upkeep.actions.backup.rate import rate_in_kib
from upkeep.actions.backup.repository import CREDENTIALS_NAME, FREE_BYTES, REPOSITORY_BYTES, Repository
from upkeep.actions.backup.snapshot import Snapshot, Stored
from upkeep.actions.backup.storage import Storage
from upkeep.actions.contract import ActionError, Context

_PASSWORD_KEY: Final = "password"  # noqa: S105 - the name of the key, not a password
_CACHE: Final = "restic-cache"
_UNREADABLE_SNAPSHOT: Final = ("could not load snapshot", 'Ignoring "')
"""restic, before 0.15 and since, leaves such a snapshot out of its list, and ends well."""
_ONLY_READING: Final = ("--no-lock", "--no-cache")
_LOCKS: Final = "locks/"
_CHANGING: Final = ("index/", "snapshots/")
_PATTERN: Final = re.compile(r"[*?\[\]\\]")
_LITERALLY: Final = r"\\\g<0>"
"""What restic takes for a pattern in a path is written with a backslash."""
_STATUS_LINES_PER_SECOND: Final = "0.02"
_UNLOCK_SECONDS: Final = 10.0
_PATIENT_PART: Final = 0.5
"""Of the time that a step has, how much it may wait for others."""
_RETRY_SECONDS: Final = 1.0
_LONGEST_RETRY_SECONDS: Final = 20.0

_LOGGER: Final = logging.getLogger(__name__)
_Result = TypeVar("_Result")


@dataclass(frozen=True, slots=True, kw_only=True)
class Restic:
    """restic, pointed at one repository.

    Attributes:
        storage: where it is.
        password_file: the mounted file with its password.
        secret: name of the Secret, for messages.
        scratch: writable directory for the cache and temporary files; relative paths start here.
        limits: options that limit its bandwidth.
        departed: whose locks may be removed.
        only_reads: it may not write, not even a lock, and believes nothing but the repository itself: no cache.
        patient_until: until when, by the monotonic clock, it waits for others who use the repository.
        working: where it is started, if not in `scratch`.
    """

    storage: Storage
    password_file: Path
    secret: str
    scratch: Path
    limits: Sequence[str] = ()
    departed: Departed = field(default_factory=Departed)
    only_reads: bool = False
    patient_until: float = 0.0
    working: Path | None = None

    @classmethod
    def of(
        cls, repository: Repository, context: Context, *, only_reads: bool = False, working: Path | None = None
    ) -> "Restic":
        """Find the password, and the credentials of where the repository is.

        Raises:
            ActionError: a Secret or one of its keys is missing.
        """
        reference = repository.password_secret_ref
        secret = reference.name if reference else CREDENTIALS_NAME
        password_file = context.secret_file(CREDENTIALS_NAME, _PASSWORD_KEY, holder="the repository", secret=secret)
        if not only_reads:
            (context.scratch / _CACHE).mkdir(parents=True, exist_ok=True)
        limits = {"upload": repository.limit_upload, "download": repository.limit_download}
        return cls(
            storage=repository.storage(context),
            password_file=password_file,
            secret=secret,
            scratch=context.scratch,
            limits=[f"--limit-{name}={rate_in_kib(rate)}" for name, rate in limits.items() if rate],
            departed=Departed(repository.departed),
            only_reads=only_reads,
            patient_until=time.monotonic() + context.remaining * _PATIENT_PART,
            working=working,
        )

    @property
    def name(self) -> str:
        """How messages call the repository."""
        return self.storage.name

    async def ensure(self) -> bool:
        """Open the repository, or make it where there is none yet; True if it was made.

        Raises:
            ActionError: it cannot be opened or made, or only remains of one are there.
        """
        while True:
            finished = await self._unlocked(["cat", "config"])
            if meaning(finished) != NO_REPOSITORY:
                await self._judge("open", finished)
                return False
            async with Creation(self.storage, self.departed).alone() as leftovers:
                if leftovers is not None:
                    for name in leftovers:
                        await self.storage.remove(name)
                    await self._demand("create", ["init"])
                    return True
            await step_back()
            if time.monotonic() > self.patient_until:
                msg = f"cannot create repository {self.name}: somebody else is creating it: run this again"
                raise ActionError(msg)

    async def backup(self, *paths: str, host: str, tags: Sequence[str], exclude: Sequence[str] = ()) -> Snapshot:
        """Back up directories and files.

        Args:
            paths: relative to where it is started.
            host: host of the snapshot.
            tags: its tags.
            exclude: patterns of what is left out, as restic takes them.

        Raises:
            ActionError: it failed, also where only some files could not be read.
        """
        options = [f"--host={host}", *(f"--tag={tag}" for tag in tags), *(f"--exclude={each}" for each in exclude)]
        finished = await self._demand("back up into", ["backup", *options, "--", *paths])
        summaries = [line for line in documents(finished.output) if line.get("message_type") == "summary"]
        if not summaries or not summaries[-1].get("snapshot_id"):
            msg = f"cannot back up into repository {self.name}: restic named no snapshot: look into the log"
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
        found = await self._undisturbed(lambda: self._listed(["snapshots", f"--host={host}", f"--tag={tag}"]))
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

    async def forget(self, identifiers: Sequence[str]) -> None:
        """Remove snapshots, by their ids. Their data stays until the next `prune`.

        Raises:
            ActionError: not all could be removed, or the repository cannot be opened.
        """
        await self._demand("remove snapshots from", ["forget", *identifiers])

    async def prune(self) -> None:
        """Remove the data that no snapshot needs.

        Raises:
            DamagedError: data is missing that a snapshot needs; nothing was removed.
            ActionError: it could not be done: no room, or the repository cannot be opened.
        """
        finished = await self._unlocked(["prune"])
        await self._judge("prune", finished, damage=True)

    async def size(self) -> int:
        """Bytes of all files of the repository.

        Raises:
            ActionError: they cannot be listed.
        """
        return sum(file.bytes for file in (await self.storage.files()).values())

    async def room(self) -> dict[str, float]:
        """Its size and the room that is left, as metrics.

        Raises:
            ActionError: its files cannot be listed.
        """
        free = await self.storage.free()
        return {REPOSITORY_BYTES: await self.size(), **({} if free is None else {FREE_BYTES: free})}

    async def restore(self, snapshot: Stored, target: Path, *, only: Sequence[str] = (), volume: str = "") -> None:
        """Bring files of a snapshot back, and read them again to compare them with the repository.

        Args:
            snapshot: of which.
            target: directory for them.
            only: paths in the snapshot; all where empty.
            volume: how messages call the volume of the directory, where that is not the scratch directory.

        Raises:
            DamagedError: the repository does not give all of them back as they were.
            ActionError: they could not be restored: no room, or the repository cannot be opened.
        """
        options = [f"--include=/{_PATTERN.sub(_LITERALLY, path)}" for path in only]
        arguments = ["restore", snapshot.identifier, f"--target={target}", "--verify", *options]
        await self._undisturbed(lambda: self._restore(arguments, volume))

    async def _restore(self, arguments: Sequence[str], volume: str) -> None:
        finished = await self._unlocked(arguments)
        if finished.code and NO_SPACE in finished.errors and not volume:
            msg = f"cannot restore from repository {self.name}: the scratch volume is full: raise scratchSize"
            raise ActionError(msg)
        if finished.code and volume and (refusal := refused(finished)):
            msg = f"cannot restore from repository {self.name} to {volume}: {refusal}"
            raise ActionError(msg)
        await self._judge("restore from", finished, damage=True)

    async def contents(self, snapshot: Stored, paths: Sequence[str]) -> Contents:
        """What a snapshot has at and below some paths; in all of it where there are none.

        Raises:
            DamagedError: it cannot be listed.
            ActionError: the repository cannot be opened.
        """
        return await self._undisturbed(lambda: self._contents(snapshot, paths))

    async def _contents(self, snapshot: Stored, paths: Sequence[str]) -> Contents:
        found = Contents(paths=paths)
        finished = await self._run(["ls", snapshot.identifier], line=found.listed)
        await self._judge("list", finished, damage=True)
        return found

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
        await self._judge("check", finished, damage=True)

    async def _listed(self, arguments: Sequence[str]) -> Sequence[dict[str, Any]]:
        """The documents of a list of which nothing is left out."""
        finished = await self._unlocked(arguments)
        if any(words in finished.errors for words in _UNREADABLE_SNAPSHOT):
            raise self._damaged(finished)
        await self._judge("list", finished, damage=True)
        found: Sequence[dict[str, Any]] = json.loads(finished.output.strip() or "[]") or []
        return found

    async def _demand(self, doing: str, arguments: Sequence[str]) -> Finished:
        finished = await self._unlocked(arguments)
        await self._judge(doing, finished)
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
        finished = await self._run(arguments)
        if meaning(finished) != LOCKED:
            return finished
        began, pause = time.monotonic(), _RETRY_SECONDS
        while True:
            await self._unlock()
            finished = await self._run(arguments)
            over = time.monotonic() + pause > self.patient_until
            if meaning(finished) != LOCKED or over:
                return replace(finished, waited=time.monotonic() - began)
            if pause == _RETRY_SECONDS:
                words = Complaint(finished=finished, storage=self.storage).words
                _LOGGER.info("waiting for repository %s: %s", self.name, words)
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST_RETRY_SECONDS)

    async def _unlock(self) -> None:
        """Remove the locks of those who are gone: by restic's own judgement, and those of Pods known to be."""
        await self._run(["unlock"])
        if not self.departed.jobs:
            return
        for name in await self.storage.files(_LOCKS):
            shown = await self._run(["cat", "lock", name.removeprefix(_LOCKS), "--no-lock"])
            lock = json.loads(shown.output) if not shown.code else {}
            if self.departed.left(lock):
                await self.storage.remove(name)
                _LOGGER.info("removed the lock that Pod %s left on repository %s", lock["hostname"], self.name)

    async def _run(self, arguments: Sequence[str], line: Callable[[bytes], None] | None = None) -> Finished:
        await self.storage.probe()
        reading = _ONLY_READING if self.only_reads else ()
        with self.storage.credentials(self.scratch) as found:
            return await run(
                ["restic", "--json", *self.limits, *self.storage.options, *reading, *arguments],
                environment={
                    **found,
                    "RESTIC_PASSWORD_FILE": str(self.password_file),
                    "RESTIC_CACHE_DIR": str(self.scratch / _CACHE),
                    "RESTIC_PROGRESS_FPS": _STATUS_LINES_PER_SECOND,
                    "HOME": str(self.scratch),
                    "TMPDIR": str(self.scratch),
                },
                directory=self.working or self.scratch,
                line=line,
            )

    async def _judge(self, doing: str, finished: Finished, *, damage: bool = False) -> None:
        """Raise what it means that restic failed; with `damage`, what nothing else explains is a damaged repository."""
        complaint = Complaint(finished=finished, storage=self.storage)
        if complaint.meaning == 0:
            return
        if damage and not complaint.explained and (complaint.meaning != NO_REPOSITORY or await self.storage.files()):
            raise self._damaged(finished)
        msg = f"cannot {doing} repository {self.name}: {complaint.advice(secret=self.secret)}"
        raise ActionError(msg)

    def _damaged(self, finished: Finished) -> DamagedError:
        lines = [line.strip() for line in finished.errors.splitlines() if line.strip()]
        return DamagedError(f"repository {self.name} is damaged: {'; '.join(lines[:3])[:300] or finished.complaint}")

    async def _undisturbed(self, work: Callable[[], Awaitable[_Result]]) -> _Result:
        """Do what reads without a lock; where it finds damage and somebody changed the repository meanwhile, again."""
        if not self.only_reads:
            return await work()
        while True:
            before = await self._content()
            try:
                return await work()
            except DamagedError:
                if await self._content() == before or time.monotonic() > self.patient_until:
                    raise
            _LOGGER.info("repository %s was changed by somebody else meanwhile: reading it again", self.name)

    async def _content(self) -> set[str]:
        """What changes when somebody writes to the repository or removes something."""
        return {name for part in _CHANGING for name in await self.storage.files(part)}
