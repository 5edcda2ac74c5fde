"""What a retention does not keep is removed from a real repository, and nothing else ever is."""

import asyncio
import json
import os
import signal
import sys
from asyncio.subprocess import DEVNULL
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import pytest

from integration.bench import Bench, eventually
from integration.resticstore import Store
from upkeep.actions.backup.prune import BackupPrune
from upkeep.actions.contract import Outcome, Severity
from upkeep.domain.order import RunOrder

POLICY: Final = "shop/shop-db"
_RUNNER: Final = """
import asyncio, sys
from pathlib import Path
from upkeep.domain.order import RunOrder
from upkeep.runner.run import execute
asyncio.run(execute(RunOrder.decode(sys.argv[1]), credentials=Path(sys.argv[2]), scratch=Path(sys.argv[3])))
"""


@pytest.fixture
def store(bench: Bench, tmp_path: Path) -> Store:
    store = Store(tmp_path / "repository", bench.repository_secret())
    store.restic("init")
    (tmp_path / "content").mkdir()
    return store


def backed_up(store: Store, *days: int, schedule: str = "daily", policy: str = POLICY) -> list[str]:
    """Snapshots as a policy makes them, so many days ago each; their short ids."""
    return [_backed_up(store, day, f"--tag=policy={policy}", f"--tag=schedule={schedule}", host=policy) for day in days]


def _backed_up(store: Store, day: int, *arguments: str, host: str) -> str:
    content = store.path.parent / "content"
    (content / "data").write_bytes(os.urandom(64 * 1024))
    made = f"{datetime.now(UTC) - timedelta(days=day):%Y-%m-%d} 00:30:00"
    named = ("--json", f"--host={host}", "--time", made)
    *_, summary = store.restic("backup", *named, *arguments, "content", directory=content.parent).splitlines()
    identifier: str = json.loads(summary)["snapshot_id"]
    return identifier[:8]


def kept(store: Store) -> set[str]:
    """Short ids of all snapshots, whoever has locked the repository, or left a lock."""
    return {snapshot["short_id"] for snapshot in json.loads(store.restic("snapshots", "--json", "--no-lock"))}


def prune(
    store: Store, *, keep: dict[str, Any] | None = None, schedule: str = "daily", **changes: object
) -> BackupPrune:
    declared: dict[str, object] = {
        "repository": {"path": str(store.path), "passwordSecretRef": {"name": "repository-secret"}},
        "policy": POLICY,
        "retentions": [{"schedule": schedule, "retention": keep or {"keepLast": 2}}],
    }
    return BackupPrune.model_validate({**declared, **changes})


def largest(directory: Path) -> Path:
    return max((path for path in directory.rglob("*") if path.is_file()), key=lambda path: path.stat().st_size)


def damaged(store: Store, part: str) -> None:
    """One bit of the largest file of a part has flipped."""
    victim = largest(store.path / part)
    content = bytearray(victim.read_bytes())
    content[len(content) // 2] ^= 1
    victim.chmod(0o600)
    victim.write_bytes(content)


async def test_what_the_retention_does_not_keep_is_removed_and_its_room_is_freed(bench: Bench, store: Store) -> None:
    # given five backups
    *old, before, newest = backed_up(store, 5, 4, 3, 2, 1)
    size = sum(path.stat().st_size for path in store.path.rglob("*") if path.is_file())
    # when two are to be kept
    step = await bench.step(prune(store))
    # then the other three are gone, and so is their data
    assert step.outcome is Outcome.CHANGED, step.message
    assert kept(store) == {before, newest}
    assert step.message.startswith("removed 3 of 5 snapshots (daily 3 of 5), 2 kept; repository ")
    assert (step.metrics["removed"], step.metrics["kept"]) == (len(old), 2)
    assert step.metrics["freed_bytes"] > 3 * 64 * 1024
    assert step.metrics["repository_bytes"] == size - step.metrics["freed_bytes"]
    store.restic("check", "--read-data")


async def test_done_again_nothing_is_left_to_do(bench: Bench, store: Store) -> None:
    backed_up(store, 3, 2, 1)
    await bench.step(prune(store))
    step = await bench.step(prune(store))
    assert step.outcome is Outcome.OK
    assert step.message.startswith("removed 0 of 2 snapshots (daily 0 of 2), 2 kept; repository ")


@pytest.mark.parametrize(
    ("keep", "days"),
    [
        ({"keepLast": 1}, {1}),
        ({"keepDaily": 3}, {1, 2, 3}),
        ({"keepWithin": "2d"}, {1, 2}),
        ({"keepWithin": "1h"}, {1}),
        ({"keepYearly": 5, "keepLast": 2}, {1, 2, 400, 800}),
    ],
)
async def test_the_rules_are_those_of_restic(bench: Bench, store: Store, keep: dict[str, Any], days: set[int]) -> None:
    made = (800, 400, 4, 3, 2, 1)
    names = dict(zip(made, backed_up(store, *made), strict=True))
    await bench.step(prune(store, keep=keep))
    assert kept(store) >= {names[day] for day in days}
    assert kept(store) <= {names[day] for day in (*days, *(day for day in (2, 3, 4) if "keepYearly" in keep))}


async def test_nothing_of_others_is_touched(bench: Bench, store: Store) -> None:
    # given backups of another policy with a schedule of the same name, of another schedule, and one made by hand
    others = {
        *backed_up(store, 9, 8, 7, policy="shop/other"),
        *backed_up(store, 6, 5, schedule="monthly"),
        _backed_up(store, 12, "--tag=schedule=daily", host="laptop"),
    }
    _, newest = backed_up(store, 11, 10)
    # when this one keeps one of its own
    step = await bench.step(prune(store, keep={"keepLast": 1}))
    # then only that schedule lost any
    assert kept(store) == {*others, newest}
    assert step.message.startswith("removed 1 of 4 snapshots (daily 1 of 2), 3 kept")


async def test_without_a_retention_nothing_is_removed(bench: Bench, store: Store) -> None:
    backed_up(store, 900, 2, 1)
    step = await bench.step(prune(store, retentions=[]))
    assert step.outcome is Outcome.OK
    assert len(kept(store)) == 3


async def test_the_one_that_was_verified_last_stays_however_old_it_is(bench: Bench, store: Store) -> None:
    verified, _, newest = backed_up(store, 90, 2, 1)
    step = await bench.step(prune(store, keep={"keepLast": 1}, verified=verified, tested=True))
    assert kept(store) == {verified, newest}
    assert f"2 kept, also {verified}, verified last, the newest, or built upon" in step.message


async def test_the_one_that_was_verified_last_stays_also_when_somebody_has_tagged_it(
    bench: Bench, store: Store
) -> None:
    verified, _, newest = backed_up(store, 90, 2, 1)
    store.restic("tag", "--add", "important", verified)
    assert verified not in kept(store)
    step = await bench.step(prune(store, keep={"keepLast": 1}, verified=verified, tested=True))
    assert step.outcome is Outcome.CHANGED
    assert len(kept(store) - {newest}) == 1


@pytest.mark.parametrize(
    ("verified", "why"),
    [
        (None, "no backup has passed its restore test yet"),
        ("0badc0de", "the snapshot 0badc0de that was verified last is not in the repository any more"),
    ],
)
async def test_where_nobody_knows_which_one_is_good_nothing_is_removed(
    bench: Bench, store: Store, verified: str | None, why: str
) -> None:
    backed_up(store, 3, 2, 1)
    step = await bench.step(prune(store, verified=verified, tested=True))
    assert step.outcome is Outcome.SKIPPED
    assert why in step.message
    assert "run a restore test" in step.message
    assert len(kept(store)) == 3


async def test_a_dry_run_says_what_would_be_removed_and_removes_nothing(bench: Bench, store: Store) -> None:
    backed_up(store, 3, 2, 1)
    step = await bench.step(prune(store, dryRun=True))
    assert step.outcome is Outcome.OK
    assert step.message == "dry run, nothing was removed: would remove 1 of 3 snapshots (daily 1 of 3), 2 kept"
    assert not step.metrics
    assert len(kept(store)) == 3


async def test_a_snapshot_that_is_dated_in_the_future_does_not_make_all_others_old(bench: Bench, store: Store) -> None:
    backed_up(store, 2, 1, -4000)
    step = await bench.step(prune(store, keep={"keepWithin": "30d"}))
    assert step.outcome is Outcome.FAILED
    assert "which is in the future" in step.message
    assert len(kept(store)) == 3


@pytest.mark.parametrize("part", ["index", "snapshots"])
async def test_from_a_damaged_repository_nothing_is_removed(bench: Bench, store: Store, part: str) -> None:
    # given a repository in which one bit has flipped
    backed_up(store, 3, 2, 1)
    damaged(store, part)
    # when it is pruned
    report = await bench.report(prune(store))
    # then that is found out, and no snapshot is gone
    assert report.outcome is Outcome.FAILED
    assert f"repository {store.path} is damaged: " in report.message
    assert report.message.endswith("nothing is removed from it")
    assert [(finding.check_id, finding.severity) for finding in report.findings] == [
        ("backup.prune", Severity.CRITICAL)
    ]
    assert len(list((store.path / "snapshots").iterdir())) == 3


async def test_from_one_with_missing_data_nothing_is_removed(bench: Bench, store: Store) -> None:
    backed_up(store, 3, 2, 1)
    largest(store.path / "data").unlink()
    report = await bench.report(prune(store))
    assert report.outcome is Outcome.FAILED
    assert report.counts.critical == 1
    assert len(kept(store)) == 3


async def test_a_wrong_password_is_said(bench: Bench, store: Store) -> None:
    backed_up(store, 3, 2, 1)
    bench.repository_secret("another-password")
    report = await bench.report(prune(store))
    assert report.outcome is Outcome.FAILED
    assert report.findings == []
    assert "check the Secret 'repository-secret'" in report.message


async def test_that_restic_was_killed_says_nothing_about_the_repository(
    bench: Bench, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "restic").write_text("#!/bin/sh\nkill -9 $$\n")
    (tmp_path / "restic").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    report = await bench.report(prune(store))
    assert report.outcome is Outcome.FAILED
    assert report.findings == []
    assert "signal 9 ended restic" in report.message


async def test_a_repository_that_is_not_there_is_named(bench: Bench, store: Store, tmp_path: Path) -> None:
    nowhere = {"path": str(tmp_path / "nowhere"), "passwordSecretRef": {"name": "repository-secret"}}
    step = await bench.step(prune(store, repository=nowhere))
    assert step.outcome is Outcome.FAILED
    assert step.message.endswith("there is no repository: the first backup makes it; check the volume and path")


async def test_while_somebody_writes_to_it_nothing_is_removed_and_that_is_said(bench: Bench, store: Store) -> None:
    backed_up(store, 3, 2, 1)
    with store.running_backup():
        await eventually(store.locked)
        step = await bench.step(prune(store), seconds=20)
        assert store.locked(), "the lock of somebody who is there is never removed"
    assert step.outcome is Outcome.FAILED
    assert "repository is already locked" in step.message
    assert "wait until the other run has ended" in step.message
    assert len(kept(store)) == 3


async def test_it_waits_for_somebody_who_is_soon_done(bench: Bench, store: Store) -> None:
    # given a backup that runs
    backed_up(store, 3, 2, 1)
    with store.running_backup():
        await eventually(store.locked)
        # when it is pruned meanwhile
        began = datetime.now(UTC)
        report = bench.report(prune(store), seconds=300)
        pruning = asyncio.ensure_future(report)
        await eventually(lambda: datetime.now(UTC) - began > timedelta(seconds=1))
        assert not pruning.done()
    # then it is done when that has ended
    assert (await pruning).outcome is Outcome.CHANGED
    assert len(kept(store)) == 2


@pytest.mark.parametrize("moment", ["locked", "forgotten", "freed"])
async def test_killed_in_the_middle_only_what_had_to_go_is_gone_and_the_next_run_goes_on(
    bench: Bench, store: Store, moment: str
) -> None:
    # given a run that is killed with all its programs when it has got so far
    verified, *_, before, newest = backed_up(store, *range(9, 1, -1))
    action = prune(store, verified=verified, tested=True)
    data = sum(1 for path in (store.path / "data").rglob("*") if path.is_file())
    reached: dict[str, Callable[[], bool]] = {
        "locked": store.locked,
        "forgotten": lambda: len(list((store.path / "snapshots").iterdir())) < 8,
        "freed": lambda: sum(1 for path in (store.path / "data").rglob("*") if path.is_file()) < data,
    }
    await _killed(bench.order(action), bench, when=reached[moment])
    assert kept(store) >= {verified, before, newest}
    # when it runs again
    step = await bench.step(action)
    # then all is as it should be
    assert step.outcome in {Outcome.CHANGED, Outcome.OK}, step.message
    assert kept(store) == {verified, before, newest}
    store.restic("check", "--read-data")


async def _killed(order: RunOrder, bench: Bench, *, when: Callable[[], bool]) -> None:
    arguments = [sys.executable, "-c", _RUNNER, order.encode(), str(bench.credentials), str(bench.scratch)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    process = await asyncio.create_subprocess_exec(*arguments, env=environment, stdout=DEVNULL, start_new_session=True)
    try:
        await eventually(lambda: when() or process.returncode is not None)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
