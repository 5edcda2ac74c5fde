"""Refreshes the planner's statistics, and proves that it happened."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field

from upkeep.actions.contract import Context, Finding, Outcome, Result, Severity
from upkeep.actions.fields import Duration
from upkeep.actions.postgres.catalogue import Catalogue, Table, TableAction
from upkeep.actions.postgres.session import demand_primary, session
from upkeep.actions.postgres.statistics import TableStatistics, read_statistics
from upkeep.actions.postgres.treatment import (
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


class PostgresAnalyze(TableAction):
    """Runs ANALYZE on tables, one after the other, and confirms that each was really analyzed.

    Partitioned tables are analyzed as a whole, which autovacuum never does.
    Locks: readers and writers go on; VACUUM and changes of the table's structure wait (ShareUpdateExclusiveLock).
    Privileges: the owner of the tables or the database, so `GRANT shop TO upkeep` where shop is the owner; from
    PostgreSQL 17 `GRANT MAINTAIN ON ALL TABLES IN SCHEMA public TO upkeep` or `GRANT pg_maintain TO upkeep` is
    enough. Runs on the primary only.
    """

    action_name: ClassVar[str] = "postgresAnalyze"
    finds: ClassVar[Mapping[str, str]] = {
        "postgres.analyze.locked": "a table that was left out because it was locked (skipLocked)",
    }

    skip_locked: bool = False
    """Leave tables out that cannot be locked at once, instead of waiting for lockTimeout."""
    lock_timeout: Duration = Field(default="5s", validate_default=True)
    """How long to wait for the lock of one table; the others are still analyzed afterwards."""
    min_changed_ratio: Annotated[float, Field(ge=0, le=1)] = 0
    """Only tables of which at least this share of rows changed since they were last analyzed, for example 0.05, and
    those that never were; 0 takes all."""

    async def run(self, context: Context) -> Result:
        """Analyze the tables.

        Raises:
            ActionError: the server is a standby, a name matches no table, or a table could not be analyzed.
        """
        async with session(context, self.connection, lock_timeout=self.lock_timeout) as opened:
            demand_primary(opened, "ANALYZE")
            catalogue = await Catalogue.read(opened)
            chosen = catalogue.matching(self.tables)
            before = await read_statistics(opened, [leaf.oid for leaf in catalogue.leaves(chosen)])
            targets = [table for table in catalogue.topmost(chosen) if self._worthwhile(table, catalogue, before)]
            attempts = [
                await attempt(opened, table, self._statement(table, opened.version), patience=self.lock_timeout)
                for table in targets
            ]
            treatment = await concluded(opened, attempts, catalogue, before, advanced=_advanced)
        return self._result(treatment)

    def _worthwhile(self, table: Table, catalogue: Catalogue, before: Mapping[int, TableStatistics]) -> bool:
        known = [before[leaf.oid] for leaf in catalogue.leaves([table]) if leaf.oid in before]
        never = any(one.last_analyze is None and one.last_autoanalyze is None for one in known)
        changed, rows = sum(one.changed for one in known), sum(one.live for one in known)
        return not self.min_changed_ratio or never or changed >= max(1, rows * self.min_changed_ratio)

    def _statement(self, table: Table, version: Version) -> "Composed":
        from psycopg.sql import SQL  # noqa: PLC0415 - a driver is loaded only when an action runs

        option = SQL("SKIP_LOCKED true" if self.skip_locked else "SKIP_LOCKED false")
        return SQL("ANALYZE ({}) {}").format(option, version.treated(table.identifier, partitioned=table.partitioned))

    def _result(self, treatment: Treatment) -> Result:
        attempts, leaves = treatment.attempts, treatment.leaves
        if not attempts:
            none = f"no table has {self.min_changed_ratio:.0%} changed rows" if self.min_changed_ratio else "no tables"
            return Result(outcome=Outcome.SKIPPED, message=f"{none}: nothing to analyze")
        metrics = {"tables": len(leaves)}
        left_out = [one for one in attempts if one.reason]
        locked = [one for one in left_out if one.locked and self.skip_locked]
        if len(locked) < len(left_out) or len(left_out) == len(attempts):
            message = f"{len(left_out)} of {several(len(attempts), 'table')} not analyzed: {reasons(left_out)}"
            return Result(outcome=Outcome.FAILED, message=message, metrics=metrics)
        findings = [_locked(one.table) for one in locked]
        if treatment.unconfirmed:
            message = unconfirmed_in_words("ANALYZE", treatment.unconfirmed, counted=treatment.counted)
            outcome = Outcome.FAILED if treatment.counted else Outcome.UNKNOWN
            return Result(outcome=outcome, message=message, findings=findings, metrics=metrics)
        more = f"; {len(locked)} left out, locked" if locked else ""
        message = f"ANALYZE of {several(len(leaves), 'table')}{more}"
        return Result(outcome=Outcome.CHANGED, message=message, findings=findings, metrics=metrics)


def _advanced(old: TableStatistics | None, new: TableStatistics) -> bool:
    return new.last_analyze is not None and (old is None or new.last_analyze != old.last_analyze)


def _locked(table: Table) -> Finding:
    return Finding(
        check_id="postgres.analyze.locked",
        severity=Severity.INFO,
        object=table.label,
        observed=1,
        threshold=1,
        unit="",
        recommendation="it was locked and left out (skipLocked): analyze it at a quieter time",
    )
