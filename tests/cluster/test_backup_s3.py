"""Backups in a bucket, made by Pods: proven, and not hindered for long by what a Pod left that was killed."""

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest

from cluster.kubectl import Object, read
from cluster.manifests import postgres_server, resource, secret
from cluster.s3server import BUCKET, ENDPOINT, s3_server
from cluster.space import Space
from cluster.telltale import Telltales
from cluster.waiting import until
from lab.access import ClusterAccess
from upkeep.cluster.resources import BACKUPS, EVENTS, JOBS, PODS

SAMPLE: Final = Path(__file__).parents[2] / "manifests" / "samples" / "backup-s3.yaml"
PATIENCE: Final = 120.0

pytestmark = pytest.mark.home_built


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A namespace with a database and an S3 server.

    Attributes:
        bucket: the directory with the server's objects.
        telltales: the values of its Secrets.
    """

    space: Space
    bucket: Path
    telltales: Telltales


@pytest.fixture(scope="module")
def place(space: Space, access: ClusterAccess) -> Iterator[Place]:
    """A database with a thousand orders, and a bucket for its backups."""
    telltales = Telltales()
    keys = {name: telltales.value(name) for name in ("accessKeyId", "secretAccessKey")}
    keys["accessKeyId"] = telltales.cores["accessKeyId"]  # no slash may be in it
    space.make(
        secret("db", username="postgres", password=telltales.value("db")),
        secret("repository", password=telltales.value("repository")),
        secret("s3", **keys),
        *postgres_server(access.shop_image, login="db"),
    )
    with s3_server(space, access, login="s3") as bucket:
        space.ready("db")
        yield Place(space=space, bucket=bucket, telltales=telltales)


def test_a_backup_in_a_bucket_is_proven(place: Place) -> None:
    # given the policy of the sample, whose backups go to the server of the test
    place.space.make(_policy("shop-db"))
    # when a backup is made, checked, restored in a test, and the others are removed
    first = place.space.policy_ran("shop-db", "daily/1")
    assert first["lastRun"]["outcome"] == "changed", first["lastRun"]
    assert first["repositoryBytes"] == _size(place.bucket / "shop-db")
    ended = {
        schedule: place.space.policy_ran("shop-db", f"{schedule}/2")
        for schedule in ("integrity", "restore-test", "prune")
    }
    # then all went well
    outcomes = {schedule: status["lastRun"]["outcome"] for schedule, status in ended.items()}
    assert outcomes["integrity"] == outcomes["restore-test"] == "ok", ended
    assert outcomes["prune"] in {"ok", "changed"}, ended["prune"]["lastRun"]
    assert ended["restore-test"]["lastVerified"]["snapshot"] in first["lastBackup"]
    # and nobody told what stands in the Secrets
    objects = [item for kind in (BACKUPS, JOBS, PODS, EVENTS) for item in place.space.all(kind)]
    told = {item["metadata"]["name"]: json.dumps(item, ensure_ascii=False) for item in objects}
    for pod in place.space.all(PODS):
        name = pod["metadata"]["name"]
        told[f"log of {name}"] = place.space.server.text(PODS.path(place.space.name, name, "log"))
    assert place.telltales.found_in(told) == []


def test_a_pod_that_is_killed_does_not_lock_the_next_one_out(place: Place) -> None:
    # given a backup that takes its time, because its bandwidth is limited, and has locked the repository
    place.space.make(_policy("killed", limitUpload="1Ki"))
    place.space.run_now("killed", "daily/1", kind=BACKUPS)
    locks = _Locks(place.bucket / "killed" / "locks")
    until(locks.held, bool, what="the repository is locked", seconds=PATIENCE, every=0.1)
    (job,) = place.space.status(BACKUPS, "killed")["active"]
    (pod,) = place.space.pods_of(job)
    # when its Pod is killed
    place.space.server.delete(PODS, place.space.name, pod["metadata"]["name"], gracePeriodSeconds=0)
    status = place.space.ended_run("killed", kind=BACKUPS, token="daily/1", seconds=PATIENCE)  # noqa: S106 - no secret
    # then that is no backup, and the lock is still there
    assert status["lastRun"]["outcome"] == "failed", status["lastRun"]
    assert "lastBackup" not in status
    # and the next backup succeeds, and a check, which needs the repository for itself, is not kept from it
    place.space.change(BACKUPS, "killed", {"spec": {"repository": {"limitUpload": "1Gi"}}})
    assert place.space.policy_ran("killed", "daily/2")["lastRun"]["outcome"] == "changed"
    status = place.space.policy_ran("killed", "integrity/3")
    assert status["lastRun"]["outcome"] == "ok", status["lastRun"]
    assert locks.names() == set()


def test_a_bucket_that_is_not_there_is_said(place: Place) -> None:
    place.space.make(_policy("nowhere", bucket="nowhere"))
    status = place.space.policy_ran("nowhere", "daily/1")
    assert status["lastRun"]["outcome"] == "failed"
    assert "there is no bucket 'nowhere': create it, or correct s3.bucket" in status["lastRun"]["message"]
    assert "lastBackup" not in status


class _Locks:
    """The locks of a repository, told from those that are only there for a moment."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._seen: dict[str, float] = {}

    def names(self) -> set[str]:
        """Those that are there."""
        return {path.name for path in self._directory.glob("*")}

    def held(self) -> list[str]:
        """Those that have been there for two seconds."""
        now = time.monotonic()
        self._seen = {name: self._seen.get(name, now) for name in self.names()}
        return [name for name, since in self._seen.items() if now - since > 2]


def _policy(name: str, bucket: str = BUCKET, **changes: str) -> Object:
    """The policy of the sample, for the database and the server of the test, and nothing by the clock."""
    (sample,) = read(SAMPLE)
    spec: dict[str, Any] = sample["spec"]
    spec["source"] = {"postgres": {"host": "db", "database": "postgres", "secretRef": {"name": "db"}}}
    spec["repository"]["passwordSecretRef"]["name"] = "repository"
    spec["verify"]["restoreTest"]["queries"] = []
    changed = {"endpoint": ENDPOINT, "bucket": bucket, "prefix": name, "secretRef": {"name": "s3"}}
    spec["repository"]["s3"] = {"storageClass": spec["repository"]["s3"]["storageClass"], **changed}
    spec["repository"] |= changes
    return resource("BackupPolicy", name, spec | {"suspend": True})


def _size(directory: Path) -> int:
    return sum(path.stat().st_size for path in directory.rglob("*") if path.is_file())
