"""Tells how many lookups a cache answers, over an interval of its own and beside what it did since it started."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Final

from pydantic import Field

from upkeep.actions.contract import Action, ActionError, Context, Finding, Outcome, Result, Severity, UncheckableError
from upkeep.actions.fields import Duration, LabelName, format_duration
from upkeep.actions.redis.session import Node, sessions
from upkeep.actions.thresholds import Graded

_MARGIN_SECONDS: Final = 2.0
"""What connecting and asking twice may take besides the interval."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lookups:
    """What a server counted, since it started or between two looks.

    Attributes:
        hits: lookups that found their key.
        misses: lookups that did not.
        evicted: keys that were removed for lack of memory.
    """

    hits: int
    misses: int
    evicted: int

    @classmethod
    def of(cls, info: Mapping[str, Any]) -> "Lookups":
        """Read it from the answer to INFO."""
        return cls(
            hits=int(info["keyspace_hits"]), misses=int(info["keyspace_misses"]), evicted=int(info["evicted_keys"])
        )

    def __add__(self, other: "Lookups") -> "Lookups":
        return Lookups(
            hits=self.hits + other.hits, misses=self.misses + other.misses, evicted=self.evicted + other.evicted
        )

    def __sub__(self, other: "Lookups") -> "Lookups":
        return Lookups(
            hits=self.hits - other.hits, misses=self.misses - other.misses, evicted=self.evicted - other.evicted
        )

    @property
    def count(self) -> int:
        """All lookups."""
        return self.hits + self.misses

    @property
    def percent(self) -> float:
        """Share of the lookups that found their key, 0 to 100; 0 without any."""
        return 100 * self.hits / self.count if self.count else 0.0


_NONE: Final = Lookups(hits=0, misses=0, evicted=0)


class RedisHitRatio(Action, Graded):
    """Watches a cache for a while and reports the share of lookups that found their key, and its trend.

    Where the connection points to a node of a Redis Cluster, the lookups of all its nodes are added up.
    Locks: none. Privileges: `ACL SETUSER upkeep on >PASSWORD +info +select`, for a cluster also `+cluster|nodes`.
    Source of the defaults: below 80 percent a cache saves its database less than four of five queries (Redis
    documentation, observability guide: "cache hit ratio"); what is good depends on the application, set your own.
    """

    action_name: ClassVar[str] = "redisHitRatio"
    check: ClassVar[bool] = True
    graded_by: ClassVar[tuple[str, str]] = ("warning_percent", "critical_percent")
    rising: ClassVar[bool] = False
    finds: ClassVar[Mapping[str, str]] = {
        "redis.hit-ratio.low": "the share of lookups that found their key is low",
        "redis.hit-ratio.trend": "it is lower than it was since the server's start",
    }

    connection: LabelName
    """Name of a Redis connection."""
    over: Duration = Field(default="30s", validate_default=True)
    """How long to watch."""
    min_lookups: Annotated[int, Field(ge=1, le=1000000000)] = 100
    """With fewer lookups in that time nothing is judged and the step is skipped."""
    warning_percent: Annotated[float, Field(ge=0, le=100)] = 80
    """Hit ratio, in percent, below which it is a warning."""
    critical_percent: Annotated[float, Field(ge=0, le=100)] = 50
    """Hit ratio, in percent, below which it is critical."""
    drop_points: Annotated[float, Field(ge=0, le=100)] = 10
    """A ratio that is this many percentage points lower than since the server's start is a warning."""

    async def run(self, context: Context) -> Result:
        """Look, wait, look again.

        Raises:
            ActionError: no connection, or the step has not as much time as it shall watch.
            UncheckableError: the user may not run INFO, or a server was restarted or its counters reset meanwhile.
        """
        if self.over.total_seconds() + _MARGIN_SECONDS > context.remaining:
            msg = (
                f"the step may take {context.remaining:.0f} s, but shall watch for {format_duration(self.over)}: "
                "give it a longer timeout, or shorten `over`"
            )
            raise ActionError(msg)
        async with sessions(context, self.connection) as nodes:
            await asyncio.sleep(self.over.total_seconds())
            changes = [await _change(node) for node in nodes]
            before = sum((Lookups.of(node.info) for node in nodes), _NONE)
        change = sum(changes, _NONE)
        metrics = {
            "lookups": float(change.count),
            "hit_percent": round(change.percent, 2),
            "hit_percent_since_start": round((before + change).percent, 2),
            "evicted_keys": float(change.evicted),
        }
        seen = f"{change.count} lookups in {format_duration(self.over)}"
        if change.count < self.min_lookups:
            message = f"{seen}: too few to judge (minLookups {self.min_lookups})"
            return Result(outcome=Outcome.SKIPPED, message=message, metrics=metrics)
        message = f"{change.percent:.1f} % of {seen} found their key, {before.percent:.1f} % since the server's start"
        findings = [*self._low(change), *self._trend(change, before)]
        return Result(outcome=Outcome.OK, message=message, findings=findings, metrics=metrics)

    def _low(self, change: Lookups) -> list[Finding]:
        if change.percent >= self.warning_percent:
            return []
        critical = change.percent < self.critical_percent
        advice = (
            f"{change.evicted} keys were evicted meanwhile: raise maxmemory, or keep less"
            if change.evicted
            else "look whether keys expire too early, whether the cache was emptied lately, and which lookups miss"
        )
        return [
            Finding(
                check_id="redis.hit-ratio.low",
                severity=Severity.CRITICAL if critical else Severity.WARNING,
                object=self.connection,
                observed=round(change.percent, 2),
                threshold=self.critical_percent if critical else self.warning_percent,
                unit="percent",
                recommendation=advice,
            )
        ]

    def _trend(self, change: Lookups, before: Lookups) -> list[Finding]:
        drop = before.percent - change.percent
        if before.count < self.min_lookups or drop < self.drop_points:
            return []
        return [
            Finding(
                check_id="redis.hit-ratio.trend",
                severity=Severity.WARNING,
                object=self.connection,
                observed=round(drop, 2),
                threshold=self.drop_points,
                unit="percentage points",
                recommendation=f"it was {before.percent:.1f} % since the server's start: look for what changed lately, "
                "a release, a new kind of key, a shorter expiry",
            )
        ]


async def _change(node: Node) -> Lookups:
    after = await node.ask("INFO")
    change = Lookups.of(after) - Lookups.of(node.info)
    if after.get("run_id") != node.info.get("run_id") or min(change.hits, change.misses, change.evicted) < 0:
        msg = f"{node.name} was restarted or its counters were reset while they were watched: run this again"
        raise UncheckableError(msg)
    return change
