"""Gives memory that Redis has freed, but still holds, back to the system."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Final

from pydantic import Field

from upkeep.actions.contract import Action, Context, Outcome, Result
from upkeep.actions.fields import LabelName
from upkeep.actions.redis.session import Node, sessions

_MEBIBYTE: Final = 1024 * 1024
_POLL_SECONDS: Final = 0.1
_POLLS: Final = 10
"""Redis measures its resident memory every 100 ms, on a busy machine less often."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Allocator:
    """What holds the memory of a server.

    Attributes:
        name: for example `jemalloc-5.3.0` or `libc`.
        resident: bytes that the process has from the system.
        active: bytes in pages that hold live values.
    """

    name: str
    resident: int
    active: int

    @classmethod
    def of(cls, info: Mapping[str, Any]) -> "Allocator":
        """Read it from the answer to INFO."""
        resident = int(info.get("used_memory_rss", 0))
        return cls(
            name=str(info.get("mem_allocator", "of an unknown kind")),
            resident=resident,
            active=int(info.get("allocator_active", resident)),
        )

    @property
    def purges(self) -> bool:
        """Whether MEMORY PURGE does anything: with every other allocator it answers OK and does nothing."""
        return self.name.startswith("jemalloc")

    @property
    def idle(self) -> int:
        """Bytes that could be given back."""
        return max(0, self.resident - self.active)


class RedisPurge(Action):
    """Runs MEMORY PURGE, which gives freed memory back to the system; only where the allocator is jemalloc.

    It does not move live values: for fragmentation inside of pages set `activedefrag yes` (redisConfig). Where the
    connection points to a node of a Redis Cluster, every node is purged, one after the other.
    Locks: the server answers nobody while it purges, usually for milliseconds a GiB. Privileges: `ACL SETUSER upkeep on
    >PASSWORD +memory|purge +info +select`, for a cluster also `+cluster|nodes`.
    """

    action_name: ClassVar[str] = "redisPurge"

    connection: LabelName
    """Name of a Redis connection."""
    min_idle_mebibytes: Annotated[int, Field(ge=0, le=1048576)] = 16
    """A server that holds less than this many MiB without using them is left alone."""

    async def run(self, context: Context) -> Result:
        """Purge the servers, one after the other.

        Raises:
            ActionError: no connection.
            UncheckableError: the user may not run MEMORY PURGE.
        """
        async with sessions(context, self.connection) as nodes:
            other = [node for node in nodes if not Allocator.of(node.info).purges]
            worth = [node for node in nodes if node not in other and self._worthwhile(node)]
            freed = {node.name: await _purge(node) for node in worth}
        metrics = {"purged_servers": float(len(worth)), "freed_bytes": float(sum(freed.values()))}
        if not worth:
            why = f"less than {self.min_idle_mebibytes} MiB is held without being used"
            if other:
                why = f"the allocator of {other[0].name} is {Allocator.of(other[0].info).name}, only jemalloc can purge"
            return Result(outcome=Outcome.SKIPPED, message=f"nothing to purge: {why}", metrics=metrics)
        named = ", ".join(f"{name} {size / _MEBIBYTE:.1f} MiB" for name, size in sorted(freed.items())[:3])
        outcome = Outcome.CHANGED if any(freed.values()) else Outcome.OK
        return Result(outcome=outcome, message=f"given back to the system: {named}", metrics=metrics)

    def _worthwhile(self, node: Node) -> bool:
        return Allocator.of(node.info).idle >= self.min_idle_mebibytes * _MEBIBYTE


async def _purge(node: Node) -> int:
    before = Allocator.of(await node.ask("INFO"))
    await node.ask("MEMORY", "PURGE")
    freed = 0
    for _ in range(_POLLS):
        await asyncio.sleep(_POLL_SECONDS)
        freed = max(freed, before.resident - Allocator.of(await node.ask("INFO")).resident)
        if freed:
            break
    return freed
