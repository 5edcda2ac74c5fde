"""Puts files of a backup onto a volume: beside what is in use, which they replace only when they are proven.

It must never touch what is in use before what replaces it is whole, never follow a link, never replace what was not
confirmed, and never call restored what lacks anything.
"""

import asyncio
import logging
import os
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path, PurePosixPath
from typing import Annotated, ClassVar, Final

from pydantic import Field

from upkeep.actions.backup import objects, rdb
from upkeep.actions.backup.beside import ROOM, Beside, Place
from upkeep.actions.backup.choice import REMEDY, Restoring, age_of, facts_of, when
from upkeep.actions.backup.contents import Contents
from upkeep.actions.backup.damage import DamagedError, damage_finding
from upkeep.actions.backup.origin import Origin
from upkeep.actions.backup.restic import Restic
from upkeep.actions.backup.snapshot import Stored
from upkeep.actions.backup.trial import AGE_SECONDS, RESTORE_SECONDS
from upkeep.actions.connections import VolumeTarget
from upkeep.actions.contract import ActionError, Context, Finding, Outcome, Result, Severity
from upkeep.actions.fields import LabelName, format_duration
from upkeep.actions.kubernetes.claim import pods_with
from upkeep.actions.text import readable, readable_size, several
from upkeep.actions.volume.tree import InnerPath, Tree, attended, opened

_LOGGER: Final = logging.getLogger(__name__)
_CLEAN_UP_SECONDS: Final = 10.0
_TOLD: Final = 3
_UNTOUCHED: Final = "the volume is as it was"
_APPEND_ONLY: Final = ("appendonlydir", "appendonly.aof")
_PART: Final = r"([^/.\x00-\x1f][^/\x00-\x1f]*|\.[^/.\x00-\x1f][^/\x00-\x1f]*|\.\.[^/\x00-\x1f]+)"
_BASES: Final[Mapping[str, str]] = {"redis": rdb.DIRECTORY, "objects": objects.DIRECTORY}
"""Where in a snapshot that stands which belongs onto a volume; elsewhere at its top."""

SnapshotPath = Annotated[str, Field(max_length=512, pattern=f"^{_PART}(/{_PART})*$")]


class BackupRestoreFiles(Restoring):
    """Restores files of a BackupPolicy of files, a command, objects or Redis onto a volume.

    They are restored beside, on the same volume, compared with the backup, and then each of the paths changes places
    with what is there. Until then all stays as it is, also where the restore fails or is killed. What is beside the
    paths stays. A Pod that has the files open, or mounts them by subPath, sees the old ones until it is restarted. Of
    Redis `dump.rdb` is put there: stop the server first (kubernetesScale), which overwrites it else.
    Locks: none. Privileges: runs as the policy's runAsUser or 65532, which may write to the volume; without root all
    files belong to that user. With a ServiceAccount that may `list` pods it looks whether one uses the volume.
    """

    action_name: ClassVar[str] = "backupRestoreFiles"
    finds: ClassVar[Mapping[str, str]] = {
        "backup.restore": "the repository is damaged; nothing was replaced",
        "backup.restore.owner": "files belonged to other users, which only root can give them back to",
        "backup.restore.used": "a Pod uses the volume and may see the old files until it is restarted",
    }

    connection: LabelName
    """Name of a volume connection."""
    paths: Annotated[list[SnapshotPath], Field(max_length=16)] = Field(default_factory=list)
    """Directories and files in the backup, for example `uploads`. Left out: all that the policy backs up."""
    directory: InnerPath = ""
    """Directory on the volume under which the paths are put. Left out: where they were."""
    confirm: Annotated[str, Field(max_length=253)] | None = None
    """Name of the PersistentVolumeClaim: without it, no path that has anything in it is replaced."""
    keep_old: bool = True
    """What was replaced stays in `before_<date>_<time>` at the top of the volume. False: it is removed."""

    async def run(self, context: Context) -> Result:
        """List, restore beside, compare, take the places. What is damaged is a failed result with a finding.

        Raises:
            ActionError: it could not be restored; the volume is as it was.
        """
        origin, claim = context.origin(self.policy), context.target(self.connection, VolumeTarget).claim_name
        if self.confirm not in {None, claim}:
            msg = f"confirm names {self.confirm!r}, but the claim of {self.connection!r} is {claim!r}: correct one"
            raise ActionError(msg)
        if self.paths and origin.kind == "redis":
            msg = f"BackupPolicy {self.policy!r} is of Redis, of which there is one file: leave paths out"
            raise ActionError(msg)
        users = await pods_with(claim)
        if users and origin.kind == "redis":
            told = ", ".join(users[:_TOLD])
            msg = f"Pod {told} uses claim {claim!r}, and would overwrite {rdb.FILE}: stop it first (kubernetesScale)"
            raise ActionError(msg)
        reading = replace(context, credentials=context.credentials / origin.credentials)
        restic = Restic.of(origin.repository, reading, only_reads=True)
        try:
            snapshot = await self.chosen(restic, origin)
            wanted = await self._wanted(restic, snapshot, origin)
            with opened(context, self.connection, "") as root:
                course = _Course(step=self, restic=restic, snapshot=snapshot, wanted=wanted, claim=claim, root=root)
                await course.follow()
        except DamagedError as error:
            finding = damage_finding(check_id="backup.restore", what=self.policy, remedy=REMEDY)
            return Result(outcome=Outcome.FAILED, message=f"{error}: {_UNTOUCHED}", findings=[finding])
        return self._told(course, users)

    async def _wanted(self, restic: Restic, snapshot: Stored, origin: Origin) -> "_Wanted":
        """What is restored, and where it belongs.

        Raises:
            ActionError: the snapshot has it not.
        """
        base = _BASES.get(origin.kind, "")
        named = self.paths or (origin.paths if origin.kind == "files" else ())
        names = _separate([PurePosixPath(path) for path in named])
        fetched = [str(PurePosixPath(base, name)) for name in names] or ([base] if base else [])
        listed = await restic.contents(snapshot, fetched)
        if listed.missing:
            missing = ", ".join(repr(readable(path)) for path in sorted(listed.missing)[:_TOLD])
            msg = f"snapshot {snapshot.name} of {when(snapshot)} has no {missing}: correct paths, or choose another one"
            raise ActionError(msg)
        if not names:
            names = [PurePosixPath(name) for name in ([rdb.FILE] if origin.kind == "redis" else listed.top)]
        names = [name for name in names if name.parts[0] != ROOM]
        if not listed.files + listed.links or not names:
            msg = f"snapshot {snapshot.name} of {when(snapshot)} has no files there: correct paths, or choose another"
            raise ActionError(msg)
        places = [Place(restored=PurePosixPath(base, name), path=PurePosixPath(self.directory, name)) for name in names]
        return _Wanted(fetched=fetched, listed=listed, places=places, redis=origin.kind == "redis")

    def _told(self, course: "_Course", users: Sequence[str]) -> Result:
        snapshot, wanted, claim, kept = course.snapshot, course.wanted, course.claim, course.kept
        age, listed, seconds = age_of(snapshot), wanted.listed, time.monotonic() - course.begun
        places = ", ".join(map(str, wanted.places[:_TOLD])) + (", …" if wanted.places[_TOLD:] else "")
        what = f"snapshot {snapshot.name} of {when(snapshot)} ({format_duration(timedelta(seconds=age))} old)"
        parts = [
            f"{what} restored to {places} on PersistentVolumeClaim {claim!r} in {seconds:.1f}s",
            f"{several(listed.files, 'file')}, {readable_size(listed.size)}, as backed up",
        ]
        if wanted.redis:
            parts.append(several(int(course.metrics["keys"]), "key"))
        if kept:
            parts.append(f"what was there is in {kept!r}: remove it when you do not need it any more")
        findings = [self._owners(claim, listed.foreign)] if listed.foreign and os.geteuid() else []
        findings += [self._used(user) for user in users]
        return Result(
            outcome=Outcome.CHANGED,
            message=", ".join(parts),
            findings=findings,
            metrics={
                AGE_SECONDS: round(age, 1),
                "files": listed.files,
                "bytes": listed.size,
                RESTORE_SECONDS: round(seconds, 3),
                **course.metrics,
            },
            facts={**facts_of(snapshot), "kept": kept},
        )

    def _owners(self, claim: str, foreign: int) -> Finding:
        return Finding(
            check_id="backup.restore.owner",
            severity=Severity.INFO,
            object=claim,
            observed=foreign,
            threshold=1,
            unit="files",
            recommendation=f"they belong to user {os.geteuid()} now: where that matters, chown them as root, or set "
            "source.files.runAsUser of the policy to their user",
        )

    def _used(self, user: str) -> Finding:
        return Finding(
            check_id="backup.restore.used",
            severity=Severity.INFO,
            object=user,
            observed=1,
            threshold=1,
            unit="",
            recommendation="the Pod may see the old files until it is restarted (kubernetesRestart)",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Wanted:
    """What is restored.

    Attributes:
        fetched: paths in the snapshot; all where empty.
        listed: what the snapshot has there.
        places: where it belongs.
        redis: whether it is a snapshot of Redis.
    """

    fetched: Sequence[str]
    listed: Contents
    places: Sequence[Place]
    redis: bool


@dataclass(slots=True, kw_only=True)
class _Course:
    """A restore on its way.

    Attributes:
        step: what was asked for.
        restic: of the repository.
        snapshot: that is restored.
        wanted: of it.
        claim: name of the PersistentVolumeClaim.
        root: descriptor of the top of the volume.
        begun: when, by the monotonic clock.
        kept: where on the volume that is which was replaced; empty where there is nothing of it.
        metrics: what was measured and counted.
    """

    step: BackupRestoreFiles
    restic: Restic
    snapshot: Stored
    wanted: _Wanted
    claim: str
    root: int
    begun: float = field(default_factory=time.monotonic)
    kept: str = ""
    metrics: dict[str, float] = field(default_factory=dict)

    async def follow(self) -> None:
        """From the snapshot to files in their places, or to a volume as it was."""
        try:
            async with self._beside() as beside:
                self._demand_room()
                await self._demand_consent(beside)
                begun = time.monotonic()
                inside = replace(self.restic, working=_directory(beside))
                await inside.restore(
                    self.snapshot, Path(), only=self.wanted.fetched, volume=f"PersistentVolumeClaim {self.claim!r}"
                )
                fetched = time.monotonic()
                await self._compare(beside)
                compared = time.monotonic()
                await self._demand_consent(beside)
                await attended(Tree(root=self.root), lambda _: self._take(beside))
                self.kept = beside.kept
                self.metrics["fetch_seconds"] = round(fetched - begun, 3)
                self.metrics["swap_seconds"] = round(time.monotonic() - compared, 3)
        except OSError as error:
            raise self._refusal(error) from error

    @asynccontextmanager
    async def _beside(self) -> AsyncIterator[Beside]:
        beside = await attended(Tree(root=self.root), Beside.enter)
        try:
            yield beside
        finally:
            try:
                async with asyncio.timeout(_CLEAN_UP_SECONDS):
                    await attended(Tree(root=self.root), beside.leave)
            except (OSError, TimeoutError) as error:
                _LOGGER.warning("What a restore has left in %s is removed by the next one: %s", ROOM, error)
            finally:
                beside.close()

    def _demand_room(self) -> None:
        volume, listed = os.fstatvfs(self.root), self.wanted.listed
        free = volume.f_bavail * volume.f_frsize
        if listed.size > free:
            size, room = readable_size(listed.size), readable_size(free)
            msg = f"claim {self.claim!r} has {room} left, but {size} are restored beside what is there: enlarge it"
            raise ActionError(msg)
        number = listed.files + listed.directories + listed.links
        if volume.f_files and number > volume.f_favail:
            msg = (
                f"claim {self.claim!r} has room for {volume.f_favail} more files, but {number} are restored: enlarge it"
            )
            raise ActionError(msg)

    async def _demand_consent(self, beside: Beside) -> None:
        """Refuse to replace what was not confirmed, and to put a snapshot of Redis where it is not read.

        Raises:
            ActionError: something is in a place, and `confirm` does not name the claim.
        """
        if self.step.confirm is None:
            for place in self.wanted.places:
                if await asyncio.to_thread(beside.occupied, place):
                    msg = (
                        f"{place} on PersistentVolumeClaim {self.claim!r} is there already: to replace it set "
                        f"`confirm: {self.claim}`, or name another `directory`"
                    )
                    raise ActionError(msg)
        for name in _APPEND_ONLY if self.wanted.redis else ():
            place = Place(restored=PurePosixPath(name), path=PurePosixPath(self.step.directory, name))
            if await asyncio.to_thread(beside.occupied, place):
                msg = (
                    f"{place} on PersistentVolumeClaim {self.claim!r} is what the server would load instead of "
                    f"{rdb.FILE}: set `appendonly no` at the server, and move it away"
                )
                raise ActionError(msg)

    async def _compare(self, beside: Beside) -> None:
        """See that as much came back as the snapshot has.

        Raises:
            DamagedError: it has other files, or more keys or fewer.
        """
        found = await attended(Tree(root=beside.new), self._found)
        listed = self.wanted.listed
        if found.counts != listed.counts:
            msg = (
                f"snapshot {self.snapshot.name} came back with {several(found.files, 'file')} of {found.size} bytes, "
                f"but has {several(listed.files, 'file')} of {listed.size} bytes"
            )
            raise DamagedError(msg)
        if self.wanted.redis:
            directory = _directory(beside)
            keys = await rdb.read_keys(Path(rdb.DIRECTORY, rdb.FILE), scratch=directory)
            if keys != rdb.recorded_keys(directory / rdb.DIRECTORY):
                msg = f"snapshot {self.snapshot.name} has other keys than were counted when it was taken"
                raise DamagedError(msg)
            self.metrics["keys"] = keys.total

    def _found(self, tree: Tree) -> Contents:
        found = Contents()
        if self.wanted.fetched:
            names = list(self.wanted.fetched)
        else:
            with os.scandir(tree.root) as entries:
                names = [entry.name for entry in entries]
        for path in map(PurePosixPath, names):
            found.below(path, tree)
        return found

    def _take(self, beside: Beside) -> None:
        if self.wanted.redis:
            beside.discard(PurePosixPath(rdb.DIRECTORY, rdb.RECORD))
        beside.take(self.wanted.places, keep_old=self.step.keep_old)

    def _refusal(self, error: OSError) -> ActionError:
        what = readable(str(error.filename or "a file"))
        why = error.strerror or type(error).__name__
        return ActionError(
            f"PersistentVolumeClaim {self.claim!r} refuses {what}: {why}: let user {os.geteuid()} (the policy's "
            f"runAsUser, or 65532) write there, with no symbolic link on the way; {_UNTOUCHED}"
        )


def _directory(beside: Beside) -> Path:
    """The directory for what is restored, whatever name it has: programs are started in it, and need no path to it."""
    return Path(f"/proc/self/fd/{beside.new}")


def _separate(paths: Sequence[PurePosixPath]) -> list[PurePosixPath]:
    """Without those that are the same as another, or below it; none where one of them is all."""
    if any(not path.parts for path in paths):
        return []
    kept = (path for path in paths if not any(path.is_relative_to(other) for other in paths if other != path))
    return list(dict.fromkeys(kept))
