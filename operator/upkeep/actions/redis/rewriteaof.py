"""Compacts the append-only file of Redis, and is done only when the server says how it went."""

import asyncio
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Final

from pydantic import Field

from upkeep.actions.contract import Action, ActionError, Context, Outcome, Result
from upkeep.actions.fields import LabelName
from upkeep.actions.redis.session import Node, sessions

_MEBIBYTE: Final = 1024 * 1024
_POLL_SECONDS: Final = 0.2
_SLOWEST_POLL_SECONDS: Final = 2.0
_RUNNING: Final = ("aof_rewrite_in_progress", "aof_rewrite_scheduled")


class RedisRewriteAof(Action):
    """Runs BGREWRITEAOF, waits until it has ended, and fails where the server says that it failed.

    A rewrite that is running already is waited for first. Where the connection points to a node of a Redis Cluster, the
    nodes rewrite one after the other, so that not all of them fork at once. A step that is stopped leaves the server to
    finish its rewrite, which harms nothing.
    Locks: none, but the server forks: it stands still for a moment, and needs memory for what is written meanwhile and
    disk space for a second file. Privileges: `ACL SETUSER upkeep on >PASSWORD +bgrewriteaof +info +select`, for a
    cluster also `+cluster|nodes`.
    """

    action_name: ClassVar[str] = "redisRewriteAof"

    connection: LabelName
    """Name of a Redis connection."""
    min_growth_percent: Annotated[float, Field(ge=0, le=100000)] = 0
    """Left alone where the file has grown by less than this since its last rewrite."""

    async def run(self, context: Context) -> Result:
        """Rewrite the files, one server after the other.

        Raises:
            ActionError: no connection, or a rewrite failed.
            UncheckableError: the user may not run BGREWRITEAOF.
        """
        async with sessions(context, self.connection) as nodes:
            using = [node for node in nodes if _enabled(node.info)]
            worth = [node for node in using if growth_percent(node.info) >= self.min_growth_percent]
            sizes = [await _rewrite(node) for node in worth]
        before, after = sum(old for old, _ in sizes), sum(new for _, new in sizes)
        if not worth:
            why = f"it has grown by less than {self.min_growth_percent:g} %" if using else "appendonly is off"
            return Result(outcome=Outcome.SKIPPED, message=f"no append-only file to rewrite: {why}")
        files = "1 file" if len(sizes) == 1 else f"{len(sizes)} files"
        return Result(
            outcome=Outcome.CHANGED,
            message=f"{files} rewritten: {before / _MEBIBYTE:.1f} MiB → {after / _MEBIBYTE:.1f} MiB",
            metrics={"files": float(len(sizes)), "bytes_before": float(before), "bytes_after": float(after)},
        )


def growth_percent(info: Mapping[str, Any]) -> float:
    """How much the append-only file has grown since its last rewrite; what was never rewritten has grown endlessly."""
    base = float(info.get("aof_base_size", 0))
    return 100 * (float(info.get("aof_current_size", 0)) - base) / base if base else float("inf")


def _enabled(info: Mapping[str, Any]) -> bool:
    return str(info.get("aof_enabled", "0")) == "1"


async def _rewrite(node: Node) -> tuple[int, int]:
    """Size of the file before and after, in bytes."""
    before = await _ended(node)
    await node.ask("BGREWRITEAOF")
    after = await _ended(node)
    if after.get("aof_last_bgrewrite_status") != "ok" or after.get("run_id") != before.get("run_id"):
        msg = (
            f"the rewrite of the append-only file of {node.name} failed: look into the server's log, at its disk space "
            "and at its memory, then run this again"
        )
        raise ActionError(msg)
    return int(before["aof_current_size"]), int(after["aof_current_size"])


async def _ended(node: Node) -> Mapping[str, Any]:
    """What the server says when no rewrite is running or waiting."""
    pause = _POLL_SECONDS
    info: Mapping[str, Any] = await node.ask("INFO")
    while any(int(info.get(field, 0)) for field in _RUNNING):
        await asyncio.sleep(pause)
        pause = min(2 * pause, _SLOWEST_POLL_SECONDS)
        info = await node.ask("INFO")
    return info
