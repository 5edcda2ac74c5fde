"""Finds indexes that no query has used for a long time, on the primary or on a standby. It never drops one.

What has not been counted for long enough, or not on every standby, must never be called unused.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar, Final

from pydantic import Field

from upkeep.actions.contract import Context, Finding, Outcome, Result, Severity, UncheckableError
from upkeep.actions.fields import LabelName
from upkeep.actions.postgres.catalogue import Catalogue, TableAction
from upkeep.actions.postgres.session import Session, session
from upkeep.actions.postgres.statistics import counters_are_on
from upkeep.actions.text import several

_MEBIBYTE: Final = 1024 * 1024
_DAY_SECONDS: Final = 86400

_USE: Final = """
SELECT n.nspname AS schema, c.relname AS name, max(tn.nspname || '.' || t.relname) AS of_table,
       sum(coalesce(s.idx_scan, 0))::bigint AS scans,
       sum(m.relpages::bigint * current_setting('block_size')::int)::bigint AS bytes,
       bool_or(i.indisunique OR i.indisexclusion OR i.indisreplident OR i.indisclustered OR NOT i.indisvalid
               OR EXISTS (SELECT FROM pg_constraint k WHERE k.conindid = m.oid)) AS needed,
       bool_or(EXISTS (SELECT FROM pg_constraint f WHERE f.contype = 'f' AND f.conrelid = i.indrelid
                       AND f.conkey[1] = (string_to_array(i.indkey::text, ' ')::int2[])[1])) AS backs_key
FROM pg_index i
JOIN pg_class m ON m.oid = i.indexrelid AND m.relkind = 'i'
JOIN pg_class c ON c.oid = coalesce(pg_partition_root(m.oid), m.oid)
JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_index ci ON ci.indexrelid = c.oid
JOIN pg_class t ON t.oid = ci.indrelid
JOIN pg_namespace tn ON tn.oid = t.relnamespace
LEFT JOIN pg_stat_all_indexes s ON s.indexrelid = m.oid
WHERE i.indrelid = ANY(%(oids)s)
GROUP BY n.nspname, c.relname
ORDER BY n.nspname, c.relname
"""
_AGE: Final = """
SELECT extract(epoch FROM clock_timestamp() - greatest(d.stats_reset, a.stats_reset))::float8 AS seconds,
       (SELECT count(*) FROM pg_stat_replication r
        WHERE NOT EXISTS (SELECT FROM pg_replication_slots p
                          WHERE p.active_pid = r.pid AND p.slot_type = 'logical')) AS standbys
FROM pg_stat_database d
CROSS JOIN pg_stat_archiver a
WHERE d.datname = current_database()
"""
"""Counters of a database outlive a restart, but no crash and no restore of a copy: those reset the archiver's too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Use:
    """An index; a partitioned one with all of its parts.

    Attributes:
        schema: its schema.
        name: its name.
        of_table: its table, `schema.table`.
        scans: how often it was used since the counters were reset.
        bytes: its size when it was last vacuumed or analyzed.
        needed: whether something else than queries needs it.
        backs_key: whether deleting in a referenced table would have to scan the table without it.
    """

    schema: str
    name: str
    of_table: str
    scans: int
    bytes: int
    needed: bool
    backs_key: bool

    @property
    def label(self) -> str:
        return f"{self.schema}.{self.name}"


@dataclass(frozen=True, slots=True)
class _Age:
    seconds: float
    standbys: int


class PostgresUnusedIndexes(TableAction):
    """Reports indexes that no query uses. It drops nothing: a person decides.

    Left out are indexes of constraints, unique ones, those that identify rows for replication or order the table, and
    invalid ones (postgresReindex repairs those). The parts of a partitioned index count together. Standbys count their
    own queries: name a connection to each in `replicas`, or the result is unknown.
    Locks: none. Privileges: only CONNECT on the database, for example `GRANT CONNECT ON DATABASE shop TO upkeep`.
    Source of the defaults: counters of a month have seen the work that is done once a month.
    """

    action_name: ClassVar[str] = "postgresUnusedIndexes"
    check: ClassVar[bool] = True
    finds: ClassVar[Mapping[str, str]] = {
        "postgres.unused-indexes": "an index that no query has used",
    }

    replicas: Annotated[list[LabelName], Field(max_length=16)] = Field(default_factory=list)
    """Names of PostgreSQL connections to the same database at each standby."""
    min_days: Annotated[int, Field(ge=0, le=3650)] = 30
    """For how many days the server must have counted; else the result is unknown."""
    min_size_mebibytes: Annotated[int, Field(ge=0, le=1048576)] = 1
    """Indexes that are smaller than this many MiB are never a finding."""

    def connection_names(self) -> Sequence[str]:
        """The primary's and the replicas'."""
        return [self.connection, *self.replicas]

    async def run(self, context: Context) -> Result:
        """Read the counters everywhere and add them up.

        Raises:
            ActionError: no connection, or a name matches no table.
            UncheckableError: the server does not count, or not for long enough.
        """
        async with session(context, self.connection) as opened:
            await self._demand_counts(opened)
            standbys = (await opened.fetch(_Age, _AGE))[0].standbys
            uses = await self._read(opened)
        elsewhere: dict[str, int] = {}
        for replica in self.replicas:
            async with session(context, replica) as opened:
                await self._demand_counts(opened)
                for use in await self._read(opened):
                    elsewhere[use.label] = elsewhere.get(use.label, 0) + use.scans
        return self._result(uses, elsewhere, unseen=max(0, standbys - len(self.replicas)))

    async def _demand_counts(self, opened: Session) -> None:
        if not await counters_are_on(opened):
            msg = f"PostgreSQL {opened.server} counts no use of indexes: set track_counts = on"
            raise UncheckableError(msg)
        days = (await opened.fetch(_Age, _AGE))[0].seconds / _DAY_SECONDS
        if days < self.min_days:
            msg = (
                f"PostgreSQL {opened.server} counts for {days:.1f} days only, less than minDays: {self.min_days} "
                "(since it was made or crashed, or pg_stat_reset): wait, or lower minDays"
            )
            raise UncheckableError(msg)

    async def _read(self, opened: Session) -> list[_Use]:
        catalogue = await Catalogue.read(opened)
        leaves = catalogue.leaves(catalogue.matching(self.tables))
        return await opened.fetch(_Use, _USE, {"oids": [leaf.oid for leaf in leaves]})

    def _result(self, uses: Sequence[_Use], elsewhere: Mapping[str, int], *, unseen: int) -> Result:
        unused = [
            use
            for use in uses
            if not use.needed
            and use.scans + elsewhere.get(use.label, 0) == 0
            and use.bytes >= self.min_size_mebibytes * _MEBIBYTE
        ]
        size = sum(use.bytes for use in unused)
        message = f"{len(unused)} of {len(uses)} indexes are not used"
        if unused:
            message = f"{message}, {size / _MEBIBYTE:.1f} MiB"
        if unseen:
            message = (
                f"{several(unseen, 'standby')} may use what the primary does not: add a connection for "
                f"each to `replicas`; without: {message}"
            )
        return Result(
            outcome=Outcome.UNKNOWN if unseen else Outcome.OK,
            message=message,
            findings=[_finding(use, days=self.min_days) for use in unused],
            metrics={"indexes": len(uses), "unused_indexes": len(unused), "unused_bytes": size},
        )


def _finding(use: _Use, *, days: int) -> Finding:
    key = "; it backs a foreign key: deletes in the referenced table would be slow without it" if use.backs_key else ""
    return Finding(
        check_id="postgres.unused-indexes",
        severity=Severity.INFO if use.backs_key else Severity.WARNING,
        object=use.label,
        observed=0,
        threshold=1,
        unit="scans",
        recommendation=f"no query used it for {days} days or more, and every write to {use.of_table} keeps its "
        f"{use.bytes / _MEBIBYTE:.1f} MiB: DROP INDEX CONCURRENTLY it if nobody knows what it is for{key}",
    )
