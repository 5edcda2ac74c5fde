"""Tells how far the databases are from the end of their transaction numbers, at which the server takes no writes."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, ClassVar, Final

from pydantic import Field

from upkeep.actions.contract import Action, Context, Finding, Outcome, Result, Severity
from upkeep.actions.fields import LabelName
from upkeep.actions.postgres.session import session
from upkeep.actions.thresholds import Graded

_LIMIT: Final = 2**31
_TABLES_NAMED: Final = 5

_DATABASES: Final = """
SELECT d.datname AS name, age(d.datfrozenxid)::bigint AS transactions,
       mxid_age(d.datminmxid)::bigint AS multixacts
FROM pg_database d
"""
_TABLES: Final = """
SELECT n.nspname || '.' || c.relname AS name,
       greatest(age(c.relfrozenxid), age(t.relfrozenxid))::bigint AS transactions,
       greatest(mxid_age(c.relminmxid), mxid_age(t.relminmxid))::bigint AS multixacts
FROM pg_class c
JOIN pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN pg_class t ON t.oid = c.reltoastrelid
WHERE c.relkind IN ('r', 'm')
ORDER BY greatest(age(c.relfrozenxid), age(t.relfrozenxid), mxid_age(c.relminmxid), mxid_age(t.relminmxid)) DESC
LIMIT %(limit)s
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Age:
    """How many transactions, and sets of row lockers, ago something was last frozen as a whole."""

    name: str
    transactions: int
    multixacts: int

    @property
    def worst(self) -> int:
        return max(self.transactions, self.multixacts)


class PostgresWraparound(Action, Graded):
    """Reports databases whose oldest transaction number is old, and the tables of this one that hold it back.

    Locks: none. Privileges: only CONNECT on the database, for example `GRANT CONNECT ON DATABASE shop TO upkeep`.
    Source of the defaults: the server takes no more writes at 2.1 billion; autovacuum starts at 200 million
    (autovacuum_freeze_max_age), so at 500 million it cannot keep up; at a billion half of the way is gone.
    """

    action_name: ClassVar[str] = "postgresWraparound"
    check: ClassVar[bool] = True
    graded_by: ClassVar[tuple[str, str]] = ("warning_age", "critical_age")
    finds: ClassVar[Mapping[str, str]] = {
        "postgres.wraparound": "a database or table with an old transaction number",
    }

    connection: LabelName
    """Name of a PostgreSQL connection."""
    warning_age: Annotated[int, Field(ge=0, le=_LIMIT)] = 500_000_000
    """Age in transactions from which on it is a warning."""
    critical_age: Annotated[int, Field(ge=0, le=_LIMIT)] = 1_000_000_000
    """Age in transactions from which on it is critical."""

    async def run(self, context: Context) -> Result:
        """Compare the ages with the thresholds.

        Raises:
            ActionError: no connection.
        """
        async with session(context, self.connection) as opened:
            databases = await opened.fetch(_Age, _DATABASES)
            tables = await opened.fetch(_Age, _TABLES, {"limit": _TABLES_NAMED})
        oldest = max(databases, key=lambda one: one.worst)
        advice = "let VACUUM FREEZE run there, and end old transactions, prepared transactions and replication slots"
        findings = [
            *(self._finding(one, label=f"database {one.name}", advice=advice) for one in databases),
            *(self._finding(one, label=one.name, advice="VACUUM (FREEZE) it") for one in tables),
        ]
        share = 100 * oldest.worst / _LIMIT
        return Result(
            outcome=Outcome.OK,
            message=f"the oldest database is {oldest.name}: {share:.1f} % of the transaction numbers are used",
            findings=[finding for finding in findings if finding is not None],
            metrics={
                "oldest_transactions": max(one.transactions for one in databases),
                "oldest_multixacts": max(one.multixacts for one in databases),
                "used_percent": round(share, 2),
            },
        )

    def _finding(self, age: _Age, *, label: str, advice: str) -> Finding | None:
        if age.worst < self.warning_age:
            return None
        critical = age.worst >= self.critical_age
        return Finding(
            check_id="postgres.wraparound",
            severity=Severity.CRITICAL if critical else Severity.WARNING,
            object=label,
            observed=age.worst,
            threshold=self.critical_age if critical else self.warning_age,
            unit="transactions",
            recommendation=f"{advice}: {100 * age.worst / _LIMIT:.1f} % of the way to the point at which no writes are "
            "taken",
        )
