"""Rebuilds indexes while the application goes on, and repairs what an earlier attempt has left behind.

What REINDEX CONCURRENTLY leaves when it is interrupted (`_ccnew`, `_ccold`) costs every write and serves nobody;
an index of somebody else that merely has such a name must never be dropped for it.
"""

import asyncio
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar, Final, Self

from pydantic import Field, model_validator

from upkeep.actions.contract import ActionError, Context, Finding, Outcome, Result, Severity
from upkeep.actions.fields import Duration, Rule
from upkeep.actions.postgres.catalogue import Catalogue, TableAction
from upkeep.actions.postgres.errors import query_error
from upkeep.actions.postgres.privileges import index_grant, maintenance_grant
from upkeep.actions.postgres.session import Session, demand_primary, session
from upkeep.actions.postgres.version import Version

if TYPE_CHECKING:
    from psycopg import Error
    from psycopg.sql import Composed, Identifier

_DOWNTIME: Final = "concurrently: false locks each table for writers: set allowDowntime: true as well"
_NAMED_IN_MESSAGE: Final = 5
_CLEAN_UP_SECONDS: Final = 3.0
_LOCK_NOT_AVAILABLE: Final = "55P03"
_INSUFFICIENT_PRIVILEGE: Final = "42501"
_GIVEN_UP: Final = {
    "42704": "it was dropped meanwhile",
    "42P01": "it was dropped meanwhile",
    "0A000": "it cannot be rebuilt concurrently (exclusion constraint): use concurrently: false in a window",
    "23505": "its table has duplicates that it forbids: remove them, then run this again",
    "53100": "the disk is full: a rebuilt index needs as much space again until it is done",
}
_REMAINS: Final = re.compile(r"(?P<stem>.+)_cc(?:new|old)[0-9]*", re.DOTALL)
_PLACE_IN_TEXT: Final = ":(stmt_)?(location|len) -?[0-9]+"
"""Where in its statement an expression stood: differs between an index and its copy."""

_INDEXES: Final = """
SELECT c.oid::bigint AS oid, n.nspname AS schema, c.relname AS name, i.indrelid::bigint AS table_oid,
       c.relfilenode::bigint AS file, i.indisvalid AND i.indisready AND i.indislive AS valid,
       row(i.indkey::text, i.indclass::text, i.indoption::text, i.indcollation::text, i.indisunique, c.relam,
           regexp_replace(i.indexprs::text, %(place)s, '', 'g'),
           regexp_replace(i.indpred::text, %(place)s, '', 'g'))::text AS shape,
       EXISTS (SELECT FROM pg_locks l WHERE l.relation IN (c.oid, i.indrelid) AND l.pid <> pg_backend_pid()
               AND l.mode = 'ShareUpdateExclusiveLock' AND l.granted
               AND l.database = (SELECT d.oid FROM pg_database d WHERE d.datname = current_database())) AS busy
FROM pg_index i
JOIN pg_class c ON c.oid = i.indexrelid
JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind = 'i' AND i.indrelid = ANY(%(oids)s)
ORDER BY n.nspname, c.relname
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Index:
    """An index as the catalogue has it.

    Attributes:
        oid: its identifier, a new one after a concurrent rebuild.
        schema: its schema.
        name: its name.
        table_oid: the table.
        file: number of its file, a new one after any rebuild.
        valid: whether queries use it.
        shape: text that is the same for indexes with the same definition.
        busy: whether somebody else is at work on its table: VACUUM, or the making of an index.
    """

    oid: int
    schema: str
    name: str
    table_oid: int
    file: int
    valid: bool
    shape: str
    busy: bool

    @property
    def label(self) -> str:
        """`schema.index`, for people."""
        return f"{self.schema}.{self.name}"

    @property
    def identifier(self) -> "Identifier":
        """The quoted name for a statement."""
        from psycopg.sql import Identifier  # noqa: PLC0415 - a driver is loaded only when an action runs

        return Identifier(self.schema, self.name)


def remains(indexes: Iterable[Index]) -> list[Index]:
    """What interrupted rebuilds have left: invalid, named by the server, and with a twin that it was made for."""
    given = list(indexes)
    return [index for index in given if not index.valid and any(_made_for(index, twin) for twin in given)]


def _made_for(index: Index, twin: Index) -> bool:
    match = _REMAINS.fullmatch(index.name)
    return (
        match is not None
        and (index.table_oid, index.shape) == (twin.table_oid, twin.shape)
        and index.oid != twin.oid
        and not _REMAINS.fullmatch(twin.name)
        and twin.name.startswith(match["stem"])
    )


def refusal(version: Version) -> str:
    """Why this server must not rebuild concurrently; empty where it may."""
    if not version.corrupts_concurrently:
        return ""
    return (
        "PostgreSQL 14.0 to 14.3 can corrupt an index that is rebuilt concurrently: update it to 14.4 or later, or "
        "use concurrently: false with allowDowntime: true"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Attempt:
    """What came of one index: whether it was dropped or rebuilt, and the reason if it was not."""

    index: Index
    drop: bool = False
    reason: str = ""


class PostgresReindex(TableAction):
    """Rebuilds the indexes of tables, one after the other, and confirms that each has a new file and is valid.

    What interrupted rebuilds have left (invalid `_ccnew` and `_ccold` indexes) is dropped, other invalid indexes are
    rebuilt. A run that is stopped drops what it was making. While an index is rebuilt, disk space for a second one
    is needed. Indexes of TOAST tables, which only superusers may name, are left out. Servers from 14.0 to 14.3 are
    refused, because they can corrupt indexes that way.
    Locks: readers and writers go on; changes of the table's structure and VACUUM wait (ShareUpdateExclusiveLock),
    and each rebuild waits for the transactions that use the table. With `concurrently: false` nobody can write to
    the table meanwhile, nor read by the index. Privileges: the owner of the indexes, so `GRANT shop TO upkeep` where
    shop is the owner; from PostgreSQL 17 `GRANT pg_maintain TO upkeep` is enough to rebuild, not to drop remains. Runs
    on the primary only.
    """

    action_name: ClassVar[str] = "postgresReindex"
    finds: ClassVar[Mapping[str, str]] = {
        "postgres.reindex.remains": "what an interrupted rebuild has left and what could not be dropped",
    }

    indexes: Annotated[list[Annotated[str, Field(min_length=1, max_length=127)]], Field(max_length=256)] = Field(
        default_factory=list
    )
    """Indexes as `schema.index`, or `index` in any schema; `*` stands for any characters. Left out: every index of the
    tables. A name that matches nothing is an error."""
    only_invalid: bool = False
    """Only repair: drop remains and rebuild indexes that are invalid, leave the others alone."""
    concurrently: bool = True
    """Rebuild beside the old index while the application goes on."""
    allow_downtime: bool = False
    """Agree to tables being locked for writers while `concurrently: false` rebuilds their indexes."""
    lock_timeout: Duration = Field(default="1m", validate_default=True)
    """How long to wait for the lock of one table, and for each transaction that uses it."""

    @classmethod
    def rules(cls) -> Sequence[Rule]:
        """Downtime is agreed to, never slipped into."""
        return (
            {
                "rule": "!has(self.concurrently) || self.concurrently || "
                "(has(self.allowDowntime) && self.allowDowntime)",
                "message": _DOWNTIME,
            },
        )

    @model_validator(mode="after")
    def _downtime_is_agreed_to(self) -> Self:
        if not self.concurrently and not self.allow_downtime:
            raise ValueError(_DOWNTIME)
        return self

    async def run(self, context: Context) -> Result:
        """Repair and rebuild.

        Raises:
            ActionError: the server is a standby or must not do this, a name matches nothing, or a statement failed.
        """
        async with session(context, self.connection, lock_timeout=self.lock_timeout) as opened:
            demand_primary(opened, "REINDEX")
            if self.concurrently and (why := refusal(opened.version)):
                raise ActionError(why)
            catalogue = await Catalogue.read(opened)
            oids = [leaf.oid for leaf in catalogue.leaves(catalogue.matching(self.tables))]
            indexes = await _read(opened, oids)
            chosen = self._chosen(indexes)
            rest = [one for one in remains(indexes) if any(one == index or _made_for(one, index) for index in chosen)]
            attempts = [await self._treat(opened, index, catalogue, drop=True) for index in rest]
            attempts += [
                await self._treat(opened, index, catalogue, drop=False)
                for index in chosen
                if index not in rest and not (self.only_invalid and index.valid)
            ]
            after = await _read(opened, oids)
        return _result(attempts, after, left=remains(after))

    def _chosen(self, indexes: Sequence[Index]) -> list[Index]:
        if not self.indexes:
            return list(indexes)
        found: set[int] = set()
        for name in self.indexes:
            pattern = re.compile(".*".join(re.escape(part) for part in name.split("*")), re.DOTALL)
            matches = {
                index.oid for index in indexes if pattern.fullmatch(index.label) or pattern.fullmatch(index.name)
            }
            if not matches:
                msg = f"there is no index {name!r} on the tables: check the spelling, the schema and `tables`"
                raise ActionError(msg)
            found |= matches
        return [index for index in indexes if index.oid in found]

    async def _treat(self, opened: Session, index: Index, catalogue: Catalogue, *, drop: bool) -> _Attempt:
        """Drop or rebuild one index. One that cannot be does not keep the others from being treated."""
        import psycopg  # noqa: PLC0415 - a driver is loaded only when an action runs

        if not index.valid and index.busy:
            return _Attempt(index=index, drop=drop, reason="somebody is making it, or VACUUM runs: try again later")
        done = False
        try:
            await opened.connection.execute(self._statement(index, drop=drop))
            done = True
        except psycopg.Error as error:
            done = error.sqlstate == _INSUFFICIENT_PRIVILEGE
            if done:
                table = catalogue.tables[index.table_oid]
                grant = await (index_grant if drop else maintenance_grant)(opened, table)
                return _Attempt(index=index, drop=drop, reason=f"not allowed: {grant}")
            return _Attempt(index=index, drop=drop, reason=self._reason(error, opened=opened))
        finally:
            if not done and self.concurrently and not drop:
                await _clean_up(opened, index)
        return _Attempt(index=index, drop=drop)

    def _reason(self, error: "Error", *, opened: Session) -> str:
        if error.sqlstate == _LOCK_NOT_AVAILABLE:
            seconds = self.lock_timeout.total_seconds()
            return f"another session or transaction kept its table for over {seconds:g} s"
        reason = _GIVEN_UP.get(error.sqlstate or "")
        if reason is None:
            raise query_error(error, server=opened.server) from error
        return reason

    def _statement(self, index: Index, *, drop: bool) -> "Composed":
        from psycopg.sql import SQL  # noqa: PLC0415 - a driver is loaded only when an action runs

        way = SQL("CONCURRENTLY ") if self.concurrently else SQL("")
        verb = SQL("DROP INDEX {}{}") if drop else SQL("REINDEX INDEX {}{}")
        return verb.format(way, index.identifier)


async def _read(opened: Session, oids: Sequence[int]) -> list[Index]:
    return await opened.fetch(Index, _INDEXES, {"oids": list(oids), "place": _PLACE_IN_TEXT})


async def _clean_up(opened: Session, index: Index) -> None:
    """Drop what an interrupted rebuild of this index has left, if that can be done within a moment."""
    import psycopg  # noqa: PLC0415 - a driver is loaded only when an action runs
    from psycopg.sql import SQL  # noqa: PLC0415 - a driver is loaded only when an action runs

    if opened.connection.closed:
        return
    try:
        async with asyncio.timeout(_CLEAN_UP_SECONDS):
            left = remains(await _read(opened, [index.table_oid]))
            for one in left:
                if _made_for(one, index):
                    await opened.connection.execute(SQL("DROP INDEX CONCURRENTLY {}").format(one.identifier))
    except (TimeoutError, psycopg.Error):
        return  # what is left is reported, and dropped by the next run


def _result(attempts: Sequence[_Attempt], after: Sequence[Index], *, left: Sequence[Index]) -> Result:
    if not attempts:
        return Result(outcome=Outcome.OK, message="every index is valid: nothing to repair")
    now = {index.label: index for index in after}
    dropped = [one for one in attempts if one.drop and not one.reason]
    rebuilt = [one for one in attempts if not one.drop and not one.reason]
    failed = [f"{one.index.label}: {one.reason}" for one in attempts if one.reason]
    there = {index.oid for index in after}
    failed += [
        f"{one.index.label}: it is still there: look into the server's log" for one in dropped if one.index.oid in there
    ]
    failed += [
        f"{one.index.label}: the catalogue does not confirm it: look into the server's log"
        for one in rebuilt
        if not _renewed(one.index, now.get(one.index.label))
    ]
    metrics = {"rebuilt_indexes": len(rebuilt), "dropped_remains": len(dropped), "failed_indexes": len(failed)}
    findings = [_left(index) for index in left]
    if failed:
        named = "; ".join(failed[:_NAMED_IN_MESSAGE])
        more = f"; and {len(failed) - _NAMED_IN_MESSAGE} more" if len(failed) > _NAMED_IN_MESSAGE else ""
        message = f"{len(failed)} of {_indexes_in_words(len(attempts))} not done: {named}{more}"
        return Result(outcome=Outcome.FAILED, message=message, findings=findings, metrics=metrics)
    message = f"rebuilt {_indexes_in_words(len(rebuilt))}"
    if dropped:
        names = ", ".join(one.index.label for one in dropped[:_NAMED_IN_MESSAGE])
        message = f"{message}, dropped {len(dropped)} left by interrupted rebuilds: {names}"
    return Result(outcome=Outcome.CHANGED, message=message, findings=findings, metrics=metrics)


def _renewed(old: Index, new: Index | None) -> bool:
    return new is not None and new.valid and new.file != old.file


def _indexes_in_words(count: int) -> str:
    return f"{count} index{'' if count == 1 else 'es'}"


def _left(index: Index) -> Finding:
    return Finding(
        check_id="postgres.reindex.remains",
        severity=Severity.WARNING,
        object=index.label,
        observed=1,
        threshold=1,
        unit="",
        recommendation="left by an interrupted rebuild, it slows every write and serves no query: run postgresReindex "
        "with onlyInvalid: true when no transaction keeps its table, or DROP INDEX CONCURRENTLY it",
    )
