"""What PostgreSQL counts about tables: live and dead rows, and when they were last cleaned."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from upkeep.actions.postgres.session import Session

_STATISTICS: Final = """
SELECT s.relid::bigint AS oid, s.n_live_tup AS live, s.n_dead_tup AS dead, s.n_mod_since_analyze AS changed,
       s.last_vacuum, s.last_autovacuum, s.last_analyze, s.last_autoanalyze,
       c.reltuples::float8 AS planned, c.relfilenode::bigint AS file
FROM pg_stat_all_tables s
JOIN pg_class c ON c.oid = s.relid
WHERE s.relid = ANY(%(oids)s)
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class TableStatistics:
    """The counters of one table.

    Attributes:
        oid: the table.
        live: estimated number of live rows.
        dead: estimated number of dead rows.
        changed: estimated number of rows that changed since the last ANALYZE.
        last_vacuum: last VACUUM by hand (VACUUM FULL does not count).
        last_autovacuum: last one by the autovacuum daemon.
        last_analyze: last ANALYZE by hand.
        last_autoanalyze: last one by the autovacuum daemon.
        planned: rows as the planner believes since the last VACUUM or ANALYZE; negative: never looked at.
        file: number of the file; VACUUM FULL writes a new one.
    """

    oid: int
    live: int
    dead: int
    changed: int
    last_vacuum: datetime | None
    last_autovacuum: datetime | None
    last_analyze: datetime | None
    last_autoanalyze: datetime | None
    planned: float
    file: int

    @property
    def dead_ratio(self) -> float:
        """Share of dead rows among all, 0 to 1."""
        total = self.live + self.dead
        return self.dead / total if total else 0.0

    @property
    def counted(self) -> bool:
        """False where the counters were lost (a crash resets them) though the table is known to have rows."""
        return self.live + self.dead > 0 or self.planned <= 0


async def read_statistics(session: Session, oids: Sequence[int]) -> Mapping[int, TableStatistics]:
    """The counters of these tables, by oid. Takes no lock on any of them."""
    found = await session.fetch(TableStatistics, _STATISTICS, {"oids": list(oids)})
    return {statistics.oid: statistics for statistics in found}


async def counters_are_on(session: Session) -> bool:
    """Whether the server counts at all (`track_counts`)."""
    rows = await session.fetch(_Setting, "SELECT current_setting('track_counts')::bool AS on")
    return rows[0].on


@dataclass(frozen=True, slots=True)
class _Setting:
    on: bool
