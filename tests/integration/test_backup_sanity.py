"""What is too small to be a backup is not stored, and its run has failed."""

from typing import Final

import pytest

from integration.bench import Bench
from integration.postgres import Database
from integration.resticstore import Store
from upkeep.actions.backup.postgres import BackupPostgres
from upkeep.actions.contract import Outcome, Severity

POLICY: Final = "shop/shop-db"


@pytest.fixture
def shop(database: Database, bench: Bench) -> Database:
    database.as_owner("CREATE TABLE orders AS SELECT g AS id, md5(g::text) AS note FROM generate_series(1, 20000) g")
    bench.connect_postgres(database.server, database=database.name)
    return database


def backup(store: Store, **changes: object) -> BackupPostgres:
    repository = {"path": str(store.path), "passwordSecretRef": {"name": "repository-secret"}}
    declared = {"connection": "db", "repository": repository, "policy": POLICY, "schedule": "daily"}
    return BackupPostgres.model_validate({**declared, **changes})


async def test_a_database_that_was_emptied_since_is_not_backed_up(shop: Database, bench: Bench, store: Store) -> None:
    # given a good backup, and a table that lost nearly all of its rows
    first = await bench.step(backup(store))
    size = int(first.metrics["bytes"])
    previous = {"snapshot": first.facts["snapshot"], "bytes": size}
    shop.as_owner("DELETE FROM orders WHERE id > 100")
    # when it is backed up again
    report = await bench.report(backup(store, previous=previous))
    # then that is refused, with both sizes, and nothing was stored
    assert report.outcome is Outcome.FAILED
    assert f"the last good backup ({first.facts['snapshot']}) had " in report.message
    assert "sanity.maxShrink is 90%: look what is gone" in report.message
    (found,) = report.findings
    assert (found.check_id, found.severity, found.object) == ("backup.sanity", Severity.CRITICAL, shop.name)
    assert found.observed < found.threshold < size
    assert [str(each["short_id"]) for each in store.snapshots()] == [first.facts["snapshot"]]
    # when that is allowed, then it is stored
    allowed = await bench.step(backup(store, previous=previous, sanity={"maxShrink": "100%"}))
    assert allowed.outcome is Outcome.CHANGED


@pytest.mark.usefixtures("shop")
async def test_a_backup_that_is_not_much_smaller_is_stored(bench: Bench, store: Store) -> None:
    first = await bench.step(backup(store))
    size = int(first.metrics["bytes"])

    again = await bench.step(backup(store, previous={"snapshot": "00000000", "bytes": size * 5}))

    assert again.outcome is Outcome.CHANGED
    assert again.facts["snapshot_time"] > first.facts["snapshot_time"]


@pytest.mark.usefixtures("shop")
async def test_one_that_is_smaller_than_it_must_be_is_not(bench: Bench, store: Store) -> None:
    report = await bench.report(backup(store, sanity={"minSize": "100Mi"}))

    assert report.outcome is Outcome.FAILED
    assert "and sanity.minSize is 100Mi: look whether the source is the right one" in report.message
    assert [found.check_id for found in report.findings] == ["backup.sanity"]
    assert store.snapshots() == []
