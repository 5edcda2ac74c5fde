"""A backup is in the repository as a whole, or the step has failed and says why."""

import asyncio
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from integration.bench import Bench, eventually
from integration.postgres import Database
from integration.resticstore import Store
from upkeep.actions.backup.dump import DIRECTORY, dumper
from upkeep.actions.backup.postgres import BackupPostgres
from upkeep.actions.backup.programs import newest
from upkeep.actions.backup.restic import Restic
from upkeep.actions.contract import ActionError, Outcome, Severity


def backup(store: Store) -> BackupPostgres:
    return BackupPostgres.model_validate(
        {
            "connection": "db",
            "repository": {"path": str(store.path), "passwordSecretRef": {"name": "repository-secret"}},
            "policy": "shop/shop-db",
            "schedule": "daily",
        }
    )


@pytest.fixture
def shop(database: Database, bench: Bench) -> Iterator[Database]:
    """A database with two tables and the connection to it."""
    database.as_owner(
        "CREATE TABLE orders AS SELECT g AS id, repeat('note', 20) AS note FROM generate_series(1, 20000) g",
        "CREATE TABLE users AS SELECT 'Ada' AS name",
    )
    bench.connect_postgres(database.server, database=database.name)
    yield database
    assert not list(bench.scratch.glob("*pass*")), "the password file was left behind"
    assert not (bench.scratch / DIRECTORY).exists(), "the dump was left behind"


async def test_a_backup_can_be_restored(shop: Database, bench: Bench, store: Store, tmp_path: Path) -> None:
    # when the database is backed up for the first time
    step = await bench.step(backup(store))
    # then there is one snapshot, with the names of policy and schedule
    assert step.outcome is Outcome.CHANGED, step.message
    (snapshot,) = store.snapshots()
    assert snapshot["hostname"] == "shop/shop-db"
    assert snapshot["tags"] == ["policy=shop/shop-db", "schedule=daily"]
    assert step.message.startswith(f"snapshot {snapshot['short_id']}, 1.7 MiB, 2 tables, ")
    assert step.message.endswith(", first one in a new repository")
    # and what is in it restores into another database
    store.restic("restore", "latest", "--target", str(tmp_path / "restored"))
    (dump,) = (tmp_path / "restored").rglob("database")
    with shop.server.database(f"{shop.name}_restored") as restored:
        restored.load(dump)
        assert restored.value("SELECT count(*) FROM orders") == 20000
        assert restored.value("SELECT name FROM users") == "Ada"


@pytest.mark.usefixtures("shop")
async def test_globals_are_stored_without_passwords(bench: Bench, store: Store) -> None:
    step = await bench.step(backup(store))
    assert "without roles" not in step.message
    globals_file = next(line for line in store.restic("ls", "latest").splitlines() if line.endswith("globals.sql"))
    text = store.restic("dump", "latest", globals_file)
    assert "CREATE ROLE upkeep" in text
    assert "SCRAM" not in text


async def test_globals_that_the_role_may_not_read_are_reported(shop: Database, bench: Bench, store: Store) -> None:
    shop.server.execute("REVOKE SELECT ON pg_catalog.pg_auth_members FROM PUBLIC", database=shop.name)
    report = await bench.report(backup(store))
    assert report.outcome is Outcome.CHANGED, report.message
    assert report.steps[0].message.endswith("without roles and tablespaces")
    assert [(finding.check_id, finding.severity) for finding in report.findings] == [
        ("backup.postgres.globals", Severity.WARNING)
    ]
    assert "permission denied for table pg_auth_members" in report.findings[0].recommendation


@pytest.mark.usefixtures("shop")
async def test_a_second_backup_stores_only_what_changed(bench: Bench, store: Store) -> None:
    first = await bench.step(backup(store))
    second = await bench.step(backup(store))
    assert len(store.snapshots()) == 2
    assert second.metrics["bytes"] == first.metrics["bytes"]
    assert second.metrics["added_bytes"] < first.metrics["added_bytes"] / 20
    files = [path for path in store.path.rglob("*") if path.is_file()]
    assert second.metrics["repository_bytes"] == sum(path.stat().st_size for path in files)
    assert second.metrics["free_bytes"] == pytest.approx(shutil.disk_usage(store.path).free, rel=0.2)


@pytest.mark.parametrize("name", ['we"ird =x', "-leading", "host=evil dbname=postgres", "größe 表"])
async def test_a_hostile_database_name_is_only_a_name(
    name: str, database: Database, bench: Bench, store: Store
) -> None:
    with database.server.database(name) as hostile:
        hostile.as_owner("CREATE TABLE only_here AS SELECT 1 AS id")
        bench.connect_postgres(hostile.server, database=name)
        step = await bench.step(backup(store))
    assert step.outcome is Outcome.CHANGED, step.message
    assert step.metrics["tables"] == 1
    assert "without roles" not in step.message


async def test_an_empty_database_is_no_backup(database: Database, bench: Bench, store: Store) -> None:
    bench.connect_postgres(database.server, database=database.name)
    step = await bench.step(backup(store))
    assert step.outcome is Outcome.FAILED
    assert "is empty: the database has no tables; check `database` of the source" in step.message
    assert store.snapshots() == []


async def test_a_role_that_may_not_read_everything_is_no_backup(shop: Database, bench: Bench, store: Store) -> None:
    shop.execute("CREATE TABLE secret_orders AS SELECT 1 AS id")
    step = await bench.step(backup(store))
    assert step.outcome is Outcome.FAILED
    assert "permission denied for table secret_orders" in step.message
    assert step.message.endswith("GRANT pg_read_all_data to the user of the connection")
    assert store.snapshots() == []


async def test_rows_hidden_by_row_level_security_are_no_backup(shop: Database, bench: Bench, store: Store) -> None:
    shop.as_owner("ALTER TABLE orders ENABLE ROW LEVEL SECURITY", "ALTER TABLE orders FORCE ROW LEVEL SECURITY")
    step = await bench.step(backup(store))
    assert step.outcome is Outcome.FAILED
    assert step.message.endswith("use a user with BYPASSRLS, or rows would be missing")
    assert store.snapshots() == []


@pytest.mark.usefixtures("shop")
async def test_a_dump_that_was_cut_off_is_not_whole(bench: Bench) -> None:
    # given a whole dump
    with dumper(bench.context(), "db", newest()) as source:
        await source.dump()
        assert (await source.verify(encoding="UTF8")).tables == 2
        # when the largest of its files loses its last byte
        largest = max((bench.scratch / DIRECTORY).rglob("*.dat"), key=lambda path: path.stat().st_size)
        os.truncate(largest, largest.stat().st_size - 1)
        # then it is refused
        with pytest.raises(ActionError, match="1 of 2 tables are cut off or missing"):
            await source.verify(encoding="UTF8")
        largest.unlink()
        with pytest.raises(ActionError, match="1 of 2 tables are cut off or missing"):
            await source.verify(encoding="UTF8")


@pytest.mark.usefixtures("shop")
async def test_a_full_scratch_volume_is_named(bench: Bench, store: Store) -> None:
    # given a scratch volume of one MiB
    with bench.small_scratch():
        step = await bench.step(backup(store))
    assert step.outcome is Outcome.FAILED
    assert step.message.endswith("the scratch volume is full: raise scratchSize")
    assert store.snapshots() == []


@pytest.mark.usefixtures("shop")
async def test_the_wrong_password_of_the_repository_points_to_its_secret(bench: Bench, store: Store) -> None:
    await bench.step(backup(store))
    bench.secret("repository", password="another-password")  # noqa: S106 - the point of this test
    step = await bench.step(backup(store))
    assert step.outcome is Outcome.FAILED
    assert "wrong password (or a damaged key file): check the Secret 'repository-secret'" in step.message


@pytest.mark.usefixtures("shop")
async def test_a_missing_secret_of_the_repository_is_named(bench: Bench, store: Store) -> None:
    shutil.rmtree(bench.credentials / "repository")
    step = await bench.step(backup(store))
    assert step.message == "Secret 'repository-secret' of the repository does not exist in this namespace: create it"


@pytest.mark.usefixtures("shop")
async def test_no_new_repository_is_made_over_the_remains_of_one(bench: Bench, store: Store) -> None:
    await bench.step(backup(store))
    (store.path / "config").unlink()
    step = await bench.step(backup(store))
    assert step.outcome is Outcome.FAILED
    assert "has data, index, keys, snapshots but no config: it is damaged" in step.message
    assert not (store.path / "config").exists()


async def test_a_database_that_is_down_is_named(shop: Database, bench: Bench, store: Store) -> None:
    bench.connections.clear()
    bench.connect_postgres(shop.server, database=shop.name, port=1)
    step = await bench.step(backup(store))
    assert step.message.startswith("cannot connect to PostgreSQL 127.0.0.1:1: Connection refused: ")


async def test_an_encrypted_connection_is_used_for_the_dump_too(shop: Database, bench: Bench, store: Store) -> None:
    bench.connections.clear()
    bench.connect_postgres(shop.server, database=shop.name, sslMode="verify-full")
    bench.secret("db", ca_crt=shop.server.authority.read_text())
    step = await bench.step(backup(store))
    assert step.outcome is Outcome.CHANGED, step.message


async def test_a_password_with_every_special_character_works(shop: Database, bench: Bench, store: Store) -> None:
    shop.execute(r"""CREATE ROLE odd LOGIN SUPERUSER PASSWORD 'a:b\c''d e"f$g'""")
    try:
        bench.secret("db", username="odd", password=r"""a:b\c'd e"f$g""" + "\n")
        step = await bench.step(backup(store))
    finally:
        shop.execute("DROP ROLE odd")
    assert step.outcome is Outcome.CHANGED, step.message


async def test_a_file_that_cannot_be_read_makes_the_backup_a_failure(bench: Bench, store: Store) -> None:
    # given a directory with a file whose reading fails
    files = bench.scratch / "files"
    files.mkdir()
    (files / "good").write_text("good")
    with bench.unreadable(files / "bad"):
        restic = Restic.of(backup(store).repository, bench.context())
        await restic.ensure()
        # when it is backed up, then restic's partial success is a failure
        with pytest.raises(ActionError, match="only a part was backed up: "):
            await restic.backup("files", host="shop/shop-db", tags=[])


async def test_a_cancelled_upload_leaves_the_repository_unlocked(bench: Bench, store: Store) -> None:
    # given an upload in the middle of its work
    files = bench.scratch / "files"
    files.mkdir()
    (files / "big").write_bytes(os.urandom(100 * 1024 * 1024))
    restic = Restic.of(backup(store).repository, bench.context())
    await restic.ensure()
    upload = asyncio.create_task(restic.backup("files", host="shop/shop-db", tags=[]))
    await eventually(store.locked)
    # when it is cancelled
    upload.cancel()
    with pytest.raises(asyncio.CancelledError):
        await upload
    # then there is no snapshot and no lock
    assert not store.locked()
    assert store.snapshots() == []


async def test_a_cancelled_backup_leaves_nothing_behind(shop: Database, bench: Bench, store: Store) -> None:
    # given a dump that waits for a lock
    with shop.session() as other, other.transaction():
        other.execute("LOCK TABLE orders IN ACCESS EXCLUSIVE MODE")
        run = asyncio.create_task(bench.report(backup(store)))
        await eventually(lambda: _waiting(shop))
        # when it is cancelled
        run.cancel()
        report = await run
        # then pg_dump is gone from the server, and the fixture finds neither dump nor password file
        assert report.outcome is Outcome.FAILED
        await eventually(lambda: not _waiting(shop))
    assert store.snapshots() == []


def _waiting(database: Database) -> bool:
    query = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE 'LOCK TABLE%'"
    return bool(database.value(query))
