"""Memory of Redis against its limit, by a user that may do nothing else."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from integration.bench import Bench
from integration.certificate import Certificate
from integration.redisserver import RedisServer, running_redis
from lab.port import free_port
from upkeep.actions.contract import Outcome, Severity
from upkeep.actions.redis.memory import RedisMemory

CHECK = RedisMemory(connection="cache")
_MEBIBYTE = 1024 * 1024


@pytest.fixture
def server(redis_server: RedisServer) -> Iterator[RedisServer]:
    yield redis_server
    redis_server.command("FLUSHALL")
    redis_server.command("CONFIG", "SET", "maxmemory", "0", "maxmemory-policy", "noeviction")
    redis_server.command("ACL", "DELUSER", "watcher")


async def test_no_limit_is_worth_knowing(server: RedisServer, bench: Bench) -> None:
    bench.connect_redis(server)
    report = await bench.report(CHECK)
    (finding,) = report.findings
    assert report.outcome is Outcome.OK
    assert (finding.check_id, finding.severity) == ("redis.memory.no-limit", Severity.INFO)
    assert finding.observed == report.steps[0].metrics["used_bytes"] > 0


async def test_room_enough_is_no_finding(server: RedisServer, bench: Bench) -> None:
    server.command("CONFIG", "SET", "maxmemory", str(100 * _MEBIBYTE))
    bench.connect_redis(server)
    report = await bench.report(CHECK)
    assert (report.outcome, report.findings) == (Outcome.OK, [])
    assert 0 < report.steps[0].metrics["used_percent"] < 10


@pytest.mark.parametrize(
    ("used_percent", "severity", "threshold"), [(85, Severity.WARNING, 80), (98, Severity.CRITICAL, 95)]
)
async def test_little_room_is_a_finding(
    server: RedisServer, bench: Bench, used_percent: int, severity: Severity, threshold: int
) -> None:
    # given a server that uses so much of its limit and may evict nothing
    server.command("SET", "big", "x" * 8 * _MEBIBYTE)
    used = int(server.command("INFO", "memory")["used_memory"])
    server.command("CONFIG", "SET", "maxmemory", str(used * 100 // used_percent))
    bench.connect_redis(server)
    report = await bench.report(CHECK)
    (finding,) = report.findings
    assert (finding.check_id, finding.severity, finding.threshold) == ("redis.memory.used", severity, threshold)
    assert abs(finding.observed - used_percent) < 1.5
    assert "writes will fail (noeviction)" in finding.recommendation


async def test_fragmentation_is_judged_only_where_it_matters(server: RedisServer, bench: Bench) -> None:
    # given a nearly empty server, whose fragmentation ratio is high and means nothing
    server.command("CONFIG", "SET", "maxmemory", str(100 * _MEBIBYTE))
    bench.connect_redis(server)
    assert (await bench.report(CHECK)).findings == []
    judged = await bench.report(
        RedisMemory(connection="cache", fragmentation_min_mebibytes=0, fragmentation_ratio=1.01)
    )
    assert [finding.check_id for finding in judged.findings] == ["redis.memory.fragmentation"]


async def test_every_node_of_a_cluster_is_judged(redis_cluster: list[RedisServer], bench: Bench) -> None:
    bench.connect_redis(redis_cluster[0])
    report = await bench.report(CHECK)
    assert {finding.object for finding in report.findings} == {node.label for node in redis_cluster}
    assert "the fullest of 3 servers" in report.steps[0].message


async def test_the_least_privileges_are_enough(server: RedisServer, bench: Bench) -> None:
    bench.connect_redis(server, database=1)
    bench.as_redis_user(server, "+info", "+select")
    step = await bench.step(CHECK)
    assert step.outcome is Outcome.OK, step.message


async def test_a_user_that_may_not_ask_is_unknown(server: RedisServer, bench: Bench) -> None:
    bench.connect_redis(server)
    bench.as_redis_user(server, "+ping")
    step = await bench.step(CHECK)
    assert step.outcome is Outcome.UNKNOWN
    assert "info" in step.message
    assert "ACL SETUSER" in step.message


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"host": "no-such-host.invalid"}, "no such name in DNS: check `host` of connection 'cache'"),
        ({"database": 999}, "DB index is out of range: check `database` of connection 'cache'"),
        ({"secretRef": None}, "the server wants a password: add secretRef to connection 'cache'"),
        ({"tls": True}, "check host and port"),
    ],
)
async def test_a_connection_that_fails_says_what_to_do(
    server: RedisServer, bench: Bench, changes: dict[str, object], message: str
) -> None:
    bench.connect_redis(server, **changes)
    step = await bench.step(CHECK)
    assert step.outcome is Outcome.FAILED
    assert step.message.startswith(f"cannot use Redis {changes.get('host', server.host)}:{server.port}: ")
    assert message in step.message
    assert step.seconds < 5


async def test_a_wrong_password_points_to_the_secret(server: RedisServer, bench: Bench) -> None:
    bench.connect_redis(server)
    bench.secret("cache", password="wrong-password")  # noqa: S106 - the point of this test
    step = await bench.step(CHECK)
    assert step.outcome is Outcome.FAILED
    assert step.message.endswith(": check the Secret 'cache-secret'")
    assert "wrong-password" not in step.message


async def test_a_server_that_is_down_is_named(server: RedisServer, bench: Bench) -> None:
    port = free_port()
    bench.connect_redis(server, port=port)
    step = await bench.step(CHECK)
    assert step.message.endswith("nothing listens there: check host and port, and that the server runs")
    assert f"127.0.0.1:{port}" in step.message


async def test_a_missing_secret_is_named(server: RedisServer, bench: Bench) -> None:
    bench.connect_redis(server)
    (bench.credentials / "cache" / "password").unlink()
    step = await bench.step(CHECK)
    assert step.message == "Secret 'cache-secret' of connection 'cache' does not exist in this namespace: create it"


async def test_a_server_with_tls_is_recognised_by_its_authority(bench: Bench, tmp_path: Path) -> None:
    certificate = Certificate.make(tmp_path)
    with running_redis(certificate) as encrypted:
        bench.connect_redis(encrypted, tls=True)
        unknown = await bench.step(CHECK)
        bench.secret("cache", ca_crt=certificate.certificate.read_text())
        known = await bench.step(CHECK)
    assert unknown.outcome is Outcome.FAILED
    assert unknown.message.endswith("check `ca.crt` in the Secret 'cache-secret' and the server's certificate")
    assert known.outcome is Outcome.OK, known.message
