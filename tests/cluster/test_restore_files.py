"""Files come back onto their volume, and the sample that brings a Redis back: stop, restore, start, verify."""

import json
from collections.abc import Iterator
from typing import Any, Final

import pytest

from cluster.kubectl import Kubectl, Object, parse
from cluster.manifests import pod, resource, script, secret, service, task
from cluster.space import Space
from cluster.volume import claimed
from lab.access import ClusterAccess
from lab.home import TREE
from upkeep.cluster.resources import BACKUPS

SAMPLE: Final = TREE / "manifests" / "samples" / "task-restore-files.yaml"
PATIENCE: Final = 120.0
MINE: Final = "namespace: shop\n"
REDIS: Final = "shop-redis"
DATA: Final = "data-shop-redis-0"


@pytest.fixture(scope="module")
def house(space: Space, access: ClusterAccess) -> Iterator[Space]:
    """Volumes for backups, uploads and the keys of a Redis, and a Secret for repositories."""
    with claimed(space, access, "backups"), claimed(space, access, "uploads"), claimed(space, access, DATA):
        space.make(secret("repository", password="repository-in-tests"))  # noqa: S106 - of a repository that goes with the test
        yield space


def test_a_file_that_was_deleted_comes_back_to_its_owner(house: Space, access: ClusterAccess) -> None:
    # given a backup of files that only their user may read, of which one was deleted and another one ruined since
    _at_uploads(
        house, access, "fill", "umask 077; cd /uploads; mkdir -p uploads/deep; echo 1 > uploads/deep/one; echo 2 > two"
    )
    house.make(_policy("files", files={"claimName": "uploads", "paths": ["uploads"], "runAsUser": 1000}))
    _backed_up(house, "files", "daily/1")
    _at_uploads(house, access, "ruin", "cd /uploads; rm uploads/deep/one; echo since > uploads/later; echo since > two")
    # when they are restored in place
    volume = {"name": "uploads", "volume": {"claimName": "uploads"}}
    step = {"connection": "uploads", "policy": "files"}
    house.make(task("refused", {"name": "restore", "backupRestoreFiles": step}, connections=[volume]))
    confirmed = {"name": "restore", "backupRestoreFiles": {**step, "confirm": "uploads"}}
    refused = house.ended_run("refused", seconds=PATIENCE)["lastRun"]
    house.make(task("restore", confirmed, connections=[volume]))
    restored = house.ended_run("restore", seconds=PATIENCE)["lastRun"]
    # then not without a confirmation, and then as they were, with what is beside them as it is
    assert refused["outcome"] == "failed"
    assert "to replace it set `confirm: uploads`" in refused["message"]
    assert restored["outcome"] == "changed", restored
    assert "1 file, 2 B, as backed up" in restored["message"]
    _at_uploads(
        house,
        access,
        "look",
        "cd /uploads && stat -c %u uploads/deep/one | grep -x 1000 && grep -x 1 uploads/deep/one"
        " && test ! -e uploads/later && grep -x since two && grep -x since before_*/uploads/later"
        " && test ! -e .upkeep-restore",
    )


def test_the_sample_brings_the_keys_of_a_redis_back(house: Space, access: ClusterAccess, kubectl: Kubectl) -> None:
    # given a Redis with three keys, a backup of it that was verified, and a key that was added since
    house.make(service(REDIS, 6379))
    kubectl.run("apply", f"--namespace={house.name}", "--filename=-", stdin=json.dumps(_redis(access)))
    kubectl.run("rollout", "status", f"statefulset/{REDIS}", f"--namespace={house.name}", "--timeout=60s")
    _asked(house, kubectl, "MSET", "one", "1", "two", "2", "three", "3")
    house.make(_policy(REDIS, redis={"host": REDIS}))
    _backed_up(house, REDIS, "daily/1")
    _backed_up(house, REDIS, "restore-test/2")
    _asked(house, kubectl, "SET", "since", "1")
    for each in _sample(house.name):
        kubectl.run("apply", "--filename=-", stdin=json.dumps(each))
    # when it is restored while it runs, then that is refused
    spec = next(each["spec"] for each in _sample(house.name) if each["metadata"]["name"] == "recover-redis")
    house.make(task("too-early", spec["steps"][1], connections=spec["connections"], serviceAccountName="recover-redis"))
    early = house.ended_run("too-early", seconds=PATIENCE)["lastRun"]
    assert early["outcome"] == "failed"
    assert f"Pod {REDIS}-0 uses claim {DATA!r}, and would overwrite dump.rdb: stop it first" in early["message"]
    # when the sample does it
    house.run_now("recover-redis", "1")
    run = house.ended_run("recover-redis", token="1", seconds=PATIENCE)["lastRun"]  # noqa: S106 - no secret: which run
    # then it has its keys, and only those
    assert run["outcome"] == "changed", run
    assert [step["name"] for step in run["steps"]] == ["stop", "restore", "start", "verify"]
    assert ", 3 keys, what was there is in 'before_" in run["steps"][1]["message"]
    assert run["steps"][3]["message"].endswith(", 3 keys")
    assert _asked(house, kubectl, "EXISTS", "one", "two", "three", "since") == "3"


def _policy(name: str, **source: Object) -> Object:
    spec = {
        "source": source,
        "repository": {"passwordSecretRef": {"name": "repository"}, "volume": {"claimName": "backups", "path": name}},
        "schedules": [{"name": "daily", "schedule": "0 1 * * *"}],
        "verify": {"restoreTest": {"schedule": "0 5 * * SUN", "scratchSize": "1Gi"}},
        "scratchSize": "1Gi",
    }
    return resource("BackupPolicy", name, spec)


def _backed_up(space: Space, policy: str, token: str) -> None:
    space.run_now(policy, token, kind=BACKUPS)
    run = space.ended_run(policy, kind=BACKUPS, token=token, seconds=PATIENCE)["lastRun"]
    assert run["outcome"] in {"changed", "ok"}, run


def _at_uploads(space: Space, access: ClusterAccess, name: str, command: str) -> None:
    """Let a shell of user 1000 do something on the volume; it has to end well."""
    reference = {"claimName": "uploads"}
    mounted = {"name": "uploads", "mountPath": "/uploads", "readOnly": False, "persistentVolumeClaim": reference}
    space.make(task(name, job=script(access.shop_image, command, volumes=[mounted], runAsUser=1000)))
    run = space.ended_run(name, seconds=PATIENCE)["lastRun"]
    assert run["outcome"] == "ok", run


def _redis(access: ClusterAccess) -> Object:
    """A StatefulSet whose server keeps its keys on a volume, and writes them there when it stops."""
    container = {
        "name": "redis",
        "image": access.shop_image,
        "imagePullPolicy": "IfNotPresent",
        "command": ["redis-server", "--dir", "/data", "--bind", "*", "--protected-mode", "no", "--save", "3600 1"],
        "readinessProbe": {"tcpSocket": {"port": 6379}, "periodSeconds": 1},
        "volumeMounts": [{"name": "data", "mountPath": "/data"}],
    }
    made = pod(REDIS, container, volumes=[{"name": "data", "persistentVolumeClaim": {"claimName": DATA}}])
    secured = {**made["spec"]["securityContext"], "fsGroup": 65532}
    template = {
        "metadata": {"labels": made["metadata"]["labels"]},
        "spec": {**made["spec"], "securityContext": secured},
    }
    spec = {
        "serviceName": REDIS,
        "replicas": 1,
        "selector": {"matchLabels": made["metadata"]["labels"]},
        "template": template,
    }
    return {"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": REDIS}, "spec": spec}


def _asked(space: Space, kubectl: Kubectl, *words: str) -> str:
    """What the server answers."""
    where = f"--namespace={space.name}"
    return kubectl.run("exec", f"{REDIS}-0", where, "--", "redis-cli", *words).strip()


def _sample(namespace: str) -> list[Any]:
    """The sample, for the server of the test, which has no password and three keys."""
    found = parse(SAMPLE.read_text().replace(MINE, f"namespace: {namespace}\n"))
    for each in found:
        if each["metadata"]["name"] == "recover-redis" and each["kind"] == "MaintenanceTask":
            del each["spec"]["connections"][1]["redis"]["secretRef"]
            each["spec"]["steps"][3]["redisPing"]["minKeys"] = 3
    return found
