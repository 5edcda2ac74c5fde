"""Makes the indexes of a list, one after the other, while the application goes on; what is there is left alone.

An index whose making failed stays behind, invalid; it is dropped again, and never taken for the one that was wanted.
"""

import asyncio
import hashlib
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, ClassVar, Final

from pydantic import Field

from upkeep.actions.contract import Action, ActionError, Context, Outcome, Result
from upkeep.actions.fields import Duration, LabelName, Model
from upkeep.actions.postgres.catalogue import Catalogue, Table, TableName
from upkeep.actions.postgres.errors import query_error
from upkeep.actions.postgres.privileges import index_grant
from upkeep.actions.postgres.session import Session, demand_primary, session

if TYPE_CHECKING:
    from psycopg.sql import Composed, Identifier

_CORRUPTING: Final = (
    "PostgreSQL 14.0 to 14.3 can make an index concurrently that lacks rows: update it to 14.4 or later, then run this "
    "again"
)
_NAME_BYTES: Final = 63
_DIGEST: Final = 8
_NAMED_IN_MESSAGE: Final = 5
_CLEAN_UP_SECONDS: Final = 3.0

_EXISTING: Final = """
SELECT c.oid::bigint AS oid, i.indrelid::bigint AS table_oid, i.indisvalid AS valid, i.indisunique AS "unique",
       am.amname AS method, i.indpred IS NOT NULL AS partial,
       ARRAY(SELECT coalesce(a.attname, '') FROM unnest(i.indkey::int2[]) WITH ORDINALITY AS u (number, place)
             LEFT JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = u.number
             WHERE u.place <= i.indnkeyatts ORDER BY u.place)::text[] AS columns,
       EXISTS (SELECT FROM pg_inherits h WHERE h.inhrelid = c.oid) AS attached,
       EXISTS (SELECT FROM pg_locks l WHERE l.relation = i.indrelid AND l.pid <> pg_backend_pid() AND l.granted
               AND l.mode = 'ShareUpdateExclusiveLock'
               AND l.database = (SELECT d.oid FROM pg_database d WHERE d.datname = current_database())) AS busy
FROM pg_class c
JOIN pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN pg_index i ON i.indexrelid = c.oid
LEFT JOIN pg_am am ON am.oid = c.relam
WHERE n.nspname = %(schema)s AND c.relname = %(name)s
"""
_COLUMNS: Final = """
SELECT a.attname AS name
FROM pg_attribute a
WHERE a.attrelid = %(oid)s AND a.attnum > 0 AND NOT a.attisdropped
"""


class IndexMethod(StrEnum):
    """How an index is built."""

    BTREE = "btree"
    HASH = "hash"
    GIN = "gin"
    GIST = "gist"
    SPGIST = "spgist"
    BRIN = "brin"


ColumnName = Annotated[str, Field(min_length=1, max_length=63)]


class IndexDefinition(Model):
    """An index that there should be."""

    name: Annotated[str, Field(min_length=1, max_length=63)]
    """Its name; it is in the schema of its table."""
    table: TableName
    """The table as `schema.table`, or `table` where only one schema has it."""
    columns: Annotated[list[ColumnName], Field(min_length=1, max_length=32)]
    """Its columns in their order, spelt as in the catalogue."""
    include: Annotated[list[ColumnName], Field(max_length=32)] = Field(default_factory=list)
    """Columns that are only stored in it."""
    unique: bool = False
    """Whether it forbids duplicates."""
    method: IndexMethod = IndexMethod.BTREE
    """btree, hash, gin, gist, spgist or brin."""
    where: Annotated[str | None, Field(min_length=1, max_length=1024)] = None
    """SQL condition of the rows that are in it. Left out: all rows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Existing:
    """What has the name already; all but `oid` None where it is no index."""

    oid: int
    table_oid: int | None
    valid: bool | None
    unique: bool | None
    method: str | None
    partial: bool | None
    columns: list[str]
    attached: bool
    busy: bool


@dataclass(frozen=True, slots=True)
class _Column:
    name: str


class PostgresApplyIndexes(Action):
    """Makes the indexes of a list where they are missing, without stopping readers or writers.

    An index that is there with the same columns is left alone; one of that name that differs is an error. On
    partitioned tables each partition gets its own (CREATE INDEX CONCURRENTLY) and they are joined at the end. What
    fails half way is dropped again. Nothing else is ever dropped.
    Locks: readers and writers go on; changes of the table's structure and VACUUM wait (ShareUpdateExclusiveLock), and
    the making waits for the transactions that use the table; a partitioned parent is locked for an instant.
    Privileges: the owner of the tables, so `GRANT shop TO upkeep` where shop is the owner. Runs on the primary only.
    """

    action_name: ClassVar[str] = "postgresApplyIndexes"

    connection: LabelName
    """Name of a PostgreSQL connection."""
    indexes: Annotated[list[IndexDefinition], Field(min_length=1, max_length=64)]
    """The indexes that there should be."""
    lock_timeout: Duration = Field(default="1m", validate_default=True)
    """How long to wait for the lock of one table, and for each transaction that uses it."""

    async def run(self, context: Context) -> Result:
        """Make what is missing.

        Raises:
            ActionError: the server is a standby, or a table, a column or the list is not as it should be.
        """
        async with session(context, self.connection, lock_timeout=self.lock_timeout) as opened:
            demand_primary(opened, "CREATE INDEX")
            if opened.version.corrupts_concurrently:
                raise ActionError(_CORRUPTING)
            catalogue = await Catalogue.read(opened)
            tables = [catalogue.exactly(definition.table) for definition in self.indexes]
            for definition, table in zip(self.indexes, tables, strict=True):
                await _demand_columns(opened, definition, table)
            made: list[str] = []
            failed: list[str] = []
            for definition, table in zip(self.indexes, tables, strict=True):
                work = _Work(opened=opened, catalogue=catalogue, definition=definition, patience=self.lock_timeout)
                try:
                    if await work.ensure(table, definition.name):
                        made.append(f"{table.schema}.{definition.name}")
                except ActionError as error:
                    failed.append(f"{table.schema}.{definition.name}: {error}")
        there = len(self.indexes) - len(made) - len(failed)
        metrics = {"made_indexes": len(made), "present_indexes": there, "failed_indexes": len(failed)}
        if failed:
            named = "; ".join(failed[:_NAMED_IN_MESSAGE])
            message = f"{len(failed)} of {len(self.indexes)} indexes not made: {named}"
            return Result(outcome=Outcome.FAILED, message=message, metrics=metrics)
        if not made:
            return Result(outcome=Outcome.OK, message=f"all {there} indexes are there", metrics=metrics)
        message = f"made {', '.join(made[:_NAMED_IN_MESSAGE])}"
        if len(made) > _NAMED_IN_MESSAGE:
            message = f"{message} and {len(made) - _NAMED_IN_MESSAGE} more"
        return Result(outcome=Outcome.CHANGED, message=f"{message}; {there} were there", metrics=metrics)


async def _demand_columns(opened: Session, definition: IndexDefinition, table: Table) -> None:
    known = {column.name for column in await opened.fetch(_Column, _COLUMNS, {"oid": table.oid})}
    missing = [name for name in (*definition.columns, *definition.include) if name not in known]
    if missing:
        msg = (
            f"{table.label} has no column {missing[0]!r} for index {definition.name!r}: it has "
            f"{', '.join(sorted(known))}"
        )
        raise ActionError(msg)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Work:
    """The making of one index, with those of the partitions."""

    opened: Session
    catalogue: Catalogue
    definition: IndexDefinition
    patience: timedelta

    async def ensure(self, table: Table, name: str) -> bool:
        """Make it unless it is there.

        Returns:
            Whether anything had to be made.

        Raises:
            ActionError: it could not be made.
        """
        existing = await self._existing(table, name)
        if existing is not None:
            self._demand_same(existing, table, name)
            if existing.valid:
                return False
        if table.kind == "p":
            await self._partitioned(table, name, there=existing is not None)
        else:
            await self._plain(table, name, existing)
        made = await self._existing(table, name)
        if made is None or not made.valid:
            msg = "the catalogue does not confirm it: look into the server's log"
            raise ActionError(msg)
        return True

    async def _existing(self, table: Table, name: str) -> _Existing | None:
        found = await self.opened.fetch(_Existing, _EXISTING, {"schema": table.schema, "name": name})
        return found[0] if found else None

    def _demand_same(self, existing: _Existing, table: Table, name: str) -> None:
        wanted = self.definition
        same = (
            existing.table_oid == table.oid
            and existing.columns == wanted.columns
            and existing.unique == wanted.unique
            and existing.method == wanted.method.value
            and existing.partial == (wanted.where is not None)
        )
        if not same:
            msg = f"there is something else named {table.schema}.{name}: choose another name, or drop that one first"
            raise ActionError(msg)

    async def _plain(self, table: Table, name: str, existing: _Existing | None) -> None:
        if existing is not None:
            if existing.busy:
                msg = "somebody is making it, or VACUUM runs on its table: try again later"
                raise ActionError(msg)
            await self._execute(table, self._dropping(table, name))
        done = False
        try:
            await self._execute(table, self._making(table, name, online=True))
            done = True
        finally:
            if not done:
                await self._clean_up(table, name)

    async def _partitioned(self, table: Table, name: str, *, there: bool) -> None:
        from psycopg.sql import SQL  # noqa: PLC0415 - a driver is loaded only when an action runs

        if not there:
            await self._execute(table, self._making(table, name, online=False))
        for part in self.catalogue.tables.values():
            if part.parent != table.oid:
                continue
            part_name = _part_name(name, part)
            await self.ensure(part, part_name)
            existing = await self._existing(part, part_name)
            if existing is not None and not existing.attached:
                attach = SQL("ALTER INDEX {} ATTACH PARTITION {}")
                await self._execute(table, attach.format(_identifier(table, name), _identifier(part, part_name)))

    def _making(self, table: Table, name: str, *, online: bool) -> bytes:
        from psycopg.sql import SQL, Identifier  # noqa: PLC0415 - a driver is loaded only when an action runs

        wanted = self.definition
        statement = SQL("CREATE {unique}INDEX {online}{name} ON {only}{table} USING {method} ({columns})").format(
            unique=SQL("UNIQUE " if wanted.unique else ""),
            online=SQL("CONCURRENTLY " if online else ""),
            name=Identifier(name),
            only=SQL("" if online else "ONLY "),
            table=table.identifier,
            method=Identifier(wanted.method.value),
            columns=SQL(", ").join(Identifier(column) for column in wanted.columns),
        )
        if wanted.include:
            included = SQL(", ").join(Identifier(column) for column in wanted.include)
            statement += SQL(" INCLUDE ({})").format(included)
        text = statement.as_bytes(self.opened.connection)
        return text + b" WHERE (\n" + wanted.where.encode() + b"\n)" if wanted.where else text

    def _dropping(self, table: Table, name: str) -> "Composed":
        from psycopg.sql import SQL  # noqa: PLC0415 - a driver is loaded only when an action runs

        return SQL("DROP INDEX CONCURRENTLY {}").format(_identifier(table, name))

    async def _execute(self, table: Table, statement: "bytes | Composed") -> None:
        import psycopg  # noqa: PLC0415 - a driver is loaded only when an action runs

        try:
            # prepared, because that way the server takes one statement only, whatever stands in `where`
            await self.opened.connection.execute(statement, prepare=True)
        except psycopg.Error as error:
            what = error.diag.message_primary or str(error)
            match error.sqlstate:
                case "55P03":
                    seconds = self.patience.total_seconds()
                    msg = f"another session or transaction kept the table for over {seconds:g} s"
                case "23505":
                    msg = "the table has duplicates that it forbids: remove them, then run this again"
                case "42501":
                    msg = f"{what}: {await index_grant(self.opened, table)}"
                case _:
                    raise query_error(error, server=self.opened.server) from error
            raise ActionError(msg) from error

    async def _clean_up(self, table: Table, name: str) -> None:
        """Drop what a failed or stopped making has left, if that can be done within a moment."""
        import psycopg  # noqa: PLC0415 - a driver is loaded only when an action runs

        if self.opened.connection.closed:
            return
        try:
            async with asyncio.timeout(_CLEAN_UP_SECONDS):
                left = await self._existing(table, name)
                if left is not None and left.valid is False and left.table_oid == table.oid and not left.busy:
                    await self.opened.connection.execute(self._dropping(table, name))
        except (TimeoutError, psycopg.Error):
            return  # invalid as it is, it is made anew by the next run


def _identifier(table: Table, name: str) -> "Identifier":
    from psycopg.sql import Identifier  # noqa: PLC0415 - a driver is loaded only when an action runs

    return Identifier(table.schema, name)


def _part_name(name: str, part: Table) -> str:
    """The name of a partition's index: always the same, different for each partition, and not too long."""
    digest = hashlib.sha256(part.label.encode()).hexdigest()[:_DIGEST]
    stem = name.encode()[: _NAME_BYTES - _DIGEST - 1].decode(errors="ignore")
    return f"{stem}_{digest}"
