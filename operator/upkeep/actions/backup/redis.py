"""Backs a Redis or Valkey server up: all its keys in a file (RDB), proof that it is whole, then into the repository.

It must never report success for a file that is empty or cut off, or for a replica that has lost its primary.
"""

import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import ClassVar, Final

from upkeep.actions.backup.making import BackupMaking, creation
from upkeep.actions.backup.process import run
from upkeep.actions.backup.rdb import DIRECTORY, FILE, read_keys, write_keys
from upkeep.actions.backup.restic import Restic
from upkeep.actions.backup.scratch import directory_size, emptied
from upkeep.actions.connections import RedisTarget
from upkeep.actions.contract import ActionError, Context, Result
from upkeep.actions.fields import LabelName
from upkeep.actions.redis.session import Node, sessions
from upkeep.actions.text import several

_REPLICA: Final = re.compile(r"^slave[0-9]+$")
_ONLINE: Final = "online"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Server:
    """Whom to ask for its keys, and what it is."""

    host: str
    port: int
    primary: bool

    @property
    def told(self) -> str:
        return f"{'the primary' if self.primary else 'replica'} {self.host}:{self.port}"


class BackupRedis(BackupMaking):
    """Takes an RDB of a Redis or Valkey server and stores it in a restic repository.

    A replica is asked where one keeps up, because the server that is asked forks. Of a Redis Cluster each primary needs
    a policy of its own.
    Locks: none, but the server forks: it stands still for a moment, and needs memory for what is written meanwhile.
    Privileges: `ACL SETUSER upkeep on >PASSWORD ~* +psync +sync +replconf +info +select +ping`.
    """

    action_name: ClassVar[str] = "backupRedis"
    internal: ClassVar[bool] = True

    connection: LabelName
    """Name of a Redis connection."""

    async def run(self, context: Context) -> Result:
        """Ask, check, store.

        Raises:
            ActionError: any part of it failed; nothing was stored then, or restic says that it is not whole.
        """
        target = context.target(self.connection, RedisTarget)
        async with sessions(context, self.connection) as nodes:
            server = _chosen(nodes, target)
        restic = Restic.of(self.repository, context)
        created = await restic.ensure()
        with emptied(context.scratch / DIRECTORY) as directory:
            begun = time.monotonic()
            await self._fetch(context, target, server, directory / FILE)
            keys = await read_keys(directory / FILE, scratch=context.scratch)
            if not keys.total:
                msg = f"Redis {server.told} has no keys: an empty backup is not made; check the connection"
                raise ActionError(msg)
            write_keys(directory, keys)
            if refusal := self.refusal(directory_size(directory), of=target.host):
                return refusal
            fetched, moment = time.monotonic(), datetime.now(UTC)
            snapshot = await restic.backup(DIRECTORY, host=self.policy, tags=self.tags)
            stored = time.monotonic()
        return await self.made(
            restic,
            snapshot,
            moment,
            parts=[f"{several(keys.total, 'key')} of {server.told}"],
            remarks=creation(created=created),
            metrics={
                "keys": keys.total,
                "dump_seconds": round(fetched - begun, 3),
                "store_seconds": round(stored - fetched, 3),
            },
        )

    async def _fetch(self, context: Context, target: RedisTarget, server: _Server, file: Path) -> None:
        arguments = ["redis-cli", "-h", server.host, "-p", str(server.port), "--no-auth-warning"]
        environment = {}
        if target.secret_ref:
            environment["REDISCLI_AUTH"] = context.secret(self.connection, "password")
            if (context.credentials / self.connection / "username").is_file():
                arguments += ["--user", context.secret(self.connection, "username")]
        if target.tls:
            authority = context.credentials / self.connection / "ca.crt"
            arguments += ["--tls", *(("--cacert", str(authority)) if authority.is_file() else ()), "--sni", target.host]
        finished = await run([*arguments, "--rdb", str(file)], environment=environment, directory=context.scratch)
        if finished.code:
            msg = (
                f"Redis {server.told} gave no snapshot: {finished.complaint}: allow its user SYNC, PSYNC and REPLCONF "
                "(ACL SETUSER), and raise scratchSize if the scratch volume is full"
            )
            raise ActionError(msg)


def _chosen(nodes: Sequence[Node], target: RedisTarget) -> _Server:
    """A replica that keeps up, or else the server of the connection."""
    if len(nodes) != 1:
        msg = (
            f"{target.host}:{target.port} is a node of a Redis Cluster, whose keys are on several servers: make a "
            "policy for each primary, with the address of a server that is in no cluster mode, or back up its source"
        )
        raise ActionError(msg)
    node = nodes[0]
    if not node.primary:
        if node.info.get("master_link_status") != "up":
            msg = f"{node.name} is a replica that has lost its primary, so that its keys are old: bring the link back"
            raise ActionError(msg)
        return _Server(host=target.host, port=target.port, primary=False)
    replicas = [value for key, value in node.info.items() if _REPLICA.match(key) and isinstance(value, dict)]
    online = [each for each in replicas if each.get("state") == _ONLINE]
    best = min(online, key=lambda each: (int(each.get("lag", 0)), -int(each.get("offset", 0))), default=None)
    if best is None or target.tls:
        # A certificate is for a name, and replicas are known by address.
        return _Server(host=target.host, port=target.port, primary=True)
    return _Server(host=str(best["ip"]), port=int(best["port"]), primary=False)
