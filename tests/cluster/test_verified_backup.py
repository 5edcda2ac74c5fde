"""The samples with a restore test: a backup is proven in a Pod, and the window that requires it opens then."""

from pathlib import Path
from typing import Any, Final

import pytest

from cluster.kubectl import Object, read
from cluster.manifests import resource, script, soon, task, window
from cluster.space import Space, conditions
from cluster.waiting import until
from lab.access import ClusterAccess
from upkeep.cluster.resources import BACKUPS, JOBS, WINDOWS

SAMPLES: Final = Path(__file__).parents[2] / "manifests" / "samples"
PATIENCE: Final = 120.0


@pytest.fixture(scope="module")
def source(source: Space, access: ClusterAccess) -> Space:
    """There is a task for windows too."""
    source.make(task("work", run_now="", job=script(access.shop_image, "true")))
    return source


def test_a_window_waits_for_a_backup_that_was_restored_and_opens_then(source: Space) -> None:
    # given a policy without any backup, and a window that requires one
    source.make(_policy("shop-db", {"name": "orders", "query": "SELECT count(*) FROM public.orders", "equals": "1000"}))
    source.make(window("migration", **_gate("shop-db")))
    _until_occurrence(source, "migration", lambda known: known.get("waitingFor") == "BackupNotVerified")
    assert "no backup of BackupPolicy 'shop-db' has passed a restore test yet" in source.said("migration", "WindowHeld")
    # when a backup is made, then nothing is proven yet
    assert source.policy_ran("shop-db", "daily/1")["lastRun"]["outcome"] == "changed"
    assert "openedAt" not in source.status(WINDOWS, "migration")["occurrence"]
    # when it is restored in a test
    status = source.policy_ran("shop-db", "restore-test/2")
    # then it is verified
    assert status["lastRun"]["outcome"] == "ok", status["lastRun"]
    verified = status["lastVerified"]
    assert verified["snapshot"] in status["lastBackup"]
    assert verified["restoreSeconds"] > 0
    assert conditions(status)["Verified"]["status"] == "True"
    assert "1 table with 1000 rows as they were dumped, 1 query as expected" in source.said("shop-db", "BackupVerified")
    # and the window opens
    _until_occurrence(source, "migration", lambda known: "openedAt" in known)


def test_a_backup_of_which_a_table_is_missing_opens_nothing(source: Space) -> None:
    # given a policy that expects a table that was never dumped
    source.make(_policy("broken", {"name": "users", "query": "SELECT count(*) FROM public.users", "min": 1}))
    made = source.policy_ran("broken", "daily/1")
    assert made["lastRun"]["outcome"] == "changed", made["lastRun"]
    # when its backup is verified
    status = source.policy_ran("broken", "restore-test/2")
    # then that is found out, and a window that requires it is held and then skipped
    assert status["lastRun"]["outcome"] == "failed", status["lastRun"]
    assert status["lastRun"]["criticalFindings"] == 1
    assert "lastVerified" not in status
    assert conditions(status)["Verified"]["status"] == "False"
    assert 'relation "public.users" does not exist' in source.said("broken", "BackupNotVerified")
    source.make(window("refused", **_gate("broken") | {"duration": "10s"}))
    found = until(
        lambda: source.status(WINDOWS, "refused"),
        lambda known: known.get("history"),
        what="it is skipped",
        seconds=PATIENCE,
    )
    (record,) = found["history"]
    assert (record["ending"], record["reason"]) == ("Skipped", "RequirementNotMet")
    assert "the last restore test of BackupPolicy 'broken' failed" in record["message"]


def test_the_pod_of_a_restore_test_has_no_credentials_of_the_source(source: Space) -> None:
    source.make(_policy("pod"))
    source.policy_ran("pod", "restore-test/1")

    (job,) = source.jobs_of(source.get(BACKUPS, "pod"))

    assert job in source.all(JOBS)
    spec = job["spec"]["template"]["spec"]
    assert [volume["secret"]["secretName"] for volume in spec["volumes"] if "secret" in volume] == ["repository"]
    assert spec["automountServiceAccountToken"] is False
    mounts = {mount["mountPath"]: mount for mount in spec["containers"][0]["volumeMounts"]}
    assert mounts["/var/run/upkeep/repository"]["readOnly"] is True


def test_a_policy_that_is_not_there_is_said_long_before(source: Space) -> None:
    source.make(window("unknown", **_gate("nowhere") | {"startAt": soon(3600)}))

    found = source.condition("unknown", "Ready", "False", kind=WINDOWS)

    assert found["reason"] == "BackupPolicyNotFound"
    assert found["message"] == "BackupPolicy 'nowhere' does not exist in this namespace: create it"


def _policy(name: str, *queries: Object) -> Object:
    """The policy of the sample, for the database of the test and with queries of its own."""
    (sample,) = read(SAMPLES / "backup-postgres.yaml")
    spec: dict[str, Any] = sample["spec"]
    spec["source"] = {"postgres": {"host": "db", "database": "postgres", "secretRef": {"name": "db"}}}
    spec["repository"] = {
        "passwordSecretRef": {"name": "repository"},
        "volume": {"claimName": "backups", "path": f"of/{name}"},
    }
    spec["verify"]["restoreTest"]["queries"] = list(queries)
    return resource("BackupPolicy", name, spec)


def _gate(policy: str) -> dict[str, Any]:
    """The spec of the sample, opening in a moment, for a policy and a task of the test."""
    (sample,) = read(SAMPLES / "window-verified-backup.yaml")
    spec: dict[str, Any] = sample["spec"]
    (required,) = spec["requires"]["verifiedBackups"]
    required["name"] = policy
    return spec | {"startAt": soon(2), "duration": "5m", "cutoff": "0s", "plan": {"tasks": [{"name": "work"}]}}


def _until_occurrence(space: Space, name: str, holds: Any) -> None:  # noqa: ANN401 - a predicate
    until(lambda: space.status(WINDOWS, name).get("occurrence", {}), holds, what=f"{name} gets on", seconds=PATIENCE)
