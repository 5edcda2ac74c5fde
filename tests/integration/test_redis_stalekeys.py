"""Stale keys get a time to live; what is used, expires by itself or has another prefix stays, and so does a cache."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from integration.bench import Bench, eventually
from integration.redisserver import RedisServer, running_redis, running_replica
from upkeep.actions.contract import Outcome, Severity
from upkeep.actions.redis.stalekeys import RedisStaleKeys

_DAY = 86400
_RIGHTS = ("+info", "+select", "+dbsize", "+scan", "+ttl", "+object|idletime", "+expire")


def stale_keys(**changes: Any) -> RedisStaleKeys:  # noqa: ANN401 - parameters of any kind
    wanted = {"connection": "cache", "prefix": "session:", "dryRun": False, "keysPerSecond": 1_000_000, **changes}
    return RedisStaleKeys.model_validate(wanted)


@pytest.fixture
def server(redis_server: RedisServer) -> Iterator[RedisServer]:
    yield redis_server
    redis_server.command("FLUSHALL")
    redis_server.command("CONFIG", "SET", "maxmemory-policy", "noeviction")
    redis_server.command("ACL", "DELUSER", "watcher")


_PUT = """
redis.call('SET', KEYS[1], 'value')
local value = redis.call('DUMP', KEYS[1])
redis.call('DEL', KEYS[1])
for _, key in ipairs(KEYS) do redis.call('RESTORE', key, ARGV[1], value, 'IDLETIME', ARGV[2]) end
"""
_EXPIRING = """
local found = {}
for _, key in ipairs(redis.call('KEYS', '*')) do
  if redis.call('TTL', key) >= 0 then table.insert(found, key) end
end
return found
"""


def put(server: RedisServer, *names: str | bytes, idle_days: int = 0, lives_ms: int = 0) -> None:
    """Keys that were last used so many days ago."""
    server.command("EVAL", _PUT, str(len(names)), *names, str(lives_ms), str(idle_days * _DAY))


def named(prefix: str, count: int) -> list[str]:
    return [f"{prefix}{number}" for number in range(count)]


def expiring(server: RedisServer) -> set[str]:
    return set(server.command("EVAL", _EXPIRING, "0"))


async def test_only_stale_keys_of_the_prefix_expire(server: RedisServer, bench: Bench) -> None:
    put(server, *named("session:", 5), *named("cart:", 5), idle_days=40)
    put(server, *named("session:new-", 50))
    put(server, "session:lives", idle_days=40, lives_ms=10 * _DAY * 1000)
    bench.connect_redis(server)
    step = await bench.step(stale_keys())
    assert step.outcome is Outcome.CHANGED, step.message
    assert expiring(server) == {*named("session:", 5), "session:lives"}
    assert server.command("DBSIZE") == 61
    assert 0 < server.command("TTL", "session:0") <= _DAY < server.command("TTL", "session:lives")
    assert step.metrics == {"keys": 56, "stale_keys": 5, "expiring_keys": 5}


async def test_a_dry_run_is_the_default_and_changes_nothing(server: RedisServer, bench: Bench) -> None:
    put(server, *named("session:", 20), idle_days=40)
    bench.connect_redis(server)
    report = await bench.report(RedisStaleKeys(connection="cache", prefix="session:"))
    (finding,) = report.findings
    assert (report.outcome, finding.severity, finding.observed) == (Outcome.OK, Severity.INFO, 20)
    assert "dryRun: false" in finding.recommendation
    assert expiring(server) == set()


async def test_nothing_stale_is_no_finding(server: RedisServer, bench: Bench) -> None:
    put(server, *named("session:", 20), idle_days=20)
    bench.connect_redis(server)
    report = await bench.report(stale_keys())
    assert (report.outcome, report.findings) == (Outcome.OK, [])
    assert expiring(server) == set()


async def test_it_cannot_empty_a_cache(server: RedisServer, bench: Bench) -> None:
    # given a cache in which every key is stale, and parameters that allow as much as they can
    put(server, *named("s", 1500), idle_days=40)
    bench.connect_redis(server)
    report = await bench.report(
        stale_keys(prefix="s", idleFor="1h", expireAfter="1m", maxKeys=1_000_000, maxSharePercent=50)
    )
    # then half of it stays, nothing is gone yet, and what is left is said
    assert len(expiring(server)) == 750
    assert server.command("DBSIZE") == 1500
    (finding,) = report.findings
    assert (finding.check_id, finding.observed) == ("redis.stale-keys.left", 750)


async def test_a_key_that_is_written_again_stays(server: RedisServer, bench: Bench) -> None:
    put(server, *named("session:", 20), idle_days=40)
    bench.connect_redis(server)
    await bench.step(stale_keys(maxSharePercent=50))
    chosen = sorted(expiring(server))
    server.command("SET", chosen[0], "again")
    await bench.step(stale_keys())
    assert server.command("TTL", chosen[0]) == -1


async def test_the_caps_hold(server: RedisServer, bench: Bench) -> None:
    put(server, *named("session:", 100), idle_days=40)
    bench.connect_redis(server)
    step = await bench.step(stale_keys(maxKeys=3))
    assert step.metrics["expiring_keys"] == 3
    step = await bench.step(stale_keys(maxSharePercent=5))
    assert step.metrics["expiring_keys"] == 5
    assert len(expiring(server)) == 8


@pytest.mark.parametrize("prefix", ["*", "?", "[a-z]", "\\", "session:*", "größe:", '"; FLUSHALL', "-h", " "])
async def test_a_prefix_means_itself(server: RedisServer, bench: Bench, prefix: str) -> None:
    put(server, *named(prefix, 2), *named("session:", 40), idle_days=40)
    bench.connect_redis(server)
    step = await bench.step(stale_keys(prefix=prefix))
    assert step.metrics["expiring_keys"] == 2, step.message
    assert expiring(server) == set(named(prefix, 2))


async def test_keys_that_are_no_text_are_treated_like_all_others(server: RedisServer, bench: Bench) -> None:
    put(server, b"session:\xff\xfe\r\n\x00", *named("cart:", 20), idle_days=40)
    bench.connect_redis(server)
    step = await bench.step(stale_keys())
    assert step.outcome is Outcome.CHANGED, step.message
    assert len(expiring(server)) == 1


async def test_the_least_privileges_are_enough(server: RedisServer, bench: Bench) -> None:
    put(server, *named("session:", 20), idle_days=40)
    bench.connect_redis(server)
    bench.as_redis_user(server, *_RIGHTS, "~session:*")
    step = await bench.step(stale_keys())
    assert step.outcome is Outcome.CHANGED, step.message


@pytest.mark.parametrize(
    ("rules", "lacking"),
    [
        ([rule for rule in _RIGHTS if rule != "+expire"] + ["~*"], "expire"),
        ([rule for rule in _RIGHTS if rule != "+object|idletime"] + ["~*"], "object|idletime"),
        ([*_RIGHTS, "~cart:*"], "permissions to access"),
    ],
)
async def test_a_user_that_may_not_is_told_what_to_allow(
    server: RedisServer, bench: Bench, rules: list[str], lacking: str
) -> None:
    put(server, *named("session:", 20), idle_days=40)
    bench.connect_redis(server)
    bench.as_redis_user(server, *rules)
    step = await bench.step(stale_keys())
    assert step.outcome is Outcome.UNKNOWN
    assert lacking in step.message
    assert "ACL SETUSER" in step.message
    assert expiring(server) == set()


async def test_a_server_that_keeps_no_idle_times_is_unknown(server: RedisServer, bench: Bench) -> None:
    server.command("CONFIG", "SET", "maxmemory-policy", "allkeys-lfu")
    bench.connect_redis(server)
    step = await bench.step(stale_keys())
    assert step.outcome is Outcome.UNKNOWN
    assert "cache keeps no idle times under the maxmemory-policy allkeys-lfu" in step.message


async def test_reads_from_replicas_have_to_be_ruled_out(bench: Bench) -> None:
    with running_redis() as primary, running_replica(primary) as replica:
        put(primary, *named("session:", 20), idle_days=40)
        bench.connect_redis(primary)
        refused = await bench.step(stale_keys())
        counted = await bench.step(stale_keys(dryRun=True))
        allowed = await bench.step(stale_keys(replicasUnread=True))
        bench.connections.clear()
        bench.connect_redis(replica)
        misplaced = await bench.step(stale_keys())
    assert refused.outcome is Outcome.FAILED
    assert "set replicasUnread: true if nobody reads from them" in refused.message
    assert (counted.outcome, allowed.outcome) == (Outcome.OK, Outcome.CHANGED)
    assert misplaced.outcome is Outcome.FAILED
    assert misplaced.message == "cache is a replica: let the connection point to the primary"


async def test_all_nodes_of_a_cluster_are_worked_through(redis_cluster: list[RedisServer], bench: Bench) -> None:
    # given stale keys whose slots lie on the first, the second and the third node
    for node, tag in zip(redis_cluster, ("b", "c", "a"), strict=True):
        put(node, *named(f"session:{{{tag}}}", 10), idle_days=40)
    bench.connect_redis(redis_cluster[0])
    step = await bench.step(stale_keys(maxSharePercent=50))
    assert step.outcome is Outcome.CHANGED, step.message
    assert step.metrics == {"keys": 30, "stale_keys": 30, "expiring_keys": 15}
    assert [len(expiring(node)) for node in redis_cluster] == [5, 5, 5]
    for node in redis_cluster:
        node.command("FLUSHALL")


async def test_a_stopped_step_has_expired_what_it_said_and_harmed_nothing(server: RedisServer, bench: Bench) -> None:
    put(server, *named("session:", 2000), idle_days=40)
    bench.connect_redis(server)
    running = asyncio.create_task(bench.step(stale_keys(keysPerSecond=100, maxSharePercent=50)))
    await eventually(lambda: expiring(server))
    running.cancel()
    step = await running
    assert (step.outcome, "SIGTERM" in step.message) == (Outcome.FAILED, True)
    assert server.command("DBSIZE") == 2000
    assert 0 < len(expiring(server)) < 1000
