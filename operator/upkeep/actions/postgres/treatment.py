"""Runs one maintenance statement for each of many tables, and finds out for which of them it really worked.

PostgreSQL only warns where it skips a table; nothing here may take such a warning for success.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from upkeep.actions.postgres.catalogue import Catalogue, Table
from upkeep.actions.postgres.errors import query_error
from upkeep.actions.postgres.privileges import maintenance_grant
from upkeep.actions.postgres.session import Session
from upkeep.actions.postgres.statistics import TableStatistics, counters_are_on, read_statistics

if TYPE_CHECKING:
    from psycopg import Error
    from psycopg.errors import Diagnostic
    from psycopg.sql import Composed

NAMED_IN_MESSAGE: Final = 5
_CONFIRMATION_SECONDS: Final = 3.0
_POLL_SECONDS: Final = 0.1
_LOCK_NOT_AVAILABLE: Final = "55P03"
_UNDEFINED_TABLE: Final = "42P01"


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """What came of one statement: the reason why its table was left out, if it was, and whether for a lock."""

    table: Table
    reason: str = ""
    locked: bool = False
    freed_bytes: int = 0


async def attempt(
    opened: Session, table: Table, statement: "Composed", *, patience: timedelta, sized: bool = False
) -> Attempt:
    """Run the statement for a table. A locked or vanished table does not keep the others from being treated.

    Args:
        opened: the session.
        table: what the statement is about.
        statement: for example VACUUM.
        patience: the session's lock timeout, for the message.
        sized: whether to measure how many bytes the table gave back.

    Raises:
        ActionError: the statement failed for another reason.
    """
    import psycopg  # noqa: PLC0415 - a driver is loaded only when an action runs

    warnings: list[tuple[str | None, str]] = []

    def listen(diagnostic: "Diagnostic") -> None:
        if diagnostic.severity_nonlocalized == "WARNING":
            warnings.append((diagnostic.sqlstate, diagnostic.message_primary or "the server gave a warning"))

    opened.connection.add_notice_handler(listen)
    try:
        size = await _size(opened, table) if sized else 0
        await opened.connection.execute(statement)
        freed = size - await _size(opened, table) if sized else 0
    except psycopg.Error as error:
        return _given_up(error, opened=opened, table=table, patience=patience)
    finally:
        opened.connection.remove_notice_handler(listen)
    if not warnings:
        return Attempt(table=table, freed_bytes=freed)
    reason = "; ".join(message for _, message in warnings)
    if any(sqlstate == _LOCK_NOT_AVAILABLE for sqlstate, _ in warnings):
        return Attempt(table=table, reason=reason, locked=True)
    grant = await maintenance_grant(opened, table)
    return Attempt(table=table, reason=f"{reason}: {grant}" if grant else reason)


@dataclass(frozen=True, slots=True)
class _Size:
    bytes: int


async def _size(opened: Session, table: Table) -> int:
    query = "SELECT coalesce(pg_total_relation_size(%(oid)s::oid), 0) AS bytes"
    rows = await opened.fetch(_Size, query, {"oid": table.oid})
    return rows[0].bytes


def _given_up(error: "Error", *, opened: Session, table: Table, patience: timedelta) -> Attempt:
    if error.sqlstate == _LOCK_NOT_AVAILABLE:
        return Attempt(table=table, reason=f"another session kept it locked for over {patience.total_seconds():g} s")
    if error.sqlstate == _UNDEFINED_TABLE:
        return Attempt(table=table, reason="it was dropped meanwhile")
    raise query_error(error, server=opened.server) from error


Advanced = Callable[[TableStatistics | None, TableStatistics], bool]
"""Whether the counters of a table, before (None: there were none) and after, show that it was treated."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Confirmation:
    """The counters afterwards, and the tables for which they do not show what was done."""

    after: Mapping[int, TableStatistics]
    missing: Sequence[Table]


async def _confirm(
    opened: Session,
    tables: Sequence[Table],
    before: Mapping[int, TableStatistics],
    *,
    advanced: Advanced,
    patience: float,
) -> _Confirmation:
    """Wait until the counters show it for all tables; up to PostgreSQL 14 they arrive up to half a second late."""
    oids = [table.oid for table in tables]
    attempts = int(patience / _POLL_SECONDS)
    while True:
        after = await read_statistics(opened, oids)
        missing = [
            table for table in tables if table.oid not in after or not advanced(before.get(table.oid), after[table.oid])
        ]
        if not missing or attempts <= 0:
            return _Confirmation(after=after, missing=missing)
        await asyncio.sleep(_POLL_SECONDS)
        attempts -= 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Treatment:
    """What came of a statement for each of many tables.

    Attributes:
        attempts: one a table.
        leaves: those that hold rows among what was treated.
        after: their counters afterwards.
        unconfirmed: those for which the counters do not show it.
        counted: whether the server counts at all.
    """

    attempts: Sequence[Attempt]
    leaves: Sequence[Table]
    after: Mapping[int, TableStatistics]
    unconfirmed: Sequence[Table]
    counted: bool


async def concluded(
    opened: Session,
    attempts: Sequence[Attempt],
    catalogue: Catalogue,
    before: Mapping[int, TableStatistics],
    *,
    advanced: Advanced,
) -> Treatment:
    """Find out for which of the tables that were not left out the statement really worked."""
    leaves = catalogue.leaves([one.table for one in attempts if not one.reason])
    counted = await counters_are_on(opened)
    patience = _CONFIRMATION_SECONDS if counted else 0
    confirmation = await _confirm(opened, leaves, before, advanced=advanced, patience=patience)
    return Treatment(
        attempts=attempts, leaves=leaves, after=confirmation.after, unconfirmed=confirmation.missing, counted=counted
    )


def reasons(attempts: Sequence[Attempt]) -> str:
    """Why tables were left out, for a message."""
    named = [f"{one.table.label}: {one.reason}" for one in attempts[:NAMED_IN_MESSAGE]]
    more = len(attempts) - len(named)
    return "; ".join(named) + (f"; and {more} more" if more else "")


def unconfirmed_in_words(what: str, tables: Sequence[Table], *, counted: bool) -> str:
    """The message for what ran without the server's counters showing it."""
    why = "look into the server's log" if counted else "track_counts is off at the server"
    names = ", ".join(table.label for table in tables[:NAMED_IN_MESSAGE])
    return f"{what} ran, but the server does not confirm it for {names}: {why}"
