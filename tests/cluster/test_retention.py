"""The sample with a retention: old backups go by their schedule, the one that was verified stays."""

from pathlib import Path
from typing import Any, Final

from cluster.kubectl import read
from cluster.manifests import resource
from cluster.space import Space

SAMPLE: Final = Path(__file__).parents[2] / "manifests" / "samples" / "backup-postgres.yaml"


def test_the_retention_of_a_schedule_is_enforced_and_the_verified_backup_stays(source: Space) -> None:
    # given the policy of the sample, of which one backup of a schedule is to be kept, and two backups
    source.make(_policy("shop-db", {"keepLast": 1}))
    source.policy_ran("shop-db", "daily/1")
    source.policy_ran("shop-db", "daily/2")
    # when it is pruned before anything was proven, then nothing is removed
    status = source.policy_ran("shop-db", "prune/3")
    assert status["lastRun"]["outcome"] == "skipped", status["lastRun"]
    assert "no backup has passed its restore test yet" in status["lastRun"]["message"]
    # when one was verified, and newer ones were made
    verified = source.policy_ran("shop-db", "restore-test/4")["lastVerified"]["snapshot"]
    source.policy_ran("shop-db", "daily/5")
    newest = source.policy_ran("shop-db", "daily/6")
    assert newest["repositoryBytes"] > 0
    status = source.policy_ran("shop-db", "prune/7")
    # then the verified one and the newest one are left
    assert status["lastRun"]["outcome"] == "changed", status["lastRun"]
    assert (
        f"removed 2 of 4 snapshots (daily 2 of 4, every-4-hours 0 of 0), 2 kept, also {verified}"
        in (status["lastRun"]["message"])
    )
    assert (status["lastPrune"]["removed"], status["lastPrune"]["kept"]) == (2, 2)
    assert status["lastBackup"] == newest["lastBackup"]


def _policy(name: str, keep: dict[str, Any]) -> dict[str, Any]:
    """The policy of the sample, for the database of the test, with another retention and nothing by the clock."""
    (sample,) = read(SAMPLE)
    spec: dict[str, Any] = sample["spec"]
    spec["source"] = {"postgres": {"host": "db", "database": "postgres", "secretRef": {"name": "db"}}}
    spec["repository"] = {"passwordSecretRef": {"name": "repository"}, "volume": {"claimName": "backups"}}
    spec["verify"]["restoreTest"]["queries"] = []
    spec["schedules"][0]["retention"] = keep
    return resource("BackupPolicy", name, spec | {"suspend": True})
