"""Deletes rows that the team's own SELECT names by their key, a few at a time, and by default only counts them.

The SELECT can write nothing and is asked again for every batch, in the statement that deletes: a row that does not
qualify any more is kept. What would empty a table, or cascade into others, is refused until it is agreed to.
"""

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar, Final, LiteralString

from pydantic import Field

from upkeep.actions.contract import Action, ActionError, Context, Outcome, Result
from upkeep.actions.fields import Duration, LabelName
from upkeep.actions.postgres.catalogue import Catalogue, Table, TableName
from upkeep.actions.postgres.errors import query_error
from upkeep.actions.postgres.session import Session, demand_primary, session

if TYPE_CHECKING:
    from psycopg import Error

_NAMED_KEYS: Final = 5
_SHOWN_CHARACTERS: Final = 40

_KEY: Final = """
SELECT a.attname AS name
FROM pg_attribute a
WHERE a.attrelid = %(oid)s AND a.attname = %(key)s AND a.attnum > 0 AND NOT a.attisdropped
  AND EXISTS (SELECT FROM pg_index i WHERE i.indrelid = a.attrelid AND i.indisunique AND i.indisvalid
              AND i.indpred IS NULL AND i.indnkeyatts = 1 AND i.indkey[0] = a.attnum)
"""
_CASCADES: Final = """
SELECT n.nspname || '.' || c.relname AS name
FROM pg_constraint k
JOIN pg_class c ON c.oid = k.conrelid
JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE k.contype = 'f' AND {enforced} AND k.confrelid = %(oid)s AND k.confdeltype IN ('c', 'n', 'd')
  AND k.conparentid = 0
ORDER BY 1
"""
_ROWS: Final = """
SELECT coalesce(sum(CASE WHEN l.reltuples < 0 THEN s.n_live_tup ELSE least(l.reltuples, s.n_live_tup) END), 0)::bigint
       AS number
FROM pg_class l
LEFT JOIN pg_stat_all_tables s ON s.relid = l.oid
WHERE l.oid = ANY(%(oids)s)
"""
_COUNT: Final = ("SELECT count(*) FROM {table} t WHERE t.{key} IN (\n", "\n)")
_SOME: Final = ("SELECT t.{key}::text FROM {table} t WHERE t.{key} IN (\n", "\n) ORDER BY t.{key} LIMIT {limit}")
_DELETE: Final = (
    "DELETE FROM {table} d WHERE d.{key} IN (SELECT t.{key} FROM {table} t WHERE t.{key} IN (\n",
    "\n) LIMIT {limit})",
)


@dataclass(frozen=True, slots=True)
class _Name:
    name: str


@dataclass(frozen=True, slots=True)
class _Number:
    number: int


@dataclass(frozen=True, slots=True)
class _Preview:
    """What would be deleted: how many rows, and some of their keys."""

    number: int
    keys: list[str]

    @property
    def shown(self) -> str:
        """Some keys for people."""
        named = ", ".join(key if len(key) <= _SHOWN_CHARACTERS else f"{key[:_SHOWN_CHARACTERS]}…" for key in self.keys)
        return f"{named}, …" if self.number > len(self.keys) else named


class PostgresPurge(Action):
    """Deletes the rows whose keys a SELECT returns, in batches; by default it only counts them and shows some keys.

    Refused are more than `maxShare` of the table, and tables whose rows others follow (ON DELETE CASCADE, SET NULL or
    SET DEFAULT) without `allowCascade: true`. Deleted rows leave room in the table: run postgresVacuum afterwards.
    Locks: the rows that are deleted, for as long as one batch takes. Privileges: `GRANT SELECT, DELETE ON
    public.sessions TO upkeep`, and what the SELECT reads. Runs on the primary only.
    """

    action_name: ClassVar[str] = "postgresPurge"

    connection: LabelName
    """Name of a PostgreSQL connection."""
    table: TableName
    """The table as `schema.table`, or `table` where only one schema has it."""
    key: Annotated[str, Field(min_length=1, max_length=63)]
    """Its primary key, or another column with a unique index."""
    select: Annotated[str, Field(min_length=1, max_length=8192)]
    """One SELECT of one column: the keys of the rows to delete, for example `SELECT id FROM public.sessions WHERE
    last_seen < now() - interval '1 year'`."""
    dry_run: bool = True
    """Only count, and show some keys. Set it to false to delete."""
    batch_size: Annotated[int, Field(ge=1, le=100_000)] = 1000
    """How many rows are deleted at once."""
    pause: Duration = Field(default="0s", validate_default=True)
    """How long to wait between two batches, so that standbys and others keep up."""
    max_rows: Annotated[int, Field(ge=1, le=100_000_000)] = 100_000
    """How many rows one run deletes at most; the next run goes on."""
    max_share: Annotated[float, Field(ge=0.000001, le=1)] = 0.5
    """The largest share of the table's rows that may qualify; more is taken for a mistake in the SELECT."""
    allow_cascade: bool = False
    """Agree to rows of other tables being deleted or changed along (ON DELETE CASCADE, SET NULL, SET DEFAULT)."""
    lock_timeout: Duration = Field(default="5s", validate_default=True)
    """How long to wait for a row that somebody else has locked."""

    async def run(self, context: Context) -> Result:
        """Count, check the limits, delete.

        Raises:
            ActionError: the server is a standby, something is not as it should be, or too many rows qualify.
        """
        import psycopg  # noqa: PLC0415 - a driver is loaded only when an action runs

        async with session(context, self.connection, lock_timeout=self.lock_timeout) as opened:
            demand_primary(opened, "DELETE")
            catalogue = await Catalogue.read(opened)
            table = _table(catalogue, self.table)
            await self._demand_key(opened, table)
            deleted = 0
            try:
                preview = await self._preview(opened, table)
                await self._demand_limits(opened, catalogue, table, preview)
                if self.dry_run or not preview.number:
                    return self._previewed(preview, table)
                while deleted < self.max_rows:
                    batch = await self._delete(opened, table, limit=min(self.batch_size, self.max_rows - deleted))
                    deleted += batch
                    if not batch:
                        break
                    await asyncio.sleep(self.pause.total_seconds())
                left = await self._preview(opened, table)
            except psycopg.Error as error:
                raise _explained(error, opened=opened, table=table, deleted=deleted) from error
        return self._deleted(table, deleted=deleted, left=left.number)

    async def _demand_key(self, opened: Session, table: Table) -> None:
        if not await opened.fetch(_Name, _KEY, {"oid": table.oid, "key": self.key}):
            msg = (
                f"{self.key!r} is no unique key of {table.label}: name its primary key, or a column with a unique index"
            )
            raise ActionError(msg)

    async def _demand_limits(self, opened: Session, catalogue: Catalogue, table: Table, preview: _Preview) -> None:
        from psycopg.sql import SQL  # noqa: PLC0415 - a driver is loaded only when an action runs

        if not preview.number:
            return
        query = SQL(_CASCADES).format(enforced=SQL(opened.version.enforced))
        cascades = [found.name for found in await opened.fetch(_Name, query, {"oid": table.oid})]
        if cascades and not self.allow_cascade:
            msg = (
                f"rows of {', '.join(cascades)} would be deleted or changed along with those of {table.label}: set "
                "allowCascade: true if that is meant"
            )
            raise ActionError(msg)
        leaves = [leaf.oid for leaf in catalogue.leaves([table])]
        rows = max(preview.number, (await opened.fetch(_Number, _ROWS, {"oids": leaves}))[0].number)
        if preview.number > rows * self.max_share:
            msg = (
                f"{preview.number} of about {rows} rows of {table.label} qualify, more than maxShare: "
                f"{self.max_share:g}: check the SELECT, or raise maxShare"
            )
            raise ActionError(msg)

    async def _preview(self, opened: Session, table: Table) -> _Preview:
        """Count in a transaction that can write nothing, whatever the SELECT calls."""
        connection = opened.connection
        async with connection.transaction():
            await connection.execute("SET TRANSACTION READ ONLY")
            await connection.execute("SET LOCAL search_path TO DEFAULT")
            async with connection.cursor() as cursor:
                await cursor.execute(self._statement(opened, _COUNT, table), prepare=True)
                counted = await cursor.fetchone()
                keys = []
                if self.dry_run:
                    await cursor.execute(self._statement(opened, _SOME, table, limit=_NAMED_KEYS), prepare=True)
                    keys = await cursor.fetchall()
        return _Preview(number=counted[0] if counted else 0, keys=[key for (key,) in keys])

    async def _delete(self, opened: Session, table: Table, *, limit: int) -> int:
        connection = opened.connection
        async with connection.transaction():
            await connection.execute("SET LOCAL search_path TO DEFAULT")
            async with connection.cursor() as cursor:
                # prepared, because that way the server takes one statement only, whatever stands in `select`
                await cursor.execute(self._statement(opened, _DELETE, table, limit=limit), prepare=True)
                return cursor.rowcount

    def _statement(
        self, opened: Session, parts: tuple[LiteralString, LiteralString], table: Table, *, limit: int = 0
    ) -> bytes:
        """The statement with the team's SELECT, as it is, between its parts."""
        from psycopg.sql import SQL, Identifier, Literal  # noqa: PLC0415 - a driver is loaded only when an action runs

        names = {"key": Identifier(self.key), "table": table.identifier, "limit": Literal(limit)}
        before, after = (SQL(part).format(**names).as_bytes(opened.connection) for part in parts)
        return before + self.select.strip().removesuffix(";").encode() + after

    def _previewed(self, preview: _Preview, table: Table) -> Result:
        metrics = {"qualifying_rows": preview.number, "deleted_rows": 0}
        if not preview.number:
            return Result(outcome=Outcome.OK, message=f"no row of {table.label} qualifies", metrics=metrics)
        message = f"dry run: would delete {min(preview.number, self.max_rows)} rows of {table.label}: {preview.shown}"
        if preview.number > self.max_rows:
            message = f"{message} (of {preview.number}, by maxRows)"
        return Result(outcome=Outcome.OK, message=message, metrics=metrics)

    def _deleted(self, table: Table, *, deleted: int, left: int) -> Result:
        metrics = {"qualifying_rows": deleted + left, "deleted_rows": deleted}
        message = f"deleted {deleted} rows of {table.label}"
        if left and deleted < self.max_rows:
            message = f"{message}, but {left} that qualify are still there: look for triggers and row level security"
            return Result(outcome=Outcome.FAILED, message=message, metrics=metrics)
        if left:
            message = f"{message}; {left} more qualify: the next run goes on, or raise maxRows"
        return Result(outcome=Outcome.CHANGED, message=message, metrics=metrics)


def _table(catalogue: Catalogue, name: str) -> Table:
    """The one table of this name; `*` is a character like any other here."""
    found = catalogue.exactly(name)
    if found.kind == "m":
        msg = f"{found.label} is a materialized view: nothing can be deleted there, name a table"
        raise ActionError(msg)
    return found


def _explained(error: "Error", *, opened: Session, table: Table, deleted: int) -> ActionError:
    what = error.diag.message_primary or str(error)
    before = f"after {deleted} rows of {table.label} were deleted: " if deleted else ""
    match error.sqlstate:
        case "42501":
            advice = f"GRANT SELECT, DELETE ON {table.label} to the user of the connection, and what the SELECT reads"
        case "25006" | "42601":
            advice = "write one SELECT of one column"
        case "42883" | "42804":
            advice = "the SELECT must return keys of the same type as the key"
        case "23503":
            advice = "rows of another table refer to these: purge those first"
        case _:
            return query_error(error, server=opened.server)
    return ActionError(f"PostgreSQL {opened.server}: {before}{what}: {advice}")
