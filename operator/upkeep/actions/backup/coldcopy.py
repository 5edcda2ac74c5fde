"""Copies a repository, file for file, to where it is cheap to keep and slow to read.

What is there cannot be read before it is thawed, so nothing here may ever say that it was verified. It must never write
over a file of another repository, never copy a damaged file, and never leave a copy in which a snapshot is listed whose
data is not there: data goes first and snapshots last, and they are removed the other way round.
"""

import asyncio
import hashlib
import logging
import re
import secrets
import time
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, aclosing
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Annotated, ClassVar, Final

from pydantic import Field

from upkeep.actions.backup.cold import MARKER, ColdClass, Marker
from upkeep.actions.backup.damage import DamagedError, damage_finding
from upkeep.actions.backup.rate import Rate, rate_in_kib
from upkeep.actions.backup.repository import Repository
from upkeep.actions.backup.s3 import Bucket, S3Place
from upkeep.actions.backup.snapshot import SNAPSHOT
from upkeep.actions.backup.storage import File, GoneError, Storage, UnreachableError
from upkeep.actions.backup.webstore import WebStore
from upkeep.actions.contract import Action, ActionError, Context, Finding, Outcome, Result, Severity, UncheckableError
from upkeep.actions.fields import Duration
from upkeep.actions.text import readable_size, several

COLD_NAME: Final = "cold"
"""The sub-directory of the credentials in which the Secret of the copy's bucket is mounted."""
COPY_BYTES: Final = "copy_bytes"
COPY_SNAPSHOTS: Final = "copy_snapshots"
"""Metrics of a copy that is whole: its size, and how many snapshots it holds."""
STORAGE_CLASS: Final = "storage_class"
THAW_TIME: Final = "thaw_time"
"""Facts of it: where its data is, and how long it takes until that can be read."""

_CONFIG: Final = "config"
_CONFIG_BYTES: Final = 64 * 1024
_FILE: Final = re.compile(r"(keys|data|index|snapshots)/(?:[0-9a-f]{2}/)?([0-9a-f]{64})")
_ORDER: Final = ("keys", "data", "index", "snapshots")
"""In which they are copied. They are listed and removed the other way round."""
_AT_ONCE: Final = 4
_PAUSES: Final = (1.0, 4.0, 15.0)
_PATIENT_PART: Final = 0.5
_CLOCKS_DIFFER: Final = timedelta(hours=1)
_LOGGER: Final = logging.getLogger(__name__)


class BackupColdCopy(Action):
    """Copies what is new of a repository into a bucket of a class that has to be thawed before it can be read.

    Locks: nothing; where somebody removes backups meanwhile, it begins again. Privileges: read access to the
    repository, not its password; in the other bucket s3:ListBucket, s3:GetObject and s3:PutObject, and
    s3:DeleteObject where something is to be removed.
    """

    action_name: ClassVar[str] = "backupColdCopy"
    internal: ClassVar[bool] = True

    repository: Repository
    """What is copied."""
    target: S3Place
    """Where to."""
    storage_class: ColdClass
    """Class of the data; everything else of the repository, which is little, goes into the bucket's default."""
    keep_for: Duration | None = None
    """How long that stays which the repository has no longer; None for ever."""
    limit_upload: Rate | None = None
    """The most bytes a second that are sent."""
    known: Annotated[list[str], Field(max_length=32)] = Field(default_factory=list)
    """Short ids of the policy's snapshots, newest first: the first that is in the copy is named."""

    async def run(self, context: Context) -> Result:
        """Copy. A repository that is damaged is a failed result with a critical finding.

        Raises:
            UncheckableError: there is nothing to copy yet.
            ActionError: it could not be copied; what was copied stays, and the next run goes on from there.
        """
        source = self.repository.storage(context)
        target = Bucket(self.target, context, directory=COLD_NAME, field="coldCopy.s3")
        pace = _Pace(rate_in_kib(self.limit_upload) * 1024 if self.limit_upload else None)
        patient_until = time.monotonic() + context.remaining * _PATIENT_PART
        async with AsyncExitStack() as stack:
            for store in (source, target):
                if isinstance(store, WebStore):
                    await stack.enter_async_context(store.connected())
            while True:
                copy = _Copy(source=source, target=target, wish=self, pace=pace)
                try:
                    return await copy.made()
                except GoneError:
                    if time.monotonic() > patient_until:
                        raise
                    _LOGGER.info("repository %s was changed by somebody else meanwhile: beginning again", source.name)
                except DamagedError as error:
                    finding = damage_finding("backup.cold-copy", source.name)
                    return Result(outcome=Outcome.FAILED, message=str(error), findings=[finding])
                except asyncio.CancelledError as stopped:
                    stopped.add_note(f"{copy.progress}; the next run goes on from there")
                    raise


@dataclass(slots=True, kw_only=True)
class _Copy:
    """One attempt.

    Attributes:
        there: the files of the repository, by the names that they get in the copy, with the names that they have.
        before: the files of the copy, as they were.
        wanted: the files that are to be copied.
        copied: those that were.
        size: of those, in bytes.
        unhashed: how many of those the server copied without saying their SHA-256.
    """

    source: Storage
    target: Bucket
    wish: BackupColdCopy
    pace: "_Pace"
    begun: datetime = field(default_factory=lambda: datetime.now(UTC))
    there: Mapping[str, tuple[str, File]] = field(default_factory=dict)
    before: Mapping[str, File] = field(default_factory=dict)
    copied: list[str] = field(default_factory=list)
    size: int = 0
    unhashed: int = 0
    wanted: Sequence[str] = ()

    @property
    def progress(self) -> str:
        """How far it has come."""
        return f"{len(self.copied)} of {several(len(self.wanted), 'file')} copied ({readable_size(self.size)})"

    async def made(self) -> Result:
        """The copy, made whole, and said so beside it."""
        self.before = await self.target.files()
        config = await self._config()
        self.there = await self._listed()
        if not any(_kind(name) == "snapshots" for name in self.there):
            msg = f"repository {self.source.name} has no snapshots: there is nothing to copy yet: make a backup"
            raise UncheckableError(msg)
        known = await self._claimed(config)
        self.wanted = [name for name in self.there if self._differs(name, self.before)]
        lost = self._lost(known)
        for kind in _ORDER:
            await self._copy_all([name for name in self.wanted if _kind(name) == kind])
        after = await self.target.files()
        if absent := [name for name in self.there if self._differs(name, after)]:
            msg = f"{self.target.name} does not list {several(len(absent), 'file')} that it took: look into its log"
            raise ActionError(msg)
        marker, removed = await self._cleared(known, after)
        await self._mark(marker)
        own = [file for name, file in after.items() if (_kind(name) or name == _CONFIG) and name not in removed]
        size = sum(file.bytes for file in own)
        return self._told(marker.snapshots, size, len(removed), [*lost, *self._misplaced(after)])

    async def _config(self) -> bytes:
        """The repository's config; that of the copy, if it has one, is the same."""
        if _CONFIG not in await self.source.files(_CONFIG):
            await self.source.probe()
            msg = f"there is no repository at {self.source.name} yet: make a backup first"
            raise UncheckableError(msg)
        config = bytearray()
        async with aclosing(self.source.content(_CONFIG)) as pieces:
            async for piece in pieces:
                config += piece
                if len(config) > _CONFIG_BYTES:
                    break
        if not 0 < len(config) <= _CONFIG_BYTES:
            msg = f"config of repository {self.source.name} is damaged: it has {len(config)} bytes; nothing is copied"
            raise DamagedError(msg)
        other = await self.target.read(_CONFIG) if _CONFIG in self.before else None
        if other is not None and other != bytes(config):
            msg = (
                f"{self.target.name} holds a copy of another repository: name another bucket or prefix in coldCopy.s3. "
                "If restic migrated this one, remove the old config there"
            )
            raise ActionError(msg)
        if other is None and any(_kind(name) for name in self.before):
            msg = (
                f"{self.target.name} holds files of a repository without its config: name another bucket or prefix in "
                "coldCopy.s3, or remove them"
            )
            raise ActionError(msg)
        return bytes(config)

    async def _listed(self) -> Mapping[str, tuple[str, File]]:
        """The repository's files, listed so that what a snapshot needs is listed after it.

        restic writes data, then index, then snapshots, and removes an index before what is in it: whatever is removed
        between these lists or afterwards is missed when it is to be copied, and then all begins again.
        """
        found: dict[str, tuple[str, File]] = {}
        for kind in reversed(_ORDER):
            for name, file in (await self.source.files(f"{kind}/")).items():
                if match := _FILE.fullmatch(name):
                    identifier = match[2]
                    named = f"data/{identifier[:2]}/{identifier}" if kind == "data" else name
                    found[named] = (name, file)
        return found

    async def _claimed(self, config: bytes) -> Marker:
        """The marker as it was, after a new one was left to see that the copy is not the repository itself."""
        known = Marker.decode(await self.target.read(MARKER) if MARKER in self.before else None)
        claim = replace(known, attempt=secrets.token_hex(8))
        await self._mark(claim)
        if MARKER in await self.source.files(MARKER):
            async with aclosing(self.source.content(MARKER)) as pieces:
                mirrored = b"".join([piece async for piece in pieces])
            if mirrored == claim.encode():
                await self.target.remove(MARKER)
                msg = f"{self.target.name} is the repository itself: name another bucket in coldCopy.s3"
                raise ActionError(msg)
        if _CONFIG not in self.before:
            await self._put(_CONFIG, config)
        return known

    async def _copy_all(self, names: Sequence[str]) -> None:
        """Several at once."""
        queue = iter(names)
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(_AT_ONCE):
                    group.create_task(self._copy_each(queue))
        except ExceptionGroup as failed:
            raise failed.exceptions[0] from failed

    async def _copy_each(self, names: Iterator[str]) -> None:
        for name in names:
            for pause in (*_PAUSES, None):
                try:
                    await self._copy(name)
                    break
                except UnreachableError:
                    if pause is None:
                        raise
                await asyncio.sleep(pause)
            self.copied.append(name)
            self.size += self.there[name][1].bytes

    async def _copy(self, name: str) -> None:
        origin, file = self.there[name]
        digest = name.rpartition("/")[2]
        storage_class = self.wish.storage_class if _kind(name) == "data" else None
        if isinstance(self.source, Bucket) and origin == name and self.target.same_server(self.source):
            arrived = await self.target.adopt(self.source, name, storage_class=storage_class)
            if arrived and arrived != digest:
                await self._discard(name)
                raise self._damaged(origin)
            self.unhashed += not arrived
            return
        await self.target.store(
            name, lambda: self._read(origin, digest), size=file.bytes, digest=digest, storage_class=storage_class
        )

    async def _discard(self, name: str) -> None:
        """Take away what must not be taken for a file of the copy; without the right to remove, leave nothing in it."""
        try:
            await self.target.remove(name)
        except ActionError:
            await self.target.put(name)

    async def _read(self, origin: str, digest: str) -> AsyncGenerator[bytes, None]:
        """A file, whose last piece is held back until it is known that all is as its name says."""
        seen, held = hashlib.sha256(), b""
        async with aclosing(self.source.content(origin)) as pieces:
            async for piece in pieces:
                if held:
                    yield held
                seen.update(piece)
                held = piece
                await self.pace.kept(len(piece))
        if seen.hexdigest() != digest:
            raise self._damaged(origin)
        yield held

    async def _cleared(self, known: Marker, after: Mapping[str, File]) -> tuple[Marker, frozenset[str]]:
        """The new marker, and what was removed because the repository has not had it for long enough."""
        now = datetime.now(UTC)
        gone = {name: known.gone.get(name, now) for name in after if _kind(name) and name not in self.there}
        keep = self.wish.keep_for
        over = [name for name, since in gone.items() if keep is not None and now - since >= keep]
        over.sort(key=lambda name: _ORDER.index(_kind(name)), reverse=True)
        for name in over:
            await self.target.remove(name)
        removed = frozenset(over)
        left = {name: since for name, since in gone.items() if name not in removed}
        held = [name.rpartition("/")[2] for name in after if _kind(name) == "snapshots" and name not in removed]
        return Marker(begun=self.begun, time=now, snapshots=held, gone=left, attempt=secrets.token_hex(8)), removed

    async def _mark(self, marker: Marker) -> None:
        await self._put(MARKER, marker.encode())

    async def _put(self, name: str, content: bytes) -> None:
        async def body() -> AsyncGenerator[bytes, None]:
            yield content

        await self.target.store(name, body, size=len(content), digest=hashlib.sha256(content).hexdigest())

    def _differs(self, name: str, copy: Mapping[str, File]) -> bool:
        return name not in copy or copy[name].bytes != self.there[name][1].bytes

    def _lost(self, known: Marker) -> Sequence[Finding]:
        """What is told of files that were in the copy when it was whole, and are not any more, or not as they were."""
        if known.begun is None:
            return []
        old = (datetime.now(UTC) - known.begun + _CLOCKS_DIFFER).total_seconds()
        lost = [name for name in self.wanted if name in self.before or self.there[name][1].age > old]
        if not lost:
            return []
        finding = Finding(
            check_id="backup.cold-copy.lost",
            severity=Severity.WARNING,
            object=self.target.name,
            observed=len(lost),
            threshold=1,
            unit="files",
            recommendation="files of the copy had gone or had another size, and were copied again: see who else may "
            "write there, and which lifecycle rule removes objects",
        )
        return [finding]

    def _misplaced(self, after: Mapping[str, File]) -> Sequence[Finding]:
        """What is told of a server that puts data into another class than it was told to."""
        classes = [after[name].storage_class for name in self.copied if _kind(name) == "data"]
        other = [each for each in classes if each and each != self.wish.storage_class]
        if not other:
            return []
        finding = Finding(
            check_id="backup.cold-copy.class",
            severity=Severity.INFO,
            object=self.target.name,
            observed=len(other),
            threshold=1,
            unit="files",
            recommendation=f"the server keeps new data in {other[0]} although it was told {self.wish.storage_class}: "
            "it may not know that class, and cost what that other one costs",
        )
        return [finding]

    def _told(self, held: Sequence[str], size: int, removed: int, findings: Sequence[Finding]) -> Result:
        wish, done = self.wish, several(len(self.copied), "file")
        gone = f", {removed} removed" if removed else ""
        checked = "its size" if self.unhashed else "its size, and what was copied has the SHA-256 of its name"
        identifiers = {each[:8] for each in held}
        newest = next((each for each in wish.known if each in identifiers), None)
        return Result(
            outcome=Outcome.CHANGED if self.copied or removed else Outcome.OK,
            message=f"{done} copied ({readable_size(self.size)}){gone}; {self.target.name} holds "
            f"{several(len(held), 'snapshot')} in {readable_size(size)}: every file of the repository is there with "
            f"{checked}; nothing can be read or verified before it is thawed ({wish.storage_class.thaw_time})",
            findings=findings,
            metrics={COPY_BYTES: size, COPY_SNAPSHOTS: len(held), "copied_bytes": self.size},
            facts={
                STORAGE_CLASS: wish.storage_class,
                THAW_TIME: wish.storage_class.thaw_time,
                **({SNAPSHOT: newest} if newest else {}),
            },
        )

    def _damaged(self, origin: str) -> DamagedError:
        return DamagedError(f"file {origin} of repository {self.source.name} is damaged: it was not copied")


class _Pace:
    """How fast bytes may travel."""

    def __init__(self, rate: int | None) -> None:
        self._rate = rate
        self._free_at = 0.0

    async def kept(self, count: int) -> None:
        """Wait until so many more may."""
        if self._rate:
            now = time.monotonic()
            self._free_at = max(self._free_at, now) + count / self._rate
            await asyncio.sleep(self._free_at - now)


def _kind(name: str) -> str:
    """Of which kind a file of a repository is; empty where it is none, as config and what others have left there."""
    match = _FILE.fullmatch(name)
    return match[1] if match else ""
