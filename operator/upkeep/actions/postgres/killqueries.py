"""Ends statements that run for too long, and only exactly those that were looked at.

A process number is reused: nothing is ever ended by its number alone, but only while the same session still executes
the same statement.
"""

import asyncio
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, ClassVar, Final, Self

from pydantic import Field, model_validator

from upkeep.actions.contract import Action, ActionError, Context, Finding, Outcome, Result, Severity
from upkeep.actions.fields import Duration, LabelName, Rule
from upkeep.actions.postgres.activity import CLIENT, Backend, demand_sight, read_activity
from upkeep.actions.postgres.session import Session, session
from upkeep.actions.postgres.thresholds import seconds_in_words
from upkeep.actions.text import several

_TERMINATE_ONLY: Final = "a session that is idle in a transaction has no statement to cancel: set method: Terminate"
_INSUFFICIENT_PRIVILEGE: Final = "42501"
_CONFIRMATION_SECONDS: Final = 5.0
_POLL_SECONDS: Final = 0.1
_NAMED_IN_MESSAGE: Final = 3
_MAINTENANCE: Final = re.compile(r"\s*(VACUUM|ANALYZE|REINDEX|CLUSTER|CREATE|ALTER|REFRESH|COPY)\b", re.IGNORECASE)

_SUPERUSERS: Final = "SELECT r.rolname AS role FROM pg_roles r WHERE r.rolsuper"
_MATCH: Final = """
FROM pg_stat_activity a
WHERE a.pid = %(pid)s AND a.backend_start = %(started)s AND a.query_start = %(asked)s AND a.state = %(state)s
"""
_CANCEL: Final = f"SELECT pg_cancel_backend(a.pid) AS done {_MATCH}"
_TERMINATE: Final = f"SELECT pg_terminate_backend(a.pid) AS done {_MATCH}"
_STILL_THERE: Final = f"SELECT true AS done {_MATCH}"


class KillState(StrEnum):
    """What a session does that is ended."""

    ACTIVE = "Active"
    IDLE_IN_TRANSACTION = "IdleInTransaction"


class KillMethod(StrEnum):
    """How: the statement is cancelled, or the whole session ended."""

    CANCEL = "Cancel"
    TERMINATE = "Terminate"


@dataclass(frozen=True, slots=True)
class _Done:
    done: bool


@dataclass(frozen=True, slots=True)
class _Role:
    role: str


class PostgresKillQueries(Action):
    """Cancels statements, or ends sessions, that take longer than they may; by default it only says which.

    Looked at are clients of the connection's database. Left out are superusers, Upkeep itself, and maintenance
    (VACUUM, CREATE INDEX, COPY and the like). The oldest go first; each is matched again by process number, start
    of the session and start of the statement, and looked for afterwards.
    Locks: none. Privileges: `GRANT pg_read_all_stats, pg_signal_backend TO upkeep`.
    """

    action_name: ClassVar[str] = "postgresKillQueries"
    finds: ClassVar[Mapping[str, str]] = {
        "postgres.kill-queries": "what would be cancelled or ended; in a dry run only",
    }

    connection: LabelName
    """Name of a PostgreSQL connection."""
    older_than: Duration
    """How long a statement runs, or a session is idle in its transaction, before it is ended."""
    state: KillState = KillState.ACTIVE
    """Active: statements that run. IdleInTransaction: sessions that wait in an open transaction."""
    method: KillMethod = KillMethod.CANCEL
    """Cancel: the statement fails, the session goes on. Terminate: the session ends."""
    roles: Annotated[list[Annotated[str, Field(min_length=1, max_length=63)]], Field(max_length=32)] = Field(
        default_factory=list
    )
    """Only sessions of these roles. Left out: of every role but superusers."""
    ignore_applications: Annotated[list[Annotated[str, Field(min_length=1, max_length=63)]], Field(max_length=32)] = (
        Field(default_factory=lambda: ["pg_dump"])
    )
    """Applications (application_name) that are left alone."""
    limit: Annotated[int, Field(ge=1, le=1000)] = 10
    """How many are ended in one run at most, the oldest first."""
    dry_run: bool = True
    """Only say what would be ended. Set it to false to end it."""

    @classmethod
    def rules(cls) -> Sequence[Rule]:
        """A session that executes nothing can only be ended as a whole."""
        return (
            {
                "rule": "!has(self.state) || self.state != 'IdleInTransaction' || "
                "(has(self.method) && self.method == 'Terminate')",
                "message": _TERMINATE_ONLY,
            },
        )

    @model_validator(mode="after")
    def _effective(self) -> Self:
        if self.state is KillState.IDLE_IN_TRANSACTION and self.method is KillMethod.CANCEL:
            raise ValueError(_TERMINATE_ONLY)
        return self

    async def run(self, context: Context) -> Result:
        """Find, end, and look again.

        Raises:
            ActionError: no connection, or ending them is not allowed.
            UncheckableError: what others do is hidden.
        """
        async with session(context, self.connection) as opened:
            await demand_sight(opened)
            superusers = {found.role for found in await opened.fetch(_Role, _SUPERUSERS)}
            found = [
                backend
                for backend in await read_activity(opened)
                if self._wanted(backend, database=opened.database) and backend.role not in superusers
            ]
            found.sort(key=lambda backend: -self._seconds(backend))
            chosen = found[: self.limit]
            if self.dry_run:
                return self._preview(chosen, found=len(found))
            sent = [backend for backend in chosen if await self._end(opened, backend)]
            left = await _wait_until_gone(opened, sent)
        return self._result(sent, left=left, found=len(found))

    def _wanted(self, backend: Backend, *, database: str) -> bool:
        idle = self.state is KillState.IDLE_IN_TRANSACTION
        return (
            backend.kind == CLIENT
            and backend.database == database
            and (backend.idle_in_transaction if idle else backend.active)
            and self._seconds(backend) >= self.older_than.total_seconds()
            and (not self.roles or backend.role in self.roles)
            and backend.application not in {"upkeep", *self.ignore_applications}
            and (idle or not _MAINTENANCE.match(backend.query))
        )

    def _seconds(self, backend: Backend) -> float:
        idle = self.state is KillState.IDLE_IN_TRANSACTION
        return (backend.state_seconds if idle else backend.query_seconds) or 0.0

    async def _end(self, opened: Session, backend: Backend) -> bool:
        """Whether it was still there to be ended."""
        import psycopg  # noqa: PLC0415 - a driver is loaded only when an action runs

        query = _CANCEL if self.method is KillMethod.CANCEL else _TERMINATE
        try:
            answers = await opened.fetch(_Done, query, _identity(backend))
        except psycopg.Error as error:
            if error.sqlstate != _INSUFFICIENT_PRIVILEGE:
                raise
            msg = (
                f"PostgreSQL {opened.server} does not let this user end {backend.label}: GRANT pg_signal_backend to "
                "the user of the connection"
            )
            raise ActionError(msg) from error
        return any(answer.done for answer in answers)

    @property
    def _what(self) -> str:
        return "statement" if self.method is KillMethod.CANCEL else "session"

    @property
    def _verb(self) -> str:
        return "cancel" if self.method is KillMethod.CANCEL else "end"

    def _preview(self, chosen: Sequence[Backend], *, found: int) -> Result:
        findings = [
            Finding(
                check_id="postgres.kill-queries",
                severity=Severity.WARNING,
                object=backend.label,
                observed=round(self._seconds(backend), 1),
                threshold=self.older_than.total_seconds(),
                unit="seconds",
                recommendation=f"dryRun: false would {self._verb} it: {backend.statement}",
            )
            for backend in chosen
        ]
        message = f"dry run: would {self._verb} {self._count(len(chosen))}{self._beyond(found)}"
        return Result(outcome=Outcome.OK, message=message, findings=findings, metrics={"found": found, "ended": 0})

    def _result(self, sent: Sequence[Backend], *, left: Sequence[Backend], found: int) -> Result:
        metrics = {"found": found, "ended": len(sent) - len(left)}
        if left:
            names = ", ".join(backend.label for backend in left[:_NAMED_IN_MESSAGE])
            advice = "try method: Terminate" if self.method is KillMethod.CANCEL else "look into the server's log"
            message = f"{len(left)} of {self._count(len(sent))} still there after {_CONFIRMATION_SECONDS:g} s: {names}"
            return Result(outcome=Outcome.FAILED, message=f"{message}: {advice}", metrics=metrics)
        if not sent:
            message = f"no {self._what} is older than {seconds_in_words(self.older_than.total_seconds())}"
            return Result(outcome=Outcome.OK, message=message, metrics=metrics)
        past = "cancelled" if self.method is KillMethod.CANCEL else "ended"
        named = "; ".join(
            f"{backend.label} after {seconds_in_words(self._seconds(backend))}: {backend.statement}"
            for backend in sent[:_NAMED_IN_MESSAGE]
        )
        message = f"{past} {self._count(len(sent))}{self._beyond(found)}: {named}"
        return Result(outcome=Outcome.CHANGED, message=message, metrics=metrics)

    def _count(self, number: int) -> str:
        return several(number, self._what)

    def _beyond(self, found: int) -> str:
        return f" (of {found}, by limit)" if found > self.limit else ""


def _identity(backend: Backend) -> dict[str, object]:
    return {"pid": backend.pid, "started": backend.started, "asked": backend.asked, "state": backend.state}


async def _wait_until_gone(opened: Session, sent: Sequence[Backend]) -> list[Backend]:
    """Those that still do the same after some seconds."""
    left = list(sent)
    for _ in range(int(_CONFIRMATION_SECONDS / _POLL_SECONDS)):
        left = [backend for backend in left if await opened.fetch(_Done, _STILL_THERE, _identity(backend))]
        if not left:
            break
        await asyncio.sleep(_POLL_SECONDS)
    return left
