"""Finds transactions and statements that run for very long: they hold locks and keep VACUUM from cleaning up."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar, Final

from pydantic import Field

from upkeep.actions.contract import Action, Context, Finding, Outcome, Result
from upkeep.actions.fields import Duration, LabelName
from upkeep.actions.postgres.activity import Backend, demand_sight, read_activity
from upkeep.actions.postgres.session import session
from upkeep.actions.postgres.thresholds import passed, seconds_in_words
from upkeep.actions.text import several
from upkeep.actions.thresholds import Graded

_PREPARED: Final = """
SELECT p.gid, p.owner AS role, p.database, extract(epoch FROM clock_timestamp() - p.prepared)::float8 AS seconds
FROM pg_prepared_xacts p
"""


@dataclass(frozen=True, slots=True)
class _Prepared:
    gid: str
    role: str
    database: str
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class _Transaction:
    label: str
    seconds: float
    advice: str


class PostgresLongTransactions(Action, Graded):
    """Reports transactions that are open for long: running statements, idle in transaction, and prepared ones.

    All databases of the server are looked at. VACUUM by the server itself, replication and Upkeep are left out.
    Locks: none. Privileges: `GRANT pg_read_all_stats TO upkeep`, without which the step is unknown. Source of the
    defaults: 5 minutes are beyond any request of a user; after half an hour dead rows and locks hurt everybody.
    """

    action_name: ClassVar[str] = "postgresLongTransactions"
    check: ClassVar[bool] = True
    graded_by: ClassVar[tuple[str, str]] = ("warning_after", "critical_after")
    finds: ClassVar[Mapping[str, str]] = {
        "postgres.long-transactions": "a transaction that is open for long",
    }

    connection: LabelName
    """Name of a PostgreSQL connection."""
    warning_after: Duration = Field(default="5m", validate_default=True)
    """How old a transaction is when it becomes a warning."""
    critical_after: Duration = Field(default="30m", validate_default=True)
    """How old a transaction is when it becomes critical."""
    ignore_applications: Annotated[list[Annotated[str, Field(min_length=1, max_length=63)]], Field(max_length=32)] = (
        Field(default_factory=list)
    )
    """Applications (application_name) whose transactions may take long, for example `pg_dump`."""

    async def run(self, context: Context) -> Result:
        """Look once.

        Raises:
            ActionError: no connection.
            UncheckableError: what others do is hidden.
        """
        async with session(context, self.connection) as opened:
            await demand_sight(opened)
            backends = await read_activity(opened)
            prepared = await opened.fetch(_Prepared, _PREPARED)
        ignored = {"upkeep", *self.ignore_applications}
        transactions = [
            *(_of(backend) for backend in backends if _matters(backend) and backend.application not in ignored),
            *(_of_prepared(one) for one in prepared),
        ]
        findings = [finding for one in transactions if (finding := self._finding(one)) is not None]
        longest = max(transactions, key=lambda one: one.seconds, default=None)
        message = several(len(transactions), "open transaction")
        if longest:
            message = f"{message}, the longest for {seconds_in_words(longest.seconds)}: {longest.label}"
        return Result(
            outcome=Outcome.OK,
            message=message,
            findings=findings,
            metrics=_metrics(transactions, findings, backends, len(prepared)),
        )

    def _finding(self, transaction: _Transaction) -> Finding | None:
        reached = passed(transaction.seconds, warning=self.warning_after, critical=self.critical_after)
        if reached is None:
            return None
        return Finding(
            check_id="postgres.long-transactions",
            severity=reached.severity,
            object=transaction.label,
            observed=round(transaction.seconds, 1),
            threshold=reached.threshold,
            unit="seconds",
            recommendation=transaction.advice,
        )


def _matters(backend: Backend) -> bool:
    return backend.client and backend.transaction_seconds is not None


def _of(backend: Backend) -> _Transaction:
    holds = ", and keeps dead rows from being removed" if backend.holds_back else ""
    since = seconds_in_words(backend.state_seconds or 0)
    if backend.idle_in_transaction:
        advice = (
            f"idle in transaction for {since}{holds}: let the application commit, or set "
            f"idle_in_transaction_session_timeout; last statement: {backend.statement}"
        )
    else:
        running = seconds_in_words(backend.query_seconds or 0)
        advice = f"its statement runs for {running}{holds}: make it faster or cancel it: {backend.statement}"
    return _Transaction(label=backend.label, seconds=backend.transaction_seconds or 0, advice=advice)


def _of_prepared(prepared: _Prepared) -> _Transaction:
    return _Transaction(
        label=f"prepared transaction {prepared.gid} ({prepared.role}@{prepared.database})",
        seconds=prepared.seconds,
        advice="it holds locks and dead rows until somebody ends it: COMMIT PREPARED or ROLLBACK PREPARED it",
    )


def _metrics(
    transactions: Sequence[_Transaction], findings: Sequence[Finding], backends: Sequence[Backend], prepared: int
) -> dict[str, float]:
    return {
        "transactions": len(transactions),
        "long_transactions": len(findings),
        "idle_in_transaction": sum(backend.idle_in_transaction for backend in backends),
        "prepared_transactions": prepared,
        "longest_transaction_seconds": round(max((one.seconds for one in transactions), default=0.0), 1),
    }
