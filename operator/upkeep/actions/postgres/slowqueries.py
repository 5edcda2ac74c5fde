"""Finds the statements that take longest on average, as pg_stat_statements has counted them.

Without the extension, or with statements of others hidden, nothing may be called fast.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar, Final

from pydantic import Field

from upkeep.actions.contract import Action, Context, Finding, Outcome, Result, Severity
from upkeep.actions.fields import Duration, LabelName
from upkeep.actions.postgres.counted import answering, extension
from upkeep.actions.postgres.session import Session, session
from upkeep.actions.postgres.statements import shown
from upkeep.actions.thresholds import Graded

if TYPE_CHECKING:
    from psycopg.sql import Identifier

_SHOWN_CHARACTERS: Final = 160
_MAINTENANCE: Final = r"^\s*(VACUUM|ANALYZE|REINDEX|CLUSTER|CREATE|ALTER|DROP|REFRESH|COPY|CHECKPOINT|BEGIN|COMMIT)\y"
"""Statements that take their time by nature, and those that only wait for others."""

_STATEMENTS: Final = """
SELECT s.queryid::text AS id, r.rolname AS role, s.calls, s.mean_exec_time / 1000 AS mean,
       s.max_exec_time / 1000 AS longest, s.total_exec_time / 1000 AS total, s.query
FROM {schema}.pg_stat_statements s
JOIN pg_database d ON d.oid = s.dbid
LEFT JOIN pg_roles r ON r.oid = s.userid
WHERE d.datname = current_database() AND s.toplevel AND s.queryid IS NOT NULL
  AND s.calls >= %(calls)s AND s.mean_exec_time >= %(milliseconds)s AND s.query !~* %(maintenance)s
ORDER BY s.mean_exec_time DESC
LIMIT %(limit)s
"""
_COUNTS: Final = """
SELECT count(*) AS statements, count(*) FILTER (WHERE s.queryid IS NULL) AS hidden,
       coalesce(sum(s.total_exec_time), 0)::float8 / 1000 AS seconds,
       (SELECT i.dealloc FROM {schema}.pg_stat_statements_info i)::bigint AS forgotten
FROM {schema}.pg_stat_statements s
JOIN pg_database d ON d.oid = s.dbid
WHERE d.datname = current_database()
"""
_RESET: Final = """
SELECT {schema}.pg_stat_statements_reset(0, (SELECT d.oid FROM pg_database d WHERE d.datname = current_database()), 0)
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Statement:
    """A statement of one role as it was counted; times in seconds."""

    id: str
    role: str | None
    calls: int
    mean: float
    longest: float
    total: float
    query: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Counts:
    statements: int
    hidden: int
    seconds: float
    forgotten: int


class PostgresSlowQueries(Action, Graded):
    """Reports the statements of this database with the longest mean time, from the extension pg_stat_statements.

    Counted is what happened since the statistics were last reset; with `resetAfterwards: true` each run resets those
    of this database, so that the next one reports only what happened since. Maintenance (VACUUM, CREATE INDEX, COPY
    and the like) is left out, and values in statements are shown as `?`.
    Locks: none. Privileges: `CREATE EXTENSION pg_stat_statements` in this database and shared_preload_libraries
    with it at the server; `GRANT pg_read_all_stats TO upkeep`; with resetAfterwards also `GRANT EXECUTE ON FUNCTION
    pg_stat_statements_reset TO upkeep`. Source of the defaults: 1 s is the limit for a user's flow of thought
    (Nielsen, Response Times: The 3 Important Limits); critical is five times that.
    """

    action_name: ClassVar[str] = "postgresSlowQueries"
    check: ClassVar[bool] = True
    graded_by: ClassVar[tuple[str, str]] = ("warning_after", "critical_after")
    finds: ClassVar[Mapping[str, str]] = {
        "postgres.slow-queries": "a statement with a long mean time",
    }

    connection: LabelName
    """Name of a PostgreSQL connection."""
    warning_after: Duration = Field(default="1s", validate_default=True)
    """Mean execution time from which on a statement is a warning."""
    critical_after: Duration = Field(default="5s", validate_default=True)
    """Mean execution time from which on a statement is critical."""
    min_calls: Annotated[int, Field(ge=1, le=1_000_000)] = 2
    """Statements that were executed less often are never a finding."""
    limit: Annotated[int, Field(ge=1, le=100)] = 20
    """How many statements are reported at most, the slowest first."""
    reset_afterwards: bool = False
    """Reset the statistics of this database after they were read, so that the next run reports only what happened
    since this one. Others who read them start from zero too."""

    async def run(self, context: Context) -> Result:
        """Read the statistics, and reset them if that is asked for.

        Raises:
            ActionError: no connection.
            UncheckableError: the extension is missing or not loaded, or its reset is not allowed.
        """
        async with session(context, self.connection) as opened:
            schema = await extension(opened)
            with answering(opened):
                slow, counts = await self._read(opened, schema)
        findings = [self._finding(statement) for statement in slow]
        known = counts.statements - counts.hidden
        message = (
            f"{len(findings)} of {known} statements take {self.warning_after.total_seconds():g} s or more on average"
        )
        if counts.forgotten:
            message = f"{message}; {counts.forgotten} times the rarest were forgotten: raise pg_stat_statements.max"
        if counts.hidden:
            message = (
                f"{counts.hidden} statements of other roles are hidden: GRANT pg_read_all_stats to the user of the "
                f"connection; of the rest: {message}"
            )
        done = Outcome.CHANGED if self.reset_afterwards else Outcome.OK
        return Result(
            outcome=Outcome.UNKNOWN if counts.hidden else done,
            message=message,
            findings=findings,
            metrics={
                "statements": known,
                "slow_statements": len(findings),
                "slowest_mean_seconds": round(max((one.mean for one in slow), default=0.0), 3),
                "execution_seconds": round(counts.seconds, 1),
            },
        )

    async def _read(self, opened: Session, schema: "Identifier") -> tuple[Sequence[_Statement], _Counts]:
        from psycopg.sql import SQL  # noqa: PLC0415 - a driver is loaded only when an action runs

        parameters = {
            "calls": self.min_calls,
            "milliseconds": self.warning_after.total_seconds() * 1000,
            "maintenance": _MAINTENANCE,
            "limit": self.limit,
        }
        counts = await opened.fetch(_Counts, SQL(_COUNTS).format(schema=schema))
        slow = await opened.fetch(_Statement, SQL(_STATEMENTS).format(schema=schema), parameters)
        if self.reset_afterwards:
            await opened.connection.execute(SQL(_RESET).format(schema=schema))
        return slow, counts[0]

    def _finding(self, statement: _Statement) -> Finding:
        critical = statement.mean >= self.critical_after.total_seconds()
        return Finding(
            check_id="postgres.slow-queries",
            severity=Severity.CRITICAL if critical else Severity.WARNING,
            object=f"query {statement.id} of {statement.role or 'a dropped role'}",
            observed=round(statement.mean, 3),
            threshold=(self.critical_after if critical else self.warning_after).total_seconds(),
            unit="seconds",
            recommendation=f"EXPLAIN (ANALYZE, BUFFERS) it: {statement.calls} calls, up to {statement.longest:.1f} s, "
            f"{statement.total:.0f} s in all: {shown(statement.query, characters=_SHOWN_CHARACTERS)}",
        )
