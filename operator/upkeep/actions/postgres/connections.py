"""Tells how many connections are in use of those that the server, the database and the role may have.

A server that has none left refuses this check too; then the error says so.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar, Final

from pydantic import Field

from upkeep.actions.contract import Action, Context, Finding, Outcome, Result, Severity
from upkeep.actions.fields import LabelName
from upkeep.actions.postgres.activity import Backend, hidden_in_words, read_activity
from upkeep.actions.postgres.session import session
from upkeep.actions.postgres.thresholds import seconds_in_words
from upkeep.actions.thresholds import Graded

_WAITS_NAMED: Final = 3
_OWN_WAITS: Final = frozenset({None, "Activity", "Client", "Timeout", "Extension"})
"""Waits that do not mean that the server keeps a client waiting."""

_LIMITS: Final = """
SELECT current_setting('max_connections')::int AS connections,
       current_setting('superuser_reserved_connections')::int
         + coalesce(current_setting('reserved_connections', true)::int, 0) AS reserved,
       d.datconnlimit AS of_database
FROM pg_database d
WHERE d.datname = current_database()
"""
_ROLE_LIMITS: Final = """
SELECT r.rolname AS role, r.rolconnlimit AS connections
FROM pg_roles r
WHERE r.rolconnlimit >= 0 AND r.rolcanlogin
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Limits:
    connections: int
    reserved: int
    of_database: int


@dataclass(frozen=True, slots=True)
class _RoleLimit:
    role: str
    connections: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Use:
    """Connections in use of a limit, and what the limit belongs to."""

    object: str
    used: int
    limit: int
    advice: str

    @property
    def percent(self) -> float:
        return 100 * self.used / self.limit if self.limit > 0 else 100.0


class PostgresConnections(Action, Graded):
    """Reports how many connections are open, active and waiting, and how near that is to the limits.

    The limits are max_connections without what is reserved, and the connection limits of the database and of roles.
    Locks: none. Privileges: `GRANT pg_read_all_stats TO upkeep`, without which the states of other roles'
    sessions are hidden and the step is unknown. Source of the defaults: at 80 percent a second replica of an
    application with the usual pool of 10 to 20 still fits into the default limit of 100; at 95 it does not.
    """

    action_name: ClassVar[str] = "postgresConnections"
    check: ClassVar[bool] = True
    graded_by: ClassVar[tuple[str, str]] = ("warning_percent", "critical_percent")
    finds: ClassVar[Mapping[str, str]] = {
        "postgres.connections": "a limit of connections that is nearly reached",
    }

    connection: LabelName
    """Name of a PostgreSQL connection."""
    warning_percent: Annotated[float, Field(ge=0, le=100)] = 80
    """Use of a limit, in percent, above which it is a warning."""
    critical_percent: Annotated[float, Field(ge=0, le=100)] = 95
    """Use of a limit, in percent, above which it is critical."""

    async def run(self, context: Context) -> Result:
        """Count and compare with the limits.

        Raises:
            ActionError: no connection.
        """
        async with session(context, self.connection) as opened:
            backends = await read_activity(opened)
            limits = (await opened.fetch(_Limits, _LIMITS))[0]
            of_roles = await opened.fetch(_RoleLimit, _ROLE_LIMITS)
        clients = [backend for backend in backends if backend.client]
        uses = list(_uses(clients, limits, of_roles, server=opened.server, database=opened.database))
        findings = [finding for use in uses if (finding := self._finding(use)) is not None]
        hidden = hidden_in_words(backends)
        message = f"{_summary(clients, uses[0])}{_longest(clients)}"
        return Result(
            outcome=Outcome.UNKNOWN if hidden else Outcome.OK,
            message=f"{hidden}; of the rest: {message}" if hidden else message,
            findings=findings,
            metrics=_metrics(clients, uses[0]),
        )

    def _finding(self, use: _Use) -> Finding | None:
        if use.percent > self.critical_percent:
            severity, threshold = Severity.CRITICAL, self.critical_percent
        elif use.percent > self.warning_percent:
            severity, threshold = Severity.WARNING, self.warning_percent
        else:
            return None
        return Finding(
            check_id="postgres.connections",
            severity=severity,
            object=use.object,
            observed=round(use.percent, 1),
            threshold=threshold,
            unit="percent",
            recommendation=f"{use.used} of {use.limit} connections are in use: {use.advice}",
        )


def _uses(
    clients: Sequence[Backend], limits: _Limits, of_roles: Sequence[_RoleLimit], *, server: str, database: str
) -> Sequence[_Use]:
    """The server's use first, the own connection included."""
    own = 1
    uses = [
        _Use(
            object=server,
            used=len(clients) + own,
            limit=limits.connections - limits.reserved,
            advice="close idle ones, use a pooler, or raise max_connections",
        )
    ]
    if limits.of_database >= 0:
        there = sum(backend.database == database for backend in clients) + own
        advice = "close idle ones or raise ALTER DATABASE … CONNECTION LIMIT"
        uses.append(_Use(object=f"database {database}", used=there, limit=limits.of_database, advice=advice))
    counts = Counter(backend.role for backend in clients)
    for limit in of_roles:
        if counts[limit.role]:
            advice = "close idle ones or raise ALTER ROLE … CONNECTION LIMIT"
            uses.append(
                _Use(object=f"role {limit.role}", used=counts[limit.role], limit=limit.connections, advice=advice)
            )
    return uses


def _waiting(clients: Sequence[Backend]) -> list[Backend]:
    return [backend for backend in clients if backend.active and backend.wait_type not in _OWN_WAITS]


def _metrics(clients: Sequence[Backend], use: _Use) -> dict[str, float]:
    queries = [backend.query_seconds or 0 for backend in clients if backend.active]
    transactions = [backend.transaction_seconds or 0 for backend in clients]
    return {
        "connections": use.used,
        "connection_limit": use.limit,
        "utilisation_percent": round(use.percent, 1),
        "active": sum(backend.active for backend in clients),
        "idle_in_transaction": sum(backend.idle_in_transaction for backend in clients),
        "waiting": len(_waiting(clients)),
        "waiting_for_locks": sum(backend.wait_type == "Lock" for backend in clients),
        "longest_query_seconds": round(max(queries, default=0.0), 1),
        "longest_transaction_seconds": round(max(transactions, default=0.0), 1),
    }


def _summary(clients: Sequence[Backend], use: _Use) -> str:
    waits = Counter(f"{backend.wait_type}/{backend.wait}" for backend in _waiting(clients))
    named = ", ".join(f"{count} for {wait}" for wait, count in waits.most_common(_WAITS_NAMED))
    waiting = f"{waits.total()} waiting" + (f" ({named})" if named else "")
    active = sum(backend.active for backend in clients)
    return f"{use.used} of {use.limit} connections ({use.percent:.0f} %): {active} active, {waiting}"


def _longest(clients: Sequence[Backend]) -> str:
    """The statement that runs longest."""
    running = [backend for backend in clients if backend.active]
    if not running:
        return ""
    longest = max(running, key=lambda backend: backend.query_seconds or 0)
    return f"; longest: {longest.label} for {seconds_in_words(longest.query_seconds or 0)}: {longest.statement}"
