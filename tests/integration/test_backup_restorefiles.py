"""Files are put onto a volume only when they are proven, and what was there stays whole in every other case."""

import asyncio
import fcntl
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import pytest

from integration.bench import Bench, eventually, powerless, small_volume
from integration.redisserver import running_redis
from integration.resticstore import Store
from upkeep.actions.backup import beside
from upkeep.actions.backup.beside import ROOM, Beside
from upkeep.actions.backup.files import BackupFiles
from upkeep.actions.backup.origin import Origin
from upkeep.actions.backup.redis import BackupRedis
from upkeep.actions.backup.restic import Restic
from upkeep.actions.backup.restorefiles import BackupRestoreFiles
from upkeep.actions.backup.snapshot import Stored
from upkeep.actions.connections import SecretReference
from upkeep.actions.contract import Outcome

POLICY: Final = "shop/shop-uploads"
CLAIM: Final = "shop-logs"
SECRET: Final = SecretReference(name="repository-secret")
HOSTILE: Final = ('"; DROP', "-rf", "ü*[x]?", "a\nb\x1b", "back\\slash", "n" * 200)


@pytest.fixture
def volume(bench: Bench) -> Path:
    """A volume with uploads, among them odd names and a link, and what belongs to others."""
    root = bench.connect_volume()
    (root / "uploads/deep").mkdir(parents=True)
    for name in HOSTILE:
        (root / "uploads/deep" / name).write_bytes(os.urandom(500))
    (root / "uploads/one.jpg").write_bytes(os.urandom(3000))
    (root / "uploads/link").symlink_to("/etc")
    (root / "config").mkdir()
    (root / "config/settings").write_text("mine")
    return root


@pytest.fixture
def policy(bench: Bench, store: Store) -> Bench:
    """The bench, of which the operator has looked the policy up."""
    look_up(bench, store, paths=["uploads"])
    return bench


def look_up(bench: Bench, store: Store, *, kind: str = "files", paths: list[str] | None = None) -> None:
    repository = {"path": str(store.path), "password_secret_ref": SECRET}
    origin = {"policy": "shop-uploads", "owner": POLICY, "repository": repository, "credentials": "", "kind": kind}
    bench.origins[:] = [Origin.model_validate(origin | {"paths": paths or []})]


def restore(**changes: object) -> BackupRestoreFiles:
    return BackupRestoreFiles.model_validate({"connection": "logs", "policy": "shop-uploads", **changes})


async def backup(bench: Bench, store: Store, root: Path, *paths: str) -> str:
    """Back the volume up; returns the id of the snapshot."""
    repository = {"path": str(store.path), "passwordSecretRef": SECRET}
    declared = {"root": str(root), "origin": "volume uploads", "repository": repository, "paths": list(paths)}
    step = await bench.step(BackupFiles.model_validate({**declared, "policy": POLICY, "schedule": "hourly"}))
    assert step.outcome is Outcome.CHANGED, step.message
    return step.facts["snapshot"]


def content(root: Path) -> dict[str, object]:
    """All that is below: the bytes of files, where links lead to, None for directories."""
    found: dict[str, object] = {}
    for path in root.rglob("*"):
        name = os.fsencode(path.relative_to(root)).decode("utf-8", "backslashreplace")
        if path.is_symlink():
            found[name] = str(path.readlink())
        else:
            found[name] = path.read_bytes() if path.is_file() else None
    return found


def kept(root: Path) -> list[Path]:
    return sorted(root.glob("before_*"))


def done(*command: str | Path) -> str:
    """What a program says that has to end well."""
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


async def test_files_that_are_gone_come_back_where_they_were(policy: Bench, store: Store, volume: Path) -> None:
    # given a backup, and a volume that has lost all of it
    snapshot = await backup(policy, store, volume, "uploads")
    before = content(volume)
    shutil.rmtree(volume / "uploads")
    # when it is restored
    step = await policy.step(restore())
    # then all is there as it was, and nothing else
    assert step.outcome is Outcome.CHANGED, step.message
    assert content(volume) == before
    assert step.message.startswith(f"snapshot {snapshot} of ")
    assert "restored to 'uploads' on PersistentVolumeClaim 'shop-logs' in " in step.message
    assert "7 files, 5.9 KiB, as backed up" in step.message
    assert step.facts == {"snapshot": snapshot, "snapshot_time": step.facts["snapshot_time"], "kept": ""}
    assert not store.locked()
    assert list(policy.scratch.iterdir()) == [policy.scratch / "restic-cache"]


async def test_what_is_there_is_replaced_when_that_is_confirmed_and_kept_aside(
    policy: Bench, store: Store, volume: Path
) -> None:
    await backup(policy, store, volume, "uploads")
    wanted = content(volume)
    (volume / "uploads/one.jpg").write_text("ruined")
    (volume / "uploads/later").write_text("new")
    (volume / "config/settings").write_text("changed since")
    # when it is not confirmed, or another claim is, then nothing happens
    for changes, words in (
        ({}, "'uploads' on PersistentVolumeClaim 'shop-logs' is there already: to replace it set `confirm: shop-logs`"),
        ({"confirm": "other"}, "confirm names 'other', but the claim of 'logs' is 'shop-logs'"),
    ):
        refused = await policy.step(restore(**changes))
        assert refused.outcome is Outcome.FAILED
        assert words in refused.message
        assert (volume / "uploads/one.jpg").read_text() == "ruined"
    assert not (volume / ROOM).exists()
    # when it is
    step = await policy.step(restore(confirm=CLAIM))
    # then the uploads are as they were, what is beside them stays, and the old ones are kept
    assert step.outcome is Outcome.CHANGED, step.message
    (old,) = kept(volume)
    assert step.facts["kept"] == old.name
    assert f"what was there is in {old.name!r}: remove it when you do not need it any more" in step.message
    assert (old / "uploads/one.jpg").read_text() == "ruined"
    assert (old / "uploads/later").read_text() == "new"
    assert (volume / "config/settings").read_text() == "changed since"
    shutil.rmtree(old)
    assert content(volume) == wanted | {"config/settings": b"changed since"}


async def test_the_old_goes_where_it_is_not_to_be_kept(policy: Bench, store: Store, volume: Path) -> None:
    await backup(policy, store, volume, "uploads")
    before = content(volume)
    (volume / "uploads/later").write_text("new")

    step = await policy.step(restore(confirm=CLAIM, keepOld=False))

    assert step.outcome is Outcome.CHANGED, step.message
    assert content(volume) == before


async def test_a_part_can_be_put_into_a_directory_of_its_own(policy: Bench, store: Store, volume: Path) -> None:
    await backup(policy, store, volume, "uploads")
    before = content(volume)

    step = await policy.step(restore(paths=["uploads/deep/ü*[x]?", "uploads/one.jpg"], directory="look/here"))

    assert step.outcome is Outcome.CHANGED, step.message
    assert step.metrics["files"] == 2
    found = content(volume / "look/here")
    assert {name for name, data in found.items() if data} == {"uploads/deep/ü*[x]?", "uploads/one.jpg"}
    assert all(data == before[name] for name, data in found.items())
    shutil.rmtree(volume / "look")
    assert content(volume) == before


async def test_all_of_a_volume_comes_back_and_what_was_made_since_stays(
    bench: Bench, store: Store, volume: Path
) -> None:
    look_up(bench, store)
    await backup(bench, store, volume)
    before = content(volume)
    (volume / "config/settings").unlink()
    (volume / "since").mkdir()

    step = await bench.step(restore(confirm=CLAIM, keepOld=False))

    assert step.outcome is Outcome.CHANGED, step.message
    assert content(volume) == before | {"since": None}


async def test_an_empty_directory_needs_no_confirmation(policy: Bench, store: Store, volume: Path) -> None:
    await backup(policy, store, volume, "uploads")
    shutil.rmtree(volume / "uploads")
    (volume / "uploads").mkdir()

    step = await policy.step(restore(keepOld=False))

    assert step.outcome is Outcome.CHANGED, step.message
    assert (volume / "uploads/one.jpg").stat().st_size == 3000


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"paths": ["nowhere"]}, "has no 'nowhere': correct paths, or choose another one"),
        ({"paths": [".upkeep-restore"]}, "has no '.upkeep-restore'"),
        ({"snapshot": "00000000"}, "has no snapshot 00000000"),
        ({"before": "2000-01-01T00:00:00Z"}, "has no snapshot before 2000-01-01"),
        ({"snapshot": "latestVerified"}, "has passed a restore test yet"),
        ({"connection": "other"}, "connection 'other' is not defined"),
        ({"directory": "config/settings"}, "refuses 'settings': Not a directory"),
    ],
)
async def test_what_cannot_be_restored_is_said(
    changes: dict[str, object], words: str, policy: Bench, store: Store, volume: Path
) -> None:
    await backup(policy, store, volume, "uploads")
    before = content(volume)

    step = await policy.step(restore(confirm=CLAIM, **changes))

    assert step.outcome is Outcome.FAILED
    assert words.replace("'settings'", "settings") in step.message
    assert content(volume) == before


@pytest.mark.parametrize("name", ["../x", "/etc", "a/../b", "a//b", "a/", "..", ".", "", "a/.", "a\nb"])
def test_a_path_that_leads_elsewhere_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="paths"):
        restore(paths=[name])
    if name:
        with pytest.raises(ValueError, match="directory"):
            restore(directory=name.replace("\n", "/.."))


@pytest.mark.parametrize("name", [".hidden", "..odd", "a/.b/..c", "ü", "-x", '"; DROP'])
def test_any_other_path_is_one(name: str) -> None:
    assert restore(paths=[name]).paths == [name]


async def test_no_link_is_followed(policy: Bench, store: Store, volume: Path, tmp_path: Path) -> None:
    # given links in the way that somebody else has made
    await backup(policy, store, volume, "uploads")
    outside = tmp_path / "outside"
    outside.mkdir()
    (volume / "away").symlink_to(outside)
    # when a directory is one, then it is refused
    step = await policy.step(restore(directory="away"))
    assert step.outcome is Outcome.FAILED
    assert "with no symbolic link on the way" in step.message
    # when the place itself is one, then that is replaced and not what it leads to
    shutil.move(volume / "uploads", tmp_path / "elsewhere")
    (volume / "uploads").symlink_to(tmp_path / "elsewhere")
    refused = await policy.step(restore())
    assert "is there already" in refused.message
    step = await policy.step(restore(confirm=CLAIM))
    assert step.outcome is Outcome.CHANGED, step.message
    assert not (volume / "uploads").is_symlink()
    assert (kept(volume)[0] / "uploads").readlink() == tmp_path / "elsewhere"
    # when the room for it is one, then that is refused too
    (volume / ROOM).symlink_to(outside)
    step = await policy.step(restore(confirm=CLAIM))
    assert step.outcome is Outcome.FAILED
    assert ROOM in step.message
    assert list(outside.iterdir()) == []
    assert len(list((tmp_path / "elsewhere").iterdir())) == 3


async def test_a_damaged_repository_replaces_nothing(policy: Bench, store: Store, volume: Path) -> None:
    await backup(policy, store, volume, "uploads")
    before = content(volume)
    pack = max((path for path in (store.path / "data").rglob("*") if path.is_file()), key=lambda p: p.stat().st_size)
    pack.chmod(0o600)
    damaged = bytearray(pack.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    pack.write_bytes(damaged)

    report = await policy.report(restore(confirm=CLAIM))

    assert report.outcome is Outcome.FAILED
    assert "is damaged" in report.message
    assert report.message.endswith("the volume is as it was")
    assert report.counts.critical == 1
    assert content(volume) == before


async def test_what_came_back_with_less_is_not_restored(
    policy: Bench, store: Store, volume: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given somebody who removes a file from what is restored before it takes its place
    await backup(policy, store, volume, "uploads")
    before = content(volume)
    restored = Restic.restore

    async def meddled(self: Restic, snapshot: Stored, target: Path, **how: Any) -> None:  # noqa: ANN401 - as it takes
        await restored(self, snapshot, target, **how)
        (volume / ROOM / "new/uploads/one.jpg").unlink()

    monkeypatch.setattr(Restic, "restore", meddled)

    report = await policy.report(restore(confirm=CLAIM))

    assert report.outcome is Outcome.FAILED
    assert "came back with 6 files of 3000 bytes, but has 7 files of 6000 bytes" in report.message
    assert report.message.endswith("the volume is as it was")
    assert content(volume) == before


async def test_a_volume_without_room_is_left_as_it_is(policy: Bench, store: Store, volume: Path) -> None:
    (volume / "uploads/large").write_bytes(os.urandom(2 * 1024 * 1024))
    await backup(policy, store, volume, "uploads")
    with small_volume(volume):
        step = await policy.step(restore())
        assert step.outcome is Outcome.FAILED
        assert "claim 'shop-logs' has " in step.message
        assert "but 2.0 MiB are restored beside what is there: enlarge it" in step.message
        assert content(volume) == {}


async def test_a_user_without_rights_is_told_and_one_with_them_owns_the_files(
    policy: Bench, store: Store, volume: Path
) -> None:
    # given files of root, and a Pod that runs as somebody else
    await backup(policy, store, volume, "uploads")
    done("chmod", "-R", "a+rX", store.path, policy.credentials)
    done("chown", "-R", "65532:65532", policy.scratch)
    before = content(volume)
    for each in (volume, *volume.parents):
        if each.stat().st_mode & 0o005 != 0o005:
            each.chmod(each.stat().st_mode | 0o005)
    # when it may not write to the volume, then it is told
    report = await as_pod(policy, restore(confirm=CLAIM))
    assert report["outcome"] == "failed"
    assert "let user 65532 (the policy's runAsUser, or 65532) write there" in report["message"]
    assert content(volume) == before
    # when it may
    os.chown(volume, 65532, 65532)
    report = await as_pod(policy, restore(directory="back"))
    assert report["outcome"] == "changed", report
    assert content(volume / "back/uploads") == content(volume / "uploads")
    assert (volume / "back/uploads/one.jpg").stat().st_uid == 65532
    assert report["findings"] == ["backup.restore.owner"]


async def as_pod(bench: Bench, action: BackupRestoreFiles) -> dict[str, Any]:
    with powerless():
        report = await bench.report(action)
    return {
        "outcome": report.outcome.value,
        "message": report.message,
        "findings": [finding.check_id for finding in report.findings],
    }


@pytest.mark.parametrize("stage", ["compare", "first", "second"])
async def test_killed_at_a_stage_each_path_is_whole_and_the_next_run_cleans_up(
    stage: str, bench: Bench, store: Store, volume: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given a restore of two paths that comes to an end at a stage without a chance to clean up
    look_up(bench, store)
    await backup(bench, store, volume)
    new = content(volume)
    (volume / "uploads/one.jpg").write_text("old")
    (volume / "config/settings").write_text("old")
    old = content(volume)
    swap = Beside._swap  # noqa: SLF001 - where it is killed
    swapped: list[beside.Place] = []

    def killed(self: Beside, place: beside.Place) -> bool:
        if len(swapped) == (stage == "second"):
            raise KeyError(stage)
        swapped.append(place)
        return swap(self, place)

    def dead(*_: object, **__: object) -> None:
        raise KeyError(stage)

    with monkeypatch.context() as patch:
        if stage == "compare":
            patch.setattr(Beside, "take", dead)
        patch.setattr(Beside, "_swap", killed)
        patch.setattr(Beside, "leave", dead)
        step = await bench.step(restore(confirm=CLAIM))
    assert step.outcome is Outcome.FAILED
    # then each of them is the old one or the new one
    found = content(volume)
    for name in ("uploads", "config"):
        part = {key: value for key, value in found.items() if key.split("/")[0] == name}
        assert part in [{k: v for k, v in whole.items() if k.split("/")[0] == name} for whole in (old, new)], name
    # and what was old is on the volume
    assert b"old" in content(volume).values()
    # when the next one runs, then it restores all of it
    step = await bench.step(restore(confirm=CLAIM, keepOld=False))
    assert step.outcome is Outcome.CHANGED, step.message
    for each in kept(volume):
        shutil.rmtree(each)
    assert content(volume) == new


async def test_a_path_that_is_refused_gives_those_before_it_back(bench: Bench, store: Store, volume: Path) -> None:
    # given two paths, of which the second lies in a directory that takes no names
    look_up(bench, store)
    (volume / "x/inner").mkdir(parents=True)
    (volume / "x/inner/file").write_text("1")
    await backup(bench, store, volume)
    (volume / "config/settings").write_text("old")
    before = content(volume)
    done("chattr", "+i", volume / "x")
    try:
        step = await bench.step(restore(confirm=CLAIM, paths=["config", "x/inner"]))
    finally:
        done("chattr", "-i", volume / "x")
    # then the first is as it was
    assert step.outcome is Outcome.FAILED
    assert "Operation not permitted" in step.message
    assert step.message.endswith("the volume is as it was")
    assert content(volume) == before


async def test_without_an_exchange_the_places_are_taken_in_turn(
    policy: Bench, store: Store, volume: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given a file system that cannot exchange names, as NFS
    monkeypatch.setattr(beside, "exchanged", lambda *_: False)
    await backup(policy, store, volume, "uploads")
    before = content(volume)
    (volume / "uploads/one.jpg").write_text("old")

    step = await policy.step(restore(confirm=CLAIM))

    assert step.outcome is Outcome.CHANGED, step.message
    (old,) = kept(volume)
    assert (old / "uploads/one.jpg").read_text() == "old"
    assert [path.name for path in old.iterdir()] == ["uploads"]
    shutil.rmtree(old)
    assert content(volume) == before


async def test_stopped_while_it_restores_it_leaves_nothing(policy: Bench, store: Store, volume: Path) -> None:
    # given a restore that takes its time, because its bandwidth is limited
    (volume / "uploads/large").write_bytes(os.urandom(3 * 1024 * 1024))
    await backup(policy, store, volume, "uploads")
    before = content(volume)
    slow = policy.origins[0].repository.model_copy(update={"limit_download": "64Ki"})
    policy.origins[:] = [policy.origins[0].model_copy(update={"repository": slow})]
    running = asyncio.create_task(policy.step(restore(confirm=CLAIM)))
    await eventually(lambda: list((volume / ROOM).rglob("deep")))
    # when it is told to stop
    running.cancel()
    step = await running
    # then all is as it was
    assert step.outcome is Outcome.FAILED
    assert "stopped" in step.message
    assert content(volume) == before


async def test_two_restores_to_one_volume_do_not_meet(policy: Bench, store: Store, volume: Path) -> None:
    await backup(policy, store, volume, "uploads")
    with held(volume):
        step = await policy.step(restore(directory="back"))
    assert step.outcome is Outcome.FAILED
    assert "another restore to this volume is under way" in step.message


@contextmanager
def held(volume: Path) -> Iterator[None]:
    """While another restore is at work."""
    (volume / ROOM).mkdir()
    descriptor = os.open(volume / ROOM, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


async def test_keys_of_a_redis_are_put_where_a_server_loads_them(bench: Bench, store: Store, volume: Path) -> None:
    # given a backup of two keys
    repository = {"path": str(store.path), "passwordSecretRef": SECRET}
    declared = {"connection": "cache", "repository": repository, "policy": POLICY, "schedule": "daily"}
    with running_redis() as server:
        bench.connect_redis(server)
        server.command("MSET", "one", "1", "two", "2")
        made = await bench.step(BackupRedis.model_validate(declared))
    assert made.outcome is Outcome.CHANGED, made.message
    look_up(bench, store, kind="redis")
    (volume / "dump.rdb").write_text("old")
    before = content(volume)
    # when it is restored
    step = await bench.step(restore(confirm=CLAIM))
    # then the file is there alone, as redis-check-rdb takes it
    assert step.outcome is Outcome.CHANGED, step.message
    assert "2 keys" in step.message
    assert "2 keys read" in done("redis-check-rdb", volume / "dump.rdb")
    (old,) = kept(volume)
    assert content(old) == {"redis": None, "redis/dump.rdb": b"old"}
    shutil.rmtree(old)
    assert content(volume).keys() == before.keys()
    # when the server keeps an append-only file, which it would load instead, then that is said
    (volume / "appendonlydir").mkdir()
    (volume / "appendonlydir/appendonly.aof.manifest").touch()
    step = await bench.step(restore(confirm=CLAIM))
    assert step.outcome is Outcome.FAILED
    assert "is what the server would load instead of dump.rdb: set `appendonly no` at the server" in step.message
    # when a part is asked for, then it is said that there is none
    step = await bench.step(restore(confirm=CLAIM, paths=["redis"]))
    assert "is of Redis, of which there is one file: leave paths out" in step.message


async def test_objects_are_put_where_they_can_be_applied_from(
    bench: Bench, store: Store, volume: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "scratch-of-backup/objects/configmaps.v1"
    folder.mkdir(parents=True)
    (folder / "settings.yaml").write_text("kind: ConfigMap")
    await backup(bench, store, folder.parents[1], "objects")
    look_up(bench, store, kind="objects")

    step = await bench.step(restore(directory="objects-of-shop"))

    assert step.outcome is Outcome.CHANGED, step.message
    assert content(volume / "objects-of-shop") == {
        "configmaps.v1": None,
        "configmaps.v1/settings.yaml": b"kind: ConfigMap",
    }
