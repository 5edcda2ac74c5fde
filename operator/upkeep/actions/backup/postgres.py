"""Backs a PostgreSQL database up: dump, proof that the dump is whole, then a snapshot in the repository.

It must never report success for a dump that is empty, cut off, implausibly small, or only partly in the repository.
"""

import time
from datetime import UTC, datetime
from typing import ClassVar

from upkeep.actions.backup.dump import DIRECTORY, dumper
from upkeep.actions.backup.making import BackupMaking, creation
from upkeep.actions.backup.programs import MissingProgramsError, Programs, programs_for
from upkeep.actions.backup.restic import Restic
from upkeep.actions.contract import ActionError, Context, Finding, Result, Severity
from upkeep.actions.fields import LabelName
from upkeep.actions.postgres.session import session
from upkeep.actions.text import several


class BackupPostgres(BackupMaking):
    """Dumps a PostgreSQL database and stores the dump in a restic repository.

    Locks: only what SELECT takes (AccessShareLock), on all tables for as long as the dump takes; changes of their
    structure wait. Privileges: `GRANT pg_read_all_data TO upkeep`; with row-level security also BYPASSRLS.
    Roles and tablespaces are dumped too, without the passwords of roles.
    """

    action_name: ClassVar[str] = "backupPostgres"
    internal: ClassVar[bool] = True

    connection: LabelName
    """Name of a PostgreSQL connection."""

    async def run(self, context: Context) -> Result:
        """Dump, verify, store.

        Raises:
            ActionError: any part of it failed; nothing was stored then, or restic says that it is not whole.
        """
        restic = Restic.of(self.repository, context)
        encoding, programs = await self._source(context)
        with dumper(context, self.connection, programs) as source:
            created = await restic.ensure()
            begun = time.monotonic()
            await source.dump()
            missing_globals = await source.dump_globals()
            dump = await source.verify(encoding=encoding)
            if refusal := self.refusal(dump.bytes, of=source.database):
                return refusal
            dumped, moment = time.monotonic(), datetime.now(UTC)
            snapshot = await restic.backup(DIRECTORY, host=self.policy, tags=self.tags)
            stored = time.monotonic()
        if snapshot.bytes < dump.bytes:
            msg = (
                f"snapshot {snapshot.identifier} in repository {restic.name} has {snapshot.bytes} of {dump.bytes} "
                "bytes: it is not whole, run the backup again"
            )
            raise ActionError(msg)
        return await self.made(
            restic,
            snapshot,
            moment,
            parts=[several(dump.tables, "table")],
            remarks=[*creation(created=created), *(["without roles and tablespaces"] if missing_globals else [])],
            metrics={
                "tables": dump.tables,
                "rows": dump.rows,
                "dump_seconds": round(dumped - begun, 3),
                "store_seconds": round(stored - dumped, 3),
            },
            findings=[_globals_finding(source.database, missing_globals)] if missing_globals else [],
        )

    async def _source(self, context: Context) -> tuple[str, Programs]:
        """The encoding of the database, and the programs for its server; refuses one that they are all too old for."""
        async with session(context, self.connection) as opened:
            server, major = opened.server, opened.version.major
            encoding = opened.connection.info.parameter_status("server_encoding")
        try:
            return encoding or "UTF8", programs_for(major)
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
