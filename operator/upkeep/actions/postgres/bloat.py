"""Finds tables that take much more room than their rows need, first by estimate, then by measuring the worst.

An estimate needs the planner's statistics; a table without them must never be called free of bloat.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import ceil
from typing import Annotated, ClassVar, Final

from pydantic import Field

from upkeep.actions.contract import Context, Finding, Outcome, Result, Severity
from upkeep.actions.postgres.catalogue import Catalogue, Table, TableAction
from upkeep.actions.postgres.session import Session, session
from upkeep.actions.text import several

_PAGE_HEADER_BYTES: Final = 24
_TUPLE_HEADER_BYTES: Final = 23
_LINE_POINTER_BYTES: Final = 4
_ALIGNMENT_BYTES: Final = 8
_MEBIBYTE: Final = 1024 * 1024
_MEASURED_TABLES: Final = 5
_NAMED_IN_MESSAGE: Final = 5

_SHAPES: Final = r"""
WITH locked AS (
    SELECT l.relation FROM pg_locks l
    WHERE l.mode = 'AccessExclusiveLock'
      AND l.database = (SELECT d.oid FROM pg_database d WHERE d.datname = current_database())
), widths AS (
    SELECT p.schemaname, p.tablename, count(*) AS columns,
           sum((1 - p.null_frac) * p.avg_width) AS width, bool_or(p.null_frac > 0) AS nullable
    FROM pg_stats p
    WHERE NOT p.inherited
    GROUP BY p.schemaname, p.tablename
), attributes AS (
    SELECT a.attrelid, count(*) AS columns
    FROM pg_attribute a
    WHERE a.attrelid = ANY(%(oids)s) AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated <> 'v'
    GROUP BY a.attrelid
)
SELECT c.oid::bigint AS oid,
       CASE WHEN NOT EXISTS (SELECT FROM locked l WHERE l.relation = c.oid)
            THEN pg_relation_size(c.oid) END AS bytes,
       greatest(c.reltuples, s.n_live_tup)::float8 AS rows,
       coalesce(substring(c.reloptions::text FROM 'fillfactor=([0-9]+)')::int, 100) AS fillfactor,
       coalesce(attributes.columns, 0) AS columns,
       coalesce(widths.columns, 0) AS known_columns,
       coalesce(widths.width, 0)::float8 AS width,
       coalesce(widths.nullable, false) AS nullable,
       c.reltuples >= 0 AND (s.last_analyze IS NOT NULL OR s.last_autoanalyze IS NOT NULL) AS analyzed,
       current_setting('block_size')::int AS block
FROM pg_class c
JOIN pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN pg_stat_all_tables s ON s.relid = c.oid
LEFT JOIN widths ON widths.schemaname = n.nspname AND widths.tablename = c.relname
LEFT JOIN attributes ON attributes.attrelid = c.oid
WHERE c.oid = ANY(%(oids)s)
"""

_MEASURING: Final = """
SELECT n.nspname AS schema
FROM pg_proc p
JOIN pg_namespace n ON n.oid = p.pronamespace
JOIN pg_extension e ON e.extname = 'pgstattuple'
JOIN pg_depend d ON d.objid = p.oid AND d.refobjid = e.oid AND d.deptype = 'e'
WHERE p.proname = 'pgstattuple_approx' AND has_function_privilege(p.oid, 'EXECUTE')
  AND has_schema_privilege(n.oid, 'USAGE')
"""

_MEASUREMENT: Final = """
SELECT m.table_len AS bytes, m.approx_tuple_count AS rows, m.approx_tuple_len AS live
FROM {}.pgstattuple_approx(%(oid)s::oid::regclass) m
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class TableShape:
    """What an estimate is made of.

    Attributes:
        oid: the table.
        bytes: size of its main file; None where somebody has it locked.
        rows: live rows: as the last VACUUM or ANALYZE found them, or as counted since where that is more (the
            counter alone is too low after a session that deleted and vacuumed); negative: unknown.
        fillfactor: percentage up to which pages are filled.
        columns: number of its columns.
        known_columns: number of those with statistics that the user may see.
        width: average bytes of a row's columns.
        nullable: whether some rows hold NULLs.
        analyzed: whether ANALYZE ever looked at it.
        block: bytes of a page.
    """

    oid: int
    bytes: int | None
    rows: float
    fillfactor: int
    columns: int
    known_columns: int
    width: float
    nullable: bool
    analyzed: bool
    block: int

    @property
    def estimable(self) -> bool:
        """Whether statistics of all columns are there; a table known to be empty needs none."""
        return self.bytes is not None and (
            (self.rows == 0 and self.analyzed) or (self.rows > 0 and 0 < self.columns <= self.known_columns)
        )

    @property
    def expected_bytes(self) -> int:
        """Size of a freshly written table with the same rows, in whole pages.

        The idea is that of ioguix' pgsql-bloat-estimation; the layout (page header, line pointer, aligned tuple
        header with a NULL bitmap, aligned data) is the chapter "Database Page Layout" of PostgreSQL's documentation.
        """
        bitmap = (self.columns + 7) // 8 if self.nullable else 0
        row = _aligned(_TUPLE_HEADER_BYTES + bitmap) + _aligned(self.width) + _LINE_POINTER_BYTES
        room = (self.block - _PAGE_HEADER_BYTES) * self.fillfactor / 100
        return max(1, ceil(self.rows * row / room)) * self.block


@dataclass(frozen=True, slots=True, kw_only=True)
class _Bloat:
    table: Table
    bytes: int
    expected: int
    measured: bool

    @property
    def ratio(self) -> float:
        return self.bytes / self.expected


class PostgresBloat(TableAction):
    """Reports tables that are several times as large as their rows need, without indexes and TOAST.

    The size is estimated from the planner's statistics; where the extension pgstattuple is installed and may be used,
    the worst are measured with pgstattuple_approx. Every finding says which way it was found.
    Locks: only what SELECT takes (AccessShareLock). Privileges: statistics of columns that the user may not
    SELECT are hidden, so `GRANT pg_read_all_data TO upkeep`; for measuring also `GRANT pg_stat_scan_tables TO upkeep`.
    Source of the default: twice the expected size is where rewriting a table usually starts to pay off.
    """

    action_name: ClassVar[str] = "postgresBloat"
    check: ClassVar[bool] = True
    finds: ClassVar[Mapping[str, str]] = {
        "postgres.bloat": "a table that is larger than its rows need, by threshold",
    }

    threshold: Annotated[float, Field(ge=1, le=1000)] = 2.0
    """Size over expected size from which on it is a warning."""
    min_size_mebibytes: Annotated[int, Field(ge=0, le=1048576)] = 1
    """Tables that are smaller than this many MiB are never a finding."""

    async def run(self, context: Context) -> Result:
        """Estimate, measure the worst, and compare with the threshold.

        Raises:
            ActionError: no connection, or a name matches no table.
        """
        async with session(context, self.connection) as opened:
            catalogue = await Catalogue.read(opened)
            leaves = {leaf.oid: leaf for leaf in catalogue.leaves(catalogue.matching(self.tables))}
            shapes = await opened.fetch(TableShape, _SHAPES, {"oids": list(leaves)})
            relevant = [shape for shape in shapes if self._relevant(shape)]
            estimates = [
                _Bloat(table=leaves[shape.oid], bytes=shape.bytes, expected=shape.expected_bytes, measured=False)
                for shape in relevant
                if shape.estimable and shape.bytes is not None
            ]
            suspects = sorted(self._over(estimates), key=lambda bloat: bloat.expected - bloat.bytes)
            factors = {shape.oid: shape.fillfactor for shape in shapes}
            found = self._over(await _measure(opened, suspects, factors))
        unknown = [leaves[shape.oid].label for shape in relevant if not shape.estimable]
        return self._result(found=found, checked=len(shapes), unknown=unknown)

    def _relevant(self, shape: TableShape) -> bool:
        return shape.bytes is None or shape.bytes >= max(1, self.min_size_mebibytes * _MEBIBYTE)

    def _over(self, bloats: Iterable[_Bloat]) -> list[_Bloat]:
        return [bloat for bloat in bloats if bloat.ratio >= self.threshold]

    def _result(self, *, found: Sequence[_Bloat], checked: int, unknown: Sequence[str]) -> Result:
        wasted = sum(bloat.bytes - bloat.expected for bloat in found)
        metrics = {
            "tables": checked,
            "bloated_tables": len(found),
            "wasted_bytes": wasted,
            "worst_bloat_ratio": round(max((bloat.ratio for bloat in found), default=0.0), 2),
            "unknown_tables": len(unknown),
        }
        message = f"{len(found)} of {several(checked, 'table')} at {self.threshold:g} times their expected size or more"
        if found:
            message = f"{message}, {wasted / _MEBIBYTE:.1f} MiB wasted"
        if unknown:
            names = ", ".join(unknown[:_NAMED_IN_MESSAGE])
            message = (
                f"no statistics for {names} (never analyzed, locked, or hidden from the user): run ANALYZE, grant "
                f"pg_read_all_data, then check again; of the rest: {message}"
            )
        return Result(
            outcome=Outcome.UNKNOWN if unknown else Outcome.OK,
            message=message,
            findings=[self._finding(bloat) for bloat in found],
            metrics=metrics,
        )

    def _finding(self, bloat: _Bloat) -> Finding:
        way = "measured by pgstattuple_approx" if bloat.measured else "estimated from statistics"
        return Finding(
            check_id="postgres.bloat",
            severity=Severity.WARNING,
            object=bloat.table.label,
            observed=round(bloat.ratio, 2),
            threshold=self.threshold,
            unit="ratio",
            recommendation=f"rewrite it in a maintenance window (postgresVacuum with full): "
            f"{bloat.bytes / _MEBIBYTE:.1f} MiB where {bloat.expected / _MEBIBYTE:.1f} MiB would do, {way}",
        )


@dataclass(frozen=True, slots=True)
class _Schema:
    schema: str


@dataclass(frozen=True, slots=True)
class _Measurement:
    bytes: int
    rows: float
    live: int


async def _measure(opened: Session, suspects: Sequence[_Bloat], factors: Mapping[int, int]) -> Sequence[_Bloat]:
    """The suspects with the worst of them measured, where the server lets us; in the same order."""
    from psycopg.sql import SQL, Identifier  # noqa: PLC0415 - a driver is loaded only when an action runs

    schemas = await opened.fetch(_Schema, _MEASURING) if suspects else []
    if not schemas:
        return suspects
    query = SQL(_MEASUREMENT).format(Identifier(schemas[0].schema))
    measured = []
    for suspect in suspects[:_MEASURED_TABLES]:
        rows = await opened.fetch(_Measurement, query, {"oid": suspect.table.oid})
        needed = (rows[0].live + rows[0].rows * _LINE_POINTER_BYTES) * 100 / factors[suspect.table.oid]
        measured.append(replace(suspect, bytes=rows[0].bytes, expected=max(1, ceil(needed)), measured=True))
    return [*measured, *suspects[_MEASURED_TABLES:]]


def _aligned(size: float) -> float:
    return ceil(size / _ALIGNMENT_BYTES) * _ALIGNMENT_BYTES
