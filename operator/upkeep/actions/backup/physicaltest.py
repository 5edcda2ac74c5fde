"""Proves that a backup of a server's files can be restored: starts a throw-away server on them, and reads every row.

It must never reach the source, never write to the repository, and never call verified what it has not seen.
"""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, ClassVar

from pydantic import Field

from upkeep.actions.backup.basebackup import ServerRecord, read_server
from upkeep.actions.backup.chain import PHYSICAL
from upkeep.actions.backup.combination import combined, fitting
from upkeep.actions.backup.databases import listed
from upkeep.actions.backup.expectation import RestoredQuery
from upkeep.actions.backup.inventory import DATA
from upkeep.actions.backup.restic import Restic
from upkeep.actions.backup.revival import Revived, revived
from upkeep.actions.backup.snapshot import Stored
from upkeep.actions.backup.trial import Examination, RestoreTrial
from upkeep.actions.backup.validation import ask, limit
from upkeep.actions.contract import ActionError, Context, Finding
from upkeep.actions.fields import Duration
from upkeep.actions.text import readable_size, several


class BackupPhysicalTest(RestoreTrial):
    """Restores the newest snapshot of a policy, starts PostgreSQL on its files, reads every row, and asks queries.

    Locks: none; it reads the repository without a lock and without a cache. Privileges: read access to the repository's
    volume, and its password; nothing of the source.
    """

    action_name: ClassVar[str] = "backupPhysicalTest"
    internal: ClassVar[bool] = True

    queries: Annotated[list[RestoredQuery], Field(max_length=32)] = Field(default_factory=list)
    """What is asked; of the database that the connection of the source names, unless a query names another."""
    query_timeout: Duration = Field(default="1m", validate_default=True)
    """How long each query may take."""

    async def examine(self, context: Context, directory: Path, snapshot: Stored) -> Examination:
        """Put the files together, compare them with what the server sent, recover, read, ask."""
        if PHYSICAL not in snapshot.tags:
            msg = (
                f"snapshot {snapshot.name} is a dump, made before the source was given method: Physical: make a backup "
                "first"
            )
            raise ActionError(msg)
        restic = Restic.of(self.repository, context, only_reads=True)
        stored = await restic.stored(host=self.policy, tag=f"policy={self.policy}")
        async with combined(restic, stored, snapshot, directory, scratch=context.scratch) as whole:
            record = read_server(whole)
            async with revived(fitting(record.major), whole / DATA, record, context.scratch) as server:
                databases = await server.databases(record.database)
                usable = time.monotonic()
                size = sum([await server.read(database) for database in databases])
                findings = await self._asked(server, record, databases, snapshot)
        queries = len(self.queries)
        parts = [f"{several(len(databases), 'database')} with {readable_size(size)} read to the last row"]
        parts += [f"{several(queries, 'query', 'queries')} as expected"] if queries else []
        return Examination(
            usable=usable,
            findings=findings,
            praise=parts,
            metrics={"databases": len(databases), "bytes_read": size, "queries": queries},
        )

    async def _asked(
        self, server: Revived, record: ServerRecord, databases: Sequence[str], snapshot: Stored
    ) -> list[Finding]:
        findings = []
        for query in self.queries:
            name = query.database or record.database
            if name not in databases:
                findings.append(query.broken(f"there is no database {listed([name])}, only {listed(databases)}"))
                continue
            async with server.reading(name) as connection:
                await limit(connection, self.query_timeout)
                answer = await ask(connection, query, snapshot.time)
            findings += [answer] if answer else []
        return findings
