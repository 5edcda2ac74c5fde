"""Who is connected to the server and what they are doing: the one place that reads pg_stat_activity.

What other roles do is hidden from a role without `pg_read_all_stats`; hidden must never be taken for idle.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from upkeep.actions.contract import UncheckableError
from upkeep.actions.postgres.session import Session
from upkeep.actions.postgres.statements import shown
from upkeep.actions.text import several

CLIENT: Final = "client backend"
_IDLE_IN_TRANSACTION: Final = "idle in transaction"
_ACTIVITY: Final = """
SELECT a.pid, a.backend_start AS started, a.query_start AS asked, coalesce(a.usename, '') AS role,
       coalesce(a.datname, '') AS database,
       coalesce(a.application_name, '') AS application, coalesce(a.backend_type, '') AS kind,
       a.backend_type IS NULL AND a.datid IS NOT NULL AND a.usesysid IS NOT NULL AS hidden,
       a.state, a.wait_event_type AS wait_type, a.wait_event AS wait,
       extract(epoch FROM clock_timestamp() - a.xact_start)::float8 AS transaction_seconds,
       extract(epoch FROM clock_timestamp() - a.query_start)::float8 AS query_seconds,
       extract(epoch FROM clock_timestamp() - a.state_change)::float8 AS state_seconds,
       a.backend_xmin IS NOT NULL OR a.backend_xid IS NOT NULL AS holds_back,
       coalesce(a.query, '') AS query
FROM pg_stat_activity a
WHERE a.pid <> pg_backend_pid()
ORDER BY a.backend_start, a.pid
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Backend:
    """One process of the server.

    Attributes:
        pid: its number, which the system may give to another process later; only with `started` it is unique.
        started: when it was started.
        asked: when its current or last statement was started.
        role: who is logged in, empty for the server's own processes.
        database: where, empty for the server's own processes.
        application: what the client calls itself.
        kind: `client backend`, `autovacuum worker`, `walsender`, ...; empty where hidden.
        hidden: whether what it does may not be seen.
        state: `active`, `idle`, `idle in transaction`, ...; None where hidden, and for the server's own processes.
        wait_type: class of what it waits for, for example `Lock`.
        wait: what it waits for, for example `transactionid`.
        transaction_seconds: age of its transaction, None outside of one.
        query_seconds: since its current or last statement was started.
        state_seconds: since it is in this state.
        holds_back: whether dead rows must be kept for it.
        query: its current or last statement.
    """

    pid: int
    started: datetime
    asked: datetime | None
    role: str
    database: str
    application: str
    kind: str
    hidden: bool
    state: str | None
    wait_type: str | None
    wait: str | None
    transaction_seconds: float | None
    query_seconds: float | None
    state_seconds: float | None
    holds_back: bool
    query: str

    @property
    def label(self) -> str:
        """`pid 4711 (shop@shop, web)`, for people."""
        who = f"{self.role}@{self.database}" if self.role and self.database else self.role or self.kind
        named = f"{who}, {self.application}" if self.application and who else who or self.application
        return f"pid {self.pid} ({named})"

    @property
    def client(self) -> bool:
        """Whether it counts as a connection of somebody, also where what it does is hidden."""
        return self.hidden or self.kind == CLIENT

    @property
    def active(self) -> bool:
        """Whether it executes a statement now."""
        return self.state in {"active", "fastpath function call"}

    @property
    def idle_in_transaction(self) -> bool:
        """Whether its transaction is open while it waits for its client."""
        return (self.state or "").startswith(_IDLE_IN_TRANSACTION)

    @property
    def statement(self) -> str:
        """Its current or last statement as it may be shown."""
        return shown(self.query) or "no statement"


async def read_activity(session: Session) -> Sequence[Backend]:
    """All processes but the own one, the oldest first. Takes no lock on any table."""
    return await session.fetch(Backend, _ACTIVITY)


def hidden_in_words(backends: Sequence[Backend]) -> str:
    """What to do about sessions that may not be seen; empty where there are none."""
    hidden = [backend for backend in backends if backend.hidden]
    if not hidden:
        return ""
    number = several(len(hidden), "session")
    return f"what {number} of other roles do is hidden: GRANT pg_read_all_stats to the user of the connection"


async def demand_sight(session: Session) -> None:
    """Make sure that the activity of all roles can be seen, before anything is judged or done by it.

    Raises:
        UncheckableError: it is hidden; says what to grant.
    """
    rows = await session.fetch(_Sight, "SELECT pg_has_role('pg_read_all_stats', 'USAGE') AS all_roles")
    if not rows[0].all_roles:
        msg = (
            f"PostgreSQL {session.server} hides what other roles do: "
            "GRANT pg_read_all_stats to the user of the connection"
        )
        raise UncheckableError(msg)


@dataclass(frozen=True, slots=True)
class _Sight:
    all_roles: bool
