"""The samples of sources beside PostgreSQL: a backup of each is made and proven in Pods that may do nothing else."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from cluster.kubectl import Kubectl, Object, moved, read
from cluster.manifests import redis_server, resource, script, secret, task
from cluster.space import Space, conditions
from cluster.volume import claimed
from lab.access import ClusterAccess
from upkeep.cluster.resources import CONFIG_MAPS

SAMPLES: Final = Path(__file__).parents[2] / "manifests" / "samples"
PATIENCE: Final = 120.0
OWN: Final = {"cache": "cache-in-tests", "repository": "repository-in-tests"}


@pytest.fixture(scope="module")
def house(space: Space, access: ClusterAccess) -> Iterator[Space]:
    """A Redis with three keys, a volume with files of another user, and one for backups."""
    with claimed(space, access, "backups"), claimed(space, access, "uploads"):
        space.make(*(secret(name, password=password) for name, password in OWN.items()))
        space.make(*redis_server(access.shop_image, login="cache"))
        space.ready("cache")
        _fill(space, access)
        yield space


def test_the_keys_of_a_redis_are_backed_up_and_loaded_again(house: Space) -> None:
    house.make(_policy("redis", redis={"host": "cache", "secretRef": {"name": "cache"}}))

    made = house.policy_ran("redis", "daily/1")
    proven = house.policy_ran("redis", "restore-test/2")

    assert made["lastRun"]["outcome"] == "changed", made["lastRun"]
    assert "3 keys" in made["lastBackup"]
    assert proven["lastRun"]["outcome"] == "ok", proven["lastRun"]
    assert proven["lastVerified"]["snapshot"] in made["lastBackup"]
    assert conditions(proven)["Verified"]["status"] == "True"
    assert "3 keys loaded of 3, 1 expectation met" in house.said("redis", "BackupVerified")


def test_files_of_another_user_are_backed_up_without_a_change_to_them(house: Space, access: ClusterAccess) -> None:
    # given files that only their user may read
    files = [{"name": "pictures", "path": "uploads/**/*.jpg", "min": 2}]
    source = {"claimName": "uploads", "paths": ["uploads"], "exclude": ["*.tmp"], "runAsUser": 1000}
    house.make(_policy("files", files=source, expected=files))

    made = house.policy_ran("files", "hourly/1")
    proven = house.policy_ran("files", "restore-test/2")

    assert made["lastRun"]["outcome"] == "changed", made["lastRun"]
    assert "2 files" in made["lastBackup"]
    assert proven["lastRun"]["outcome"] == "ok", proven["lastRun"]
    # then their modes and owner are as they were
    seen = _looked(house, access, "stat -c '%u %a' /uploads/uploads/deep/one.jpg | grep -x '1000 600'")
    assert seen["lastRun"]["outcome"] == "ok", seen["lastRun"]


def test_a_user_that_may_not_read_a_file_makes_no_backup(house: Space) -> None:
    house.make(_policy("strangers", files={"claimName": "uploads", "paths": ["uploads"], "runAsUser": 1001}))

    failed = house.policy_ran("strangers", "hourly/1")

    assert failed["lastRun"]["outcome"] == "failed"
    assert "user 1001 may not look at " in failed["lastRun"]["message"]
    assert "(runAsUser)" in failed["lastRun"]["message"]
    assert "lastBackup" not in failed


def test_what_a_command_leaves_is_backed_up(house: Space, access: ClusterAccess) -> None:
    export = script(access.shop_image, 'echo one,two > "$UPKEEP_OUTPUT/orders.csv"')
    expected = [{"name": "orders", "path": "orders.csv", "maxAge": "1h"}]
    house.make(_policy("command", command=export, expected=expected))

    made = house.policy_ran("command", "daily/1")
    proven = house.policy_ran("command", "restore-test/2")

    assert "1 file, " in made["lastBackup"]
    assert proven["lastRun"]["outcome"] == "ok", proven["lastRun"]


def test_a_command_that_fails_after_half_of_its_work_is_no_backup(house: Space, access: ClusterAccess) -> None:
    export = script(access.shop_image, 'echo half > "$UPKEEP_OUTPUT/orders.csv"; echo "no such table" >&2; exit 3')
    house.make(_policy("broken", command=export))

    failed = house.policy_ran("broken", "daily/1")

    assert failed["lastRun"]["outcome"] == "failed"
    assert failed["lastRun"]["message"] == "exit code 3: no such table"
    assert "lastBackup" not in failed


def test_objects_are_stored_when_one_has_changed_and_can_be_applied(house: Space, kubectl: Kubectl) -> None:
    # given the ServiceAccount of the sample, with its rights
    rights = [moved(found, house.name) for found in read(SAMPLES / "backup-objects.yaml")[1:]]
    kubectl.run("apply", "--filename=-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": rights}))
    house.make(_policy("objects", objects=_source("backup-objects")["objects"]))
    house.make({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "settings"}, "data": {"colour": "red"}})

    first = house.policy_ran("objects", "on-change/1")
    same = house.policy_ran("objects", "on-change/2")
    house.change(CONFIG_MAPS, "settings", {"data": {"colour": "blue"}})
    second = house.policy_ran("objects", "on-change/3")
    proven = house.policy_ran("objects", "restore-test/4")

    assert [each["lastRun"]["outcome"] for each in (first, same, second, proven)] == ["changed", "ok", "changed", "ok"]
    assert "nothing new to store" in same["lastBackup"]
    assert "objects that can be applied (1 ConfigMap, 1 Service," in proven["lastRun"]["message"]


def _source(sample: str) -> dict[str, Any]:
    source: dict[str, Any] = read(SAMPLES / f"{sample}.yaml")[0]["spec"]["source"]
    return source


def _policy(name: str, *, expected: list[Object] | None = None, **source: Object) -> Object:
    """The policy of the sample of that kind, with the source and the expectations of the test."""
    ((kind, declared),) = source.items()
    (sample, *_) = read(SAMPLES / f"backup-{kind}.yaml")
    spec: dict[str, Any] = sample["spec"]
    repository = {
        "passwordSecretRef": {"name": "repository"},
        "volume": {"claimName": "backups", "path": name},
    }
    test = spec["verify"]["restoreTest"] | ({"files": expected} if expected is not None else {})
    return resource(
        "BackupPolicy",
        name,
        {**spec, "source": {kind: declared}, "repository": repository, "verify": {"restoreTest": test}},
    )


def _fill(space: Space, access: ClusterAccess) -> None:
    keys = "for each in one two three; do redis-cli -h cache SET key:$each $each; done"
    password = {"name": "REDISCLI_AUTH", "secretKeyRef": {"name": "cache", "key": "password"}}
    space.make(task("fill", job=script(access.shop_image, keys, env=[password])))
    assert space.ended_run("fill", seconds=PATIENCE)["lastRun"]["outcome"] == "ok"
    names = "mkdir -p /uploads/uploads/deep && cd /uploads/uploads && touch x.tmp"
    files = f"umask 077; {names} && echo 1 > deep/one.jpg && echo 2 > two.jpg"
    space.make(task("upload", job=_at_uploads(access, files)))
    assert space.ended_run("upload", seconds=PATIENCE)["lastRun"]["outcome"] == "ok"


def _looked(space: Space, access: ClusterAccess, command: str) -> Object:
    space.make(task("look", job=_at_uploads(access, command)))
    return space.ended_run("look", seconds=PATIENCE)


def _at_uploads(access: ClusterAccess, command: str) -> Object:
    mounted = {
        "name": "uploads",
        "mountPath": "/uploads",
        "readOnly": False,
        "persistentVolumeClaim": {"claimName": "uploads"},
    }
    return script(access.shop_image, command, volumes=[mounted], runAsUser=1000)
