"""Proves that a backup can be restored: brings the newest one back into a throw-away server and asks it questions.

It must never reach the production database, never write to the repository, and never call verified what it has not
seen.
"""

import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Final

from pydantic import Field

from upkeep.actions.backup.archive import DATABASE, GLOBALS, Archive, Record, last_words, read_record
from upkeep.actions.backup.damage import DamagedError
from upkeep.actions.backup.dump import DIRECTORY
from upkeep.actions.backup.expectation import ValidationQuery
from upkeep.actions.backup.process import Finished, run
from upkeep.actions.backup.snapshot import Stored
from upkeep.actions.backup.throwaway import READER, Throwaway, throwaway
from upkeep.actions.backup.trial import Examination, RestoreTrial
from upkeep.actions.contract import ActionError, Context, Finding, Severity, UncheckableError
from upkeep.actions.fields import Duration

if TYPE_CHECKING:
    from psycopg import AsyncConnection

_ROLE: Final = re.compile(r'^CREATE ROLE (?:"(?P<quoted>(?:[^"]|"")+)"|(?P<plain>\S+));$', re.MULTILINE)
_TABLES: Final = """
SELECT pg_catalog.concat_ws(' ', n.nspname, c.relname, pg_catalog.pg_get_userbyid(c.relowner)) AS label,
       n.nspname AS schema, c.relname AS name,
       EXISTS (SELECT FROM pg_catalog.pg_depend d
               WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass
                 AND d.objid = c.oid AND d.deptype = 'e') AS of_extension
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind = 'r' AND n.nspname NOT LIKE 'pg\\_%' AND n.nspname <> 'information_schema'
"""
_ADVICE: Final[Sequence[tuple[str, type[ActionError], str]]] = (
    ("No space left on device", ActionError, "the scratch volume is full: raise verify.restoreTest.scratchSize"),
    ("collation", UncheckableError, "the image has no such locale: build an image with it"),
    (
        'role "',
        DamagedError,
        "the backup is without roles: let the user of the source read pg_roles, then back up again",
    ),
)
_NO_ADVICE: Final = (DamagedError, "make a new backup at once, then verify that")


class BackupRestoreTest(RestoreTrial):
    """Restores the newest snapshot of a policy into a throw-away PostgreSQL and validates what came back.

    Locks: none; it reads the repository without a lock and without a cache. Privileges: read access to the repository's
    volume, and its password; nothing of the source.
    """

    action_name: ClassVar[str] = "backupRestoreTest"
    internal: ClassVar[bool] = True

    queries: Annotated[list[ValidationQuery], Field(max_length=32)] = Field(default_factory=list)
    """What is asked of the restored database."""
    query_timeout: Duration = Field(default="1m", validate_default=True)
    """How long each query may take."""

    async def examine(self, context: Context, directory: Path, snapshot: Stored) -> Examination:
        """Load the dump into a throw-away server, compare, ask."""
        async with throwaway(context.scratch) as server:
            record = await self._load(context, server, directory / DIRECTORY)
            loaded = time.monotonic()
            seen = await self._validate(server, record, snapshot)
        rows, queries = seen.rows, len(self.queries)
        parts = [f"{_several(len(record.rows), 'table')} with {_several(rows, 'row')} as they were dumped"]
        parts += [f"{queries} quer{'y' if queries == 1 else 'ies'} as expected"] if queries else []
        return Examination(
            usable=loaded,
            findings=seen.findings,
            praise=parts,
            metrics={"tables": len(record.rows), "rows": rows, "queries": queries},
        )

    async def _load(self, context: Context, server: Throwaway, directory: Path) -> Record:
        """Load the dump into the server; says what was dumped."""
        record = read_record(directory)
        archive = await Archive.read(directory / DATABASE, of=record.database, scratch=context.scratch)
        if archive.truncated or archive.tables < len(record.rows):
            lost = archive.truncated + max(0, len(record.rows) - archive.tables)
            whole = f"{lost} of {len(record.rows)} tables are cut off or missing"
            msg = f"the dump of {record.database} is incomplete: {whole}: make a new backup at once"
            raise DamagedError(msg)
        if archive.server > server.version:
            msg = (
                f"the dump of {record.database} is of PostgreSQL {archive.server}, but the server in this image is "
                f"{server.version} and cannot take it: use an image with a newer server"
            )
            raise ActionError(msg)
        roles = _roles(directory / GLOBALS)
        await server.prepare(record.database, encoding=record.encoding, roles=roles)
        await _refuse_missing_extensions(server, archive, record)
        arguments = ["--exit-on-error", "--no-tablespaces", "--no-publications", "--no-subscriptions"]
        arguments += [] if roles else ["--no-owner", "--no-privileges"]
        finished = await run(
            ["pg_restore", *arguments, "--no-password", "--dbname", _conninfo(record.database), str(archive.path)],
            environment=server.environment,
            directory=context.scratch,
        )
        if finished.code:
            raise _refused(finished, record.database)
        return record

    async def _validate(self, server: Throwaway, record: Record, snapshot: Stored) -> "_Seen":
        async with server.connected(record.database) as connection:
            rows = await _count(connection, record)
        async with server.connected(record.database, user=READER) as connection:
            await _limit(connection, self.query_timeout)
            answers = [await _ask(connection, query, snapshot.time) for query in self.queries]
        findings = [*rows.findings, *(finding for finding in answers if finding is not None)]
        return _Seen(rows=rows.rows, findings=findings)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Seen:
    """What was found in the restored database: the number of its rows, and what is wrong."""

    rows: int
    findings: Sequence[Finding]


async def _count(connection: "AsyncConnection[Any]", record: Record) -> _Seen:
    """Compare the rows of every table with those that were dumped."""
    from psycopg import sql  # noqa: PLC0415 - a driver is loaded only when an action runs

    tables = await (await connection.execute(_TABLES)).fetchall()
    counted: dict[str, int] = {}
    extras: set[str] = set()
    for label, schema, name, of_extension in tables:
        query = sql.SQL("SELECT pg_catalog.count(*) FROM ONLY {}").format(sql.Identifier(schema, name))
        row = await (await connection.execute(query)).fetchone()
        listed = _listed(label, record.rows, schema=schema, name=name)
        counted[listed] = row[0] if row else 0
        extras |= {listed} if of_extension else set()
    findings = []
    for label, dumped in record.rows.items():
        found = counted.get(label, 0)
        # An extension brings rows of its own into its tables.
        if found == dumped or (label in extras and found > dumped):
            continue
        findings.append(_difference(label, dumped, found, missing=label not in counted))
    return _Seen(rows=sum(counted.values()), findings=findings)


def _listed(label: str, recorded: Mapping[str, int], *, schema: str, name: str) -> str:
    """The table as pg_restore lists it; restored without owners, whoever its owner was."""
    flat = re.sub(r"[\r\n]", " ", label)
    if flat in recorded:
        return flat
    start = re.sub(r"[\r\n]", " ", f"{schema} {name} ")
    return next((each for each in recorded if each.startswith(start)), flat)


def _difference(label: str, dumped: int, found: int, *, missing: bool) -> Finding:
    what = "the table is not there" if missing else f"it has {found} rows, but {dumped} were dumped"
    return Finding(
        check_id="backup.restore.rows",
        severity=Severity.CRITICAL,
        object=label,
        observed=found,
        threshold=dumped,
        unit="rows",
        recommendation=f"{what}: make a new backup at once, then verify that",
    )


async def _ask(connection: "AsyncConnection[Any]", query: ValidationQuery, backup: datetime) -> Finding | None:
    """Ask one query: what is wrong with its answer, None where it is as expected."""
    import psycopg  # noqa: PLC0415 - a driver is loaded only when an action runs

    async with connection.cursor() as cursor:
        try:
            # Only one statement can be prepared; the text is a user's, and runs as a role that can only read.
            await cursor.execute(query.query.encode(), prepare=True)
        except psycopg.Error as error:
            return query.broken(error.diag.message_primary or str(error).partition("\n")[0])
        answer = cursor.pgresult
        if answer is None or not answer.nfields:
            return query.broken("it returns no rows: it must be a SELECT")
        raw = answer.get_value(0, 0) if answer.ntuples else None
    return query.judge(raw.decode() if raw is not None else None, backup=backup)


async def _limit(connection: "AsyncConnection[Any]", timeout: timedelta) -> None:
    settings = {
        "search_path": "",
        "default_transaction_read_only": "on",
        "statement_timeout": str(max(1, int(timeout.total_seconds() * 1000))),
        "datestyle": "ISO",
        "timezone": "UTC",
        "bytea_output": "hex",
    }
    for name, value in settings.items():
        await connection.execute("SELECT pg_catalog.set_config(%s, %s, false)", (name, value))


async def _refuse_missing_extensions(server: Throwaway, archive: Archive, record: Record) -> None:
    async with server.connected(record.database) as connection:
        rows = await (await connection.execute("SELECT name FROM pg_catalog.pg_available_extensions")).fetchall()
    missing = sorted(set(archive.extensions) - {row[0] for row in rows})
    if missing:
        msg = (
            f"the database {record.database} needs extensions that this image does not have: {', '.join(missing)}: "
            "build an image with them, or its backups cannot be verified"
        )
        raise UncheckableError(msg)


def _refused(finished: Finished, database: str) -> ActionError:
    known = ((kind, advice) for words, kind, advice in _ADVICE if words in finished.errors)
    kind, advice = next(known, _NO_ADVICE)
    return kind(f"pg_restore of {database} failed: {last_words(finished)}: {advice}")


def _roles(path: Path) -> list[str]:
    """Names of the roles that were dumped; none where the backup is without them."""
    try:
        text = path.read_text()
    except OSError:
        return []
    return [match["plain"] or match["quoted"].replace('""', '"') for match in _ROLE.finditer(text)]


def _conninfo(database: str) -> str:
    from psycopg.conninfo import make_conninfo  # noqa: PLC0415 - a driver is loaded only when an action runs

    return make_conninfo(dbname=database)


def _several(count: int, thing: str) -> str:
    return f"{count} {thing}{'' if count == 1 else 's'}"
