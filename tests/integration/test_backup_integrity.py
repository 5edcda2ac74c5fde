"""A repository that lost one bit is found out."""

import os
import shutil
from pathlib import Path

import pytest

from integration.bench import Bench, eventually
from integration.resticstore import Store
from upkeep.actions.backup.integrity import BackupIntegrity
from upkeep.actions.contract import Outcome, Severity

_PARTS = ("data", "index", "snapshots", "keys", "config")


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with one snapshot of a MiB that cannot be compressed."""
    directory = tmp_path_factory.mktemp("pristine")
    store = Store(directory / "repository", Bench(directory).repository_secret())
    (directory / "content").write_bytes(os.urandom(1024 * 1024))
    store.restic("init")
    store.restic("backup", str(directory / "content"))
    return store.path


@pytest.fixture
def store(pristine: Path, bench: Bench, tmp_path: Path) -> Store:
    """A copy of it that a test may break."""
    return Store(shutil.copytree(pristine, tmp_path / "repository"), bench.repository_secret())


def check(path: Path, subset: str = "100%") -> BackupIntegrity:
    repository = {"path": str(path), "passwordSecretRef": {"name": "repository-secret"}}
    return BackupIntegrity.model_validate({"repository": repository, "readDataSubset": subset})


@pytest.mark.parametrize("subset", ["0%", "5%", "100%"])
async def test_a_whole_repository_is_intact(store: Store, bench: Bench, subset: str) -> None:
    step = await bench.step(check(store.path, subset))
    assert step.outcome is Outcome.OK, step.message
    assert step.message == f"repository {store.path} is intact: 1 snapshot, {subset} of the data read back"


@pytest.mark.parametrize("part", _PARTS)
async def test_one_flipped_bit_is_found_out(store: Store, bench: Bench, part: str) -> None:
    # given a repository in which one bit of the largest file of one part has flipped
    files = [path for path in (store.path / part, *(store.path / part).rglob("*")) if path.is_file()]
    victim = max(files, key=lambda path: path.stat().st_size)
    content = bytearray(victim.read_bytes())
    content[len(content) // 2] ^= 1
    victim.chmod(0o600)
    victim.write_bytes(content)
    # when it is checked
    report = await bench.report(check(store.path))
    # then the run has failed; only a broken key may look like a wrong password
    assert report.outcome is Outcome.FAILED
    if part == "keys" and not report.findings:
        assert "wrong password (or a damaged key file)" in report.message
    else:
        assert f"repository {store.path} is damaged: " in report.message
        assert [(finding.check_id, finding.severity) for finding in report.findings] == [
            ("backup.integrity", Severity.CRITICAL)
        ]


@pytest.mark.parametrize("part", ["config", "index"])
async def test_a_missing_part_is_found_out(store: Store, bench: Bench, part: str) -> None:
    for path in (store.path / part, *(store.path / part).rglob("*")):
        if path.is_file():
            path.unlink()
    report = await bench.report(check(store.path, "0%"))
    assert report.outcome is Outcome.FAILED
    assert report.counts.critical == 1


async def test_a_repository_that_is_not_there_is_named(bench: Bench, tmp_path: Path) -> None:
    bench.repository_secret()
    step = await bench.step(check(tmp_path / "nowhere"))
    assert step.outcome is Outcome.FAILED
    assert step.message.endswith("there is no repository: the first backup makes it; check the volume and path")
    assert not (tmp_path / "nowhere").exists()


async def test_a_repository_without_snapshots_proves_nothing(bench: Bench, tmp_path: Path) -> None:
    store = Store(tmp_path / "repository", bench.repository_secret())
    store.restic("init")
    step = await bench.step(check(store.path))
    assert step.outcome is Outcome.UNKNOWN
    assert step.message.endswith("is intact, but it has no snapshots yet")


async def test_a_wrong_password_is_no_damage(store: Store, bench: Bench) -> None:
    bench.repository_secret("another-password")
    report = await bench.report(check(store.path))
    assert report.outcome is Outcome.FAILED
    assert report.findings == []
    assert "check the Secret 'repository-secret'" in report.message


async def test_a_repository_that_is_in_use_is_not_damaged(store: Store, bench: Bench) -> None:
    # given a backup that still runs
    with store.running_backup():
        await eventually(store.locked)
        # when the repository is checked meanwhile
        report = await bench.report(check(store.path))
    # then it is said to be locked
    assert report.outcome is Outcome.FAILED
    assert "repository is already locked" in report.message
    assert report.findings == []


async def test_the_lock_of_a_run_that_was_killed_is_removed(store: Store, bench: Bench) -> None:
    # given the lock of a backup that was killed
    with store.running_backup():
        await eventually(store.locked)
    assert store.locked()
    # when the repository is checked
    step = await bench.step(check(store.path, "0%"))
    # then the lock did not keep it from that
    assert step.outcome is Outcome.OK, step.message
