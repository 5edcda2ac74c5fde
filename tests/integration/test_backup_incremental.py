"""What has changed alone is stored, and is worth as much as a full backup: what it builds on stays, and comes back."""

from collections.abc import Iterator
from typing import Any, Final

import pytest
from psycopg import sql

from integration.bench import Bench, eventually
from integration.postgres import Database, Postgres, hand_over, running_postgres
from integration.resticstore import Store
from upkeep.actions.backup.physical import BackupPhysical
from upkeep.actions.backup.physicaltest import BackupPhysicalTest
from upkeep.actions.backup.prune import BackupPrune
from upkeep.actions.contract import Outcome, Severity

POLICY: Final = "shop/shop-db"

pytestmark = pytest.mark.usefixtures("many_versions")


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    with running_postgres(version="18") as server:
        server.execute(
            "ALTER ROLE upkeep REPLICATION", "ALTER SYSTEM SET summarize_wal = on", "SELECT pg_reload_conf()"
        )
        yield server


@pytest.fixture
def shop(server: Postgres, bench: Bench) -> Iterator[Database]:
    """A database with a table and the connection to it."""
    with server.database("shop") as database:
        database.as_owner(
            "CREATE TABLE orders AS SELECT g AS id, md5(g::text) AS note FROM generate_series(1, 20000) g",
            "ALTER TABLE orders ADD PRIMARY KEY (id)",
        )
        bench.connect_postgres(server, database=database.name)
        yield database


def where(store: Store) -> dict[str, object]:
    reference = {"name": "repository-secret"}
    return {"repository": {"path": str(store.path), "passwordSecretRef": reference}, "policy": POLICY}


def backup(store: Store, *, incremental: bool = True) -> BackupPhysical:
    schedule = "hourly" if incremental else "weekly"
    declared = {"connection": "db", "schedule": schedule, "incremental": incremental}
    return BackupPhysical.model_validate({**where(store), **declared})


def verify(store: Store, *, orders: int) -> BackupPhysicalTest:
    query = {"name": "orders", "query": "SELECT count(*) FROM public.orders", "equals": str(orders)}
    return BackupPhysicalTest.model_validate({**where(store), "queries": [query]})


def base(snapshot: dict[str, Any]) -> str:
    """The whole id of the snapshot that it builds on; empty where there is none."""
    return "".join(tag.removeprefix("base=") for tag in snapshot["tags"] if tag.startswith("base="))


async def test_what_changed_is_stored_alone_and_put_together_again(
    shop: Database, bench: Bench, pod: Bench, store: Store
) -> None:
    # given a first backup, and two after changes
    first = await bench.step(backup(store))
    assert first.outcome is Outcome.CHANGED, first.message
    assert first.message.endswith("full: there is none yet that it could build on")
    shop.as_owner("INSERT INTO orders SELECT g, 'second' FROM generate_series(20001, 20010) g")
    second = await bench.step(backup(store))
    shop.as_owner("INSERT INTO orders SELECT g, 'third' FROM generate_series(20011, 20020) g")
    third = await bench.step(backup(store))
    # then each builds on the one before it, has a part of its size, and says the size of all
    assert [step.outcome for step in (second, third)] == [Outcome.CHANGED] * 2, second.message
    ordered = sorted(store.snapshots(), key=lambda snapshot: str(snapshot["time"]))
    assert [base(snapshot) for snapshot in ordered] == ["", ordered[0]["id"], ordered[1]["id"]]
    assert f" changed since snapshot {ordered[1]['short_id']}" in third.message
    assert third.metrics["copied_bytes"] < first.metrics["copied_bytes"] * 0.8
    assert third.metrics["bytes"] == pytest.approx(first.metrics["bytes"], rel=0.2)
    # and the newest one comes back as a whole
    tested = await pod.step(verify(store, orders=20020))
    assert tested.outcome is Outcome.OK, tested.message
    assert tested.facts["snapshot"] == ordered[2]["short_id"]


async def test_tablespaces_are_put_together_too(
    shop: Database, bench: Bench, pod: Bench, server: Postgres, store: Store
) -> None:
    # given orders in a tablespace with an odd place
    place = server.directory / "odd = place"
    place.mkdir()
    hand_over(place)
    with server.connect() as connection:
        connection.execute(sql.SQL("CREATE TABLESPACE odd LOCATION {}").format(str(place)))
    shop.execute("ALTER TABLE orders SET TABLESPACE odd")
    # when they are backed up, changed, and backed up again
    await bench.step(backup(store))
    shop.as_owner("DELETE FROM orders WHERE id > 10000")
    made = await bench.step(backup(store))
    shop.as_owner("DROP TABLE orders")
    server.execute("DROP TABLESPACE odd")
    assert " changed since snapshot " in made.message, made.message
    # then they come back as they were last
    tested = await pod.step(verify(store, orders=10000))
    assert tested.outcome is Outcome.OK, tested.message


@pytest.mark.usefixtures("shop")
async def test_retention_keeps_what_a_kept_backup_builds_on(bench: Bench, pod: Bench, store: Store) -> None:
    # given an old full backup, with two that build on it, and a newer full one
    await bench.step(backup(store, incremental=False))
    await bench.step(backup(store))
    await bench.step(backup(store))
    await bench.step(backup(store, incremental=False))
    old, *_ = sorted(store.snapshots(), key=lambda snapshot: str(snapshot["time"]))
    keep = [{"schedule": name, "retention": {"keepLast": 1}} for name in ("weekly", "hourly")]
    # when one of each schedule is kept
    step = await bench.step(BackupPrune.model_validate({**where(store), "retentions": keep}))
    # then the newest one of what changed stays, and all that it builds on
    assert step.outcome is not Outcome.FAILED, step.message
    assert len(store.snapshots()) == 4
    assert f"{old['short_id']}" in step.message
    assert step.message.count("or built upon") == 1
    # and when nothing that is kept builds on it any more, it goes
    await bench.step(backup(store))
    step = await bench.step(BackupPrune.model_validate({**where(store), "retentions": keep}))
    assert step.outcome is Outcome.CHANGED, step.message
    assert len(store.snapshots()) == 2
    tested = await pod.step(verify(store, orders=20000))
    assert tested.outcome is Outcome.OK, tested.message


@pytest.mark.usefixtures("shop")
async def test_a_base_that_is_gone_makes_the_next_backup_full_and_the_test_fail(
    bench: Bench, pod: Bench, store: Store
) -> None:
    # given a backup of what changed whose base somebody removed
    await bench.step(backup(store))
    await bench.step(backup(store))
    first, _ = sorted(store.snapshots(), key=lambda snapshot: str(snapshot["time"]))
    store.restic("forget", first["id"])
    # then it is not verified
    report = await pod.report(verify(store, orders=20000))
    assert report.outcome is Outcome.FAILED
    assert f"builds on snapshot {first['short_id']}, which is not in the repository any more" in report.message
    assert report.counts.critical == 1
    # and the next one is full, and says why
    report = await bench.report(backup(store))
    assert report.outcome is Outcome.CHANGED, report.message
    assert [(found.check_id, found.severity) for found in report.findings] == [
        ("backup.postgres.incremental", Severity.WARNING)
    ]
    assert "a full backup was made instead" in report.findings[0].recommendation
    tested = await pod.step(verify(store, orders=20000))
    assert tested.outcome is Outcome.OK, tested.message


async def test_a_server_that_does_not_know_its_changes_is_backed_up_whole(
    shop: Database, bench: Bench, server: Postgres, store: Store
) -> None:
    await bench.step(backup(store))
    server.execute("ALTER SYSTEM SET summarize_wal = off", "SELECT pg_reload_conf()")
    await eventually(lambda: shop.value("SHOW summarize_wal") == "off")
    report = await bench.report(backup(store))
    server.execute("ALTER SYSTEM SET summarize_wal = on", "SELECT pg_reload_conf()")
    await eventually(lambda: shop.value("SHOW summarize_wal") == "on")
    assert report.outcome is Outcome.CHANGED, report.message
    (found,) = report.findings
    assert "ALTER SYSTEM SET summarize_wal = on" in found.recommendation
    assert {base(snapshot) for snapshot in store.snapshots()} == {""}


async def test_an_older_server_is_backed_up_whole(bench: Bench, pod: Bench, store: Store) -> None:
    with running_postgres(version="16") as server, server.database("shop") as shop:
        server.execute("ALTER ROLE upkeep REPLICATION")
        shop.as_owner("CREATE TABLE orders AS SELECT generate_series(1, 10) AS id")
        bench.connect_postgres(server, database=shop.name)
        report = await bench.report(backup(store))
    assert report.outcome is Outcome.CHANGED, report.message
    assert "PostgreSQL 16 knows nothing of changes: use 17 or newer" in report.findings[0].recommendation
    tested = await pod.step(verify(store, orders=10))
    assert tested.outcome is Outcome.OK, tested.message


async def test_a_server_of_a_version_that_the_image_lacks_cannot_be_verified(
    bench: Bench, pod: Bench, store: Store
) -> None:
    with running_postgres(version="17") as server, server.database("shop") as shop:
        server.execute("ALTER ROLE upkeep REPLICATION")
        shop.as_owner("CREATE TABLE orders AS SELECT generate_series(1, 10) AS id")
        bench.connect_postgres(server, database=shop.name)
        made = await bench.step(backup(store, incremental=False))
    # then programs of a newer version make the backup, and none reads it
    assert made.outcome is Outcome.CHANGED, made.message
    tested = await pod.step(verify(store, orders=10))
    assert tested.outcome is Outcome.UNKNOWN
    assert "the files are those of a PostgreSQL 17, which no other version can read: this image has" in tested.message
