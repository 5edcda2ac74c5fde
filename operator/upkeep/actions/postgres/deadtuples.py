"""Finds tables in which autovacuum does not keep up.

It only reads counters, and must never take a lost counter for zero.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, ClassVar

from pydantic import Field

from upkeep.actions.contract import Context, Finding, Outcome, Result, Severity, UncheckableError
from upkeep.actions.postgres.catalogue import Catalogue, Table, TableAction
from upkeep.actions.postgres.session import session
from upkeep.actions.postgres.statistics import TableStatistics, counters_are_on, read_statistics
from upkeep.actions.text import several
from upkeep.actions.thresholds import Graded


class PostgresDeadTuples(TableAction, Graded):
    """Reports tables with many dead rows, and when each was last vacuumed and analyzed.

    Locks: none. Privileges: only CONNECT on the database, for example `GRANT CONNECT ON DATABASE shop TO upkeep`.
    Source of the defaults: PostgreSQL starts autovacuum at 50 + 0.2 of the rows (autovacuum_vacuum_threshold and
    autovacuum_vacuum_scale_factor), so a share of 0.2 or more means that it cannot keep up; 0.1 is half way.
    """

    action_name: ClassVar[str] = "postgresDeadTuples"
    check: ClassVar[bool] = True
    graded_by: ClassVar[tuple[str, str]] = ("warning_ratio", "critical_ratio")
    finds: ClassVar[Mapping[str, str]] = {
        "postgres.dead-tuples": "a table with a large share of dead rows",
    }

    warning_ratio: Annotated[float, Field(ge=0, le=1)] = 0.1
    """Share of dead rows among all rows from which on it is a warning."""
    critical_ratio: Annotated[float, Field(ge=0, le=1)] = 0.2
    """Share of dead rows among all rows from which on it is critical."""
    min_dead_rows: Annotated[int, Field(ge=0)] = 1000
    """Tables with fewer dead rows are never a finding."""

    async def run(self, context: Context) -> Result:
        """Compare the counters with the thresholds.

        Raises:
            ActionError: no connection, or a name matches no table.
            UncheckableError: the server does not count.
        """
        async with session(context, self.connection) as opened:
            if not await counters_are_on(opened):
                msg = f"PostgreSQL {opened.server} counts no dead rows: set track_counts = on"
                raise UncheckableError(msg)
            catalogue = await Catalogue.read(opened)
            leaves = catalogue.leaves(catalogue.matching(self.tables))
            statistics = await read_statistics(opened, [leaf.oid for leaf in leaves])
        known = [(leaf, statistics[leaf.oid]) for leaf in leaves if leaf.oid in statistics]
        uncounted = [leaf.label for leaf, counters in known if not counters.counted]
        findings = [
            self._finding(leaf, counters, severity)
            for leaf, counters in known
            if (severity := self._severity(counters)) is not None
        ]
        dead = sum(counters.dead for _, counters in known)
        metrics = {
            "tables": len(known),
            "dead_rows": dead,
            "live_rows": sum(counters.live for _, counters in known),
            "worst_dead_ratio": max((counters.dead_ratio for _, counters in known), default=0.0),
            "uncounted_tables": len(uncounted),
        }
        message = f"{dead} dead rows in {several(len(known), 'table')}, {len(findings)} over the threshold"
        if uncounted:
            message = (
                f"no counters for {', '.join(uncounted[:5])} (a crash resets them): run ANALYZE, then check again; "
                f"of the rest: {message}"
            )
        return Result(
            outcome=Outcome.UNKNOWN if uncounted else Outcome.OK,
            message=message,
            findings=findings,
            metrics=metrics,
        )

    def _severity(self, counters: TableStatistics) -> Severity | None:
        if counters.dead < max(1, self.min_dead_rows):
            return None
        if counters.dead_ratio >= self.critical_ratio:
            return Severity.CRITICAL
        return Severity.WARNING if counters.dead_ratio >= self.warning_ratio else None

    def _finding(self, leaf: Table, counters: TableStatistics, severity: Severity) -> Finding:
        vacuumed = _latest(counters.last_vacuum, counters.last_autovacuum)
        analyzed = _latest(counters.last_analyze, counters.last_autoanalyze)
        return Finding(
            check_id="postgres.dead-tuples",
            severity=severity,
            object=leaf.label,
            observed=round(counters.dead_ratio, 4),
            threshold=self.critical_ratio if severity is Severity.CRITICAL else self.warning_ratio,
            unit="ratio",
            recommendation=f"vacuum it and let autovacuum start earlier: {counters.dead} dead of "
            f"{counters.dead + counters.live} rows, last vacuum {vacuumed}, last analyze {analyzed}",
        )


def _latest(by_hand: datetime | None, by_daemon: datetime | None) -> str:
    known = [(when, how) for when, how in ((by_hand, "by hand"), (by_daemon, "auto")) if when is not None]
    if not known:
        return "never"
    when, how = max(known)
    return f"{when:%Y-%m-%d %H:%M} {how}"
