"""A policy whose backups cannot even begin says so by itself."""

from cluster.manifests import resource
from cluster.server import QUOTAS
from cluster.space import Space
from cluster.waiting import until
from upkeep.cluster.resources import BACKUPS


def test_a_backup_that_the_cluster_refuses_to_start_gets_overdue_and_starts_when_it_may(space: Space) -> None:
    # given a namespace in which no Job may be made, and a policy with a backup every minute
    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "none"}}
    space.make(quota | {"spec": {"hard": {"count/jobs.batch": "0"}}})
    space.make(
        resource(
            "BackupPolicy",
            "shop-db",
            {
                "source": {"postgres": {"host": "db", "database": "postgres", "secretRef": {"name": "absent"}}},
                "repository": {"passwordSecretRef": {"name": "absent"}, "volume": {"claimName": "absent"}},
                "schedules": [{"name": "always", "schedule": "* * * * *"}],
                "overdueAfter": "2s",
            },
        )
    )
    # when its time has come, then it is refused in the words of the API server, and overdue
    found = until(
        lambda: {each["type"]: each for each in space.status(BACKUPS, "shop-db").get("conditions", ())},
        lambda known: known.get("Overdue", {}).get("status") == "True" and known["Ready"]["status"] == "False",
        what="it is overdue",
        seconds=150,
        every=0.2,
    )
    assert found["Ready"]["reason"] == "Refused"
    assert "exceeded quota: none" in found["Ready"]["message"]
    assert found["Overdue"]["reason"] == "BackupOverdue"
    assert space.said("shop-db", "BackupOverdue").startswith("always, due at ")
    assert space.status(BACKUPS, "shop-db")["phase"] == "Refused"
    # when it may begin, then it does, by itself
    space.remove(QUOTAS, "none")
    until(
        lambda: space.jobs_of(space.get(BACKUPS, "shop-db")),
        bool,
        what="its Job is there",
        seconds=120,
        every=0.2,
    )
