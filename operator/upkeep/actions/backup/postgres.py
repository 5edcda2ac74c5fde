"""Backs a PostgreSQL database up: dump, proof that the dump is whole, then a snapshot in the repository.

It must never report success for a dump that is empty, cut off, implausibly small, or only partly in the repository.
"""

import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, ClassVar

from pydantic import Field

from upkeep.actions.backup.databases import DatabasePattern, Jobs, SourceDatabase, chosen
from upkeep.actions.backup.dump import DIRECTORY, Dump, Dumper, dumper
from upkeep.actions.backup.layout import write_list
from upkeep.actions.backup.making import BackupMaking, creation, demand_whole
from upkeep.actions.backup.programs import MissingProgramsError, Programs, programs_for
from upkeep.actions.backup.restic import Restic
from upkeep.actions.backup.scratch import directory_size
from upkeep.actions.contract import ActionError, Context, Finding, Result, Severity
from upkeep.actions.fields import LabelName
from upkeep.actions.postgres.session import session
from upkeep.actions.text import several


class BackupPostgres(BackupMaking):
    """Dumps PostgreSQL databases and stores the dumps in a restic repository.

    Locks: only what SELECT takes (AccessShareLock), on all tables of a database for as long as its dump takes; changes
    of their structure wait. Databases are dumped one after the other, each as it is at its own moment, over one
    connection more than `jobs` where those are several. Privileges: `GRANT pg_read_all_data TO upkeep`; with row-level
    security also BYPASSRLS; CONNECT on each database. Roles and tablespaces are dumped too, without the passwords of
    roles.
    """

    action_name: ClassVar[str] = "backupPostgres"
    internal: ClassVar[bool] = True

    connection: LabelName
    """Name of a PostgreSQL connection."""
    databases: Annotated[list[DatabasePattern], Field(max_length=64)] = Field(default_factory=list)
    """Names and patterns of the databases. None: that of the connection."""
    exclude_databases: Annotated[list[DatabasePattern], Field(max_length=64)] = Field(default_factory=list)
    """Names and patterns of those among them that are left out."""
    jobs: Jobs = 1
    """How many tables are dumped at a time."""

    async def run(self, context: Context) -> Result:
        """Dump, verify, store.

        Raises:
            ActionError: any part of it failed; nothing was stored then, or restic says that it is not whole.
        """
        restic = Restic.of(self.repository, context)
        selected, programs = await self._source(context)
        with dumper(context, self.connection, programs, jobs=self.jobs) as source:
            created = await restic.ensure()
            begun = time.monotonic()
            dumps = await self._dumps(source, selected)
            missing_globals = await source.dump_globals()
            tables, size = sum(dump.tables for dump in dumps), directory_size(source.directory)
            subject = source.server if self.databases else source.database
            if refusal := self.refusal(size, of=subject):
                return refusal
            dumped, moment = time.monotonic(), datetime.now(UTC)
            snapshot = await restic.backup(DIRECTORY, host=self.policy, tags=self.tags)
            stored = time.monotonic()
        demand_whole(restic, snapshot, size)
        return await self.made(
            restic,
            snapshot,
            moment,
            parts=[*([several(len(dumps), "database")] if self.databases else []), several(tables, "table")],
            remarks=[*creation(created=created), *(["without roles and tablespaces"] if missing_globals else [])],
            metrics={
                "databases": len(dumps),
                "tables": tables,
                "rows": sum(dump.rows for dump in dumps),
                "dump_seconds": round(dumped - begun, 3),
                "store_seconds": round(stored - dumped, 3),
            },
            findings=[_globals_finding(subject, missing_globals)] if missing_globals else [],
        )

    async def _dumps(self, source: Dumper, selected: Sequence[SourceDatabase]) -> Sequence[Dump]:
        """Dump one database after the other, and look each dump over."""
        if not self.databases:
            await source.dump()
            return [await source.verify(encoding=selected[0].encoding)]
        dumps = []
        for each in selected:
            dumping = source.another(each.name)
            await dumping.dump()
            dumps.append(await dumping.verify(encoding=each.encoding, may_be_empty=not each.named))
        if not any(dump.tables for dump in dumps):
            msg = (
                f"the backup of PostgreSQL {source.server} is empty: none of {several(len(dumps), 'database')} has "
                "tables; check `databases` of the source"
            )
            raise ActionError(msg)
        write_list(source.directory, (each.name for each in selected))
        return dumps

    async def _source(self, context: Context) -> tuple[Sequence[SourceDatabase], Programs]:
        """What is to be dumped, and the programs for its server; refuses one that they are all too old for."""
        async with session(context, self.connection) as opened:
            server, major = opened.server, opened.version.major
            if self.databases:
                selected = await chosen(opened, self.databases, self.exclude_databases)
            else:
                encoding = opened.connection.info.parameter_status("server_encoding") or "UTF8"
                selected = [SourceDatabase(name=opened.database, encoding=encoding)]
        try:
            return selected, programs_for(major)
        except MissingProgramsError as error:
            msg = f"PostgreSQL {server} is version {major} and cannot be dumped: {error}"
            raise MissingProgramsError(msg) from error


def _globals_finding(database: str, reason: str) -> Finding:
    return Finding(
        check_id="backup.postgres.globals",
        severity=Severity.WARNING,
        object=database,
        observed=0,
        threshold=1,
        unit="",
        recommendation=f"roles and tablespaces are not in the backup ({reason}): let the user read pg_roles, "
        "pg_tablespace and pg_db_role_setting, or keep them elsewhere",
    )
