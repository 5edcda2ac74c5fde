"""Tells who is blocked by whom, with both statements, so that a person knows which session to end.

It only looks: nothing here may cancel anything.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Final

from pydantic import Field

from upkeep.actions.contract import Action, Context, Finding, Outcome, Result
from upkeep.actions.fields import Duration, LabelName
from upkeep.actions.postgres.activity import Backend, demand_sight, read_activity
from upkeep.actions.postgres.session import session
from upkeep.actions.postgres.thresholds import passed, seconds_in_words
from upkeep.actions.thresholds import Graded

_PREPARED: Final = 0
"""The number that PostgreSQL gives for a prepared transaction, which has no process."""

_WAITS: Final = """
SELECT l.pid, pg_blocking_pids(l.pid) AS blockers,
       CASE WHEN l.database = (SELECT d.oid FROM pg_database d WHERE d.datname = current_database())
            THEN coalesce(l.relation::regclass::text, l.locktype) ELSE l.locktype END AS thing,
       l.mode, extract(epoch FROM clock_timestamp() - coalesce(l.waitstart, a.state_change))::float8 AS seconds
FROM pg_locks l
LEFT JOIN pg_stat_activity a ON a.pid = l.pid
WHERE NOT l.granted
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Wait:
    """A process that waits for a lock; `blockers` are the processes that hold it or are before it in the queue."""

    pid: int
    blockers: list[int]
    thing: str
    mode: str
    seconds: float | None


@dataclass(frozen=True, slots=True)
class _Tree:
    """Who waits for whom."""

    waits: Mapping[int, _Wait]
    backends: Mapping[int, Backend]

    def roots(self, pid: int) -> list[int]:
        """The processes at the end of the chain, that wait for nobody; empty where they wait in a circle."""
        found, seen, pending = [], {pid}, list(self.waits[pid].blockers)
        while pending:
            blocker = pending.pop()
            if blocker in seen:
                continue
            seen.add(blocker)
            if blocker in self.waits:
                pending += self.waits[blocker].blockers
            else:
                found.append(blocker)
        return sorted(found)

    def behind(self, root: int) -> int:
        """How many processes wait for this one, directly or not."""
        return sum(root in self.roots(pid) for pid in self.waits)

    def label(self, pid: int) -> str:
        """A process for people."""
        if pid == _PREPARED:
            return "a prepared transaction"
        return self.backends[pid].label if pid in self.backends else f"pid {pid}"

    def doing(self, pid: int) -> str:
        """What a process does, with its statement."""
        backend = self.backends.get(pid)
        if pid == _PREPARED:
            return "see pg_prepared_xacts; COMMIT or ROLLBACK PREPARED it"
        if backend is None:
            return "gone"
        if backend.idle_in_transaction:
            return f"idle in transaction for {seconds_in_words(backend.state_seconds or 0)} after {backend.statement}"
        return backend.statement


class PostgresLocks(Action, Graded):
    """Reports sessions that wait for a lock: one finding each, with what blocks them and both statements.

    A finding names the direct blocker and, where that one waits too, the session at the end of the chain: ending
    that one sets all behind it free. Values in statements are shown as `?`.
    Locks: none on tables; reading who blocks whom stops the lock manager for an instant. Privileges: for example
    `GRANT pg_read_all_stats TO upkeep`, without which the step is unknown. Source of the defaults: users give up on
    a page after some 10 s (Nielsen, Response Times: The 3 Important Limits), and pools are exhausted within a minute.
    """

    action_name: ClassVar[str] = "postgresLocks"
    check: ClassVar[bool] = True
    graded_by: ClassVar[tuple[str, str]] = ("warning_after", "critical_after")
    finds: ClassVar[Mapping[str, str]] = {
        "postgres.locks": "a session that waits for a lock",
    }

    connection: LabelName
    """Name of a PostgreSQL connection."""
    warning_after: Duration = Field(default="10s", validate_default=True)
    """How long a session waits for a lock before it is a warning."""
    critical_after: Duration = Field(default="1m", validate_default=True)
    """How long a session waits for a lock before it is critical."""

    async def run(self, context: Context) -> Result:
        """Look once.

        Raises:
            ActionError: no connection.
            UncheckableError: what others do is hidden.
        """
        async with session(context, self.connection) as opened:
            await demand_sight(opened)
            waits = {wait.pid: wait for wait in await opened.fetch(_Wait, _WAITS) if wait.blockers}
            backends = {backend.pid: backend for backend in await read_activity(opened)}
        tree = _Tree(waits, backends)
        findings = [finding for wait in waits.values() if (finding := self._finding(tree, wait)) is not None]
        return Result(
            outcome=Outcome.OK,
            message=_summary(tree),
            findings=findings,
            metrics={
                "blocked": len(waits),
                "root_blockers": len({root for pid in waits for root in tree.roots(pid)}),
                "longest_wait_seconds": round(max((wait.seconds or 0 for wait in waits.values()), default=0.0), 1),
            },
        )

    def _finding(self, tree: _Tree, wait: _Wait) -> Finding | None:
        seconds = wait.seconds or 0
        reached = passed(seconds, warning=self.warning_after, critical=self.critical_after)
        if reached is None:
            return None
        blocker = wait.blockers[0]
        roots = tree.roots(wait.pid)
        if not roots:
            advice = "they wait in a circle: the server ends one of them after deadlock_timeout"
        elif blocker in roots:
            advice = "let it end or cancel it"
        else:
            advice = f"which waits too: end {tree.label(roots[0])}"
        return Finding(
            check_id="postgres.locks",
            severity=reached.severity,
            object=tree.label(wait.pid),
            observed=round(seconds, 1),
            threshold=reached.threshold,
            unit="seconds",
            recommendation=f"blocked by {tree.label(blocker)}: {tree.doing(blocker)} | {advice} | waits for "
            f"{wait.mode} on {wait.thing}: {tree.doing(wait.pid)}",
        )


def _summary(tree: _Tree) -> str:
    if not tree.waits:
        return "nobody waits for a lock"
    roots: Sequence[int] = sorted(
        {root for pid in tree.waits for root in tree.roots(pid)}, key=lambda root: -tree.behind(root)
    )
    number = len(tree.waits)
    waiting = f"{number} session{' waits' if number == 1 else 's wait'} for a lock"
    if not roots:
        return f"{waiting}, in a circle"
    return f"{waiting}, {tree.behind(roots[0])} of them behind {tree.label(roots[0])}: {tree.doing(roots[0])}"
