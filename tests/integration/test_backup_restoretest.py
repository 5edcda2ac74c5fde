"""A backup is verified when all of it came back from the repository, and not otherwise."""

import os
from typing import Any, Final

import pytest

from integration.bench import Bench
from integration.postgres import Database
from integration.resticstore import Store
from upkeep.actions.backup.dump import DIRECTORY
from upkeep.actions.backup.postgres import BackupPostgres
from upkeep.actions.backup.restoretest import BackupRestoreTest
from upkeep.actions.contract import Outcome, Severity

POLICY: Final = "shop/shop-db"
ORDERS: Final = {"name": "orders", "query": "SELECT count(*) FROM public.orders", "min": 20000}


@pytest.fixture
def shop(database: Database, bench: Bench) -> Database:
    """A database with two tables and the connection to it."""
    database.as_owner(
        "CREATE TABLE orders AS SELECT g AS id, now() - g * interval '1 minute' AS placed_at, "
        "md5(g::text) AS note FROM generate_series(1, 20000) g",
        """CREATE TABLE users AS SELECT E'Ada\nLovelace\\\\N' AS name""",
        "ALTER TABLE orders ADD PRIMARY KEY (id)",
    )
    bench.connect_postgres(database.server, database=database.name)
    return database


def backup(store: Store, **changes: object) -> BackupPostgres:
    declared = {"connection": "db", "repository": store.declared, "policy": POLICY, "schedule": "daily"}
    return BackupPostgres.model_validate({**declared, **changes})


def verify(store: Store, *queries: dict[str, Any], **changes: object) -> BackupRestoreTest:
    declared = {"repository": store.declared, "policy": POLICY, "queries": list(queries)}
    return BackupRestoreTest.model_validate({**declared, **changes})


async def test_a_backup_that_comes_back_whole_is_verified(
    shop: Database, bench: Bench, pod: Bench, store: Store
) -> None:
    # given two backups, the second of a grown table
    await bench.step(backup(store))
    shop.as_owner("INSERT INTO orders SELECT g, now(), '' FROM generate_series(20001, 20010) g")
    await bench.step(backup(store))
    newest = max(store.snapshots(), key=lambda snapshot: str(snapshot["time"]))
    # when the newest one is verified
    step = await pod.step(
        verify(
            store,
            {**ORDERS, "min": 20010},
            {"name": "users", "query": "SELECT name FROM public.users;", "equals": "Ada\nLovelace\\N"},
            {"name": "fresh", "query": "SELECT max(placed_at) FROM public.orders", "maxAge": "1h"},
        )
    )
    # then it came back as it was, and what was measured is told
    assert step.outcome is Outcome.OK, step.message
    assert step.message.startswith(f"snapshot {newest['short_id']} restored in ")
    assert step.message.endswith("2 tables with 20011 rows as they were dumped, 3 queries as expected")
    assert step.facts["snapshot"] == newest["short_id"]
    assert step.facts["snapshot_time"][:19] == newest["time"][:19]
    assert 0 < step.metrics["restore_seconds"] < 60
    assert 0 < step.metrics["age_seconds"] < 60
    assert not store.locked()


async def test_a_dropped_table_is_found_out_by_a_query(shop: Database, bench: Bench, pod: Bench, store: Store) -> None:
    shop.as_owner("DROP TABLE orders")
    await bench.step(backup(store))
    report = await pod.report(verify(store, ORDERS))
    assert report.outcome is Outcome.FAILED
    assert 'orders: it cannot be answered: relation "public.orders" does not exist' in report.message
    assert [(found.check_id, found.severity, found.object) for found in report.findings] == [
        ("backup.restore.query", Severity.CRITICAL, "orders")
    ]


WRONG: Final[dict[str, tuple[dict[str, Any], str]]] = {
    "too-few": ({**ORDERS, "min": 20001}, "expected at least 20001, found '20000'"),
    "no-number": ({"query": "SELECT name FROM public.users", "min": 1}, "expected a number of at least 1, found 'Ada"),
    "false": ({"query": "SELECT true", "equals": "f"}, "expected 'f', found 't'"),
    "no-row": ({"query": "SELECT 1 WHERE false", "equals": "1"}, "expected '1', found nothing"),
    "null": ({"query": "SELECT max(id) FROM public.orders WHERE false", "min": 0}, "at least 0, found nothing"),
    "nan": ({"query": "SELECT 'NaN'::numeric", "min": 1}, "expected at least 1, found 'NaN'"),
    "old": ({"query": "SELECT min(placed_at) FROM public.orders", "maxAge": "1h"}, "at most 1h before the backup"),
    "no-time": ({"query": "SELECT 'yesterday'", "maxAge": "1h"}, "expected a date or time, found 'yesterday'"),
    "two": (
        {"query": "SELECT 1; SELECT 2", "equals": "1"},
        "cannot insert multiple commands into a prep",
    ),
    "nothing": ({"query": "-- nothing", "equals": "1"}, "it returns no rows: it must be a SELECT"),
    "delete": (
        {"query": "DELETE FROM public.users", "equals": "1"},
        "cannot execute DELETE in a read-only",
    ),
    "file": (
        {"query": "SELECT pg_read_file('/etc/passwd')", "equals": "1"},
        "permission denied for function pg_read",
    ),
    "program": ({"query": "COPY public.users TO PROGRAM 'id'", "equals": "1"}, "must be superuser or have privileges"),
    "no-table": ({"query": "SELECT count(*) FROM users", "min": 1}, 'relation "users" does not exist'),
    "slow": ({"query": "SELECT pg_sleep(30)", "equals": ""}, "canceling statement due to statement timeout"),
    "percent": ({"query": "SELECT 100 % 7, '%s'", "equals": "1"}, "expected '1', found '2'"),
}


@pytest.mark.usefixtures("shop")
async def test_a_query_that_is_not_answered_as_expected_is_a_failure(bench: Bench, pod: Bench, store: Store) -> None:
    await bench.step(backup(store))
    queries = [{**query, "name": name} for name, (query, _) in WRONG.items()]
    step, context = verify(store, *queries, queryTimeout="1s"), pod.context()
    result = await step.run(context)
    assert result.outcome is Outcome.FAILED
    found = {finding.object: finding for finding in result.findings}
    assert set(found) == set(WRONG)
    assert {(finding.check_id, finding.severity) for finding in result.findings} == {
        ("backup.restore.query", Severity.CRITICAL)
    }
    for name, (_, complaint) in WRONG.items():
        assert complaint in found[name].recommendation


@pytest.mark.usefixtures("shop")
async def test_a_truncated_dump_is_not_verified(bench: Bench, pod: Bench, store: Store) -> None:
    # given a backup that lost the end of a table between dump and repository
    await bench.step(backup(store))
    with store.rewritten(DIRECTORY) as directory:
        largest = max(directory.rglob("*.dat"), key=lambda path: path.stat().st_size)
        os.truncate(largest, largest.stat().st_size // 2)
    # when it is verified
    report = await pod.report(verify(store, ORDERS))
    # then that is found out
    assert report.outcome is Outcome.FAILED
    assert "the dump of" in report.message
    assert "is incomplete: 1 of 2 tables are cut off or missing" in report.message
    assert report.counts.critical == 1


@pytest.mark.usefixtures("shop")
async def test_rows_that_are_lost_between_whole_lines_are_missed(bench: Bench, pod: Bench, store: Store) -> None:
    await bench.step(backup(store))
    with store.rewritten(DIRECTORY) as directory:
        largest = max(directory.rglob("*.dat"), key=lambda path: path.stat().st_size)
        lines = largest.read_bytes().splitlines(keepends=True)
        largest.write_bytes(b"".join(lines[:100] + lines[110:]))
    report = await pod.report(verify(store))
    assert report.outcome is Outcome.FAILED
    (found,) = report.findings
    assert (found.check_id, found.object) == ("backup.restore.rows", "public orders upkeep")
    assert (found.observed, found.threshold) == (19990, 20000)


@pytest.mark.parametrize("part", ["data", "index", "snapshots", "keys", "config"])
@pytest.mark.usefixtures("shop")
async def test_one_flipped_bit_in_the_repository_is_not_verified(
    part: str, bench: Bench, pod: Bench, store: Store
) -> None:
    # given a repository in which one bit of the largest file of one part has flipped
    await bench.step(backup(store))
    files = [path for path in (store.path / part, *(store.path / part).rglob("*")) if path.is_file()]
    victim = max(files, key=lambda path: path.stat().st_size)
    content = bytearray(victim.read_bytes())
    content[len(content) // 2] ^= 1
    victim.chmod(0o600)
    victim.write_bytes(content)
    # when it is verified
    report = await pod.report(verify(store, ORDERS))
    # then the run has failed; only a broken key may look like a wrong password
    assert report.outcome is Outcome.FAILED
    if part == "keys" and not report.findings:
        assert "wrong password (or a damaged key file)" in report.message
    else:
        assert f"repository {store.path} is damaged: " in report.message
        assert [(found.check_id, found.severity) for found in report.findings] == [
            ("backup.restore", Severity.CRITICAL)
        ]


@pytest.mark.usefixtures("shop")
async def test_a_dump_of_a_newer_server_is_refused(bench: Bench, pod: Bench, store: Store) -> None:
    await bench.step(backup(store))
    with store.rewritten(DIRECTORY) as directory:
        contents = next(directory.rglob("toc.dat"))
        contents.write_bytes(contents.read_bytes().replace(b"15.", b"99."))
    report = await pod.report(verify(store))
    assert report.outcome is Outcome.FAILED
    assert (
        "is of PostgreSQL 99 and cannot be restored here: this image has the programs of PostgreSQL 15, and 99 or newer"
        in report.message
    )
    assert report.findings == []


@pytest.mark.usefixtures("shop")
async def test_a_dump_in_a_newer_format_is_refused(bench: Bench, pod: Bench, store: Store) -> None:
    await bench.step(backup(store))
    with store.rewritten(DIRECTORY) as directory:
        contents = next(directory.rglob("toc.dat"))
        content = bytearray(contents.read_bytes())
        content[6] += 9
        contents.write_bytes(content)
    report = await pod.report(verify(store))
    assert "was written by a newer pg_dump than this image's pg_restore can read" in report.message


async def test_what_makes_restores_difficult_comes_back_too(
    shop: Database, bench: Bench, pod: Bench, store: Store
) -> None:
    # given roles with odd names, row-level security, partitions, generated data and an extension
    shop.execute(
        'CREATE ROLE "odd ""role"', 'GRANT SELECT ON orders TO "odd ""role"', "CREATE EXTENSION pgcrypto SCHEMA public"
    )
    shop.as_owner(
        'CREATE TABLE "Sp ace" (id int GENERATED ALWAYS AS IDENTITY, "größe" text)',
        """INSERT INTO "Sp ace" ("größe") VALUES ('ü'), (E'\\t\\\\'), (NULL)""",
        "CREATE TABLE parts (id int) PARTITION BY RANGE (id)",
        "CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM (0) TO (10)",
        "INSERT INTO parts VALUES (1), (2)",
        "CREATE TABLE nothing ()",
        "CREATE MATERIALIZED VIEW seen AS SELECT count(*) FROM orders",
    )
    try:
        shop.execute(
            'CREATE POLICY mine ON users TO "odd ""role" USING (false)', "ALTER TABLE users ENABLE ROW LEVEL SECURITY"
        )
        shop.execute("ALTER ROLE upkeep BYPASSRLS")
        first = await bench.step(backup(store))
        assert first.outcome is Outcome.CHANGED, first.message
        step = await pod.step(
            verify(
                store,
                {"name": "hidden", "query": "SELECT count(*) FROM public.users", "equals": "1"},
                {"name": "parts", "query": "SELECT count(*) FROM public.parts", "equals": "2"},
                {"name": "seen", "query": "SELECT * FROM public.seen", "equals": "20000"},
            )
        )
    finally:
        shop.execute("ALTER ROLE upkeep NOBYPASSRLS", 'DROP OWNED BY "odd ""role"', 'DROP ROLE "odd ""role"')
    # then all of it is verified
    assert step.outcome is Outcome.OK, step.message
    assert step.metrics["rows"] == 20006


async def test_a_backup_without_roles_is_restored_without_owners(
    shop: Database, bench: Bench, pod: Bench, store: Store
) -> None:
    shop.server.execute("REVOKE SELECT ON pg_catalog.pg_auth_members FROM PUBLIC", database=shop.name)
    await bench.step(backup(store))
    step = await pod.step(verify(store, ORDERS))
    assert step.outcome is Outcome.OK, step.message
    assert step.metrics["rows"] == 20001


async def test_an_encoding_that_is_not_unicode_comes_back(
    shop: Database, bench: Bench, pod: Bench, store: Store
) -> None:
    shop.server.execute("CREATE DATABASE latin OWNER upkeep TEMPLATE template0 ENCODING 'LATIN1' LOCALE 'C'")
    try:
        latin = Database(server=shop.server, name="latin")
        latin.as_owner("CREATE TABLE words AS SELECT 'größe' AS word")
        bench.connections.clear()
        bench.connect_postgres(shop.server, database="latin")
        await bench.step(backup(store))
        step = await pod.step(
            verify(store, {"name": "words", "query": "SELECT word FROM public.words", "equals": "größe"})
        )
    finally:
        shop.server.execute("DROP DATABASE latin")
    assert step.outcome is Outcome.OK, step.message


async def test_an_extension_that_the_image_lacks_leaves_it_unknown(
    shop: Database, bench: Bench, pod: Bench, store: Store
) -> None:
    shop.execute("CREATE EXTENSION pgcrypto SCHEMA public")
    await bench.step(backup(store))
    with store.rewritten(DIRECTORY) as directory:
        contents = next(directory.rglob("toc.dat"))
        contents.write_bytes(contents.read_bytes().replace(b"pgcrypto", b"nosuchex"))
    step = await pod.step(verify(store))
    assert step.outcome is Outcome.UNKNOWN
    assert "needs extensions that this image does not have: nosuchex: build an image with them" in step.message


@pytest.mark.usefixtures("shop")
async def test_another_policy_in_the_same_repository_proves_nothing(bench: Bench, pod: Bench, store: Store) -> None:
    await bench.step(backup(store, policy="shop/another"))
    step = await pod.step(verify(store))
    assert step.outcome is Outcome.UNKNOWN
    assert step.message.endswith("has no snapshot of shop/shop-db yet: make a backup first")


async def test_a_repository_that_is_not_there_is_named(pod: Bench, store: Store) -> None:
    step = await pod.step(verify(store))
    assert step.outcome is Outcome.FAILED
    assert step.message.endswith("there is no repository: the first backup makes it; check the volume and path")


@pytest.mark.usefixtures("shop")
async def test_a_snapshot_of_something_else_is_not_verified(bench: Bench, pod: Bench, store: Store) -> None:
    await bench.step(backup(store))
    with store.rewritten(DIRECTORY) as directory:
        next(directory.rglob("record.json")).unlink()
    step = await pod.step(verify(store))
    assert step.outcome is Outcome.FAILED
    assert "nobody knows what should be in it" in step.message


@pytest.mark.usefixtures("shop")
async def test_a_test_that_is_stopped_leaves_nothing_behind(bench: Bench, pod: Bench, store: Store) -> None:
    await bench.step(backup(store))
    report = await pod.report(
        verify(store, {"name": "long", "query": "SELECT pg_sleep(600)", "equals": ""}, queryTimeout="1h"), seconds=6
    )
    assert report.outcome is Outcome.FAILED
    assert "timed out after 6s" in report.message
