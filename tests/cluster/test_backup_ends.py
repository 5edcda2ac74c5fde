"""Backups that come to an untimely end: each is told truthfully, and the next one succeeds."""

import json
from collections.abc import Iterator
from typing import Final

import pytest

from cluster.kubectl import Kubectl, Object
from cluster.manifests import redis_server, resource, script, secret
from cluster.space import Space
from cluster.volume import claimed
from cluster.waiting import until
from lab.access import ClusterAccess
from upkeep.cluster.resources import BACKUPS, PODS

PATIENCE: Final = 120.0
OWN: Final = {"cache": "cache-in-tests", "repository": "repository-in-tests"}


@pytest.fixture(scope="module")
def house(space: Space, access: ClusterAccess) -> Iterator[Space]:
    """A Redis, and a volume for backups."""
    with claimed(space, access, "backups"):
        space.make(*(secret(name, password=password) for name, password in OWN.items()))
        space.make(*redis_server(access.shop_image, login="cache"))
        space.ready("cache")
        yield space


def test_a_backup_that_takes_longer_than_its_timeout_is_none(house: Space, kubectl: Kubectl) -> None:
    # given a server that answers nobody any more
    house.make(_policy("slow", timeout="3s", redis={"host": "cache", "secretRef": {"name": "cache"}}))
    _at_cache(house, kubectl, "SET one 1")
    _at_cache(house, kubectl, "CLIENT PAUSE 15000 ALL")

    failed = house.policy_ran("slow", "daily/1")

    assert failed["lastRun"]["outcome"] == "failed", failed["lastRun"]
    assert "timeout" in failed["lastRun"]["message"]
    assert "lastBackup" not in failed
    assert house.said("slow", "RunFailed")
    # when it answers again
    _at_cache(house, kubectl, "PING")
    house.change(BACKUPS, "slow", {"spec": {"timeout": "1m"}})
    assert "1 key" in house.policy_ran("slow", "daily/2")["lastBackup"]


def test_a_backup_whose_pod_is_evicted_is_none(house: Space, kubectl: Kubectl, access: ClusterAccess) -> None:
    # given a backup under way
    house.make(_policy("evicted", command=script(access.shop_image, "touch $UPKEEP_OUTPUT/half; exec sleep 600")))
    asked = "daily/1"
    house.run_now("evicted", asked, kind=BACKUPS)
    pod = until(
        lambda: [each for each in house.all(PODS) if each["metadata"]["name"].startswith("evicted-")],
        lambda pods: bool(pods and _begun(pods[0])),
        what="its command runs",
        seconds=PATIENCE,
    )[0]["metadata"]["name"]
    # when somebody drains its node
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": pod, "namespace": house.name}}
    eviction["deleteOptions"] = {"gracePeriodSeconds": 1}
    where = f"/api/v1/namespaces/{house.name}/pods/{pod}/eviction"
    kubectl.run("create", "--raw", where, "--filename=-", stdin=json.dumps(eviction))
    failed = house.ended_run("evicted", kind=BACKUPS, token=asked, seconds=PATIENCE)

    assert failed["lastRun"]["outcome"] == "failed", failed["lastRun"]
    assert "evicted" in failed["lastRun"]["message"]
    assert "lastBackup" not in failed
    # then the next one is made as if nothing had been
    quick = script(access.shop_image, "echo 1 > $UPKEEP_OUTPUT/whole")
    house.change(BACKUPS, "evicted", {"spec": {"source": {"command": quick}}})
    assert "1 file" in house.policy_ran("evicted", "daily/2")["lastBackup"]


def test_a_backup_that_fills_its_scratch_volume_says_what_to_raise(house: Space, access: ClusterAccess) -> None:
    large = script(access.shop_image, "head -c 40000000 /dev/zero > $UPKEEP_OUTPUT/large; exec sleep 600")
    small = script(access.shop_image, "echo 1 > $UPKEEP_OUTPUT/small")
    house.make(_policy("large", scratch="20Mi", command=large))

    failed = house.policy_ran("large", "daily/1")

    assert failed["lastRun"]["outcome"] == "failed", failed["lastRun"]
    assert "its Pod was evicted: " in failed["lastRun"]["message"]
    assert "scratchSize" in failed["lastRun"]["message"]
    assert "lastBackup" not in failed
    house.change(BACKUPS, "large", {"spec": {"scratchSize": "1Gi", "source": {"command": small}}})
    assert house.policy_ran("large", "daily/2")["lastRun"]["outcome"] == "changed"


def _policy(name: str, *, timeout: str = "5m", scratch: str = "1Gi", **source: Object) -> Object:
    repository = {"passwordSecretRef": {"name": "repository"}, "volume": {"claimName": "backups", "path": name}}
    return resource(
        "BackupPolicy",
        name,
        {
            "source": source,
            "repository": repository,
            "schedules": [{"name": "daily", "schedule": "0 0 1 1 *"}],
            "timeout": timeout,
            "scratchSize": scratch,
        },
    )


def _begun(pod: Object) -> bool:
    states = [each.get("state", {}) for each in pod.get("status", {}).get("initContainerStatuses", ())]
    return any("running" in state for state in states)


def _at_cache(space: Space, kubectl: Kubectl, command: str) -> None:
    words = ["exec", f"--namespace={space.name}", "cache", "--", "sh", "-c"]
    kubectl.run(*words, f'REDISCLI_AUTH="$(cat /run/secrets/cache/password)" redis-cli {command}')
