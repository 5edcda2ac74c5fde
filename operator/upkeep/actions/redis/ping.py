"""Tells whether Redis answers, how fast, has its keys, and whether replication and the cluster hold together."""

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, ClassVar, Final

from pydantic import Field

from upkeep.actions.contract import Action, Context, Finding, Outcome, Result, Severity
from upkeep.actions.fields import LabelName
from upkeep.actions.percentile import percentile
from upkeep.actions.redis.session import Node, sessions
from upkeep.actions.text import several
from upkeep.actions.thresholds import Graded

_PERCENT: Final = 95


class RedisPing(Action, Graded):
    """Pings Redis and looks at the links between servers: a replica's to its primary, a cluster's coverage of slots.

    Where the connection points to a node of a Redis Cluster, every node is asked, by the address that it announces.
    Locks: none. Privileges: `ACL SETUSER upkeep on >PASSWORD +ping +info +select`, for a cluster also
    `+cluster|nodes +cluster|info`. Source of the defaults: Redis answers within a network round trip, usually below
    1 ms; 100 ms is what people begin to notice, 1 s breaks their flow of thought (Nielsen, Response Times: The 3
    Important Limits).
    """

    action_name: ClassVar[str] = "redisPing"
    check: ClassVar[bool] = True
    graded_by: ClassVar[tuple[str, str]] = ("warning_milliseconds", "critical_milliseconds")
    finds: ClassVar[Mapping[str, str]] = {
        "redis.ping.keys": "there are fewer keys than there have to be",
        "redis.ping.slow": "a server that answers slowly",
        "redis.ping.cluster": "slots of the cluster that no node serves",
        "redis.ping.replication": "a replica without its primary",
    }

    connection: LabelName
    """Name of a Redis connection."""
    samples: Annotated[int, Field(ge=1, le=100)] = 10
    """How many times each server is pinged; the 95th percentile of the times is compared with the thresholds."""
    warning_milliseconds: Annotated[float, Field(ge=0, le=60000)] = 100
    """Answering time from which on it is a warning."""
    critical_milliseconds: Annotated[float, Field(ge=0, le=60000)] = 1000
    """Answering time from which on it is critical."""
    min_keys: Annotated[int, Field(ge=0, le=2**53)] = 0
    """How many keys there are at least, for example after a restore; with fewer the step has failed."""

    async def run(self, context: Context) -> Result:
        """Ping every server, one after the other.

        Raises:
            ActionError: a server does not answer.
            UncheckableError: the user may not ask.
        """
        async with sessions(context, self.connection) as nodes:
            slowest = {node.name: await self._p95(node) for node in nodes}
            state = await _cluster_state(nodes[0]) if nodes and nodes[0].cluster else {}
        keys = sum(_keys(node) for node in nodes if node.primary or len(nodes) == 1)
        lacking = self._lacking(keys)
        findings = [
            *lacking,
            *self._slow(slowest),
            *(finding for node in nodes for finding in _link(node)),
            *_coverage(self.connection, state),
        ]
        worst = max(slowest.values(), default=0.0)
        servers = "1 server answers" if len(nodes) == 1 else f"{len(nodes)} servers answer"
        return Result(
            outcome=Outcome.FAILED if lacking else Outcome.OK,
            message=f"{servers}, p95 {worst:.2f} ms, {several(keys, 'key')}{self._demanded(lacking)}",
            findings=findings,
            metrics={"servers": float(len(nodes)), "p95_milliseconds": round(worst, 3), "keys": float(keys)},
        )

    def _demanded(self, lacking: Sequence[Finding]) -> str:
        return f", but at least {self.min_keys} have to be there" if lacking else ""

    def _lacking(self, keys: int) -> Sequence[Finding]:
        if keys >= self.min_keys:
            return []
        return [
            Finding(
                check_id="redis.ping.keys",
                severity=Severity.CRITICAL,
                object=self.connection,
                observed=keys,
                threshold=self.min_keys,
                unit="keys",
                recommendation="see in its log whether it has loaded its data, and whether appendonly fits what it has",
            )
        ]

    async def _p95(self, node: Node) -> float:
        taken = []
        for _ in range(self.samples):
            begun = time.monotonic()
            await node.ask("PING")
            taken.append((time.monotonic() - begun) * 1000)
        return percentile(taken, _PERCENT)

    def _slow(self, slowest: Mapping[str, float]) -> Iterator[Finding]:
        for name, taken in slowest.items():
            if taken < self.warning_milliseconds:
                continue
            critical = taken >= self.critical_milliseconds
            yield Finding(
                check_id="redis.ping.slow",
                severity=Severity.CRITICAL if critical else Severity.WARNING,
                object=name,
                observed=round(taken, 3),
                threshold=self.critical_milliseconds if critical else self.warning_milliseconds,
                unit="milliseconds",
                recommendation="look for slow commands (redisSlowlog), for swapping and for a busy CPU or network",
            )


def _keys(node: Node) -> int:
    """How many keys it has, in all its databases."""
    return sum(int(value["keys"]) for value in node.info.values() if isinstance(value, dict) and "keys" in value)


async def _cluster_state(node: Node) -> Mapping[str, str]:
    answer = str(await node.ask("CLUSTER", "INFO"))
    return dict(line.split(":", 1) for line in answer.splitlines() if ":" in line)


def _coverage(connection: str, state: Mapping[str, str]) -> Iterator[Finding]:
    if state and state.get("cluster_state") != "ok":
        covered = int(state.get("cluster_slots_ok", 0))
        yield Finding(
            check_id="redis.ping.cluster",
            severity=Severity.CRITICAL,
            object=connection,
            observed=covered,
            threshold=16384,
            unit="slots",
            recommendation="the cluster refuses queries: bring the failed nodes back, or fail over to their replicas",
        )


def _link(node: Node) -> Iterator[Finding]:
    if not node.primary and node.info.get("master_link_status") != "up":
        yield Finding(
            check_id="redis.ping.replication",
            severity=Severity.CRITICAL,
            object=node.name,
            observed=float(node.info.get("master_link_down_since_seconds", 0)),
            threshold=0,
            unit="seconds",
            recommendation="the replica has lost its primary and serves old data: check the primary, its password and "
            "the network between them",
        )
