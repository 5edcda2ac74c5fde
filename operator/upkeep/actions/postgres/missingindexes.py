"""Finds tables that are read from end to end again and again, and foreign keys that no index backs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar, Final

from pydantic import Field

from upkeep.actions.contract import Context, Finding, Outcome, Result, Severity, UncheckableError
from upkeep.actions.postgres.catalogue import Catalogue, TableAction
from upkeep.actions.postgres.session import session
from upkeep.actions.postgres.statistics import counters_are_on
from upkeep.actions.text import several

_SCANS: Final = """
SELECT s.schemaname || '.' || s.relname AS name, greatest(s.n_live_tup, c.reltuples)::bigint AS rows,
       s.seq_scan AS scans, coalesce(s.idx_scan, 0) AS by_index,
       (s.seq_tup_read / s.seq_scan)::bigint AS read
FROM pg_stat_all_tables s
JOIN pg_class c ON c.oid = s.relid
WHERE s.relid = ANY(%(oids)s) AND s.seq_scan > 0
"""
_KEYS: Final = """
SELECT k.conname AS name, n.nspname || '.' || c.relname AS of_table, rn.nspname || '.' || r.relname AS referenced,
       coalesce((SELECT sum(greatest(l.reltuples, 0)) FROM pg_partition_tree(c.oid) p JOIN pg_class l ON l.oid = p.relid
                 WHERE p.isleaf), greatest(c.reltuples, 0))::bigint AS rows,
       (SELECT string_agg(a.attname, ', ' ORDER BY u.place) FROM unnest(k.conkey) WITH ORDINALITY AS u (number, place)
        JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = u.number) AS columns
FROM pg_constraint k
JOIN pg_class c ON c.oid = k.conrelid
JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_class r ON r.oid = k.confrelid
JOIN pg_namespace rn ON rn.oid = r.relnamespace
WHERE k.contype = 'f' AND {enforced} AND k.conparentid = 0 AND k.conrelid = ANY(%(oids)s)
  AND NOT EXISTS (
    SELECT FROM pg_index i
    JOIN pg_class ic ON ic.oid = i.indexrelid
    JOIN pg_am am ON am.oid = ic.relam
    WHERE i.indrelid = k.conrelid AND i.indisvalid AND i.indpred IS NULL AND am.amname IN ('btree', 'hash')
      AND (string_to_array(i.indkey::text, ' ')::int2[])[1:cardinality(k.conkey)] @> k.conkey)
ORDER BY n.nspname, c.relname, k.conname
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Scans:
    """How a table was read since its counters were reset; `read` is rows a sequential scan on average."""

    name: str
    rows: int
    scans: int
    by_index: int
    read: int

    @property
    def share(self) -> float:
        return self.scans / (self.scans + self.by_index)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Key:
    name: str
    of_table: str
    referenced: str
    rows: int
    columns: str


class PostgresMissingIndexes(TableAction):
    """Reports large tables that are often read from end to end, and foreign keys without an index. It makes none.

    Without an index on the referencing columns every delete in the referenced table reads the referencing one.
    Locks: none. Privileges: only CONNECT on the database, for example `GRANT CONNECT ON DATABASE shop TO upkeep`.
    Source of the defaults: below 10,000 rows a scan costs next to nothing; reports and dumps scan whole tables now and
    then, so it takes 100 scans, and more than 5 percent of all, as pghero asks for an index hit rate of 95 percent.
    """

    action_name: ClassVar[str] = "postgresMissingIndexes"
    check: ClassVar[bool] = True
    finds: ClassVar[Mapping[str, str]] = {
        "postgres.missing-indexes.scans": "a large table that is often read from end to end",
        "postgres.missing-indexes.foreign-key": "a foreign key without an index on its columns",
    }

    min_rows: Annotated[int, Field(ge=0)] = 10_000
    """Tables with fewer rows are never a finding."""
    min_scans: Annotated[int, Field(ge=1)] = 100
    """Tables that were scanned less often since the counters were reset are no finding."""
    scan_share: Annotated[float, Field(ge=0, le=1)] = 0.05
    """Share of sequential scans among all scans of a table from which on it is a warning."""

    async def run(self, context: Context) -> Result:
        """Compare the counters with the thresholds, and the constraints with the indexes.

        Raises:
            ActionError: no connection, or a name matches no table.
            UncheckableError: the server does not count.
        """
        from psycopg.sql import SQL  # noqa: PLC0415 - a driver is loaded only when an action runs

        async with session(context, self.connection) as opened:
            if not await counters_are_on(opened):
                msg = f"PostgreSQL {opened.server} counts no scans: set track_counts = on"
                raise UncheckableError(msg)
            catalogue = await Catalogue.read(opened)
            chosen = catalogue.matching(self.tables)
            leaves = [leaf.oid for leaf in catalogue.leaves(chosen)]
            scans = await opened.fetch(_Scans, _SCANS, {"oids": leaves})
            query = SQL(_KEYS).format(enforced=SQL(opened.version.enforced))
            keys = await opened.fetch(_Key, query, {"oids": [table.oid for table in chosen]})
        scanned = [one for one in scans if self._matters(one)]
        unbacked = [key for key in keys if key.rows >= self.min_rows]
        return Result(
            outcome=Outcome.OK,
            message=f"{len(scanned)} of {several(len(leaves), 'table')} often read from end to end, "
            f"{len(unbacked)} foreign keys without an index",
            findings=self._findings(scanned, unbacked),
            metrics={"tables": len(leaves), "scanned_tables": len(scanned), "keys_without_index": len(unbacked)},
        )

    def _matters(self, one: _Scans) -> bool:
        return (
            one.rows >= self.min_rows
            and one.read >= self.min_rows
            and one.scans >= self.min_scans
            and one.share >= self.scan_share
        )

    def _findings(self, scanned: Sequence[_Scans], unbacked: Sequence[_Key]) -> list[Finding]:
        return [
            *(
                Finding(
                    check_id="postgres.missing-indexes.scans",
                    severity=Severity.WARNING,
                    object=one.name,
                    observed=round(one.share, 4),
                    threshold=self.scan_share,
                    unit="ratio",
                    recommendation=f"find the query with postgresSlowQueries and EXPLAIN it: {one.scans} scans read "
                    f"{one.read} rows each, {one.by_index} used an index",
                )
                for one in scanned
            ),
            *(
                Finding(
                    check_id="postgres.missing-indexes.foreign-key",
                    severity=Severity.WARNING,
                    object=f"{key.of_table} {key.name}",
                    observed=key.rows,
                    threshold=self.min_rows,
                    unit="rows",
                    recommendation=f"make an index on {key.of_table} ({key.columns}), for example by "
                    f"postgresApplyIndexes: each delete in {key.referenced} reads the whole table",
                )
                for key in unbacked
            ),
        ]
