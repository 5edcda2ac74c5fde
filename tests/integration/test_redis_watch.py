"""Whether Redis answers, what INFO tells of trouble, which commands were slow: by users that may do nothing else."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from integration.bench import Bench, eventually
from integration.redisserver import RedisServer, running_node, running_redis, running_replica
from upkeep.actions.contract import Action, Outcome, Severity
from upkeep.actions.redis.info import RedisInfo
from upkeep.actions.redis.ping import RedisPing
from upkeep.actions.redis.slowlog import RedisSlowlog

PING = RedisPing(connection="cache")
INFO = RedisInfo(connection="cache", restarted_within="0s")
SLOWLOG = RedisSlowlog(connection="cache")
RIGHTS = {PING: ["+ping"], INFO: [], SLOWLOG: ["+slowlog|get", "+config|get"]}

every_check = pytest.mark.parametrize("check", RIGHTS, ids=lambda check: check.action_name)


@pytest.fixture
def server(redis_server: RedisServer) -> Iterator[RedisServer]:
    redis_server.command("SLOWLOG", "RESET")
    yield redis_server
    redis_server.command("CONFIG", "SET", "maxclients", "10000", "slowlog-log-slower-than", "10000")
    redis_server.command("ACL", "DELUSER", "watcher")
    redis_server.command("FLUSHALL")


@every_check
async def test_a_healthy_server_is_no_finding(server: RedisServer, bench: Bench, check: Action) -> None:
    bench.connect_redis(server)
    report = await bench.report(check)
    assert (report.outcome, report.findings) == (Outcome.OK, []), report.steps


@every_check
async def test_the_least_privileges_are_enough(server: RedisServer, bench: Bench, check: Action) -> None:
    bench.connect_redis(server, database=1)
    bench.as_redis_user(server, "+info", "+select", *RIGHTS[check])
    step = await bench.step(check)
    assert step.outcome is Outcome.OK, step.message


@every_check
async def test_a_user_that_may_not_ask_is_unknown(server: RedisServer, bench: Bench, check: Action) -> None:
    bench.connect_redis(server)
    bench.as_redis_user(server, *([] if check is INFO else ["+info"]))
    step = await bench.step(check)
    assert step.outcome is Outcome.UNKNOWN
    assert "ACL SETUSER" in step.message


@every_check
async def test_every_node_of_a_cluster_is_asked(redis_cluster: list[RedisServer], bench: Bench, check: Action) -> None:
    bench.connect_redis(redis_cluster[1])
    for node in redis_cluster:
        bench.as_redis_user(node, "+info", "+cluster|nodes", "+cluster|info", *RIGHTS[check])
    report = await bench.report(check)
    assert (report.outcome, report.findings) == (Outcome.OK, []), report.steps
    assert report.steps[0].metrics.get("servers", 3) == 3


async def test_a_step_that_is_told_to_end_ends_whatever_it_does_just_then(server: RedisServer, bench: Bench) -> None:
    bench.connect_redis(server)
    ping = RedisPing(connection="cache", samples=100)
    for turns in range(2, 120, 3):
        running = asyncio.create_task(bench.report(ping, ping))
        for _ in range(turns):
            await asyncio.sleep(0)
        running.cancel()
        report = await running
        assert "SIGTERM" in report.message, turns
    await eventually(lambda: len(server.command("CLIENT", "LIST").splitlines()) == 1)


async def test_fewer_keys_than_there_have_to_be_are_a_failure(server: RedisServer, bench: Bench) -> None:
    bench.connect_redis(server)
    server.command("FLUSHALL")
    server.command("SET", "one", "1")
    server.command("COPY", "one", "two", "DB", "3")

    enough = await bench.report(RedisPing(connection="cache", min_keys=2))
    lacking = await bench.report(RedisPing(connection="cache", min_keys=3))

    assert enough.outcome is Outcome.OK
    assert enough.steps[0].message.endswith(", 2 keys")
    assert enough.findings == []
    assert lacking.outcome is Outcome.FAILED
    assert lacking.steps[0].message.endswith(", 2 keys, but at least 3 have to be there")
    assert [finding.check_id for finding in lacking.findings] == ["redis.ping.keys"]


async def test_a_slow_answer_is_a_finding(server: RedisServer, bench: Bench) -> None:
    bench.connect_redis(server)
    report = await bench.report(RedisPing(connection="cache", warning_milliseconds=0, critical_milliseconds=0))
    (finding,) = report.findings
    assert (finding.check_id, finding.severity, finding.object) == ("redis.ping.slow", Severity.CRITICAL, "cache")


async def test_a_replica_without_its_primary_is_critical(bench: Bench) -> None:
    with running_redis() as primary, running_replica(primary) as replica:
        bench.connect_redis(replica)
        linked = await bench.report(PING)
        replica.command("REPLICAOF", "127.0.0.1", "1")
        alone = await bench.report(PING)
    assert linked.findings == []
    (finding,) = alone.findings
    assert (finding.check_id, finding.severity) == ("redis.ping.replication", Severity.CRITICAL)


async def test_a_cluster_without_all_slots_is_critical(bench: Bench) -> None:
    # given a node of a cluster that nobody has given the slots to
    with running_node() as lone:
        lone.command("CLUSTER", "ADDSLOTSRANGE", "0", "99")
        bench.connect_redis(lone)
        (finding,) = (await bench.report(PING)).findings
    assert (finding.check_id, finding.severity) == ("redis.ping.cluster", Severity.CRITICAL)
    assert finding.observed <= 100


async def test_a_node_of_a_cluster_that_cannot_be_reached_is_named(bench: Bench) -> None:
    with running_node(announced="127.0.0.3") as hidden:
        bench.connect_redis(hidden)
        step = await bench.step(PING)
    assert step.outcome is Outcome.FAILED
    assert step.message.startswith(f"cannot use Redis 127.0.0.3:{hidden.port}: ")


async def test_many_clients_are_a_finding(server: RedisServer, bench: Bench) -> None:
    server.command("CONFIG", "SET", "maxclients", "1")
    bench.connect_redis(server)
    (finding,) = (await bench.report(INFO)).findings
    assert (finding.check_id, finding.severity) == ("redis.info.clients", Severity.CRITICAL)
    assert finding.observed >= 100


async def test_a_restart_is_worth_knowing(server: RedisServer, bench: Bench) -> None:
    bench.connect_redis(server)
    (finding,) = (await bench.report(RedisInfo(connection="cache"))).findings
    assert (finding.check_id, finding.severity) == ("redis.info.restarted", Severity.INFO)


async def test_a_failed_snapshot_is_critical(bench: Bench) -> None:
    # given a server whose directory cannot take a snapshot
    with running_redis(None, "--dbfilename", "dump.rdb") as server:
        directory = server.command("CONFIG", "GET", "dir")["dir"]
        server.command("SET", "key", "value")
        (Path(directory) / "dump.rdb").mkdir()
        server.command("BGSAVE")
        await eventually(lambda: server.command("INFO", "persistence")["rdb_bgsave_in_progress"] == 0)
        bench.connect_redis(server)
        (finding,) = (await bench.report(INFO)).findings
    assert (finding.check_id, finding.severity) == ("redis.info.persistence", Severity.CRITICAL)
    assert finding.object == "cache rdb_last_bgsave_status"


async def test_slow_commands_are_named_without_their_arguments(server: RedisServer, bench: Bench) -> None:
    # given a log with a command whose arguments are somebody's data, and no text at all
    server.command("CONFIG", "SET", "slowlog-log-slower-than", "0")
    server.command("SET", b"customer:\xff\xfe", b"credit-card-4711")
    server.command("KEYS", "customer:*")
    bench.connect_redis(server)
    report = await bench.report(RedisSlowlog(connection="cache", warning_milliseconds=0))
    found = {finding.object: finding for finding in report.findings}
    assert {"cache SET", "cache KEYS"} <= set(found)
    assert found["cache KEYS"].severity is Severity.WARNING
    assert "SCAN" in found["cache KEYS"].recommendation
    assert "customer" not in report.encode()
    assert "4711" not in report.encode()
    assert (await bench.report(SLOWLOG)).findings == []


async def test_a_log_that_is_off_is_unknown(server: RedisServer, bench: Bench) -> None:
    server.command("CONFIG", "SET", "slowlog-log-slower-than", "-1")
    server.command("SLOWLOG", "RESET")
    bench.connect_redis(server)
    step = await bench.step(SLOWLOG)
    assert step.outcome is Outcome.UNKNOWN
    assert "set slowlog-log-slower-than to 10000" in step.message


async def test_an_empty_log_of_a_server_that_does_not_tell_more_is_unknown(server: RedisServer, bench: Bench) -> None:
    bench.connect_redis(server)
    bench.as_redis_user(server, "+info", "+slowlog|get")
    step = await bench.step(SLOWLOG)
    assert step.outcome is Outcome.UNKNOWN
    assert "whether it is on cannot be seen" in step.message
