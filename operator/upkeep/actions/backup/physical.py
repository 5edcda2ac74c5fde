"""Backs a whole PostgreSQL server up by its files, or by what of them has changed, and stores that in a repository.

It must never report success for files that are not all as the server sent them, or that are of no single moment; and
never lose a backup because one of what has changed could not be made: a full one is made then.
"""

import asyncio
import shutil
import time
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import ClassVar, Final

from upkeep.actions.backup.basebackup import DIRECTORY, BaseBackup, Server
from upkeep.actions.backup.chain import PHYSICAL, built_on, chain
from upkeep.actions.backup.damage import DamagedError
from upkeep.actions.backup.inventory import DATA, MANIFEST, Inventory, whole_size
from upkeep.actions.backup.libpq import libpq
from upkeep.actions.backup.making import BackupMaking, creation, demand_whole
from upkeep.actions.backup.programs import MissingProgramsError, Programs, programs_for
from upkeep.actions.backup.restic import Restic
from upkeep.actions.backup.scratch import directory_size, vacated
from upkeep.actions.backup.snapshot import Stored
from upkeep.actions.contract import ActionError, Context, Finding, Result, Severity
from upkeep.actions.fields import LabelName
from upkeep.actions.postgres.session import session
from upkeep.actions.text import readable_size

_BASE: Final = "base"
_LONGEST: Final = 100
"""So many snapshots at most are needed to restore one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Way:
    """How a backup is made.

    Attributes:
        base: what it builds on; None where it is full.
        remark: why it is full although only changes were asked for, where nobody has to do anything about that.
        obstacle: likewise, where somebody has.
    """

    base: Stored | None = None
    remark: str = ""
    obstacle: str = ""


class BackupPhysical(BackupMaking):
    """Copies the files of a whole PostgreSQL server by pg_basebackup and stores them in a restic repository.

    Locks: none; the server writes a checkpoint at once, and keeps the log for as long as the copy takes.
    Privileges: `ALTER ROLE upkeep REPLICATION`, and in pg_hba.conf of the server
    `host replication upkeep all scram-sha-256` beside the line for databases; two of max_wal_senders, one of
    max_replication_slots. What has changed alone can be had from version 17 on, with `summarize_wal = on`.
    """

    action_name: ClassVar[str] = "backupPhysical"
    internal: ClassVar[bool] = True

    connection: LabelName
    """Name of a PostgreSQL connection."""
    incremental: bool = False
    """Only what has changed since the newest snapshot of the policy, which it then builds on."""

    async def run(self, context: Context) -> Result:
        """Copy, compare with the manifest, store.

        Raises:
            ActionError: any part of it failed; nothing was stored then, or restic says that it is not whole.
        """
        restic = Restic.of(self.repository, context)
        async with session(context, self.connection) as opened:
            server = await Server.seen(opened)
        programs = _programs(server)
        with ExitStack() as stack:
            directory = stack.enter_context(vacated(context.scratch / DIRECTORY))
            environment = stack.enter_context(libpq(context, self.connection))
            source = BaseBackup(programs=programs, server=server, environment=environment, scratch=context.scratch)
            created = await restic.ensure()
            begun = time.monotonic()
            way = await self._taken(restic, source)
            await _compared(source, directory)
            size, whole = directory_size(directory), whole_size(directory)
            if refusal := self.refusal(whole, of=server.name):
                return refusal
            copied, moment = time.monotonic(), datetime.now(UTC)
            base = [built_on(way.base)] if way.base else []
            snapshot = await restic.backup(DIRECTORY, host=self.policy, tags=[*self.tags, PHYSICAL, *base])
            stored = time.monotonic()
        demand_whole(restic, snapshot, size)
        changed = f", {readable_size(size)} changed since snapshot {way.base.name}" if way.base else ""
        return await self.made(
            restic,
            replace(snapshot, bytes=whole),
            moment,
            parts=[f"the files of PostgreSQL {server.record.major}{changed}"],
            remarks=[*creation(created=created), *([way.remark] if way.remark else [])],
            metrics={
                "copied_bytes": size,
                "dump_seconds": round(copied - begun, 3),
                "store_seconds": round(stored - copied, 3),
            },
            findings=[_full(server.name, way.obstacle)] if way.obstacle else [],
        )

    async def _taken(self, restic: Restic, source: BaseBackup) -> _Way:
        """Copy what has changed where that is asked for and can be had, else everything."""
        way = await self._way(restic, source.server) if self.incremental else _Way()
        if way.base:
            with vacated(source.scratch / _BASE) as fetched:
                try:
                    await restic.restore(way.base, fetched, only=[f"{DIRECTORY}/{DATA}/{MANIFEST}"])
                    await source.take(onto=fetched / DIRECTORY / DATA / MANIFEST)
                except ActionError as error:
                    way = _Way(obstacle=str(error))
                else:
                    return way
        shutil.rmtree(source.scratch / DIRECTORY, ignore_errors=True)
        await source.take()
        return way

    async def _way(self, restic: Restic, server: Server) -> _Way:
        if server.summarizes is None:
            return _Way(obstacle=f"PostgreSQL {server.record.major} knows nothing of changes: use 17 or newer")
        if not server.summarizes:
            remedy = "ALTER SYSTEM SET summarize_wal = on, then SELECT pg_reload_conf()"
            return _Way(obstacle=f"the server does not take down what changes: {remedy}")
        mine = await restic.stored(host=self.policy, tag=f"policy={self.policy}")
        last = max((each for each in mine if PHYSICAL in each.tags), key=lambda each: each.time, default=None)
        if last is None:
            return _Way(remark="full: there is none yet that it could build on")
        try:
            links = chain(mine, last)
        except DamagedError as error:
            return _Way(obstacle=str(error))
        if len(links) >= _LONGEST:
            return _Way(remark=f"full: a restore would have needed more than {_LONGEST} snapshots")
        return _Way(base=last)


async def _compared(source: BaseBackup, directory: Path) -> None:
    """Hold every file against the server's manifest.

    Raises:
        DamagedError: one is not as the server sent it.
    """
    data = directory / DATA
    inventory = await asyncio.to_thread(Inventory.read, data)
    await asyncio.to_thread(inventory.compare, data)
    if source.programs.major == source.server.record.major:
        await inventory.compare_log(source.programs, data, scratch=source.scratch)


def _programs(server: Server) -> Programs:
    try:
        return programs_for(server.record.major)
    except MissingProgramsError as error:
        msg = f"PostgreSQL {server.name} is version {server.record.major} and cannot be backed up: {error}"
        raise MissingProgramsError(msg) from error


def _full(server: str, obstacle: str) -> Finding:
    return Finding(
        check_id="backup.postgres.incremental",
        severity=Severity.WARNING,
        object=server,
        observed=0,
        threshold=1,
        unit="",
        recommendation=f"a full backup was made instead of one of what has changed: {obstacle}",
    )
