"""Tells which commands were slow lately. It must never show their arguments, which are users' data."""

import re
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar, Final

from pydantic import Field

from upkeep.actions.contract import Action, Context, Finding, Outcome, Result, Severity, UncheckableError
from upkeep.actions.fields import Duration, LabelName, format_duration
from upkeep.actions.redis.session import Node, sessions
from upkeep.actions.thresholds import Graded

_COMMAND: Final = re.compile(r"[A-Za-z][A-Za-z0-9._-]{0,63}", re.ASCII)
_UNNAMED: Final = "other"
_ADVICE: Final = {
    "KEYS": "use SCAN instead: KEYS walks through all keys while everybody else waits",
    "SMEMBERS": "use SSCAN, or keep the sets smaller",
    "HGETALL": "use HSCAN or HMGET, or keep the hashes smaller",
    "LRANGE": "ask for a smaller range",
    "SORT": "sort in the application, or keep what is sorted smaller",
    "DEL": "use UNLINK, which frees large values in the background",
    "FLUSHALL": "use FLUSHALL ASYNC",
    "FLUSHDB": "use FLUSHDB ASYNC",
    "EVALSHA": "make the script shorter: everybody else waits for it",
    "EVAL": "make the script shorter: everybody else waits for it",
}
_OTHER_ADVICE: Final = "look at the size of the values that it touches and at how often it is called"


@dataclass(frozen=True, slots=True, kw_only=True)
class SlowCommand:
    """One entry of the slow log, without its arguments.

    Attributes:
        name: the command in capitals.
        at: when it ran, in seconds since 1970 by the server's clock.
        seconds: how long it ran.
    """

    name: str
    at: float
    seconds: float

    @classmethod
    def of(cls, entry: Sequence[object]) -> "SlowCommand":
        """Read `[id, time, microseconds, [command, argument, ...], ...]`."""
        words = entry[3]
        first = str(words[0]) if isinstance(words, list) and words else ""
        name = first.upper() if _COMMAND.fullmatch(first) else _UNNAMED
        return cls(name=name, at=float(str(entry[1])), seconds=float(str(entry[2])) / 1e6)


class RedisSlowlog(Action, Graded):
    """Reports the slowest command of each kind in the slow log; never any of their arguments.

    Where the connection points to a node of a Redis Cluster, every node is asked, by the address that it announces.
    The server logs only what takes longer than its `slowlog-log-slower-than` and keeps only the last
    `slowlog-max-len`. Locks: none. Privileges: `ACL SETUSER upkeep on >PASSWORD +slowlog|get +info +select`, for a
    cluster also `+cluster|nodes`; with `+config|get` an empty log can be told from one that is off, but that lets its
    user read the server's passwords: without it an empty log is `unknown`.
    Source of the defaults: Redis works on one command at a time, so that all clients wait as long as a slow one takes.
    """

    action_name: ClassVar[str] = "redisSlowlog"
    check: ClassVar[bool] = True
    graded_by: ClassVar[tuple[str, str]] = ("warning_milliseconds", "critical_milliseconds")
    finds: ClassVar[Mapping[str, str]] = {
        "redis.slowlog.slow": "a slow command, the slowest of its kind",
    }

    connection: LabelName
    """Name of a Redis connection."""
    since: Duration = Field(default="1d", validate_default=True)
    """How far to look back."""
    warning_milliseconds: Annotated[float, Field(ge=0, le=3600000)] = 100
    """Duration of a command from which on it is a warning."""
    critical_milliseconds: Annotated[float, Field(ge=0, le=3600000)] = 1000
    """Duration of a command from which on it is critical."""
    entries: Annotated[int, Field(ge=1, le=10000)] = 1024
    """How many entries of the log are read at most, the newest first."""

    async def run(self, context: Context) -> Result:
        """Read the slow logs.

        Raises:
            ActionError: no connection.
            UncheckableError: the user may not read the log, or the log is off.
        """
        async with sessions(context, self.connection) as nodes:
            logs = {node.name: await self._read(node) for node in nodes}
        slow = [command for log in logs.values() for command in log]
        findings = [finding for name, log in logs.items() for finding in self._findings(name, log)]
        slowest = max(slow, key=lambda command: command.seconds, default=None)
        worst = f", the slowest {slowest.name} with {slowest.seconds * 1000:.1f} ms" if slowest else ""
        return Result(
            outcome=Outcome.OK,
            message=f"{len(slow)} commands in the slow log of the last {format_duration(self.since)}{worst}",
            findings=findings,
            metrics={
                "slow_commands": float(len(slow)),
                "slowest_seconds": round(slowest.seconds, 6) if slowest else 0.0,
            },
        )

    async def _read(self, node: Node) -> list[SlowCommand]:
        logged = [SlowCommand.of(entry) for entry in await node.ask("SLOWLOG", "GET", self.entries)]
        if not logged:
            await _see_that_it_is_on(node)
        now = float(node.info.get("server_time_usec", time.time() * 1e6)) / 1e6
        return [command for command in logged if command.at >= now - self.since.total_seconds()]

    def _findings(self, name: str, log: Sequence[SlowCommand]) -> Iterator[Finding]:
        for command, worst, count in _by_command(log):
            taken = worst * 1000
            if taken < self.warning_milliseconds:
                continue
            critical = taken >= self.critical_milliseconds
            yield Finding(
                check_id="redis.slowlog.slow",
                severity=Severity.CRITICAL if critical else Severity.WARNING,
                object=f"{name} {command}",
                observed=round(taken, 3),
                threshold=self.critical_milliseconds if critical else self.warning_milliseconds,
                unit="milliseconds",
                recommendation=f"{_ADVICE.get(command, _OTHER_ADVICE)} ({count} times in the slow log)",
            )


def _by_command(log: Sequence[SlowCommand]) -> list[tuple[str, float, int]]:
    taken: Mapping[str, list[float]] = {command.name: [] for command in log}
    for command in log:
        taken[command.name].append(command.seconds)
    return [(name, max(seconds), len(seconds)) for name, seconds in taken.items()]


async def _see_that_it_is_on(node: Node) -> None:
    try:
        answer = await node.ask("CONFIG", "GET", "slowlog-log-slower-than")
    except UncheckableError as error:
        msg = f"the slow log of {node.name} is empty, and whether it is on cannot be seen: {error}"
        raise UncheckableError(msg) from error
    if len(answer) > 1 and int(answer[1]) < 0:
        msg = f"the slow log of {node.name} is off: set slowlog-log-slower-than to 10000 (microseconds) at the server"
        raise UncheckableError(msg)
