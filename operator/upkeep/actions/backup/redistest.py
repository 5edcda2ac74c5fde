"""Proves that a backup of Redis can be restored: loads the newest one into a throw-away server and counts its keys."""

import asyncio
import shutil
import signal
import time
from asyncio.subprocess import Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, Final

from pydantic import Field

from upkeep.actions.backup.damage import DamagedError
from upkeep.actions.backup.process import serving
from upkeep.actions.backup.rdb import DIRECTORY, FILE, Keys, read_keys, recorded_keys
from upkeep.actions.backup.snapshot import Stored
from upkeep.actions.backup.trial import Examination, RestoreTrial
from upkeep.actions.contract import ActionError, Context, Finding, Severity, UncheckableError
from upkeep.actions.fields import LabelName, Model
from upkeep.actions.text import several

if TYPE_CHECKING:
    from redis.asyncio import Redis

_SOCKET: Final = "redis.sock"
_LOG: Final = "redis.log"
_START_SECONDS: Final = 600.0
_LOOK_AGAIN_SECONDS: Final = 0.05
_BATCH: Final = 1000
_FOREIGN: Final = ("module", "Can't handle RDB format version")


class ExpectedKeys(Model):
    """Keys that have to be there after a restore."""

    name: LabelName
    """Name of the expectation, for messages."""
    pattern: Annotated[str, Field(min_length=1, max_length=256)]
    """Which keys, as SCAN takes it, for example `session:*`."""
    min: Annotated[int, Field(ge=1, le=2**53)] = 1
    """How many of them at least."""


class BackupRedisTest(RestoreTrial):
    """Restores the newest snapshot of a policy into a throw-away Redis and counts what came back.

    Locks: none; it reads the repository without a lock and without a cache. Privileges: read access to the repository's
    volume, and its password; nothing of the source.
    """

    action_name: ClassVar[str] = "backupRedisTest"
    internal: ClassVar[bool] = True

    keys: Annotated[list[ExpectedKeys], Field(max_length=32)] = Field(default_factory=list)
    """What has to be there."""

    async def examine(self, context: Context, directory: Path, snapshot: Stored) -> Examination:  # noqa: ARG002 - the age of a snapshot is not asked of keys
        """Load, count, compare."""
        files = directory / DIRECTORY
        recorded = recorded_keys(files)
        if await read_keys(files / FILE, scratch=context.scratch) != recorded:
            msg = "the snapshot of Redis has other keys than were counted when it was taken: make a new backup at once"
            raise DamagedError(msg)
        async with _throwaway(files, context.scratch) as client:
            usable = time.monotonic()
            loaded = await _loaded(client)
            found = [(wanted, await _matching(client, wanted)) for wanted in self.keys]
        findings = _compared(loaded, recorded) + [
            _lacking(wanted, number) for wanted, number in found if number < wanted.min
        ]
        praise = [f"{loaded} keys loaded of {recorded.total}"]
        praise += [f"{several(len(self.keys), 'expectation')} met"] if self.keys else []
        return Examination(usable=usable, findings=findings, praise=praise, metrics={"keys": loaded})


@asynccontextmanager
async def _throwaway(data: Path, scratch: Path) -> AsyncIterator["Redis"]:
    """A server that has loaded a snapshot, reached by a socket only here, for as long as the block.

    Raises:
        ActionError: this image has no server, or it does not start.
        UncheckableError: the snapshot needs a newer server, or one with modules.
    """
    from redis.asyncio import Redis  # noqa: PLC0415 - a driver is loaded only when an action runs

    if shutil.which("redis-server") is None:
        msg = "there is no Redis server in this image to restore into: use the image of this Upkeep version"
        raise ActionError(msg)
    socket, log = scratch / _SOCKET, scratch / _LOG
    settings = {"port": "0", "unixsocket": str(socket), "dir": str(data), "dbfilename": FILE, "save": ""}
    settings |= {"appendonly": "no", "daemonize": "no", "maxmemory": "0", "databases": "1024"}
    command = ["redis-server", *(word for name, value in settings.items() for word in (f"--{name}", value))]
    try:
        async with (
            serving(command, environment={}, directory=scratch, log=log, stop=signal.SIGKILL) as process,
            Redis(unix_socket_path=str(socket), protocol=2) as client,
        ):
            await _until_loaded(client, process, log)
            yield client
    finally:
        log.unlink(missing_ok=True)
        socket.unlink(missing_ok=True)


async def _until_loaded(client: "Redis", process: Process, log: Path) -> None:
    from redis.exceptions import RedisError  # noqa: PLC0415 - a driver is loaded only when an action runs

    end = time.monotonic() + _START_SECONDS
    while process.returncode is None and time.monotonic() < end:
        try:
            await client.ping()
        except (RedisError, OSError):
            await asyncio.sleep(_LOOK_AGAIN_SECONDS)
            continue
        return
    if process.returncode is not None and process.returncode < 0:
        msg = f"signal {-process.returncode} ended the throw-away Redis: raise verify.restoreTest.memory"
        raise ActionError(msg)
    raise _refused(log)


def _refused(log: Path) -> ActionError:
    lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
    warnings = [line.partition(" # ")[2] for line in lines if " # " in line]
    why = (warnings or lines or ["it said nothing"])[-1].strip()
    if any(words in line for words in _FOREIGN for line in lines):
        msg = f"this image's Redis cannot load the snapshot: {why}: use an image with the server's version and modules"
        return UncheckableError(msg)
    msg = f"the throw-away Redis does not load the snapshot: {why}: make a new backup at once, then verify that"
    return DamagedError(msg)


async def _loaded(client: "Redis") -> int:
    keyspace = await client.info("keyspace")
    return sum(int(database["keys"]) for database in keyspace.values())


async def _matching(client: "Redis", wanted: ExpectedKeys) -> int:
    """How many keys match; counting ends with the first that are enough."""
    found: set[bytes] = set()
    async for key in client.scan_iter(match=wanted.pattern, count=_BATCH):
        found.add(key)
        if len(found) >= wanted.min:
            break
    return len(found)


def _compared(loaded: int, recorded: Keys) -> list[Finding]:
    """Keys with a time to live may have ended since; all others have to be there."""
    least = recorded.total - recorded.expiring
    if least <= loaded <= recorded.total:
        return []
    return [
        Finding(
            check_id="backup.restore.keys",
            severity=Severity.CRITICAL,
            object="keys",
            observed=loaded,
            threshold=least,
            unit="keys",
            recommendation=f"{loaded} keys came back of {recorded.total}, of which {recorded.expiring} may have ended: "
            "make a new backup at once, then verify that",
        )
    ]


def _lacking(wanted: ExpectedKeys, number: int) -> Finding:
    return Finding(
        check_id="backup.restore.expected-keys",
        severity=Severity.CRITICAL,
        object=wanted.name,
        observed=number,
        threshold=wanted.min,
        unit="keys",
        recommendation=f"{number} keys match {wanted.pattern!r}: look at the source, and whether the right server is "
        "backed up",
    )
