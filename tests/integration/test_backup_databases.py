"""Several databases of a server are one backup: all that were chosen are in it and come back, or it has failed."""

import asyncio
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final

import pytest
from psycopg import sql

from integration.bench import Bench, eventually
from integration.postgres import Database
from integration.resticstore import Store
from integration.test_backup_restoretest import verify
from upkeep.actions.backup.dump import DIRECTORY
from upkeep.actions.backup.origin import Origin
from upkeep.actions.backup.postgres import BackupPostgres
from upkeep.actions.backup.restore import BackupRestore
from upkeep.actions.contract import Outcome, Severity

POLICY: Final = "shop/shop-db"
HOSTILE: Final = (
    'we"ird =x; DROP',
    "-leading",
    "host=evil dbname=postgres",
    "größe/../表",
    "..",
    "a%2Fb [*]",
    "tab\tand\nline",
    "l" * 63,
)


@pytest.fixture
def shop(database: Database, bench: Bench) -> Iterator[Database]:
    """A database with a table and the connection to it."""
    database.as_owner("CREATE TABLE orders AS SELECT g AS id FROM generate_series(1, 2000) g")
    bench.connect_postgres(database.server, database=database.name)
    yield database
    assert not list(bench.scratch.glob("*pass*")), "the password file was left behind"
    assert not (bench.scratch / DIRECTORY).exists(), "the dumps were left behind"


@contextmanager
def tenants(shop: Database, *names: str) -> Iterator[list[Database]]:
    """More databases of the server, each with a table of as many rows as it has in number."""
    with ExitStack() as stack:
        found = [stack.enter_context(shop.server.database(name)) for name in names]
        for number, tenant in enumerate(found, start=1):
            tenant.as_owner("CREATE TABLE things (id int)")
            for _ in range(number):
                tenant.as_owner("INSERT INTO things VALUES (1)")
        yield found


def backup(store: Store, *databases: str, **changes: object) -> BackupPostgres:
    declared = {"connection": "db", "repository": store.declared, "policy": POLICY, "schedule": "daily"}
    return BackupPostgres.model_validate({**declared, "databases": databases, **changes})


def things(number: int, **more: str) -> dict[str, Any]:
    return {"name": f"q{number}", "query": "SELECT count(*) FROM public.things", "equals": str(number), **more}


async def test_chosen_databases_are_one_backup_that_comes_back(
    shop: Database, bench: Bench, pod: Bench, store: Store
) -> None:
    # given databases of which some fit a pattern
    with tenants(shop, "tenant_a", "tenant_b", "other"):
        # when one is named and others are chosen by the pattern
        step = await bench.step(backup(store, shop.name, "tenant_*"))
        # then those are in the one snapshot, with the roles once
        assert step.outcome is Outcome.CHANGED, step.message
        assert ", 3 databases, 3 tables, " in step.message
        assert (step.metrics["databases"], step.metrics["tables"], step.metrics["rows"]) == (3, 3, 2003)
        (snapshot,) = store.snapshots()
        assert step.facts["snapshot"] == snapshot["short_id"]
        files = store.restic("ls", "latest").splitlines()
        assert sum(path.endswith("globals.sql") for path in files) == 1
        assert sum(path.endswith("record.json") for path in files) == 3
    # when it is tested, then each is asked where it is said, and that of the connection where it is not
    asked = [things(1, database="tenant_a"), things(2, database="tenant_b")]
    asked += [{"name": "orders", "query": "SELECT count(*) FROM public.orders", "equals": "2000"}]
    tested = await pod.step(verify(store, *asked, database=shop.name, jobs=2))
    assert tested.outcome is Outcome.OK, tested.message
    assert tested.message.endswith("3 databases, 3 tables with 2003 rows as they were dumped, 3 queries as expected")


async def test_hostile_names_are_only_names(shop: Database, bench: Bench, pod: Bench, store: Store) -> None:
    with tenants(shop, *HOSTILE):
        step = await bench.step(backup(store, "*", excludeDatabases=["shop_*"], jobs=2))
    assert step.outcome is Outcome.CHANGED, step.message
    assert "without roles" not in step.message
    asked = [things(number, database=name) for number, name in enumerate(HOSTILE, start=1)]
    tested = await pod.step(verify(store, *asked, jobs=2, full=True))
    assert tested.outcome is Outcome.OK, tested.message
    assert tested.metrics["databases"] == len(HOSTILE) + 1
    assert tested.metrics["tables"] == len(HOSTILE)


async def test_a_policy_can_change_between_one_and_several(
    shop: Database, bench: Bench, pod: Bench, store: Store
) -> None:
    orders = {"name": "orders", "query": "SELECT count(*) FROM public.orders", "equals": "2000"}
    for databases, said in (((), ""), ((shop.name, "postgres*"), "2 databases, "), ((), "")):
        # given a newest backup of one, or of several
        step = await bench.step(backup(store, *databases))
        assert step.outcome is Outcome.CHANGED, step.message
        # when it is tested, by a test that asks a database by its name
        tested = await pod.step(verify(store, {**orders, "database": shop.name}, database=shop.name, full=True))
        # then it came back
        assert tested.outcome is Outcome.OK, tested.message
        assert f", {said}1 table with 2000 rows as they were dumped, 1 checksum and all roles" in tested.message


async def test_every_database_is_each_one_that_people_use(shop: Database, bench: Bench, store: Store) -> None:
    # given a template of somebody's own, one that takes no connections, one that was dropped by half, and an empty one
    with tenants(shop, "copied", "shut", "halved") as (copied, shut, halved), shop.server.database("empty"):
        shop.server.execute(
            "ALTER DATABASE copied IS_TEMPLATE true",
            "ALTER DATABASE shut ALLOW_CONNECTIONS false",
            "UPDATE pg_database SET datconnlimit = -2 WHERE datname = 'halved'",
        )
        try:
            # when every database is chosen
            step = await bench.step(backup(store, "*"))
            # then it is those that are left
            assert step.outcome is Outcome.CHANGED, step.message
            assert _stored_databases(store) == {"postgres", "empty", shop.name}
            # and a template is there by its own name, while what nobody can reach is an error
            assert (await bench.step(backup(store, copied.name))).outcome is Outcome.CHANGED
            assert _stored_databases(store) == {"copied"}
            refused = await bench.step(backup(store, shut.name, halved.name))
            assert "nobody can connect to 'halved', 'shut' on PostgreSQL" in refused.message
        finally:
            shop.server.execute("ALTER DATABASE copied IS_TEMPLATE false", "ALTER DATABASE shut ALLOW_CONNECTIONS true")
    # when one is made, then it is in the next one
    with tenants(shop, "brand new"):
        await bench.step(backup(store, "*"))
    assert _stored_databases(store) == {"postgres", "brand new", shop.name}


@pytest.mark.parametrize(
    ("databases", "changes", "complaint"),
    [
        (["nowhere", "postgres"], {}, "there is no database 'nowhere' on PostgreSQL 127.0.0.1:"),
        (["nowhere_*", "postgres"], {}, "there is no database 'nowhere_*' on PostgreSQL 127.0.0.1:"),
        (["template*"], {}, "there is no database 'template*' on"),
        (["*" * 60 + "no"], {}, "there is no database '***"),
        (["shop_*"], {"excludeDatabases": ["s*"]}, "excludeDatabases leaves none of `databases` on PostgreSQL"),
        (["postgres"], {}, "the dump of postgres from PostgreSQL"),
        (["*"], {"excludeDatabases": ["shop_*"]}, "is empty: none of 1 database has tables"),
    ],
)
async def test_what_is_not_there_is_never_left_out_in_silence(
    databases: list[str], changes: dict[str, Any], complaint: str, shop: Database, bench: Bench, store: Store
) -> None:
    step = await bench.step(backup(store, *databases, **changes))
    assert step.outcome is Outcome.FAILED
    assert complaint in step.message
    if "there is no database" in complaint:
        assert f"only 'postgres', '{shop.name}', 'template0', 'template1': correct `databases`" in step.message
    assert not store.path.exists() or store.snapshots() == []


async def test_one_that_the_user_may_not_connect_to_is_named(shop: Database, bench: Bench, store: Store) -> None:
    # given a user with the least rights, and a database that keeps it out
    shop.execute("CREATE ROLE dumping LOGIN PASSWORD 'dumping' IN ROLE pg_read_all_data")
    bench.secret("db", username="dumping", password="dumping")  # noqa: S106 - of a role of this test
    try:
        with tenants(shop, "closed"):
            shop.server.execute("REVOKE CONNECT ON DATABASE closed FROM PUBLIC")
            # when all are backed up
            step = await bench.step(backup(store, "*"))
            # then nothing is, until it is left out
            assert step.outcome is Outcome.FAILED
            assert "the user of the connection may not connect to 'closed' on PostgreSQL 127.0.0.1:" in step.message
            assert not store.path.exists()
            left = await bench.step(backup(store, "*", excludeDatabases=["closed"]))
            assert left.outcome is Outcome.CHANGED, left.message
    finally:
        shop.execute("DROP ROLE dumping")


async def test_one_that_has_gone_meanwhile_is_named(shop: Database, bench: Bench, store: Store) -> None:
    # given a backup that waits for a table of its first database
    with shop.server.database("zz_last") as last:
        last.as_owner("CREATE TABLE things ()")
        with shop.session() as other, other.transaction():
            other.execute("LOCK TABLE orders IN ACCESS EXCLUSIVE MODE")
            run = asyncio.create_task(bench.step(backup(store, shop.name, "zz_last")))
            await eventually(lambda: _waiting(shop))
            # when its second one is gone
            shop.server.execute("ALTER DATABASE zz_last RENAME TO zz_gone")
        try:
            step = await run
        finally:
            shop.server.execute("ALTER DATABASE zz_gone RENAME TO zz_last")
    # then it has failed, and says so
    assert step.outcome is Outcome.FAILED
    assert step.message.startswith("pg_dump of zz_last from PostgreSQL 127.0.0.1:")
    assert step.message.endswith("does not exist: it was dropped meanwhile: run the backup again")
    assert store.snapshots() == []


async def test_a_name_that_is_no_text_is_said(shop: Database, bench: Bench, store: Store) -> None:
    shop.server.execute("CREATE DATABASE latin OWNER upkeep TEMPLATE template0 ENCODING 'LATIN1' LOCALE 'C'")
    try:
        shop.server.execute("CREATE DATABASE größe", database="latin")
        try:
            step = await bench.step(backup(store, "*"))
        finally:
            shop.server.execute("DROP DATABASE größe", database="latin")
    finally:
        shop.server.execute("DROP DATABASE latin")
    assert step.outcome is Outcome.FAILED
    assert "has a name that is not UTF-8 (b'gr\\xf6\\xdfe'): rename it" in step.message


async def test_more_jobs_are_more_connections_and_the_same_dump(shop: Database, bench: Bench, store: Store) -> None:
    # given more tables than jobs, and how many sessions a backup opens
    shop.as_owner(*[f"CREATE TABLE t{number} AS SELECT 1 AS id" for number in range(8)])
    first = await _sessions(shop, bench, backup(store))
    # when three tables are dumped at a time
    more = await _sessions(shop, bench, backup(store, jobs=3))
    # then there are three connections more, and nothing that the repository did not have
    assert more == first + 3
    newest, oldest = sorted(store.snapshots(), key=lambda each: str(each["time"]), reverse=True)
    changed = store.restic("diff", str(oldest["id"]), str(newest["id"]))
    assert ".dat" in changed
    assert [line for line in changed.splitlines() if line.endswith(".dat")] == [
        line for line in changed.splitlines() if line.endswith("toc.dat")
    ]


async def test_too_few_connections_for_the_jobs_are_said(shop: Database, bench: Bench, store: Store) -> None:
    shop.execute("ALTER ROLE upkeep CONNECTION LIMIT 2")
    try:
        step = await bench.step(backup(store, jobs=4))
    finally:
        shop.execute("ALTER ROLE upkeep CONNECTION LIMIT -1")
    assert step.outcome is Outcome.FAILED
    assert step.message.endswith("set fewer jobs, or raise the limit of connections")
    assert store.snapshots() == []


async def test_a_cancelled_backup_of_several_leaves_nothing_behind(shop: Database, bench: Bench, store: Store) -> None:
    with shop.session() as other, other.transaction():
        other.execute("LOCK TABLE orders IN ACCESS EXCLUSIVE MODE")
        run = asyncio.create_task(bench.report(backup(store, "*", jobs=2)))
        await eventually(lambda: _waiting(shop))
        run.cancel()
        report = await run
        assert report.outcome is Outcome.FAILED
        await eventually(lambda: not _waiting(shop))
    assert store.snapshots() == []


@pytest.mark.usefixtures("shop")
async def test_sizes_are_of_all_together(shop: Database, bench: Bench, store: Store) -> None:
    with tenants(shop, "tenant_a") as (tenant,):
        first = await bench.step(backup(store, shop.name, "tenant_a"))
        size = int(first.metrics["bytes"])
        tenant.execute("DROP TABLE things")
        tenant.as_owner("CREATE TABLE things ()")
        shop.as_owner("DELETE FROM orders")
        previous = {"snapshot": first.facts["snapshot"], "bytes": size * 20}
        report = await bench.report(backup(store, shop.name, "tenant_a", previous=previous))
    assert report.outcome is Outcome.FAILED
    (found,) = report.findings
    assert found.check_id == "backup.sanity"
    assert found.object.startswith("127.0.0.1:")


async def test_what_is_lost_of_one_database_is_found(shop: Database, bench: Bench, pod: Bench, store: Store) -> None:
    with tenants(shop, "tenant_a", "tenant_b"):
        await bench.step(backup(store, "tenant_*"))
    # given a row of one that was lost on the way
    with store.rewritten(DIRECTORY) as directory:
        rows = next((directory / "databases" / "tenant_b").rglob("[0-9]*.dat"))
        rows.write_bytes(rows.read_bytes().removeprefix(b"1\n"))
    report = await pod.report(verify(store))
    assert [(found.check_id, found.object) for found in report.findings] == [
        ("backup.restore.rows", "tenant_b: public things upkeep")
    ]
    # given one that was lost as a whole
    with store.rewritten(DIRECTORY) as directory:
        shutil.rmtree(directory / "databases" / "tenant_b")
    report = await pod.report(verify(store))
    assert "the dump of 'tenant_b' is missing from the backup: make a new backup at once" in report.message
    assert [found.check_id for found in report.findings] == ["backup.restore"]
    # given one that stands in the place of another
    with store.rewritten(DIRECTORY) as directory:
        shutil.copytree(directory / "databases" / "tenant_a", directory / "databases" / "tenant_b")
    report = await pod.report(verify(store))
    assert "the dump of 'tenant_b' is one of 'tenant_a'" in report.message
    # given a list that nobody can read
    with store.rewritten(DIRECTORY) as directory:
        (directory / "databases.json").write_text("[]")
    report = await pod.report(verify(store))
    assert "no databases.json that can be read" in report.message


async def test_a_query_is_never_asked_of_another_database(
    shop: Database, bench: Bench, pod: Bench, store: Store
) -> None:
    with tenants(shop, "tenant_a", "tenant_b"):
        await bench.step(backup(store, "tenant_*"))
    report = await pod.report(verify(store, things(1), things(2, database="tenant_c"), database=shop.name))
    assert report.outcome is Outcome.FAILED
    assert {(found.check_id, found.severity) for found in report.findings} == {
        ("backup.restore.query", Severity.CRITICAL)
    }
    first, second = sorted(found.recommendation for found in report.findings)
    assert f"the backup has no database '{shop.name}', only 'tenant_a', 'tenant_b'" in first
    assert "the backup has no database 'tenant_c', only 'tenant_a', 'tenant_b'" in second


async def test_one_changed_letter_in_one_of_all_is_found(
    shop: Database, bench: Bench, pod: Bench, store: Store
) -> None:
    # given a role with settings in a database of the backup, and in one that is in no backup
    with tenants(shop, "tenant_a", "tenant_b"):
        shop.server.execute(
            "ALTER ROLE reader IN DATABASE tenant_a SET work_mem = '5MB'",
            "ALTER ROLE reader IN DATABASE postgres SET work_mem = '6MB'",
        )
        try:
            await bench.step(backup(store, "tenant_*"))
        finally:
            shop.server.execute("ALTER ROLE reader IN DATABASE postgres RESET ALL")
    whole = await pod.step(verify(store, full=True))
    assert whole.outcome is Outcome.OK, whole.message
    # when a row is another
    with store.rewritten(DIRECTORY) as directory:
        rows = next((directory / "databases" / "tenant_a").rglob("[0-9]*.dat"))
        rows.write_bytes(rows.read_bytes().replace(b"1\n", b"2\n"))
    # then that one is found
    report = await pod.report(verify(store, full=True))
    assert [(found.check_id, found.object) for found in report.findings] == [
        ("backup.restore.content", "tenant_a: public things upkeep")
    ]


async def test_one_of_several_is_restored_into_service(shop: Database, bench: Bench, store: Store) -> None:
    declared = {"path": str(store.path), "password_secret_ref": {"name": "repository-secret"}}
    bench.origins.append(
        Origin.model_validate({"policy": "shop-db", "owner": POLICY, "repository": declared, "credentials": ""})
    )
    shop.server.execute("ALTER ROLE upkeep CREATEDB")
    try:
        with tenants(shop, "tenant_a", "tenant_b") as (_, second):
            await bench.step(backup(store, "tenant_*"))
            second.as_owner("DELETE FROM things")
            # when nobody says which one, then nothing is touched
            unsaid = await bench.step(restore(database="tenant_new"))
            assert unsaid.outcome is Outcome.FAILED
            assert "has several databases: 'tenant_a', 'tenant_b': say in sourceDatabase which one" in unsaid.message
            absent = await bench.step(restore(database="tenant_new", sourceDatabase="tenant_c"))
            assert "has no database 'tenant_c', only 'tenant_a', 'tenant_b': say in" in absent.message
            assert "tenant_new" not in _databases(shop)
            # when it is restored in place, then it is the one of that name
            step = await bench.step(restore(database="tenant_b", confirm="tenant_b", keepOld=False))
            assert step.outcome is Outcome.CHANGED, step.message
            assert second.value("SELECT count(*) FROM things") == 2
            # when another is named, then it is that one
            step = await bench.step(restore(database="tenant_new", sourceDatabase="tenant_a"))
            assert step.outcome is Outcome.CHANGED, step.message
            assert Database(server=shop.server, name="tenant_new").value("SELECT count(*) FROM things") == 1
    finally:
        shop.server.execute("ALTER ROLE upkeep NOCREATEDB", "DROP DATABASE IF EXISTS tenant_new WITH (FORCE)")


def restore(**changes: object) -> BackupRestore:
    return BackupRestore.model_validate({"connection": "db", "policy": "shop-db", **changes})


def _stored_databases(store: Store) -> set[str]:
    with tempfile.TemporaryDirectory() as name:
        store.restic("restore", "latest", "--target", name)
        return {path.name.replace("%20", " ") for path in (Path(name) / DIRECTORY / "databases").iterdir()}


async def _sessions(shop: Database, bench: Bench, action: BackupPostgres) -> int:
    """How many sessions at the database a backup has opened."""
    with shop.server.connect() as connection:
        counting = sql.SQL("SELECT sessions FROM pg_stat_database WHERE datname = {}").format(sql.Literal(shop.name))
        count = counting.as_string()
        before = connection.execute(count).fetchone()
        step = await bench.step(action)
        assert step.outcome is Outcome.CHANGED, step.message
        after = connection.execute(count).fetchone()
    assert before
    assert after
    return int(after[0] - before[0])


def _databases(shop: Database) -> set[str]:
    with shop.server.connect() as connection:
        return {row[0] for row in connection.execute("SELECT datname FROM pg_database").fetchall()}


def _waiting(database: Database) -> bool:
    query = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE 'LOCK TABLE%'"
    return bool(database.value(query))
