"""Tells how much memory Redis uses of what it may, and how well it is used. Reads only what INFO says."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Final

from pydantic import Field

from upkeep.actions.contract import Action, Context, Finding, Outcome, Result, Severity
from upkeep.actions.fields import LabelName
from upkeep.actions.redis.session import sessions
from upkeep.actions.thresholds import Graded

_MEBIBYTE: Final = 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """The part of INFO that matters here, in bytes unless said otherwise.

    Attributes:
        used: what the server has allocated.
        countable: `used` without replication and append-only buffers: what is compared with `limit`.
        peak: the most it ever had allocated.
        limit: maxmemory; 0 means no limit.
        policy: maxmemory-policy.
        fragmentation: memory taken from the system over memory allocated.
        evicted: keys evicted since the server started.
    """

    used: int
    countable: int
    peak: int
    limit: int
    policy: str
    fragmentation: float
    evicted: int

    @classmethod
    def of(cls, info: Mapping[str, Any]) -> "Memory":
        """Read it from the answer to INFO."""
        used = int(info["used_memory"])
        return cls(
            used=used,
            countable=max(0, used - int(info.get("mem_not_counted_for_evict", 0))),
            peak=int(info["used_memory_peak"]),
            limit=int(info.get("maxmemory", 0)),
            policy=str(info.get("maxmemory_policy", "noeviction")),
            fragmentation=float(info.get("mem_fragmentation_ratio", 0)),
            evicted=int(info.get("evicted_keys", 0)),
        )

    @property
    def percent(self) -> float:
        """Share of the limit that is used, 0 to 100; 0 without a limit."""
        return 100 * self.countable / self.limit if self.limit else 0.0


class RedisMemory(Action, Graded):
    """Reports memory use against maxmemory, fragmentation and evictions.

    Where the connection points to a node of a Redis Cluster, every node is asked, by the address that it announces.
    Locks: none. Privileges: `ACL SETUSER upkeep on >PASSWORD +info +select`, for a cluster also `+cluster|nodes`.
    Source of the defaults: 80 and 95 percent leave time to act before keys are evicted or writes refused; the Redis
    documentation (INFO, "Memory optimization") calls a fragmentation ratio over 1.5 high, which says
    little while less than some 100 MiB is used.
    """

    action_name: ClassVar[str] = "redisMemory"
    check: ClassVar[bool] = True
    graded_by: ClassVar[tuple[str, str]] = ("warning_percent", "critical_percent")
    finds: ClassVar[Mapping[str, str]] = {
        "redis.memory.used": "memory is near maxmemory",
        "redis.memory.no-limit": "a server without maxmemory",
        "redis.memory.fragmentation": "much more memory is taken than is used",
    }

    connection: LabelName
    """Name of a Redis connection."""
    warning_percent: Annotated[float, Field(ge=0, le=100)] = 80
    """Use of maxmemory, in percent, from which on it is a warning."""
    critical_percent: Annotated[float, Field(ge=0, le=100)] = 95
    """Use of maxmemory, in percent, from which on it is critical."""
    fragmentation_ratio: Annotated[float, Field(ge=1, le=100)] = 1.5
    """Fragmentation ratio from which on it is a warning."""
    fragmentation_min_mebibytes: Annotated[int, Field(ge=0, le=1048576)] = 100
    """Fragmentation is not judged while less than this many MiB is used."""

    async def run(self, context: Context) -> Result:
        """Ask once and compare with the thresholds.

        Raises:
            ActionError: no connection.
            UncheckableError: the user may not run INFO.
        """
        async with sessions(context, self.connection) as nodes:
            memories = {node.name: Memory.of(node.info) for node in nodes}
        fullest = max(memories.values(), key=lambda memory: (memory.percent, memory.used))
        metrics = {
            "used_bytes": float(sum(memory.used for memory in memories.values())),
            "peak_bytes": float(sum(memory.peak for memory in memories.values())),
            "limit_bytes": float(sum(memory.limit for memory in memories.values())),
            "used_percent": round(fullest.percent, 2),
            "fragmentation_ratio": max(memory.fragmentation for memory in memories.values()),
            "evicted_keys": float(sum(memory.evicted for memory in memories.values())),
        }
        of_all = f" (the fullest of {len(memories)} servers)" if len(memories) > 1 else ""
        return Result(
            outcome=Outcome.OK,
            message=f"{_summary(fullest)}{of_all}",
            findings=[
                finding
                for name, memory in memories.items()
                for finding in (*self._use(name, memory), *self._fragmentation(name, memory))
            ],
            metrics=metrics,
        )

    def _use(self, name: str, memory: Memory) -> list[Finding]:
        if not memory.limit:
            return [
                Finding(
                    check_id="redis.memory.no-limit",
                    severity=Severity.INFO,
                    object=name,
                    observed=memory.used,
                    threshold=0,
                    unit="bytes",
                    recommendation="set maxmemory: without a limit the server grows until the system kills it",
                )
            ]
        if memory.percent < self.warning_percent:
            return []
        critical = memory.percent >= self.critical_percent
        consequence = "writes will fail" if memory.policy == "noeviction" else "keys are evicted"
        return [
            Finding(
                check_id="redis.memory.used",
                severity=Severity.CRITICAL if critical else Severity.WARNING,
                object=name,
                observed=round(memory.percent, 2),
                threshold=self.critical_percent if critical else self.warning_percent,
                unit="percent",
                recommendation=f"raise maxmemory or remove keys: at 100 % {consequence} ({memory.policy}), "
                f"{memory.evicted} keys evicted since the server started",
            )
        ]

    def _fragmentation(self, name: str, memory: Memory) -> list[Finding]:
        judged = memory.used >= self.fragmentation_min_mebibytes * _MEBIBYTE
        if not judged or memory.fragmentation < self.fragmentation_ratio:
            return []
        return [
            Finding(
                check_id="redis.memory.fragmentation",
                severity=Severity.WARNING,
                object=name,
                observed=memory.fragmentation,
                threshold=self.fragmentation_ratio,
                unit="ratio",
                recommendation="run MEMORY PURGE, turn activedefrag on, or restart the server at a quiet time",
            )
        ]


def _summary(memory: Memory) -> str:
    limit = f"{memory.percent:.0f} % of {memory.limit / _MEBIBYTE:.1f} MiB" if memory.limit else "no limit"
    return (
        f"{memory.used / _MEBIBYTE:.1f} MiB used ({limit}), peak {memory.peak / _MEBIBYTE:.1f} MiB, "
        f"fragmentation {memory.fragmentation:g}, {memory.evicted} keys evicted"
    )
