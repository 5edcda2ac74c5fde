"""Gives the space of dead rows back and refreshes the planner's statistics, and proves that it happened.

VACUUM only warns where it skips a table; this action must never take such a warning for success.
"""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar, Final, Self

from pydantic import Field, model_validator

from upkeep.actions.contract import ActionError, Context, Finding, Outcome, Result, Severity
from upkeep.actions.fields import Duration, Rule
from upkeep.actions.postgres.catalogue import Catalogue, Table, TableAction, tables_in_words
from upkeep.actions.postgres.errors import query_error
from upkeep.actions.postgres.session import Session, session
from upkeep.actions.postgres.statistics import TableStatistics, counters_are_on, read_statistics

if TYPE_CHECKING:
    from psycopg import Error
    from psycopg.errors import Diagnostic
    from psycopg.sql import Composed

_DOWNTIME: Final = "full: true locks each table for readers and writers: set allowDowntime: true as well"
_CONFIRMATION_SECONDS: Final = 3.0
_POLL_SECONDS: Final = 0.1
_NAMED_IN_MESSAGE: Final = 5
_HELD_BACK_ROWS: Final = 1000
_HELD_BACK_SHARE: Final = 0.5
_LOCK_NOT_AVAILABLE: Final = "55P03"
_UNDEFINED_TABLE: Final = "42P01"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Attempt:
    """What came of one VACUUM statement: the reason why its table was left out, if it was, and whether for a lock."""

    table: Table
    reason: str = ""
    locked: bool = False
    freed_bytes: int = 0


class PostgresVacuum(TableAction):
    """Runs VACUUM on tables, one after the other, and confirms that each was really vacuumed.

    Locks: readers and writers go on; changes of the table's structure wait (ShareUpdateExclusiveLock). With
    `full: true` the table is rewritten and nobody can read or write it meanwhile (AccessExclusiveLock).
    Privileges: the owner of the tables or the database; from PostgreSQL 17 `GRANT MAINTAIN ON ALL TABLES IN SCHEMA
    public TO upkeep` or `GRANT pg_maintain TO upkeep` is enough. Runs on the primary only.
    """

    action_name: ClassVar[str] = "postgresVacuum"

    analyze: bool = True
    """Refresh the planner's statistics too (VACUUM ANALYZE)."""
    full: bool = False
    """Rewrite each table and give its space back to the file system (VACUUM FULL). Nobody can use the table
    meanwhile, and it needs as much free disk space again; needs allowDowntime: true."""
    allow_downtime: bool = False
    """Agree to the tables being unusable while `full: true` rewrites them."""
    skip_locked: bool = False
    """Leave tables out that cannot be locked at once, instead of waiting for lockTimeout."""
    lock_timeout: Duration = Field(default="5s", validate_default=True)
    """How long to wait for the lock of one table; the others are still vacuumed afterwards."""
    min_dead_ratio: Annotated[float, Field(ge=0, le=1)] = 0
    """Only tables with at least this share of dead rows, for example 0.1; 0 takes all."""

    @classmethod
    def rules(cls) -> Sequence[Rule]:
        """Downtime is agreed to, never slipped into."""
        return (
            {
                "rule": "!has(self.full) || !self.full || (has(self.allowDowntime) && self.allowDowntime)",
                "message": _DOWNTIME,
            },
        )

    @model_validator(mode="after")
    def _downtime_is_agreed_to(self) -> Self:
        if self.full and not self.allow_downtime:
            raise ValueError(_DOWNTIME)
        return self

    async def run(self, context: Context) -> Result:
        """Vacuum the tables.

        Raises:
            ActionError: the server is a standby, a name matches no table, or a table could not be vacuumed.
        """
        async with session(context, self.connection, lock_timeout=self.lock_timeout) as opened:
            if opened.standby:
                msg = (
                    f"PostgreSQL {opened.server} is a standby (in recovery) and cannot run VACUUM: "
                    "let the connection point to the primary"
                )
                raise ActionError(msg)
            catalogue = await Catalogue.read(opened)
            chosen = catalogue.matching(self.tables)
            before = await read_statistics(opened, [leaf.oid for leaf in catalogue.leaves(chosen)])
            targets = [table for table in catalogue.topmost(chosen) if self._worthwhile(table, catalogue, before)]
            attempts = [await self._vacuum(opened, table) for table in targets]
            done = [attempt.table for attempt in attempts if not attempt.reason]
            leaves = catalogue.leaves(done)
            counted = await counters_are_on(opened)
            after = await self._confirm(opened, leaves, before, patience=_CONFIRMATION_SECONDS if counted else 0)
        return self._result(
            attempts=attempts,
            leaves=leaves,
            changes=_Changes(before=before, after=after),
            unconfirmed=[leaf for leaf in leaves if not self._advanced(leaf, before, after)],
            counted=counted,
        )

    def _worthwhile(self, table: Table, catalogue: Catalogue, before: Mapping[int, TableStatistics]) -> bool:
        known = [before[leaf.oid] for leaf in catalogue.leaves([table]) if leaf.oid in before]
        dead, rows = sum(one.dead for one in known), sum(one.dead + one.live for one in known)
        return not self.min_dead_ratio or (rows > 0 and dead / rows >= self.min_dead_ratio)

    async def _vacuum(self, opened: Session, table: Table) -> _Attempt:
        import psycopg  # noqa: PLC0415 - a driver is loaded only when an action runs

        warnings: list[str] = []

        def listen(diagnostic: "Diagnostic") -> None:
            if diagnostic.severity_nonlocalized == "WARNING":
                warnings.append(diagnostic.message_primary or "VACUUM gave a warning")

        opened.connection.add_notice_handler(listen)
        try:
            size = await self._size(opened, table)
            await opened.connection.execute(self._statement(table))
            freed = size - await self._size(opened, table)
        except psycopg.Error as error:
            return self._given_up(error, opened=opened, table=table)
        finally:
            opened.connection.remove_notice_handler(listen)
        skipped = self.skip_locked and any("lock not available" in warning for warning in warnings)
        return _Attempt(table=table, reason="; ".join(warnings), locked=skipped, freed_bytes=freed)

    def _given_up(self, error: "Error", *, opened: Session, table: Table) -> _Attempt:
        """One locked or vanished table does not keep the others from being vacuumed; anything else ends the step."""
        if error.sqlstate == _LOCK_NOT_AVAILABLE:
            seconds = self.lock_timeout.total_seconds()
            return _Attempt(table=table, reason=f"another session kept it locked for over {seconds:g} s")
        if error.sqlstate == _UNDEFINED_TABLE:
            return _Attempt(table=table, reason="it was dropped meanwhile")
        raise query_error(error, server=opened.server) from error

    def _statement(self, table: Table) -> "Composed":
        from psycopg.sql import SQL  # noqa: PLC0415 - a driver is loaded only when an action runs

        wanted = (("FULL", self.full), ("ANALYZE", self.analyze), ("SKIP_LOCKED", self.skip_locked))
        options = SQL(", ").join(SQL(f"{option} {'true' if on else 'false'}") for option, on in wanted)
        return SQL("VACUUM ({}) {}").format(options, table.identifier)

    async def _size(self, opened: Session, table: Table) -> int:
        if not self.full:
            return 0
        query = "SELECT coalesce(pg_total_relation_size(%(oid)s::oid), 0) AS bytes"
        rows = await opened.fetch(_Size, query, {"oid": table.oid})
        return rows[0].bytes

    async def _confirm(
        self, opened: Session, leaves: Sequence[Table], before: Mapping[int, TableStatistics], *, patience: float
    ) -> Mapping[int, TableStatistics]:
        """The counters afterwards; up to PostgreSQL 14 they arrive up to half a second late."""
        oids = [leaf.oid for leaf in leaves]
        attempts = int(patience / _POLL_SECONDS)
        after = await read_statistics(opened, oids)
        while attempts and not all(self._advanced(leaf, before, after) for leaf in leaves):
            await asyncio.sleep(_POLL_SECONDS)
            after = await read_statistics(opened, oids)
            attempts -= 1
        return after

    def _advanced(
        self, leaf: Table, before: Mapping[int, TableStatistics], after: Mapping[int, TableStatistics]
    ) -> bool:
        old, new = before.get(leaf.oid), after.get(leaf.oid)
        if new is None:
            return False
        if self.full:
            return old is None or new.file != old.file
        return new.last_vacuum is not None and (old is None or new.last_vacuum != old.last_vacuum)

    def _result(
        self,
        *,
        attempts: Sequence[_Attempt],
        leaves: Sequence[Table],
        changes: "_Changes",
        unconfirmed: Sequence[Table],
        counted: bool,
    ) -> Result:
        verb = "VACUUM FULL" if self.full else "VACUUM"
        left_out = [attempt for attempt in attempts if attempt.reason]
        if not attempts:
            none = f"no table has {self.min_dead_ratio:.0%} dead rows" if self.min_dead_ratio else "no tables"
            return Result(outcome=Outcome.SKIPPED, message=f"{none}: nothing to vacuum")
        metrics = changes.metrics(leaves)
        if self.full:
            metrics["freed_bytes"] = sum(attempt.freed_bytes for attempt in attempts)
        failures = [attempt for attempt in left_out if not attempt.locked]
        if failures or len(left_out) == len(attempts):
            message = f"{len(left_out)} of {tables_in_words(len(attempts))} not vacuumed: {_reasons(left_out)}"
            return Result(outcome=Outcome.FAILED, message=message, metrics=metrics)
        findings = [*changes.held_back(leaves, full=self.full), *(_locked(attempt.table) for attempt in left_out)]
        if unconfirmed:
            why = "look into the server's log" if counted else "track_counts is off at the server"
            names = ", ".join(leaf.label for leaf in unconfirmed[:_NAMED_IN_MESSAGE])
            message = f"{verb} ran, but the server does not confirm it for {names}: {why}"
            outcome = Outcome.FAILED if counted else Outcome.UNKNOWN
            return Result(outcome=outcome, message=message, findings=findings, metrics=metrics)
        message = f"{verb} of {tables_in_words(len(leaves))}: {changes.summary(leaves)}"
        if left_out:
            message = f"{message}; {len(left_out)} left out, locked"
        return Result(outcome=Outcome.CHANGED, message=message, findings=findings, metrics=metrics)


@dataclass(frozen=True, slots=True)
class _Size:
    bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Changes:
    """The counters of the tables before and after."""

    before: Mapping[int, TableStatistics]
    after: Mapping[int, TableStatistics]

    def dead(self, leaf: Table) -> tuple[int, int]:
        """Dead rows of a table before and after."""
        old, new = self.before.get(leaf.oid), self.after.get(leaf.oid)
        return (old.dead if old else 0, new.dead if new else 0)

    def metrics(self, leaves: Iterable[Table]) -> dict[str, float]:
        """The sums over all tables that were vacuumed."""
        pairs = [self.dead(leaf) for leaf in leaves]
        return {
            "tables": len(pairs),
            "dead_rows_before": sum(before for before, _ in pairs),
            "dead_rows_after": sum(after for _, after in pairs),
        }

    def summary(self, leaves: Iterable[Table]) -> str:
        """The tables with the most dead rows, before → after."""
        ranked = sorted(leaves, key=lambda leaf: -self.dead(leaf)[0])
        named = [
            f"{leaf.label} {self.dead(leaf)[0]} → {self.dead(leaf)[1]} dead rows" for leaf in ranked[:_NAMED_IN_MESSAGE]
        ]
        more = len(ranked) - len(named)
        return ", ".join(named) + (f" and {more} more" if more else "")

    def held_back(self, leaves: Iterable[Table], *, full: bool) -> list[Finding]:
        """Tables that kept most of their dead rows though they were vacuumed: somebody may still see those rows."""
        return [
            Finding(
                check_id="postgres.vacuum.held-back",
                severity=Severity.WARNING,
                object=leaf.label,
                observed=after,
                threshold=max(_HELD_BACK_ROWS, before * _HELD_BACK_SHARE),
                unit="rows",
                recommendation="dead rows could not be removed: end old transactions, prepared transactions and "
                "unused replication slots, then vacuum again",
            )
            for leaf in leaves
            for before, after in [self.dead(leaf)]
            if not full and after >= max(_HELD_BACK_ROWS, before * _HELD_BACK_SHARE)
        ]


def _locked(table: Table) -> Finding:
    return Finding(
        check_id="postgres.vacuum.locked",
        severity=Severity.INFO,
        object=table.label,
        observed=1,
        threshold=1,
        unit="",
        recommendation="it was locked and left out (skipLocked): vacuum it at a quieter time",
    )


def _reasons(attempts: Sequence[_Attempt]) -> str:
    named = [f"{attempt.table.label}: {attempt.reason}" for attempt in attempts[:_NAMED_IN_MESSAGE]]
    more = len(attempts) - len(named)
    return "; ".join(named) + (f"; and {more} more" if more else "")
