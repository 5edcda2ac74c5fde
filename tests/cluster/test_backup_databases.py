"""The sample of all databases of a server: one backup by a user with the least rights, proven, one of them restored."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from cluster.kubectl import Kubectl, Object, read
from cluster.manifests import postgres_server, resource, secret, task
from cluster.space import Space, conditions
from cluster.test_recovery import asked
from cluster.volume import claimed
from lab.access import ClusterAccess

SAMPLE: Final = Path(__file__).parents[2] / "manifests" / "samples" / "backup-databases.yaml"
PATIENCE: Final = 120.0
ADMIN: Final = "upkeep-in-tests"
DUMPING: Final = "dumping-in-tests"
REPOSITORY: Final = "repository-in-tests"
TENANT: Final = 'tenant "ü"/..'


@pytest.fixture(scope="module")
def house(space: Space, access: ClusterAccess, kubectl: Kubectl) -> Iterator[Space]:
    """A server with three databases, of which one lets nobody in, and a user that may only read."""
    with claimed(space, access, "backups"):
        space.make(secret("admin", username="postgres", password=ADMIN))
        space.make(secret("db", username="dumping", password=DUMPING), secret("repository", password=REPOSITORY))
        space.make(*postgres_server(access.shop_image, login="admin"))
        space.ready("db")
        for statement in (
            "DROP TABLE orders",
            f"CREATE ROLE dumping LOGIN PASSWORD '{DUMPING}' IN ROLE pg_read_all_data",
            "CREATE DATABASE shop",
            'CREATE DATABASE "tenant ""ü""/.."',
            "CREATE DATABASE scratch",
            "REVOKE CONNECT ON DATABASE scratch FROM PUBLIC",
        ):
            asked(space, kubectl, statement, database="postgres")
        asked(space, kubectl, "CREATE TABLE orders AS SELECT generate_series(1, 1000) AS number")
        asked(space, kubectl, "CREATE TABLE notes AS SELECT 'kept' AS note", database=TENANT)
        yield space


def test_all_databases_are_one_backup_that_is_proven_and_comes_back(house: Space, kubectl: Kubectl) -> None:
    # given the sample
    house.make(_policy("all"))
    # when it is backed up and restored in a test
    made = house.policy_ran("all", "daily/1")
    proven = house.policy_ran("all", "restore-test/2")
    # then each database but the one that is left out is in it, and came back
    assert made["lastRun"]["outcome"] == "changed", made["lastRun"]
    assert ", 3 databases, 2 tables, " in made["lastBackup"]
    assert proven["lastRun"]["outcome"] == "ok", proven["lastRun"]
    assert conditions(proven)["Verified"]["status"] == "True"
    told = "3 databases, 2 tables with 1001 rows as they were dumped, 2 queries as expected"
    assert told in house.said("all", "BackupVerified")
    # and one of them is restored beside
    target = {"host": "db", "database": "postgres", "secretRef": {"name": "admin"}}
    step = {"connection": "db", "policy": "all", "database": "looked_at", "sourceDatabase": TENANT}
    restore = {"name": "restore", "backupRestore": step}
    house.make(task("look", restore, connections=[{"name": "db", "postgres": target}]))
    run = house.ended_run("look", seconds=PATIENCE)["lastRun"]
    assert run["outcome"] == "changed", run
    assert asked(house, kubectl, "SELECT note FROM notes", database="looked_at") == "kept"


def test_a_database_that_lets_nobody_in_is_named_in_the_status(house: Space) -> None:
    policy = _policy("closed")
    del policy["spec"]["source"]["postgres"]["excludeDatabases"]
    house.make(policy)

    failed = house.policy_ran("closed", "daily/1")

    assert failed["lastRun"]["outcome"] == "failed"
    assert "may not connect to 'scratch' on PostgreSQL db:5432: GRANT CONNECT" in failed["lastRun"]["message"]
    assert "lastBackup" not in failed


def _policy(name: str) -> Object:
    """The policy of the sample, for the server and the volume of the test."""
    (sample,) = read(SAMPLE)
    spec: dict[str, Any] = sample["spec"]
    spec["source"]["postgres"] |= {"host": "db", "secretRef": {"name": "db"}}
    spec["repository"] = {
        "passwordSecretRef": {"name": "repository"},
        "volume": {"claimName": "backups", "path": f"of/{name}"},
    }
    return resource("BackupPolicy", name, spec)
