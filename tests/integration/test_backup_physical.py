"""A server's files are in the repository as a whole and of one moment, or the step has failed and says why."""

import asyncio
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import pytest
from psycopg import sql

from integration.bench import Bench, eventually
from integration.postgres import Database, Postgres, hand_over, running_postgres, running_standby
from integration.resticstore import Store
from upkeep.actions.backup.basebackup import DIRECTORY
from upkeep.actions.backup.physical import BackupPhysical
from upkeep.actions.backup.physicaltest import BackupPhysicalTest
from upkeep.actions.contract import Outcome, Severity

POLICY: Final = "shop/shop-db"
ORDERS: Final = {"name": "orders", "query": "SELECT count(*) FROM public.orders", "min": 20000}
TEMPLATE: Final = {"name": "here", "query": "SELECT pg_catalog.current_database()", "equals": "template1"}


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    with running_postgres() as server:
        server.execute("ALTER ROLE upkeep REPLICATION")
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
    assert not list(bench.scratch.glob("*pass*")), "the password file was left behind"
    assert not (bench.scratch / DIRECTORY).exists(), "the copy was left behind"


def backup(store: Store, **changes: object) -> BackupPhysical:
    declared = {"connection": "db", "repository": store.declared, "policy": POLICY, "schedule": "daily"}
    return BackupPhysical.model_validate({**declared, **changes})


def verify(store: Store, *queries: dict[str, Any]) -> BackupPhysicalTest:
    return BackupPhysicalTest.model_validate({"repository": store.declared, "policy": POLICY, "queries": list(queries)})


async def test_a_server_that_comes_back_whole_is_verified(
    shop: Database, bench: Bench, pod: Bench, store: Store
) -> None:
    made = await bench.step(backup(store))
    assert made.outcome is Outcome.CHANGED, made.message
    (snapshot,) = store.snapshots()
    assert sorted(snapshot["tags"]) == ["method=physical", "policy=shop/shop-db", "schedule=daily"]
    assert made.message.startswith(f"snapshot {snapshot['short_id']}, ")
    assert "the files of PostgreSQL 15" in made.message
    shop.as_owner("DROP TABLE orders")
    tested = await pod.step(verify(store, ORDERS, {**TEMPLATE, "database": "template1"}))
    assert tested.outcome is Outcome.OK, tested.message
    assert tested.message.startswith(f"snapshot {snapshot['short_id']} restored in ")
    assert "3 databases with " in tested.message
    assert tested.message.endswith(" read to the last row, 2 queries as expected")
    assert 0 < tested.metrics["restore_seconds"] < 60
    assert not store.locked()


@pytest.mark.usefixtures("shop")
async def test_a_flipped_bit_in_the_repository_is_not_verified(bench: Bench, pod: Bench, store: Store) -> None:
    await bench.step(backup(store))
    largest = max((store.path / "data").rglob("*"), key=lambda path: path.stat().st_size if path.is_file() else 0)
    _flip(largest)
    report = await pod.report(verify(store))
    assert report.outcome is Outcome.FAILED
    assert f"repository {store.path} is damaged: " in report.message
    assert [(found.check_id, found.severity) for found in report.findings] == [("backup.restore", Severity.CRITICAL)]


async def test_files_that_are_not_as_the_server_sent_them_are_not_verified(
    shop: Database, bench: Bench, pod: Bench, store: Store
) -> None:
    # given a backup
    await bench.step(backup(store))
    relation = str(shop.value("SELECT pg_relation_filepath('orders')"))
    harms: dict[str, Callable[[Path], None]] = {
        f"{relation!r} has another content": lambda data: _flip(data / relation),
        f"{relation!r} has 8192 bytes of ": lambda data: os.truncate(data / relation, 8192),
        "'global/pg_control' is missing": lambda data: (data / "global" / "pg_control").unlink(),
        "'global/added' does not belong to it": lambda data: (data / "global" / "added").touch(),
        "the manifest of the backup cannot be read": lambda data: _flip(data / "backup_manifest"),
        "the log in the base backup is not whole": lambda data: _flip(_segment(data), at=100),
    }
    for complaint, harm in harms.items():
        # when something of it is changed before it comes into the repository
        with store.rewritten(DIRECTORY) as directory:
            harm(directory / "data")
        report = await pod.report(verify(store))
        _forget_newest(store)
        # then it is found out
        assert report.outcome is Outcome.FAILED, complaint
        assert complaint in report.message
        assert report.counts.critical == 1


@pytest.mark.usefixtures("shop")
async def test_a_query_that_is_not_answered_as_expected_is_a_failure(bench: Bench, pod: Bench, store: Store) -> None:
    await bench.step(backup(store))
    writes = {"name": "writes", "query": "DELETE FROM public.orders", "equals": "1"}
    report = await pod.report(verify(store, {**ORDERS, "min": 20001}, writes, {**TEMPLATE, "database": "nowhere"}))
    assert report.outcome is Outcome.FAILED
    assert {finding.object for finding in report.findings} == {"orders", "writes", "here"}
    assert "expected at least 20001, found '20000'" in report.message


@pytest.mark.usefixtures("shop")
async def test_a_role_without_replication_is_told_what_it_lacks(bench: Bench, server: Postgres, store: Store) -> None:
    server.execute('CREATE ROLE "re""plica" LOGIN PASSWORD \'correct-horse-battery\'')
    bench.secret("db", username='re"plica')
    step = await bench.step(backup(store))
    server.execute('DROP ROLE "re""plica"')
    assert step.outcome is Outcome.FAILED
    assert step.message.endswith(': ALTER ROLE "re""plica" REPLICATION')
    assert store.snapshots() == []


@pytest.mark.usefixtures("shop")
async def test_a_server_that_lets_nobody_replicate_is_told_the_line(
    bench: Bench, server: Postgres, store: Store
) -> None:
    rules = server.directory / "data" / "pg_hba.conf"
    before = rules.read_text()
    try:
        rules.write_text("\n".join(line for line in before.splitlines() if "replication" not in line))
        server.execute("SELECT pg_reload_conf()")
        step = await bench.step(backup(store))
    finally:
        rules.write_text(before)
        server.execute("SELECT pg_reload_conf()")
    assert "no pg_hba.conf entry for replication connection" in step.message
    assert 'add the line `host replication "upkeep" all scram-sha-256` to its pg_hba.conf' in step.message
    assert store.snapshots() == []


async def test_an_empty_or_shrunken_server_is_no_backup(shop: Database, bench: Bench, store: Store) -> None:
    shrunken = await bench.step(backup(store, previous={"snapshot": "5d3fdd52", "bytes": 10**10}))
    small = await bench.step(backup(store, sanity={"minSize": "1Gi"}))
    shop.as_owner("DROP TABLE orders")
    empty = await bench.step(backup(store))
    assert {step.outcome for step in (shrunken, small, empty)} == {Outcome.FAILED}
    assert "the last good backup (5d3fdd52) had 9.3 GiB" in shrunken.message
    assert "sanity.minSize is 1Gi" in small.message
    assert "has no tables: an empty backup is not made" in empty.message
    assert store.snapshots() == []


@pytest.mark.parametrize("name", ['we"ird =x', "-leading", "host=evil dbname=postgres", "größe 表", "n" * 63])
async def test_a_hostile_database_name_is_only_a_name(
    name: str, bench: Bench, pod: Bench, server: Postgres, store: Store
) -> None:
    with server.database(name) as hostile:
        hostile.as_owner("CREATE TABLE only_here AS SELECT 1 AS id")
        bench.connect_postgres(server, database=name)
        made = await bench.step(backup(store))
        assert made.outcome is Outcome.CHANGED, made.message
    query = {"name": "here", "query": "SELECT count(*) FROM public.only_here", "equals": "1"}
    tested = await pod.step(verify(store, query))
    assert tested.outcome is Outcome.OK, tested.message


async def test_what_makes_a_start_difficult_comes_back_too(
    shop: Database, bench: Bench, pod: Bench, server: Postgres, store: Store
) -> None:
    # given a tablespace with an odd place, a prepared transaction, a locale and a setting that the image cannot have
    place = server.directory / "odd = place"
    place.mkdir()
    hand_over(place)
    with server.connect() as connection:
        connection.execute(sql.SQL("CREATE TABLESPACE odd LOCATION {}").format(str(place)))
    with server.database("german") as german:
        german.execute("CREATE TABLE words AS SELECT 'größe' AS word")
        server.execute(
            "UPDATE pg_database SET datcollate = 'de_DE.utf8', datctype = 'de_DE.utf8' WHERE datname = 'german'",
            "ALTER SYSTEM SET archive_command = 'false'",
            "ALTER SYSTEM SET shared_preload_libraries = 'no_such_library'",
            "ALTER SYSTEM SET listen_addresses = '*'",
        )
        shop.execute("CREATE TABLE elsewhere TABLESPACE odd AS SELECT generate_series(1, 1000) AS id")
        with shop.session() as other:
            other.execute("BEGIN")
            other.execute("LOCK TABLE orders IN ACCESS EXCLUSIVE MODE")
            other.execute("PREPARE TRANSACTION 'it''s half done'")
        made = await bench.step(backup(store))
        shop.execute("ROLLBACK PREPARED 'it''s half done'", "DROP TABLE elsewhere")
    server.execute("DROP TABLESPACE odd", "ALTER SYSTEM RESET ALL")
    assert made.outcome is Outcome.CHANGED, made.message
    # when it is verified
    elsewhere = {"name": "elsewhere", "query": "SELECT count(*) FROM public.elsewhere", "equals": "1000"}
    tested = await pod.step(verify(store, ORDERS, elsewhere))
    # then all of it is there
    assert tested.outcome is Outcome.OK, tested.message
    assert "4 databases with " in tested.message


async def test_a_standby_can_be_backed_up(
    shop: Database, bench: Bench, pod: Bench, server: Postgres, store: Store
) -> None:
    with running_standby(server) as standby:
        bench.connections.clear()
        bench.connect_postgres(standby, database=shop.name)
        made = await bench.step(backup(store))
    assert made.outcome is Outcome.CHANGED, made.message
    tested = await pod.step(verify(store, ORDERS))
    assert tested.outcome is Outcome.OK, tested.message


@pytest.mark.usefixtures("shop")
async def test_a_full_scratch_volume_is_named(bench: Bench, store: Store) -> None:
    with bench.small_scratch():
        step = await bench.step(backup(store))
    assert step.outcome is Outcome.FAILED
    assert step.message.endswith("the scratch volume is full: raise scratchSize")
    assert store.snapshots() == []


@pytest.mark.usefixtures("shop")
async def test_a_cancelled_backup_leaves_nothing_behind(bench: Bench, server: Postgres, store: Store) -> None:
    # given a copy that waits for a checkpoint that is slow, because another backup has begun it
    copying = "SELECT count(*) FROM pg_stat_replication"
    run = asyncio.create_task(bench.report(backup(store)))
    await eventually(lambda: Database(server=server, name="postgres").value(copying))
    # when it is cancelled
    run.cancel()
    report = await run
    # then nobody copies any more, and the fixture finds neither copy nor password file
    assert report.outcome is Outcome.FAILED
    await eventually(lambda: not Database(server=server, name="postgres").value(copying))
    assert store.snapshots() == []


@pytest.mark.usefixtures("shop")
async def test_a_dump_is_not_taken_for_the_files_of_a_server(bench: Bench, pod: Bench, store: Store) -> None:
    await bench.step(backup(store))
    with store.rewritten(DIRECTORY):
        pass
    store.restic("tag", "--remove", "method=physical", "latest")
    step = await pod.step(verify(store))
    assert step.outcome is Outcome.FAILED
    assert "is a dump, made before the source was given method: Physical: make a backup first" in step.message


def _flip(file: Path, *, at: int | None = None) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2 if at is None else at] ^= 1
    file.chmod(0o600)
    file.write_bytes(content)


def _segment(data: Path) -> Path:
    """The only file of its log."""
    (segment,) = (path for path in (data / "pg_wal").iterdir() if path.is_file())
    return segment


def _forget_newest(store: Store) -> None:
    store.restic("forget", "latest")
