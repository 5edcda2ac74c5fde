"""What goes wrong around a backup in a bucket ends in a message that says so, and the next run succeeds."""

import asyncio
import itertools
import os
import signal
import subprocess
import sys
from asyncio.subprocess import DEVNULL
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import pytest

from integration.bench import Bench, eventually
from integration.cutter import relay
from integration.postgres import Database
from integration.resticstore import Store
from integration.s3server import S3Server
from upkeep.actions.backup.integrity import BackupIntegrity
from upkeep.actions.backup.postgres import BackupPostgres
from upkeep.actions.backup.prune import BackupPrune
from upkeep.actions.backup.restoretest import BackupRestoreTest
from upkeep.actions.contract import Outcome
from upkeep.domain.order import RunOrder

POLICY: Final = "shop/shop-db"
JOB: Final = "shop-db-daily-29380000-1a2b3c4d"
_NUMBERS = itertools.count(1)
_RUNNER: Final = """
import asyncio, sys
from pathlib import Path
from upkeep.domain.order import RunOrder
from upkeep.runner.run import execute
asyncio.run(execute(RunOrder.decode(sys.argv[1]), credentials=Path(sys.argv[2]), scratch=Path(sys.argv[3])))
"""


@pytest.fixture
def bucket(s3: S3Server, bench: Bench) -> str:
    """Name of an empty bucket; its Secret and that of the repository are mounted."""
    bench.storage_secret()
    bench.repository_secret()
    name = f"faults-{next(_NUMBERS)}"
    s3.bucket(name)
    return name


@pytest.fixture
def store(s3: S3Server, bucket: str, bench: Bench) -> Store:
    """The repository in it, as a person sees it who has the disk of the server."""
    return Store(s3.directory / bucket / "of" / "shop", bench.repository_secret())


@pytest.fixture
def shop(database: Database, bench: Bench) -> Database:
    """A database of some MiB that cannot be compressed much, and the connection to it."""
    database.as_owner(
        "CREATE TABLE orders AS SELECT g AS id, encode(sha512(g::text::bytea), 'base64') AS note "
        "FROM generate_series(1, 60000) g",
    )
    bench.connect_postgres(database.server, database=database.name)
    return database


def repository(location: dict[str, Any], *departed: str) -> dict[str, Any]:
    return {"s3": location, "passwordSecretRef": {"name": "repository-secret"}, "departed": list(departed)}


def backup(location: dict[str, Any], *departed: str) -> BackupPostgres:
    declared = {"connection": "db", "policy": POLICY, "schedule": "daily"}
    return BackupPostgres.model_validate({**declared, "repository": repository(location, *departed)})


def check(location: dict[str, Any], *departed: str) -> BackupIntegrity:
    return BackupIntegrity.model_validate({"repository": repository(location, *departed), "readDataSubset": "100%"})


@pytest.mark.usefixtures("shop")
@pytest.mark.parametrize("moment", ["creating", "locked", "uploading"])
async def test_killed_in_the_middle_the_next_run_succeeds(
    moment: str, bench: Bench, s3: S3Server, bucket: str, store: Store
) -> None:
    # given a run that is killed with all its programs when it has got so far
    location = s3.location(bucket)
    reached: dict[str, Callable[[], bool]] = {
        "creating": lambda: any(store.path.glob("keys/*")),
        "locked": store.locked,
        "uploading": lambda: any(store.path.glob("data/*/*")),
    }
    await _killed(bench.order(backup(location)), bench, when=reached[moment])
    # when it runs again, then it succeeds, and the repository is intact and not locked
    report = await bench.report(backup(location), check(location), seconds=300)
    assert report.outcome is Outcome.CHANGED, report.message
    assert len(store.snapshots()) == 1


@pytest.mark.usefixtures("shop")
async def test_what_an_interrupted_creation_left_is_in_nobodys_way(
    bench: Bench, s3: S3Server, bucket: str, store: Store
) -> None:
    # given a key without a config, and the claim of a Pod that is gone
    other = Store(store.path.parent / "other", bench.repository_secret())
    other.restic("init")
    (store.path / "keys").mkdir(parents=True)
    (key,) = (other.path / "keys").iterdir()
    key.rename(store.path / "keys" / key.name)
    (store.path / f"upkeep-creates-{JOB}-x7k2p-0123456789abcdef").touch()
    # when a backup is made
    step = await bench.step(backup(s3.location(bucket), JOB))
    # then there is one repository, with one key
    assert step.outcome is Outcome.CHANGED, step.message
    assert [path.name for path in (store.path / "keys").iterdir()] != [key.name]
    assert sorted(path.name for path in store.path.iterdir() if path.is_file()) == ["config"]
    store.restic("check", "--read-data")


@pytest.mark.usefixtures("shop")
async def test_while_the_network_is_cut_that_is_what_is_said(
    bench: Bench, s3: S3Server, bucket: str, store: Store
) -> None:
    await bench.step(backup(s3.location(bucket, prefix="of/other")))
    async with relay(s3.port) as cable:
        # given a network that is cut in the middle of an upload
        location = s3.location(bucket, endpoint=f"http://127.0.0.1:{cable.port}")
        cable.cut_after = 1_000_000
        step = await bench.step(backup(location), seconds=20)
        # then the run says what hindered it
        assert cable.cut
        assert step.outcome is Outcome.FAILED
        assert "timed out after 20s (restic said: " in step.message
        assert not store.path.joinpath("snapshots").exists()
        # and what comes next says at once that nobody answers, and takes nothing for damaged
        report = await bench.report(check(location))
        assert report.outcome is Outcome.FAILED
        assert f"cannot reach repository s3:http://127.0.0.1:{cable.port}/{bucket}/of/shop: " in report.message
        assert report.findings == []
        # when it is whole again, then the next run succeeds
        cable.mend()
        report = await bench.report(backup(location), check(location), seconds=300)
        assert report.outcome is Outcome.CHANGED, report.message
    store.restic("check", "--read-data")


@pytest.mark.usefixtures("shop")
async def test_a_network_that_is_back_soon_does_no_harm(bench: Bench, s3: S3Server, bucket: str, store: Store) -> None:
    async with relay(s3.port) as cable:
        cable.cut_after = 1_000_000
        location = s3.location(bucket, endpoint=f"http://127.0.0.1:{cable.port}")
        run = asyncio.create_task(bench.step(backup(location), seconds=120))
        await eventually(lambda: cable.cut)
        cable.mend()
        step = await run
    assert step.outcome is Outcome.CHANGED, step.message
    store.restic("check", "--read-data")


async def test_a_database_that_is_dropped_midway_leaves_no_backup(
    shop: Database, bench: Bench, s3: S3Server, bucket: str, store: Store
) -> None:
    # given a dump that waits for a lock
    await bench.step(backup(s3.location(bucket)))
    with shop.session() as other, other.transaction():
        other.execute("LOCK TABLE orders IN ACCESS EXCLUSIVE MODE")
        run = asyncio.create_task(bench.step(backup(s3.location(bucket))))
        waiting = (
            "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
        )
        await eventually(lambda: shop.value(waiting))
        # when the sessions of the database are ended, as DROP DATABASE … WITH (FORCE) does
        shop.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event_type = 'Lock' "
            "AND datname = current_database()"
        )
        step = await run
    # then the backup has failed, and the one before is untouched
    assert step.outcome is Outcome.FAILED
    assert "pg_dump of " in step.message
    assert len(store.snapshots()) == 1


@pytest.mark.usefixtures("shop")
async def test_a_scratch_volume_that_is_full_is_said(bench: Bench, s3: S3Server, bucket: str, store: Store) -> None:
    with bench.small_scratch():
        step = await bench.step(backup(s3.location(bucket)))
    assert step.outcome is Outcome.FAILED
    assert "raise scratchSize" in step.message
    step = await bench.step(backup(s3.location(bucket)))
    assert step.outcome is Outcome.CHANGED, step.message
    assert len(store.snapshots()) == 1


@pytest.mark.usefixtures("shop")
async def test_a_server_that_is_full_is_said_and_when_it_has_room_again_the_next_run_succeeds(
    bench: Bench, s3: S3Server, bucket: str, store: Store
) -> None:
    with _little_room(s3.directory / bucket) as enlarge:
        report = await bench.report(backup(s3.location(bucket)), seconds=20)
        assert report.outcome is Outcome.FAILED
        assert "restic said: Save(<data/" in report.message
        assert report.findings == []
        enlarge()
        report = await bench.report(backup(s3.location(bucket)), check(s3.location(bucket)), seconds=300)
        assert report.outcome is Outcome.CHANGED, report.message
        assert len(store.snapshots()) == 1


@pytest.mark.usefixtures("shop")
async def test_a_volume_that_is_full_is_said_and_when_it_has_room_again_the_next_run_succeeds(
    bench: Bench, tmp_path: Path
) -> None:
    (tmp_path / "volume").mkdir()
    password = bench.repository_secret()
    where = {"path": str(tmp_path / "volume" / "shop"), "passwordSecretRef": {"name": "repository-secret"}}
    with _little_room(tmp_path / "volume") as enlarge:
        declared = {"connection": "db", "policy": POLICY, "schedule": "daily", "repository": where}
        step = await bench.step(BackupPostgres.model_validate(declared))
        assert step.outcome is Outcome.FAILED
        assert "no space left on device: the volume is full: enlarge it" in step.message
        enlarge()
        checked = BackupIntegrity.model_validate({"repository": where, "readDataSubset": "100%"})
        report = await bench.report(BackupPostgres.model_validate(declared), checked, seconds=300)
        assert report.outcome is Outcome.CHANGED, report.message
        assert len(Store(tmp_path / "volume" / "shop", password).snapshots()) == 1


@pytest.mark.usefixtures("shop")
async def test_a_wrong_password_changes_nothing(bench: Bench, s3: S3Server, bucket: str, store: Store) -> None:
    await bench.step(backup(s3.location(bucket)))
    bench.repository_secret("another-password")
    report = await bench.report(backup(s3.location(bucket)), check(s3.location(bucket)))
    assert report.outcome is Outcome.FAILED
    assert "wrong password (or a damaged key file): check the Secret 'repository-secret'" in report.message
    assert report.findings == []
    bench.repository_secret()
    assert len(store.snapshots()) == 1


@pytest.mark.usefixtures("shop")
async def test_the_lock_of_a_pod_that_is_gone_is_removed_at_once(
    bench: Bench, s3: S3Server, bucket: str, store: Store
) -> None:
    # given the lock of a Pod of an earlier run that was killed
    await bench.step(backup(s3.location(bucket)))
    with _lock(store, host=f"{JOB}-x7k2p"):
        pass
    assert store.locked()
    # when the repository is needed for oneself
    step = await bench.step(check(s3.location(bucket), JOB))
    # then nobody had to wait for half an hour
    assert step.outcome is Outcome.OK, step.message
    assert not store.locked()


@pytest.mark.usefixtures("shop")
@pytest.mark.parametrize("host", [f"{JOB}x-x7k2p", "shop-db-daily-29380001-1a2b3c4d-x7k2p", JOB, "node-1"])
async def test_the_lock_of_anybody_else_stays_and_is_said(
    host: str, bench: Bench, s3: S3Server, bucket: str, store: Store
) -> None:
    await bench.step(backup(s3.location(bucket)))
    with _lock(store, host=host):
        pass
    report = await bench.report(check(s3.location(bucket), JOB), seconds=6)
    assert report.outcome is Outcome.FAILED
    assert report.findings == []
    assert f"on {host} by" in report.message
    assert "s for its end): wait until the other run has ended, then run this again" in report.message
    assert store.locked()


async def test_a_restore_test_goes_on_while_another_policy_prunes(
    shop: Database, bench: Bench, pod: Bench, s3: S3Server, bucket: str
) -> None:
    # given a repository that two policies share, of which one has backups to remove
    location = s3.location(bucket)
    await bench.step(backup(location))
    for _ in range(3):
        shop.execute("UPDATE orders SET note = md5(random()::text) WHERE id % 3 = 0")
        other = backup(location).model_copy(update={"policy": "shop/other"})
        await bench.step(other)
    pod.storage_secret()
    kept = {"schedule": "daily", "retention": {"keepLast": 1}}
    pruning = {"repository": repository(location), "policy": "shop/other", "retentions": [kept]}
    testing = {"repository": repository(location), "policy": POLICY}
    # when it prunes while the other one's restore is tested
    test = asyncio.create_task(pod.step(BackupRestoreTest.model_validate(testing)))
    prune = await bench.step(BackupPrune.model_validate(pruning))
    # then neither fails the other
    assert prune.outcome is Outcome.CHANGED, prune.message
    assert prune.metrics["removed"] == 2
    step = await test
    assert step.outcome is Outcome.OK, step.message


@contextmanager
def _little_room(directory: Path) -> Iterator[Callable[[], object]]:
    """A volume of three MiB at this directory for as long as the block, and how it is enlarged."""
    mount = ["mount", "-t", "tmpfs", "-o", "size=3m", "volume", str(directory)]
    subprocess.run(mount, check=True)
    try:
        yield lambda: subprocess.run(["mount", "-o", "remount,size=300m", str(directory)], check=True)
    finally:
        subprocess.run(["umount", str(directory)], check=True)


@contextmanager
def _lock(store: Store, *, host: str) -> Iterator[None]:
    """A backup of a Pod of this name, which at the end of the block is killed, so that its lock stays."""
    script = 'hostname "$0" && exec restic backup --stdin'
    command = ["unshare", "--uts", "sh", "-c", script, host]
    environment = {**store.environment, "HOME": str(store.path.parent)}
    quiet: Any = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, **quiet) as process:
        try:
            while not store.locked():
                assert process.poll() is None
            yield
        finally:
            process.kill()


async def _killed(order: RunOrder, bench: Bench, *, when: Callable[[], bool]) -> None:
    arguments = [sys.executable, "-c", _RUNNER, order.encode(), str(bench.credentials), str(bench.scratch)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    process = await asyncio.create_subprocess_exec(*arguments, env=environment, stdout=DEVNULL, start_new_session=True)
    try:
        await eventually(lambda: when() or process.returncode is not None)
        assert process.returncode is None
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
