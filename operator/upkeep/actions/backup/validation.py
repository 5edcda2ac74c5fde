"""Whether what was restored is what was dumped: rows are counted, and queries of users are asked.

It must never change what it looks at: whatever a user asks runs in a session that can only read.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from upkeep.actions.backup.archive import Record
from upkeep.actions.backup.expectation import ValidationQuery
from upkeep.actions.contract import Finding, Severity

if TYPE_CHECKING:
    from psycopg import AsyncConnection

_TABLES: Final = """
SELECT pg_catalog.concat_ws(' ', n.nspname, c.relname, pg_catalog.pg_get_userbyid(c.relowner)) AS label,
       n.nspname AS schema, c.relname AS name,
       EXISTS (SELECT FROM pg_catalog.pg_depend d
               WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass
                 AND d.objid = c.oid AND d.deptype = 'e') AS of_extension
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind = 'r' AND n.nspname NOT LIKE 'pg\\_%' AND n.nspname <> 'information_schema'
"""
_UNLIKE: Final = """
SELECT n.nspname AS schema, c.relname AS name
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE EXISTS (SELECT FROM pg_catalog.pg_depend d
              WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.objid = c.oid AND d.deptype = 'e')
   OR EXISTS (SELECT FROM pg_catalog.pg_attribute a
              WHERE a.attrelid = c.oid AND a.atttypid = 'pg_catalog.money'::pg_catalog.regtype)
"""
"""Tables that need not come back to the byte: those of extensions, and those with money, which locales write."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What was found in the restored database: the number of its rows, and what is wrong."""

    rows: int
    findings: Sequence[Finding]


async def count(connection: "AsyncConnection[Any]", record: Record) -> Seen:
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
    return Seen(rows=sum(counted.values()), findings=findings)


async def compare(connection: "AsyncConnection[Any]", record: Record, found: Mapping[str, str]) -> Sequence[Finding]:
    """Compare what is in every table with what was dumped; `found` has the checksums of a dump of what came back."""
    unlike = {(schema, name) for schema, name in await (await connection.execute(_UNLIKE)).fetchall()}
    beginnings = tuple(re.sub(r"[\r\n]", " ", f"{schema} {name} ") for schema, name in unlike)
    known = {_without_owner(label): digest for label, digest in found.items()}
    return [
        Finding(
            check_id="backup.restore.content",
            severity=Severity.CRITICAL,
            object=label,
            observed=0,
            threshold=1,
            unit="",
            recommendation="its rows are not what was dumped, by their checksum: make a new backup at once, then "
            "verify that",
        )
        for label, digest in record.digests.items()
        if known.get(_without_owner(label)) != digest and not label.startswith(beginnings)
    ]


def _without_owner(label: str) -> str:
    """The table without who owns it: a backup without roles comes back with another owner."""
    return label.rpartition(" ")[0]


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


async def ask(connection: "AsyncConnection[Any]", query: ValidationQuery, backup: datetime) -> Finding | None:
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


async def limit(connection: "AsyncConnection[Any]", timeout: timedelta) -> None:
    """Let a session only read, for so long at a time, and answer always in the same form."""
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
