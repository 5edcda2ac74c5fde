"""A copy in cold storage: in its time, with no more than it needs, and never said to be verified."""

from typing import Any, Final

import pytest
from pydantic import ValidationError

from unit.domain.backupworld import SPEC, BackupWorld
from unit.domain.cluster import BAD, GOOD, at, minutes, said
from upkeep.actions.backup.coldcopy import BackupColdCopy
from upkeep.api.backup import BackupSpec
from upkeep.domain.order import RunOrder

TARGET: Final = {
    "endpoint": "https://s3.example.com",
    "bucket": "shop-cold",
    "prefix": "shop",
    "secretRef": {"name": "cold-keys"},
}
COPY: Final = {"schedule": "0 4 * * *", "s3": TARGET, "storageClass": "DEEP_ARCHIVE", "keepFor": "180d"}
COLD: Final[dict[str, Any]] = {"schedules": [{"name": "daily", "schedule": "30 2 * * *"}], "coldCopy": COPY}
BUCKET: Final = {**TARGET, "bucket": "shop-backups", "secretRef": {"name": "keys"}}
COPIED: Final = (
    '{"outcome":"changed","message":"1 step","steps":[{"name":"cold-copy","action":"backupColdCopy",'
    '"outcome":"changed","message":"7 files copied","metrics":{"copy_bytes":123456,"copy_snapshots":3},'
    '"facts":{"storage_class":"DEEP_ARCHIVE","thaw_time":"12h to 48h","snapshot":"1a2b3c4d"}}]}'
)


STORED: Final = (
    '{"outcome":"changed","message":"1 step","steps":[{"name":"daily","action":"backupPostgres","outcome":"changed",'
    '"message":"snapshot 1a2b3c4d","metrics":{"bytes":17},'
    '"facts":{"snapshot":"1a2b3c4d","snapshot_time":"2026-03-02T02:30:05Z"}}]}'
)


def repository(**place: Any) -> dict[str, Any]:  # noqa: ANN401 - of any type
    return {"repository": {"passwordSecretRef": {"name": "repository"}, **place}}


def action(world: BackupWorld) -> BackupColdCopy:
    content = world.started[-1][1].work.content
    assert isinstance(content, RunOrder)
    (step,) = RunOrder.decode(content.encode()).steps
    assert isinstance(step.action, BackupColdCopy)
    return step.action


def test_it_runs_in_its_time_without_the_password_and_changes_nothing_of_the_repository() -> None:
    world = BackupWorld(now=at("03:50"), spec=COLD)

    world.wait(minutes(20))

    assert world.order == [("cold-copy", "04:00:00")]
    ((_, start),) = world.started
    assert start.work.secrets == {"cold": "cold-keys"}
    assert start.work.only_reads
    assert set(start.work.claims.values()) == {"backups"}
    copy = action(world)
    assert (copy.storage_class, copy.target.bucket, copy.repository.password_secret_ref) == (
        "DEEP_ARCHIVE",
        "shop-cold",
        None,
    )
    assert copy.keep_for is not None
    assert copy.keep_for.days == 180


def test_of_a_repository_in_a_bucket_it_gets_the_keys() -> None:
    world = BackupWorld(now=at("03:50"), spec={**COLD, **repository(s3=BUCKET)})
    world.wait(minutes(20))
    ((_, start),) = world.started
    assert start.work.secrets == {"storage": "keys", "cold": "cold-keys"}


def test_it_is_told_which_backups_there_are() -> None:
    world = BackupWorld(now=at("02:20"), spec=COLD, says={"daily": STORED})
    world.wait(minutes(110))
    assert action(world).known == ["1a2b3c4d"]


def test_without_it_nothing_is_copied() -> None:
    world = BackupWorld(now=at("03:50"))
    world.wait(minutes(20))
    assert "cold-copy" not in {schedule for schedule, _ in world.order}


def test_what_is_there_stands_in_the_status_and_proves_nothing() -> None:
    world = BackupWorld(now=at("03:50"), spec=COLD, says={"cold-copy": COPIED})

    world.wait(minutes(20))

    assert world.status["coldCopy"] == {
        "time": "2026-03-02T04:00:10Z",
        "snapshot": "1a2b3c4d",
        "snapshots": 3,
        "bytes": 123456,
        "storageClass": "DEEP_ARCHIVE",
        "verifiable": False,
        "thawTime": "12h to 48h",
    }
    assert not {"lastVerified", "lastBackup", "lastBackupTime", "repositoryBytes"} & set(world.status)
    assert "Verified" not in {each["type"] for each in world.status["conditions"]}
    assert not said(world.events, "BackupVerified")


@pytest.mark.parametrize("says", [BAD, GOOD, '{"outcome":"ok","message":"?","steps":[]}'])
def test_what_does_not_say_what_is_there_leaves_what_is_known(says: str) -> None:
    world = BackupWorld(now=at("03:50"), spec=COLD, says={"cold-copy": COPIED})
    world.wait(minutes(20))
    known = world.status["coldCopy"]
    world.says["cold-copy"] = says
    world.wait(minutes(24 * 60))
    assert world.status["coldCopy"] == known


def test_one_that_does_not_end_well_is_overdue_but_matters_less_than_a_backup() -> None:
    spec = {**COLD, "overdueAfter": "10m"}
    world = BackupWorld(now=at("03:50"), spec=spec, says={"cold-copy": BAD, "daily": BAD})
    world.wait(minutes(30))
    (found,) = (each for each in world.status["conditions"] if each["type"] == "Overdue")
    assert (found["status"], found["reason"]) == ("True", "ColdCopyOverdue")
    # when a backup is overdue too, then that is what it is called
    world.wait(minutes(24 * 60))
    (found,) = (each for each in world.status["conditions"] if each["type"] == "Overdue")
    assert found["reason"] == "BackupOverdue"
    assert "cold-copy, due at" in found["message"]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"coldCopy": {**COPY, "s3": BUCKET}, **repository(s3=BUCKET)}, "name another bucket"),
        ({"coldCopy": {**COPY, "storageClass": "STANDARD_IA"}}, "GLACIER"),
        ({"coldCopy": {**COPY, "s3": {**TARGET, "storageClass": "STANDARD"}}}, "storageClass"),
        (repository(s3={**BUCKET, "storageClass": "GLACIER"}), "use spec.coldCopy"),
        (repository(s3={**BUCKET, "storageClass": "DEEP_ARCHIVE"}), "use spec.coldCopy"),
        (repository(s3={**BUCKET, "storageClass": ["STANDARD"]}), "must be one of"),
        ({"schedules": [{"name": "cold-copy", "schedule": "0 1 * * *"}]}, "taken by spec.coldCopy"),
    ],
)
def test_what_cannot_work_is_refused(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        BackupSpec.model_validate({**SPEC, **changes})


@pytest.mark.parametrize("name", ["STANDARD", "STANDARD_IA", "ONEZONE_IA", "INTELLIGENT_TIERING", "GLACIER_IR"])
def test_classes_that_are_read_at_once_are_good_for_a_repository(name: str) -> None:
    spec = BackupSpec.model_validate({**SPEC, **repository(s3={**BUCKET, "storageClass": name}), **COLD})
    assert spec.repository.s3
    assert spec.repository.s3.storage_class == name
