"""A cache's hit ratio, its memory given back, its append-only file compacted: on real servers."""

import asyncio
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from integration.bench import Bench, eventually
from integration.redisserver import Product, RedisServer, running_redis
from upkeep.actions.contract import Action, Outcome, Severity
from upkeep.actions.redis.hitratio import RedisHitRatio
from upkeep.actions.redis.purge import RedisPurge
from upkeep.actions.redis.rewriteaof import RedisRewriteAof

HIT_RATIO = RedisHitRatio(connection="cache", over="1s", min_lookups=10)
PURGE = RedisPurge(connection="cache", min_idle_mebibytes=0)
REWRITE = RedisRewriteAof(connection="cache")
RIGHTS = {HIT_RATIO: [], PURGE: ["+memory|purge"], REWRITE: ["+bgrewriteaof"]}
_MEBIBYTE = 1024 * 1024

every_action = pytest.mark.parametrize("action", RIGHTS, ids=lambda action: action.action_name)


@pytest.fixture(scope="module")
def appending(redis_product: Product) -> Iterator[RedisServer]:
    with running_redis(None, "--appendonly", "yes", product=redis_product) as server:
        yield server


@pytest.fixture
def server(appending: RedisServer) -> Iterator[RedisServer]:
    appending.command("CONFIG", "RESETSTAT")
    appending.command("FLUSHALL")
    yield appending
    appending.command("CONFIG", "SET", "rdb-key-save-delay", "0")
    appending.command("ACL", "DELUSER", "watcher")


def look_up(server: RedisServer, *, hits: int, misses: int) -> None:
    server.command("SET", "here", "1")
    for _ in range(hits):
        server.command("GET", "here")
    for _ in range(misses):
        server.command("GET", "not-here")


async def meanwhile(server: RedisServer, *, hits: int, misses: int) -> None:
    """Look keys up in the middle of the second in which the ratio is watched."""
    await asyncio.sleep(0.3)
    await asyncio.to_thread(look_up, server, hits=hits, misses=misses)


@every_action
async def test_the_least_privileges_are_enough(server: RedisServer, bench: Bench, action: Action) -> None:
    bench.connect_redis(server)
    bench.as_redis_user(server, "+info", *RIGHTS[action])
    step = await bench.step(action)
    assert step.outcome.good, step.message


@every_action
async def test_a_user_that_may_not_is_told_what_to_allow(server: RedisServer, bench: Bench, action: Action) -> None:
    bench.connect_redis(server)
    bench.as_redis_user(server, *([] if action is HIT_RATIO else ["+info"]))
    step = await bench.step(action)
    if action is PURGE and not purges(server):
        assert step.outcome is Outcome.SKIPPED
        return
    assert step.outcome is Outcome.UNKNOWN
    assert "has no permissions to run" in step.message
    assert "ACL SETUSER" in step.message


@every_action
async def test_it_works_on_every_node_of_a_cluster(
    redis_cluster: list[RedisServer], bench: Bench, action: Action
) -> None:
    bench.connect_redis(redis_cluster[2])
    step = await bench.step(action)
    assert step.outcome.good, step.message
    assert step.metrics.get("purged_servers", 3) == (3 if purges(redis_cluster[0]) else 0) or action is not PURGE


async def test_a_good_ratio_is_no_finding(server: RedisServer, bench: Bench) -> None:
    bench.connect_redis(server)
    report, _ = await asyncio.gather(bench.report(HIT_RATIO), meanwhile(server, hits=19, misses=1))
    assert (report.outcome, report.findings) == (Outcome.OK, []), report.steps
    assert report.steps[0].metrics["lookups"] == 20
    assert report.steps[0].metrics["hit_percent"] == 95


async def test_a_bad_ratio_is_a_finding_though_it_was_good_before(server: RedisServer, bench: Bench) -> None:
    look_up(server, hits=100, misses=0)
    bench.connect_redis(server)
    report, _ = await asyncio.gather(bench.report(HIT_RATIO), meanwhile(server, hits=2, misses=18))
    found = {finding.check_id: finding for finding in report.findings}
    assert set(found) == {"redis.hit-ratio.low", "redis.hit-ratio.trend"}
    assert found["redis.hit-ratio.low"].severity is Severity.CRITICAL
    assert found["redis.hit-ratio.low"].observed == 10
    assert found["redis.hit-ratio.trend"].observed == 90


async def test_a_bad_ratio_long_ago_is_no_finding(server: RedisServer, bench: Bench) -> None:
    look_up(server, hits=0, misses=100)
    bench.connect_redis(server)
    report, _ = await asyncio.gather(bench.report(HIT_RATIO), meanwhile(server, hits=20, misses=0))
    assert report.findings == []


async def test_a_quiet_time_is_not_judged(server: RedisServer, bench: Bench) -> None:
    bench.connect_redis(server)
    step = await bench.step(HIT_RATIO)
    assert step.outcome is Outcome.SKIPPED
    assert step.message == "0 lookups in 1s: too few to judge (minLookups 10)"


async def test_counters_that_are_reset_meanwhile_are_unknown(server: RedisServer, bench: Bench) -> None:
    async def reset() -> None:
        await asyncio.sleep(0.3)
        server.command("CONFIG", "RESETSTAT")

    look_up(server, hits=5, misses=0)
    bench.connect_redis(server)
    step, _ = await asyncio.gather(bench.step(HIT_RATIO), reset())
    assert step.outcome is Outcome.UNKNOWN
    assert "cache was restarted or its counters were reset" in step.message


async def test_too_little_time_to_watch_is_said_at_once(server: RedisServer, bench: Bench) -> None:
    bench.connect_redis(server)
    step = await bench.step(RedisHitRatio(connection="cache", over="1h"))
    assert step.outcome is Outcome.FAILED
    assert "give it a longer timeout, or shorten `over`" in step.message
    assert step.seconds < 1


async def test_freed_memory_is_given_back(bench: Bench) -> None:
    # given a server with jemalloc that has freed most of what it had, here and there
    with running_redis() as churned:
        for number in range(64):
            churned.command("SET", f"key-{number}", "x" * _MEBIBYTE)
        churned.command("FLUSHALL", "SYNC")
        bench.connect_redis(churned)
        step = await bench.step(PURGE)
    assert step.outcome is Outcome.CHANGED
    assert step.metrics["freed_bytes"] > 8 * _MEBIBYTE


async def test_a_server_that_holds_little_is_left_alone(server: RedisServer, bench: Bench) -> None:
    bench.connect_redis(server)
    step = await bench.step(RedisPurge(connection="cache", min_idle_mebibytes=1024))
    assert step.outcome is Outcome.SKIPPED
    assert step.message == f"nothing to purge: {why_not(server)}"


async def test_the_append_only_file_is_smaller_afterwards(server: RedisServer, bench: Bench) -> None:
    for number in range(50):
        server.command("SET", "key", str(number) * 10_000)
    bench.connect_redis(server)
    step = await bench.step(REWRITE)
    assert step.outcome is Outcome.CHANGED, step.message
    assert step.metrics["bytes_after"] < step.metrics["bytes_before"] / 10
    assert server.command("INFO", "persistence")["aof_rewrite_in_progress"] == 0


async def test_a_file_that_has_not_grown_is_left_alone(server: RedisServer, bench: Bench) -> None:
    bench.connect_redis(server)
    await bench.step(REWRITE)
    step = await bench.step(RedisRewriteAof(connection="cache", min_growth_percent=100))
    assert step.outcome is Outcome.SKIPPED
    assert step.message.endswith("it has grown by less than 100 %")


async def test_a_server_without_one_has_nothing_to_rewrite(redis_server: RedisServer, bench: Bench) -> None:
    bench.connect_redis(redis_server)
    step = await bench.step(REWRITE)
    assert (step.outcome, step.message) == (
        Outcome.SKIPPED,
        "no append-only file to rewrite: appendonly is off",
    )


async def test_a_rewrite_that_fails_at_the_server_is_a_failure(server: RedisServer, bench: Bench) -> None:
    # given a rewrite that takes its time, and dies in the middle
    bench.connect_redis(server)
    slow_down(server)
    running = asyncio.create_task(bench.step(REWRITE))
    await eventually(lambda: rewriting(server))
    for child in children(server):
        os.kill(child, signal.SIGKILL)
    step = await running
    assert step.outcome is Outcome.FAILED
    assert "rewrite of the append-only file of cache failed: look into the server's log" in step.message


async def test_a_rewrite_that_runs_already_is_waited_for(server: RedisServer, bench: Bench) -> None:
    bench.connect_redis(server)
    slow_down(server)
    server.command("BGREWRITEAOF")
    server.command("CONFIG", "SET", "rdb-key-save-delay", "0")
    step = await bench.step(REWRITE)
    assert step.outcome is Outcome.CHANGED, step.message


async def test_a_stopped_step_leaves_the_rewrite_to_the_server(server: RedisServer, bench: Bench) -> None:
    bench.connect_redis(server)
    slow_down(server)
    running = asyncio.create_task(bench.step(REWRITE))
    await eventually(lambda: rewriting(server))
    running.cancel()
    step = await running
    assert step.outcome is Outcome.FAILED
    assert "SIGTERM" in step.message
    await eventually(lambda: not rewriting(server))
    assert server.command("INFO", "persistence")["aof_last_bgrewrite_status"] == "ok"


def purges(server: RedisServer) -> bool:
    """Whether its allocator can give memory back, which that of the Valkey in these tests cannot."""
    return bool(server.command("INFO", "memory")["mem_allocator"].startswith("jemalloc"))


def why_not(server: RedisServer) -> str:
    if purges(server):
        return "less than 1024 MiB is held without being used"
    return "the allocator of cache is libc, only jemalloc can purge"


def slow_down(server: RedisServer) -> None:
    """Let the next rewrite take about a second."""
    server.command("MSET", *(word for number in range(100) for word in (f"key-{number}", "value")))
    server.command("CONFIG", "SET", "rdb-key-save-delay", "10000")


def rewriting(server: RedisServer) -> bool:
    return bool(server.command("INFO", "persistence")["aof_rewrite_in_progress"])


def children(server: RedisServer) -> list[int]:
    process = server.command("INFO", "server")["process_id"]
    return [int(child) for child in Path(f"/proc/{process}/task/{process}/children").read_text().split()]
