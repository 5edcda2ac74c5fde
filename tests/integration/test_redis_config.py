"""Configuration of Redis: drift is reported, set where that is wanted, and told apart from what outlives a restart."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from integration.bench import Bench
from integration.redisserver import RedisServer, running_redis
from upkeep.actions.contract import Outcome, Severity
from upkeep.actions.redis.config import RedisConfig


def config(*, apply: bool = False, persist: bool = False, **settings: Any) -> RedisConfig:  # noqa: ANN401 - text
    listed = [{"name": name.replace("_", "-"), "value": value} for name, value in settings.items()]
    return RedisConfig.model_validate({"connection": "cache", "settings": listed, "apply": apply, "persist": persist})


@pytest.fixture
def server(redis_server: RedisServer) -> Iterator[RedisServer]:
    yield redis_server
    redis_server.command("CONFIG", "SET", "maxmemory", "0", "maxmemory-policy", "noeviction", "hz", "10")
    redis_server.command("ACL", "DELUSER", "watcher")
    redis_server.command("FLUSHALL")


def now(server: RedisServer, name: str) -> Any:  # noqa: ANN401 - an answer of the server
    return server.command("CONFIG", "GET", name)[name]


async def test_drift_is_a_finding_and_nothing_is_set(server: RedisServer, bench: Bench) -> None:
    bench.connect_redis(server)
    report = await bench.report(config(maxmemory="256mb", maxmemory_policy="noeviction", hz="10"))
    (finding,) = report.findings
    assert (finding.check_id, finding.severity) == ("redis.config.drift", Severity.WARNING)
    assert finding.object == "cache maxmemory"
    assert "it is '0' and should be '256mb'" in finding.recommendation
    assert report.steps[0].message == "1 of 3 settings differ"
    assert now(server, "maxmemory") == "0"


async def test_what_is_as_it_should_be_is_no_finding_however_it_is_written(server: RedisServer, bench: Bench) -> None:
    server.command("CONFIG", "SET", "maxmemory", str(256 * 1024 * 1024), "notify-keyspace-events", "KEx")
    bench.connect_redis(server)
    report = await bench.report(config(maxmemory="256MB", notify_keyspace_events="xKE", activedefrag="NO"))
    server.command("CONFIG", "SET", "notify-keyspace-events", "")
    assert (report.outcome, report.findings) == (Outcome.OK, [])


async def test_what_differs_is_set_once(server: RedisServer, bench: Bench) -> None:
    bench.connect_redis(server)
    wanted = config(apply=True, maxmemory_policy="allkeys-lru", maxmemory="256mb")
    first, second = await bench.step(wanted), await bench.step(wanted)
    assert (first.outcome, first.message) == (Outcome.CHANGED, "2 of 2 settings set and confirmed")
    assert (now(server, "maxmemory"), now(server, "maxmemory-policy")) == ("268435456", "allkeys-lru")
    assert (second.outcome, second.message) == (Outcome.OK, "all 2 settings are as they should be")


async def test_what_a_restart_would_lose_is_a_finding(server: RedisServer, bench: Bench) -> None:
    bench.connect_redis(server)
    report = await bench.report(config(apply=True, persist=True, hz="20"))
    (finding,) = report.findings
    assert (report.outcome, finding.check_id) == (Outcome.CHANGED, "redis.config.not-persisted")
    assert "it runs without a configuration file" in finding.recommendation


async def test_what_is_persisted_stands_in_the_file(bench: Bench, tmp_path: Path) -> None:
    file = tmp_path / "redis.conf"
    file.write_text("hz 10\n")
    with running_redis(None, file=file) as server:
        bench.connect_redis(server)
        report = await bench.report(config(apply=True, persist=True, hz="20"))
    assert (report.outcome, report.findings) == (Outcome.CHANGED, []), report.steps
    assert "hz 20" in file.read_text().splitlines()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"no_such_setting": "1"}, "cache has no setting 'no-such-setting': check its name and the server's version"),
        ({"hz": "20", "maxmemory_policy": "often"}, "cannot set maxmemory-policy to 'often': "),
        ({"hz": "20", "maxmemory_policy": "often"}, "(hz was set before)"),
        ({"maxmemory": "100kb"}, "would evict keys or refuse writes at once: free memory first"),
        ({"hz": '"; FLUSHALL'}, "cannot set hz to '\"; FLUSHALL'"),
    ],
)
async def test_what_cannot_be_set_is_explained(
    server: RedisServer, bench: Bench, settings: dict[str, Any], message: str
) -> None:
    server.command("SET", "key", "value")
    bench.connect_redis(server)
    step = await bench.step(config(apply=True, **settings))
    assert step.outcome is Outcome.FAILED
    assert message in step.message
    assert server.command("GET", "key") == "value"


async def test_the_least_privileges_are_enough(server: RedisServer, bench: Bench) -> None:
    bench.connect_redis(server)
    bench.as_redis_user(server, "+info", "+config|get")
    looked = await bench.step(config(hz="20"))
    bench.as_redis_user(server, "+info", "+config|get", "+config|set")
    applied = await bench.step(config(apply=True, hz="20"))
    assert (looked.outcome, applied.outcome) == (Outcome.OK, Outcome.CHANGED), applied.message


@pytest.mark.parametrize(("rules", "lacking"), [(["+info"], "config|get"), (["+info", "+config|get"], "config|set")])
async def test_a_user_that_may_not_is_told_what_to_allow(
    server: RedisServer, bench: Bench, rules: list[str], lacking: str
) -> None:
    bench.connect_redis(server)
    bench.as_redis_user(server, *rules)
    step = await bench.step(config(apply=True, hz="20"))
    assert step.outcome is Outcome.UNKNOWN
    assert lacking in step.message
    assert "ACL SETUSER" in step.message


async def test_every_node_of_a_cluster_is_compared_and_set(redis_cluster: list[RedisServer], bench: Bench) -> None:
    redis_cluster[1].command("CONFIG", "SET", "hz", "20")
    bench.connect_redis(redis_cluster[0])
    report = await bench.report(config(hz="10"))
    applied = await bench.step(config(apply=True, hz="10"))
    assert [finding.object for finding in report.findings] == [f"{redis_cluster[1].label} hz"]
    assert applied.outcome is Outcome.CHANGED
    assert {now(node, "hz") for node in redis_cluster} == {"10"}
