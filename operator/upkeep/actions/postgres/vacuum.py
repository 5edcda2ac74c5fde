"""Gives the space of dead rows back and refreshes the planner's statistics, and proves that it happened.

VACUUM only warns where it skips a table; this action must never take such a warning for success.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar, Final, Self

from pydantic import Field, model_validator

from upkeep.actions.contract import Context, Finding, Outcome, Result, Severity
from upkeep.actions.fields import Duration, Rule
from upkeep.actions.postgres.catalogue import Catalogue, Table, TableAction
from upkeep.actions.postgres.room import FreeSpace, Room, find_room
from upkeep.actions.postgres.session import Session, demand_primary, session
from upkeep.actions.postgres.statistics import TableStatistics, read_statistics
from upkeep.actions.postgres.treatment import (
    NAMED_IN_MESSAGE,
    Attempt,
    Treatment,
    attempt,
    concluded,
    reasons,
    unconfirmed_in_words,
)
from upkeep.actions.postgres.version import Version
from upkeep.actions.text import several

if TYPE_CHECKING:
    from psycopg.sql import Composed

_DOWNTIME: Final = "full: true locks each table for readers and writers: set allowDowntime: true as well"
_ROOM: Final = (
    "full: true writes each table anew beside itself: say how much disk space is free, by freeMebibytes or by freeSpace"
)
_HELD_BACK_ROWS: Final = 1000
_HELD_BACK_SHARE: Final = 0.5


class PostgresVacuum(TableAction):
    """Runs VACUUM on tables, one after the other, and confirms that each was really vacuumed.

    Locks: readers and writers go on; changes of the table's structure wait (ShareUpdateExclusiveLock). With
    `full: true` the table is rewritten and nobody can read or write it meanwhile (AccessExclusiveLock).
    Privileges: the owner of the tables or the database; from PostgreSQL 17 `GRANT MAINTAIN ON ALL TABLES IN SCHEMA
    public TO upkeep` or `GRANT pg_maintain TO upkeep` is enough. Runs on the primary only.
    """

    action_name: ClassVar[str] = "postgresVacuum"
    finds: ClassVar[Mapping[str, str]] = {
        "postgres.vacuum.held-back": "a table that kept its dead rows, because somebody may still see them",
        "postgres.vacuum.locked": "a table that was left out because it was locked (skipLocked)",
    }

    analyze: bool = True
    """Refresh the planner's statistics too (VACUUM ANALYZE)."""
    full: bool = False
    """Rewrite each table and give its space back to the file system (VACUUM FULL). Nobody can use the table
    meanwhile: needs allowDowntime: true, and freeMebibytes or freeSpace."""
    allow_downtime: bool = False
    """Agree to the tables being unusable while `full: true` rewrites them."""
    free_mebibytes: Annotated[int | None, Field(ge=1, le=1_073_741_824)] = None
    """With `full: true`: how much of the volume of the tables is free, in MiB, as you know it. A table that may need
    more (its size with indexes again, room for sorting, and up to max_wal_size of log) is left alone."""
    free_space: FreeSpace | None = None
    """With `full: true`: asks Prometheus how much is free, instead of freeMebibytes."""
    skip_locked: bool = False
    """Leave tables out that cannot be locked at once, instead of waiting for lockTimeout."""
    lock_timeout: Duration = Field(default="5s", validate_default=True)
    """How long to wait for the lock of one table; the others are still vacuumed afterwards."""
    truncate: bool = False
    """Give empty pages at the end of a table back to the file system. That locks the table for readers and writers
    for a moment, on standbys too."""
    high_churn: Annotated[int | None, Field(ge=1, le=1000)] = None
    """Only so many tables: those, of the ones named in `tables`, with the most dead rows."""
    min_dead_ratio: Annotated[float, Field(ge=0, le=1)] = 0
    """Only tables with at least this share of dead rows, for example 0.1; 0 takes all."""

    @classmethod
    def rules(cls) -> Sequence[Rule]:
        """Downtime is agreed to, never slipped into, and the disk does not run full."""
        return (
            {
                "rule": "!has(self.full) || !self.full || (has(self.allowDowntime) && self.allowDowntime)",
                "message": _DOWNTIME,
            },
            {
                "rule": "!has(self.full) || !self.full || has(self.freeMebibytes) != has(self.freeSpace)",
                "message": _ROOM,
            },
        )

    @model_validator(mode="after")
    def _full_is_prepared(self) -> Self:
        if self.full and not self.allow_downtime:
            raise ValueError(_DOWNTIME)
        if self.full and (self.free_mebibytes is None) == (self.free_space is None):
            raise ValueError(_ROOM)
        return self

    def connection_names(self) -> Sequence[str]:
        """The database's, and that of whoever knows the free space."""
        return [self.connection, *([self.free_space.connection] if self.full and self.free_space else [])]

    async def run(self, context: Context) -> Result:
        """Vacuum the tables.

        Raises:
            ActionError: the server is a standby, a name matches no table, or a table could not be vacuumed.
            UncheckableError: how much disk space is free is not known.
        """
        async with session(context, self.connection, lock_timeout=self.lock_timeout) as opened:
            demand_primary(opened, "VACUUM")
            catalogue = await Catalogue.read(opened)
            chosen = catalogue.matching(self.tables)
            before = await read_statistics(opened, [leaf.oid for leaf in catalogue.leaves(chosen)])
            targets = self._targets(chosen, catalogue, before)
            room = await self._room(context, opened, catalogue.leaves(targets))
            attempts = [await self._attempt(opened, table, catalogue, room) for table in targets]
            if attempts and opened.version.database_statistics_apart:
                await opened.connection.execute("VACUUM (ONLY_DATABASE_STATS)")
            treatment = await concluded(opened, attempts, catalogue, before, advanced=self._advanced)
        return self._result(treatment, _Changes(before=before, after=treatment.after))

    def _targets(
        self, chosen: Sequence[Table], catalogue: Catalogue, before: Mapping[int, TableStatistics]
    ) -> Sequence[Table]:
        def counted(table: Table) -> tuple[int, int]:
            known = [before[leaf.oid] for leaf in catalogue.leaves([table]) if leaf.oid in before]
            return sum(one.dead for one in known), sum(one.dead + one.live for one in known)

        if self.high_churn is not None:
            churned = sorted(
                (leaf for leaf in catalogue.leaves(chosen) if counted(leaf)[0]), key=lambda leaf: -counted(leaf)[0]
            )
            chosen = churned[: self.high_churn]
        return [
            table
            for table in catalogue.topmost(chosen)
            for dead, rows in [counted(table)]
            if not self.min_dead_ratio or (rows > 0 and dead / rows >= self.min_dead_ratio)
        ]

    async def _room(self, context: Context, opened: Session, leaves: Sequence[Table]) -> Room | None:
        """None where nothing is rewritten."""
        free = self.free_space or self.free_mebibytes
        return await find_room(context, opened, leaves, free=free) if self.full and leaves and free else None

    async def _attempt(self, opened: Session, table: Table, catalogue: Catalogue, room: Room | None) -> Attempt:
        if room and (lack := await room.lacks(opened, catalogue.leaves([table]))):
            return Attempt(table=table, reason=lack)
        statement = self._statement(table, opened.version)
        return await attempt(opened, table, statement, patience=self.lock_timeout, sized=self.full)

    def _statement(self, table: Table, version: Version) -> "Composed":
        from psycopg.sql import SQL  # noqa: PLC0415 - a driver is loaded only when an action runs

        wanted = [("FULL", self.full), ("ANALYZE", self.analyze), ("SKIP_LOCKED", self.skip_locked)]
        if not self.full:
            wanted.append(("TRUNCATE", self.truncate))
        if version.database_statistics_apart:
            wanted.append(("SKIP_DATABASE_STATS", True))
        options = SQL(", ").join(SQL(f"{option} {'true' if on else 'false'}") for option, on in wanted)
        return SQL("VACUUM ({}) {}").format(options, version.treated(table.identifier, partitioned=table.partitioned))

    def _advanced(self, old: TableStatistics | None, new: TableStatistics) -> bool:
        if self.full:
            return old is None or new.file != old.file
        return new.last_vacuum is not None and (old is None or new.last_vacuum != old.last_vacuum)

    def _result(self, treatment: Treatment, changes: "_Changes") -> Result:
        attempts, leaves = treatment.attempts, treatment.leaves
        verb = "VACUUM FULL" if self.full else "VACUUM"
        left_out = [one for one in attempts if one.reason]
        if not attempts:
            none = "no table has dead rows" if self.high_churn else "no tables"
            none = f"no table has {self.min_dead_ratio:.0%} dead rows" if self.min_dead_ratio else none
            return Result(outcome=Outcome.SKIPPED, message=f"{none}: nothing to vacuum")
        metrics = changes.metrics(leaves)
        if self.full:
            metrics["freed_bytes"] = sum(one.freed_bytes for one in attempts)
        failures = [one for one in left_out if not (one.locked and self.skip_locked)]
        if failures or len(left_out) == len(attempts):
            message = f"{len(left_out)} of {several(len(attempts), 'table')} not vacuumed: {reasons(left_out)}"
            return Result(outcome=Outcome.FAILED, message=message, metrics=metrics)
        findings = [*changes.held_back(leaves, full=self.full), *(_locked(one.table) for one in left_out)]
        if treatment.unconfirmed:
            message = unconfirmed_in_words(verb, treatment.unconfirmed, counted=treatment.counted)
            outcome = Outcome.FAILED if treatment.counted else Outcome.UNKNOWN
            return Result(outcome=outcome, message=message, findings=findings, metrics=metrics)
        message = f"{verb} of {several(len(leaves), 'table')}: {changes.summary(leaves)}"
        if left_out:
            message = f"{message}; {len(left_out)} left out, locked"
        return Result(outcome=Outcome.CHANGED, message=message, findings=findings, metrics=metrics)


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
            f"{leaf.label} {self.dead(leaf)[0]} → {self.dead(leaf)[1]} dead rows" for leaf in ranked[:NAMED_IN_MESSAGE]
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
