"""Lets keys expire that nobody has used for long. It must never be able to empty a cache.

Six things stand between a mistake and an empty cache: a prefix is required and taken literally; keys that expire by
themselves are not touched; idle time is the server's, never guessed; keys get a time to live instead of being deleted;
a run takes at most half of a server's keys, whatever its parameters; and without `dryRun: false` it only counts.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, Any, ClassVar, Final, Self

from pydantic import Field, model_validator

from upkeep.actions.contract import Action, ActionError, Context, Finding, Outcome, Result, Severity, UncheckableError
from upkeep.actions.fields import Duration, LabelName, Rule, format_duration
from upkeep.actions.redis.session import Node, sessions
from upkeep.actions.text import readable

_BATCH: Final = 500
_NO_TIME_TO_LIVE: Final = -1
_OLDEST_MAJOR: Final = 7
_PLAIN: Final = "'^([0-9]+h)?([0-9]+m)?([0-9]+s)?$'"
"""What the API server's expression language takes for a duration too."""
_TOO_SOON: Final = "expireAfter must be at least 1m: it is the time in which a mistake can still be undone"
_TOO_FRESH: Final = "idleFor must be at least 1h"
_TOO_LONG: Final = "idleFor must be at most 180d: the server's clock for idle times begins again after 194 days"
_SHORTEST_EXPIRY: Final = timedelta(minutes=1)
_SHORTEST_IDLE: Final = timedelta(hours=1)
_LONGEST_IDLE: Final = timedelta(days=180)


@dataclass(slots=True, kw_only=True)
class _Tally:
    """Keys under the prefix, by what was found or done; `allowed` is how many more may be touched."""

    allowed: int
    seen: int = 0
    stale: int = 0
    expiring: int = 0

    def __add__(self, other: "_Tally") -> "_Tally":
        return _Tally(
            allowed=self.allowed + other.allowed,
            seen=self.seen + other.seen,
            stale=self.stale + other.stale,
            expiring=self.expiring + other.expiring,
        )


class RedisStaleKeys(Action):
    """Gives keys under a prefix that have no time to live and were not used for long a time to live; never deletes.

    A key that is written again (SET) loses its time to live and stays. At most `maxKeys` keys and `maxSharePercent` of
    all keys of a server are taken in one run, the rest waits for the next. Without `dryRun: false` it only counts.
    Reads from replicas do not count as use at the primary: see `replicasUnread`. Under an LFU policy a server knows no
    idle times (`unknown`); after a change from LFU to another policy wait for as long as `idleFor`. Where the
    connection points to a node of a Redis Cluster, all its primaries are worked through. Needs Redis 7 or Valkey.
    Locks: none; it scans with pauses (`keysPerSecond`). Privileges: `ACL SETUSER upkeep on >PASSWORD ~PREFIX* +info
    +select +dbsize +scan +ttl +object|idletime`, with `dryRun: false` also `+expire`, for a cluster also
    `+cluster|nodes`.
    """

    action_name: ClassVar[str] = "redisStaleKeys"
    finds: ClassVar[Mapping[str, str]] = {
        "redis.stale-keys.found": "stale keys; in a dry run only",
        "redis.stale-keys.left": "stale keys that the next runs will take",
    }

    connection: LabelName
    """Name of a Redis connection."""
    prefix: Annotated[str, Field(min_length=1, max_length=256)]
    """How the names of the keys begin, literally: `*` and `?` mean themselves."""
    idle_for: Duration = Field(default="30d", validate_default=True)
    """How long a key was neither read nor written; from 1h to 180d."""
    expire_after: Duration = Field(default="1d", validate_default=True)
    """Time to live that stale keys are given; at least 1m."""
    dry_run: bool = True
    """True: stale keys are only counted."""
    max_keys: Annotated[int, Field(ge=1, le=1000000)] = 10000
    """How many keys of a server are given a time to live in one run at most."""
    max_share_percent: Annotated[float, Field(ge=0.1, le=50)] = 10
    """The same, as a share of all its keys in that database."""
    keys_per_second: Annotated[int, Field(ge=100, le=1000000)] = 5000
    """How fast it goes through the keys of a server."""
    replicas_unread: bool = False
    """True: nobody reads from replicas. Demanded where a server has some, because such reads cannot be seen."""

    @classmethod
    def rules(cls) -> Sequence[Rule]:
        """The shortest times that can be meant."""
        return (_at_least("expireAfter", "1m", _TOO_SOON), _at_least("idleFor", "1h", _TOO_FRESH))

    @model_validator(mode="after")
    def _sensible(self) -> Self:
        if self.expire_after < _SHORTEST_EXPIRY:
            raise ValueError(_TOO_SOON)
        if self.idle_for < _SHORTEST_IDLE:
            raise ValueError(_TOO_FRESH)
        if self.idle_for > _LONGEST_IDLE:
            raise ValueError(_TOO_LONG)
        return self

    async def run(self, context: Context) -> Result:
        """Go through the keys of every primary.

        Raises:
            ActionError: the server is a replica, too old, or has replicas that may be read.
            UncheckableError: the user may not see idle times, or the server keeps none.
        """
        async with sessions(context, self.connection) as nodes:
            primaries = [node for node in nodes if node.primary]
            self._see_that_it_can_be_done(nodes, primaries)
            tally = _Tally(allowed=0)
            for node in primaries:
                tally += await self._work_through(node)
        return self._result(tally)

    def _see_that_it_can_be_done(self, nodes: Sequence[Node], primaries: Sequence[Node]) -> None:
        if not primaries:
            msg = f"{nodes[0].name} is a replica: let the connection point to the primary"
            raise ActionError(msg)
        for node in primaries:
            policy = str(node.info.get("maxmemory_policy", ""))
            if policy.endswith("-lfu"):
                msg = f"{node.name} keeps no idle times under the maxmemory-policy {policy}: stale keys cannot be told"
                raise UncheckableError(msg)
            if self.dry_run:
                continue
            if int(str(node.info.get("redis_version", "0")).partition(".")[0]) < _OLDEST_MAJOR:
                msg = f"{node.name} is too old to expire keys safely (EXPIRE NX): it takes Redis 7 or Valkey"
                raise ActionError(msg)
            if int(node.info.get("connected_slaves", 0)) and not self.replicas_unread:
                msg = (
                    f"{node.name} has replicas, and keys that are only read there look stale: "
                    "set replicasUnread: true if nobody reads from them"
                )
                raise ActionError(msg)

    async def _work_through(self, node: Node) -> _Tally:
        keys = int(await node.ask("DBSIZE"))
        tally = _Tally(allowed=min(self.max_keys, int(keys * self.max_share_percent / 100)))
        async for batch in self._batches(node):
            tally.seen += len(batch)
            stale = await self._stale(node, batch)
            tally.stale += len(stale)
            chosen = [] if self.dry_run else stale[: tally.allowed - tally.expiring]
            seconds = int(self.expire_after.total_seconds())
            tally.expiring += sum(await node.ask_all([("EXPIRE", key, seconds, "NX") for key in chosen]))
        return tally

    async def _batches(self, node: Node) -> AsyncIterator[list[str]]:
        pattern = re.sub(r"([\\*?\[\]])", r"\\\1", self.prefix) + "*"
        cursor: Any = 0
        while True:
            cursor, keys = await node.ask("SCAN", cursor, "MATCH", pattern, "COUNT", _BATCH)
            found = [key for key in keys if key.startswith(self.prefix)]
            if found:
                yield found
            if not int(cursor):
                return
            await asyncio.sleep(max(_BATCH, len(keys)) / self.keys_per_second)

    async def _stale(self, node: Node, keys: Sequence[str]) -> list[str]:
        questions = [words for key in keys for words in (("TTL", key), ("OBJECT", "IDLETIME", key))]
        answers = await node.ask_all(questions)
        shortest = self.idle_for.total_seconds()
        return [
            key
            for key, left, idle in zip(keys, answers[::2], answers[1::2], strict=True)
            if left == _NO_TIME_TO_LIVE and idle is not None and idle >= shortest
        ]

    def _result(self, tally: _Tally) -> Result:
        metrics = {"keys": float(tally.seen), "stale_keys": float(tally.stale), "expiring_keys": float(tally.expiring)}
        idle = format_duration(self.idle_for)
        found = (
            f"{tally.stale} of {tally.seen} keys under {readable(self.prefix)!r} are stale (idle for {idle}, no TTL)"
        )
        left = tally.stale - tally.expiring
        if self.dry_run:
            advice = f"set dryRun: false to let up to {tally.allowed} of them expire in a run"
            findings = [self._finding("found", tally.stale, advice)] if tally.stale else []
            return Result(outcome=Outcome.OK, message=f"{found}; dry run", findings=findings, metrics=metrics)
        advice = f"a run may take {tally.allowed} keys (maxKeys, maxSharePercent): the rest waits for the next"
        findings = [self._finding("left", left, advice)] if left else []
        outcome = Outcome.CHANGED if tally.expiring else Outcome.OK
        message = f"{found}; {tally.expiring} expire in {format_duration(self.expire_after)}"
        return Result(outcome=outcome, message=message, findings=findings, metrics=metrics)

    def _finding(self, kind: str, count: int, advice: str) -> Finding:
        return Finding(
            check_id=f"redis.stale-keys.{kind}",
            severity=Severity.INFO,
            object=f"{self.connection} {readable(self.prefix)}",
            observed=count,
            threshold=1,
            unit="keys",
            recommendation=advice,
        )


def _at_least(field: str, least: str, message: str) -> Rule:
    rule = f"!has(self.{field}) || !self.{field}.matches({_PLAIN}) || duration(self.{field}) >= duration('{least}')"
    return {"rule": rule, "message": message}
