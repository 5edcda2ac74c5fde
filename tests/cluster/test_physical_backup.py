"""The sample of a server's files: copied, started again and read in Pods that may do nothing else."""

from pathlib import Path
from typing import Any, Final

from cluster.kubectl import Object, read
from cluster.manifests import resource, task
from cluster.space import Space, conditions

SAMPLE: Final = Path(__file__).parents[2] / "manifests" / "samples" / "backup-postgres-physical.yaml"


def test_the_files_of_a_server_are_backed_up_started_again_and_read(source: Space) -> None:
    # given the policy of the sample
    source.make(_policy("server"))
    # when a backup is made, and one of what has changed, which a server of this version cannot tell
    first = source.policy_ran("server", "weekly/1")
    second = source.policy_ran("server", "every-4-hours/2")
    # then both are full, and the second one says why
    assert [each["lastRun"]["outcome"] for each in (first, second)] == ["changed"] * 2, first["lastRun"]
    assert "the files of PostgreSQL 15" in first["lastBackup"]
    assert second["lastRun"]["warningFindings"] == 1
    # when the newest one is tested, then every row was read
    proven = source.policy_ran("server", "restore-test/3")
    assert proven["lastRun"]["outcome"] == "ok", proven["lastRun"]
    assert proven["lastVerified"]["snapshot"] in second["lastBackup"]
    assert conditions(proven)["Verified"]["status"] == "True"
    assert "read to the last row, 1 query as expected" in source.said("server", "BackupVerified")


def test_a_step_that_would_restore_it_into_a_database_is_refused_before_it_starts(source: Space) -> None:
    source.make(_policy("other"))
    connection = {"name": "db", "postgres": {"host": "db", "database": "postgres", "secretRef": {"name": "db"}}}
    step = {"name": "back", "backupRestore": {"connection": "db", "policy": "other"}}

    source.make(task("recover", step, connections=[connection]))

    assert "(method Physical)" in source.said("recover", "ManualRunRefused")


def _policy(name: str) -> Object:
    """The policy of the sample, for the server of the test, with nothing by the clock."""
    (sample,) = read(SAMPLE)
    spec: dict[str, Any] = sample["spec"]
    spec["source"] = {"postgres": {**spec["source"]["postgres"], "host": "db", "database": "postgres"}}
    spec["source"]["postgres"]["secretRef"] = {"name": "db"}
    spec["repository"] = {"passwordSecretRef": {"name": "repository"}, "volume": {"claimName": "backups"}}
    return resource("BackupPolicy", name, spec | {"suspend": True})
