"""A repository on a volume, copied into a bucket by a Pod that has not its password."""

import json
from pathlib import Path
from typing import Any, Final

import pytest

from cluster.kubectl import read
from cluster.manifests import resource, secret
from cluster.s3server import BUCKET, ENDPOINT, s3_server
from cluster.space import Space
from cluster.telltale import Telltales
from cluster.volume import claimed
from lab.access import ClusterAccess
from upkeep.cluster.resources import BACKUPS, EVENTS, JOBS, PODS

SAMPLE: Final = Path(__file__).parents[2] / "manifests" / "samples" / "backup-cold.yaml"

pytestmark = pytest.mark.home_built


def test_a_copy_is_there_and_is_not_said_to_be_verified(space: Space, access: ClusterAccess) -> None:
    telltales = Telltales()
    keys = {"accessKeyId": telltales.value("accessKeyId"), "secretAccessKey": telltales.value("secretAccessKey")}
    keys["accessKeyId"] = telltales.cores["accessKeyId"]  # no slash may be in it
    space.make(secret("repository", password=telltales.value("repository")), secret("s3", **keys))
    with claimed(space, access, "backups") as volume, s3_server(space, access, login="s3") as bucket:
        assert volume
        # given the policy of the sample, of what a command leaves, with a repository on a volume
        (sample,) = read(SAMPLE)
        command = {"image": access.shop_image, "command": ["/bin/sh", "-c", "date > $UPKEEP_OUTPUT/when"]}
        spec: dict[str, Any] = sample["spec"] | {
            "source": {"command": {**command, "runAsUser": 65532}},
            "suspend": True,
        }
        spec["repository"] = {"passwordSecretRef": {"name": "repository"}, "volume": {"claimName": "backups"}}
        place = {"endpoint": ENDPOINT, "bucket": BUCKET, "prefix": "cold", "secretRef": {"name": "s3"}}
        spec["coldCopy"] = {**spec["coldCopy"], "s3": place}
        space.make(resource("BackupPolicy", "cold", spec))
        # when there is nothing to copy yet, then that is said
        assert "there is no repository at" in space.policy_ran("cold", "cold-copy/1")["lastRun"]["message"]
        # when a backup is made and copied
        backup = space.policy_ran("cold", "daily/2")
        assert backup["lastRun"]["outcome"] == "changed", backup["lastRun"]
        status = space.policy_ran("cold", "cold-copy/3")
        # then every file is there, and no word says more than that
        assert status["lastRun"]["outcome"] == "changed", status["lastRun"]
        copy = status["coldCopy"]
        assert copy["snapshot"] == backup["snapshots"][0]["snapshot"]
        assert (copy["snapshots"], copy["verifiable"], copy["thawTime"]) == (1, False, "12h to 48h")
        assert "lastVerified" not in status
        kept, there = _files(bucket / "cold"), _files(volume / "repository")
        assert {name: kept.get(name) for name in there} == there
        # and the Pod had not the password, and told nobody its keys
        (job,) = (each for each in space.all(JOBS) if each["metadata"]["name"] == status["lastRun"]["job"])
        volumes = job["spec"]["template"]["spec"]["volumes"]
        assert {each["secret"]["secretName"] for each in volumes if "secret" in each} == {"s3"}
        told = {
            item["metadata"]["name"]: json.dumps(item, ensure_ascii=False)
            for kind in (BACKUPS, JOBS, PODS, EVENTS)
            for item in space.all(kind)
        }
        for pod in space.all(PODS):
            name = pod["metadata"]["name"]
            told[f"log of {name}"] = space.server.text(PODS.path(space.name, name, "log"))
        assert telltales.found_in(told) == []


def _files(directory: Path) -> dict[str, int]:
    """Names and sizes, without locks."""
    found = {path.relative_to(directory).as_posix(): path for path in directory.rglob("*") if path.is_file()}
    return {name: path.stat().st_size for name, path in found.items() if not name.startswith("locks/")}
