"""The keys of a Redis come back as they were, and a snapshot of nothing is none."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest

from integration.bench import Bench
from integration.redisserver import RedisServer, running_cluster, running_redis, running_replica
from integration.resticstore import Store
from upkeep.actions.backup.redis import BackupRedis
from upkeep.actions.backup.redistest import BackupRedisTest
from upkeep.actions.contract import Outcome

POLICY: Final = "shop/shop-cache"
PRIVILEGES: Final = ("~*", "+psync", "+sync", "+replconf", "+info", "+select", "+ping")


def backup(store: Store) -> BackupRedis:
    return BackupRedis.model_validate(
        {"connection": "cache", "repository": store.declared, "policy": POLICY, "schedule": "daily"}
    )


def verify(store: Store, *keys: dict[str, Any]) -> BackupRedisTest:
    return BackupRedisTest.model_validate({"repository": store.declared, "policy": POLICY, "keys": list(keys)})


def fill(server: RedisServer, count: int = 500) -> None:
    for number in range(count):
        server.command("SET", f"cart:{number}", f"content {number}")
    server.command("RPUSH", "queue", "a", "b", "c")
    server.command("SET", "session:1", "short", "EX", "1000")


async def test_keys_come_back_as_they_were(bench: Bench, store: Store) -> None:
    with running_redis() as server:
        bench.connect_redis(server)
        bench.as_redis_user(server, *PRIVILEGES)
        fill(server)

        step = await bench.step(backup(store))

    assert step.outcome is Outcome.CHANGED, step.message
    assert step.metrics["keys"] == 502
    assert [path.name for path in bench.scratch.iterdir()] == ["restic-cache"]

    proof = await bench.step(verify(store, {"name": "carts", "pattern": "cart:*", "min": 500}))

    assert proof.outcome is Outcome.OK, proof.message
    assert proof.message.endswith("502 keys loaded of 502, 1 expectation met")
    assert proof.facts["snapshot"] == store.snapshots()[0]["short_id"]
    assert [path.name for path in bench.scratch.iterdir()] == ["restic-cache"]


async def test_a_replica_that_keeps_up_is_asked_instead_of_its_primary(bench: Bench, store: Store) -> None:
    with running_redis() as primary, running_replica(primary) as replica:
        fill(primary)
        bench.connect_redis(primary)

        step = await bench.step(backup(store))

    assert step.outcome is Outcome.CHANGED, step.message
    assert f"502 keys of replica {replica.label}" in step.message


async def test_a_replica_that_has_lost_its_primary_is_not_believed(bench: Bench, store: Store) -> None:
    with running_redis() as primary:
        fill(primary)
        with running_replica(primary) as replica:
            replica.command("CONFIG", "SET", "masterauth", "wrong")
            replica.command("REPLICAOF", "127.0.0.1", "1")
            bench.connect_redis(replica)

            step = await bench.step(backup(store))

    assert step.outcome is Outcome.FAILED
    assert "is a replica that has lost its primary" in step.message
    assert not store.path.exists()


async def test_a_server_without_keys_is_not_backed_up(bench: Bench, store: Store) -> None:
    with running_redis() as server:
        bench.connect_redis(server)

        step = await bench.step(backup(store))

    assert step.outcome is Outcome.FAILED
    assert "has no keys: an empty backup is not made" in step.message
    assert store.snapshots() == []


async def test_without_the_privilege_it_is_told_which(bench: Bench, store: Store) -> None:
    with running_redis() as server:
        fill(server)
        bench.connect_redis(server)
        bench.as_redis_user(server, "~*", "+info", "+select", "+ping")

        step = await bench.step(backup(store))

    assert step.outcome is Outcome.FAILED
    assert "allow its user SYNC, PSYNC and REPLCONF" in step.message


async def test_a_node_of_a_cluster_is_refused(bench: Bench, store: Store) -> None:
    with running_cluster() as nodes:
        bench.connect_redis(nodes[0])

        step = await bench.step(backup(store))

    assert step.outcome is Outcome.FAILED
    assert "is a node of a Redis Cluster" in step.message


async def test_keys_that_are_expected_and_not_there_are_critical(bench: Bench, store: Store) -> None:
    with running_redis() as server:
        fill(server, 3)
        bench.connect_redis(server)
        await bench.step(backup(store))

    report = await bench.report(
        verify(store, {"name": "carts", "pattern": "cart:*", "min": 4}, {"name": "users", "pattern": "user:*"})
    )

    assert report.outcome is Outcome.FAILED
    assert [(finding.check_id, finding.object, finding.observed) for finding in report.findings] == [
        ("backup.restore.expected-keys", "carts", 3),
        ("backup.restore.expected-keys", "users", 0),
    ]


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda data: data[: len(data) // 2], "the snapshot of Redis is not whole"),
        (lambda data: data[:-20] + bytes([data[-20] ^ 1]) + data[-19:], "the snapshot of Redis is not whole"),
    ],
    ids=["cut off", "one bit"],
)
async def test_a_snapshot_that_was_changed_before_it_was_stored_is_found_out(
    damage: Callable[[bytes], bytes],
    words: str,
    bench: Bench,
    store: Store,
    tmp_path: Path,
) -> None:
    with running_redis() as server:
        fill(server)
        bench.connect_redis(server)
        await bench.step(backup(store))
    store.restic("restore", "latest", "--target", str(tmp_path / "back"))
    file = tmp_path / "back/redis/dump.rdb"
    file.write_bytes(damage(file.read_bytes()))
    store.restic("backup", "--host", POLICY, "--tag", f"policy={POLICY}", "redis", directory=tmp_path / "back")

    step = await bench.step(verify(store))

    assert step.outcome is Outcome.FAILED
    assert words in step.message
