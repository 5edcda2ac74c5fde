"""Reads the figures of Redis that tell of trouble before it hurts: clients, persistence, restarts."""

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, ClassVar, Final

from pydantic import Field

from upkeep.actions.contract import Action, Context, Finding, Outcome, Result, Severity
from upkeep.actions.fields import Duration, LabelName, format_duration
from upkeep.actions.redis.session import Node, sessions
from upkeep.actions.thresholds import Graded

_PERSISTENCE: Final = (
    ("rdb_last_bgsave_status", "the last snapshot (BGSAVE) failed"),
    ("aof_last_write_status", "the last write to the append-only file failed"),
    ("aof_last_bgrewrite_status", "the last rewrite of the append-only file failed"),
)


class RedisInfo(Action, Graded):
    """Reports clients against maxclients, failed snapshots and append-only files, and restarts.

    Where the connection points to a node of a Redis Cluster, every node is asked, by the address that it announces.
    Locks: none. Privileges: `ACL SETUSER upkeep on >PASSWORD +info +select`, for a cluster also `+cluster|nodes`.
    Source of the defaults: at maxclients new connections are refused; 80 and 95 percent leave time to act.
    """

    action_name: ClassVar[str] = "redisInfo"
    check: ClassVar[bool] = True
    graded_by: ClassVar[tuple[str, str]] = ("warning_clients_percent", "critical_clients_percent")
    finds: ClassVar[Mapping[str, str]] = {
        "redis.info.clients": "clients are near maxclients",
        "redis.info.persistence": "a snapshot or an append-only file that could not be written",
        "redis.info.restarted": "a server that was restarted lately",
    }

    connection: LabelName
    """Name of a Redis connection."""
    warning_clients_percent: Annotated[float, Field(ge=0, le=100)] = 80
    """Connected clients, in percent of maxclients, from which on it is a warning."""
    critical_clients_percent: Annotated[float, Field(ge=0, le=100)] = 95
    """Connected clients, in percent of maxclients, from which on it is critical."""
    restarted_within: Duration = Field(default="1d", validate_default=True)
    """A server that is up for less than this is worth knowing; `0s` for never."""

    async def run(self, context: Context) -> Result:
        """Ask every server once.

        Raises:
            ActionError: no connection.
            UncheckableError: the user may not run INFO.
        """
        async with sessions(context, self.connection) as nodes:
            findings = [finding for node in nodes for finding in self._judged(node)]
        return Result(
            outcome=Outcome.OK,
            message="; ".join(_summary(node) for node in nodes[:3]) + (" …" if nodes[3:] else ""),
            findings=findings,
            metrics={
                "servers": float(len(nodes)),
                "connected_clients": sum(_number(node.info, "connected_clients") for node in nodes),
                "blocked_clients": sum(_number(node.info, "blocked_clients") for node in nodes),
                "rejected_connections": sum(_number(node.info, "rejected_connections") for node in nodes),
                "uptime_seconds": min((_number(node.info, "uptime_in_seconds") for node in nodes), default=0.0),
                "keys": sum(_keys(node) for node in nodes if node.primary),
            },
        )

    def _judged(self, node: Node) -> Iterator[Finding]:
        yield from self._clients(node)
        for status, what in _PERSISTENCE:
            if node.info.get(status, "ok") != "ok":
                yield Finding(
                    check_id="redis.info.persistence",
                    severity=Severity.CRITICAL,
                    object=f"{node.name} {status}",
                    observed=1,
                    threshold=1,
                    unit="",
                    recommendation=f"{what}: look into the server's log, at its disk space and at its memory",
                )
        uptime = _number(node.info, "uptime_in_seconds")
        if uptime < self.restarted_within.total_seconds():
            yield Finding(
                check_id="redis.info.restarted",
                severity=Severity.INFO,
                object=node.name,
                observed=uptime,
                threshold=self.restarted_within.total_seconds(),
                unit="seconds",
                recommendation=f"it started within the last {format_duration(self.restarted_within)}: "
                "if nobody restarted it, look for a crash or for the kernel's out-of-memory killer",
            )

    def _clients(self, node: Node) -> Iterator[Finding]:
        limit = _number(node.info, "maxclients")
        percent = 100 * _number(node.info, "connected_clients") / limit if limit else 0.0
        if limit and percent >= self.warning_clients_percent:
            critical = percent >= self.critical_clients_percent
            yield Finding(
                check_id="redis.info.clients",
                severity=Severity.CRITICAL if critical else Severity.WARNING,
                object=node.name,
                observed=round(percent, 2),
                threshold=self.critical_clients_percent if critical else self.warning_clients_percent,
                unit="percent",
                recommendation=f"raise maxclients ({limit:.0f}), or find clients that do not close their connections",
            )


def _number(info: Mapping[str, Any], key: str) -> float:
    return float(info.get(key, 0))


def _keys(node: Node) -> float:
    databases = [value for name, value in node.info.items() if name.startswith("db") and isinstance(value, Mapping)]
    return float(sum(int(database.get("keys", 0)) for database in databases))


def _summary(node: Node) -> str:
    product = "Valkey" if "valkey_version" in node.info else "Redis"
    version = node.info.get("valkey_version", node.info.get("redis_version", "of an unknown version"))
    role = "primary" if node.primary else "replica"
    clients = int(_number(node.info, "connected_clients"))
    return f"{node.name}: {product} {version}, {role}, {clients} clients, {_keys(node):.0f} keys"
