"""A restore replaces a database only by one that is proven, and leaves it as it is in every other case."""

import asyncio
import os
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import psycopg
import pytest
from psycopg import sql

from integration.bench import Bench, eventually
from integration.postgres import Database, Postgres
from integration.resticstore import Store
from upkeep.actions.backup.dump import DIRECTORY
from upkeep.actions.backup.origin import Origin
from upkeep.actions.backup.postgres import BackupPostgres
from upkeep.actions.backup.replacement import Replacement
from upkeep.actions.backup.restore import BackupRestore
from upkeep.actions.connections import SecretReference
from upkeep.actions.contract import Outcome, Severity

if TYPE_CHECKING:
    from upkeep.actions.postgres.session import Session

POLICY: Final = "shop/shop-db"
SECRET: Final = SecretReference(name="repository-secret")


@pytest.fixture
def shop(database: Database, bench: Bench) -> Iterator[Database]:
    """A database with two tables, whose owner may make databases; what restores have left of it goes afterwards."""
    database.as_owner(
        "CREATE TABLE orders AS SELECT g AS id, md5(g::text) AS note FROM generate_series(1, 20000) g",
        "CREATE TABLE users AS SELECT 'Ada' AS name",
        "ALTER TABLE orders ADD PRIMARY KEY (id)",
    )
    database.server.execute("ALTER ROLE upkeep CREATEDB")
    bench.connect_postgres(database.server, database=database.name)
    yield database
    database.server.execute("ALTER ROLE upkeep NOCREATEDB")
    for name in databases(database.server) - {"postgres", "template0", "template1", database.name}:
        drop(database.server, name)


def databases(server: Postgres) -> set[str]:
    with server.connect() as connection:
        return {row[0] for row in connection.execute("SELECT datname FROM pg_database").fetchall()}


def drop(server: Postgres, name: str) -> None:
    with server.connect() as connection:
        connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))


def restore(**changes: object) -> BackupRestore:
    return BackupRestore.model_validate({"connection": "db", "policy": "shop-db", **changes})


async def backup(bench: Bench, store: Store, *, policy: str = POLICY) -> str:
    """Back the database up; returns the id of the snapshot."""
    declared = {
        "connection": "db",
        "repository": {"path": str(store.path), "passwordSecretRef": SECRET},
        "policy": policy,
        "schedule": "daily",
    }
    step = await bench.step(BackupPostgres.model_validate(declared))
    assert step.outcome is Outcome.CHANGED, step.message
    return step.message.removeprefix("snapshot ").partition(",")[0]


@pytest.fixture
def policy(bench: Bench, store: Store) -> Bench:
    """The bench, of which the operator has looked the policy up."""
    repository = {"path": str(store.path), "password_secret_ref": SECRET}
    origin = {"policy": "shop-db", "owner": POLICY, "repository": repository, "credentials": ""}
    bench.origins.append(Origin.model_validate(origin))
    return bench


def count(server: Postgres, database: str, table: str = "orders") -> int:
    found: int = Database(server=server, name=database).value(
        sql.SQL("SELECT count(*) FROM public.{}").format(sql.Identifier(table)).as_string()
    )
    return found


async def test_a_database_that_is_not_there_is_created(shop: Database, policy: Bench, store: Store) -> None:
    snapshot = await backup(policy, store)
    # when it is restored under another name
    step = await policy.step(
        restore(
            database='new "; DROP ürün', queries=[{"name": "o", "query": "SELECT 1 FROM public.orders", "equals": "1"}]
        )
    )
    # then all is there, what was measured is told, and the old one is as it was
    assert step.outcome is Outcome.CHANGED, step.message
    assert step.message.startswith(f"snapshot {snapshot} of ")
    assert "2 tables with 20001 rows as dumped, 1 query as expected" in step.message
    assert count(shop.server, 'new "; DROP ürün') == 20000
    assert count(shop.server, shop.name) == 20000
    assert 0 < step.metrics["load_seconds"] < step.metrics["restore_seconds"] < 60
    assert step.facts["snapshot"] == snapshot
    assert step.facts["kept"] == ""
    assert leftovers(shop) == {'new "; DROP ürün'}
    assert not store.locked()
    assert list(policy.scratch.glob("restored*")) == []


async def test_a_database_in_service_is_replaced_and_kept_aside(shop: Database, policy: Bench, store: Store) -> None:
    # given a backup, and a database that was changed since and is in use
    await backup(policy, store)
    shop.as_owner("DELETE FROM orders WHERE id > 10", "CREATE TABLE later ()")
    with shop.session(user="upkeep") as user:
        user.execute("SELECT 1")
        # when it is restored in place
        step = await policy.step(restore(confirm=shop.name))
        # then who used it has to connect again, and finds what was backed up
        with pytest.raises(psycopg.OperationalError):
            user.execute("SELECT 1")
    assert step.outcome is Outcome.CHANGED, step.message
    assert count(shop.server, shop.name) == 20000
    assert step.metrics["swap_seconds"] < 30
    # and the old one is there under a dated name
    (kept,) = leftovers(shop)
    assert kept.startswith(f"{shop.name}_before_{datetime.now(UTC):%Y%m}")
    assert step.facts["kept"] == kept
    assert count(shop.server, kept) == 10
    assert count(shop.server, kept, "later") == 0


async def test_the_old_one_goes_where_it_is_not_to_be_kept(shop: Database, policy: Bench, store: Store) -> None:
    await backup(policy, store)
    step = await policy.step(restore(confirm=shop.name, keepOld=False))
    assert step.outcome is Outcome.CHANGED, step.message
    assert leftovers(shop) == set()


async def test_what_belongs_to_the_database_itself_stays(shop: Database, policy: Bench, store: Store) -> None:
    # given a database with settings, privileges, a comment and a limit of its own
    name = sql.Identifier(shop.name)
    with shop.server.connect() as connection:
        for text in (
            "ALTER DATABASE {} SET search_path = \"$user\", public, 'odd; name'",
            "ALTER DATABASE {} SET work_mem = '7MB'",
            "ALTER ROLE reader IN DATABASE {} SET statement_timeout = '3s'",
            "ALTER DATABASE {} CONNECTION LIMIT 17",
            "REVOKE ALL ON DATABASE {} FROM PUBLIC",
            "GRANT CONNECT ON DATABASE {} TO reader WITH GRANT OPTION",
            "COMMENT ON DATABASE {} IS 'it''s ours'",
        ):
            connection.execute(sql.SQL(text).format(name))
    policy.connections.clear()
    policy.connect_postgres(shop.server, database=shop.name, user="postgres")
    await backup(policy, store)
    before = properties(shop)
    # when it is replaced by a superuser
    step = await policy.step(restore(confirm=shop.name, keepOld=False))
    # then the new one has all of it
    assert step.outcome is Outcome.CHANGED, step.message
    assert properties(shop) == before


async def test_what_a_user_may_not_carry_over_is_told(shop: Database, policy: Bench, store: Store) -> None:
    with shop.server.connect() as connection:
        connection.execute(sql.SQL("ALTER DATABASE {} SET log_statement = 'ddl'").format(sql.Identifier(shop.name)))
    await backup(policy, store)
    report = await policy.report(restore(confirm=shop.name))
    assert report.outcome is Outcome.CHANGED, report.message
    (found,) = report.findings
    assert (found.check_id, found.severity) == ("backup.restore.property", Severity.WARNING)
    assert "setting log_statement: permission denied" in found.recommendation


async def test_nothing_is_replaced_that_was_not_confirmed(shop: Database, policy: Bench, store: Store) -> None:
    await backup(policy, store)
    oid = identity(shop)
    for changes, complaint in (
        ({}, f"is not empty: to replace it set `confirm: {shop.name}`"),
        ({"confirm": "shop"}, "confirm names 'shop', but what is to be replaced is database"),
        ({"database": "template1", "confirm": "template1"}, "is a template"),
        ({"database": "a\nb"}, "cannot be the name of a database"),
        ({"database": "ü" * 40}, "cannot be the name of a database"),
    ):
        step = await policy.step(restore(**changes))
        assert step.outcome is Outcome.FAILED
        assert complaint in step.message
    assert identity(shop) == oid
    assert leftovers(shop) == set()


async def test_an_empty_database_needs_no_confirmation(shop: Database, policy: Bench, store: Store) -> None:
    await backup(policy, store)
    with shop.server.database("empty_one") as empty:
        step = await policy.step(restore(database=empty.name, keepOld=False))
        assert step.outcome is Outcome.CHANGED, step.message
        assert count(shop.server, empty.name) == 20000


async def test_a_snapshot_is_chosen_by_id_by_time_or_by_its_proof(shop: Database, policy: Bench, store: Store) -> None:
    # given two backups, of which the first was verified, and one of another policy in the same repository
    first = await backup(policy, store)
    shop.as_owner("DELETE FROM orders WHERE id > 5")
    moment = datetime.now(UTC).isoformat()
    await backup(policy, store)
    foreign = await backup(policy, store, policy="shop/other")
    origin = policy.origins[0].model_copy(update={"verified": first})
    policy.origins[:] = [origin]
    # when each way is taken
    expected: dict[str, tuple[dict[str, Any], int]] = {
        "latest": ({}, 5),
        "id": ({"snapshot": first}, 20000),
        "time": ({"before": moment}, 20000),
        "verified": ({"snapshot": "latestVerified"}, 20000),
    }
    for name, (changes, rows) in expected.items():
        step = await policy.step(restore(database=f"by_{name}", **changes))
        # then it is the one that was meant
        assert step.outcome is Outcome.CHANGED, step.message
        assert count(shop.server, f"by_{name}") == rows
    # and one that is not there, or belongs to another policy, is refused with those that are
    for changes in ({"snapshot": foreign}, {"snapshot": "0" * 8}, {"before": "2000-01-01T00:00:00Z"}):
        step = await policy.step(restore(database="nowhere", **changes))
        assert step.outcome is Outcome.FAILED
        assert "has no snapshot" in step.message
        assert first in step.message
    policy.origins[:] = [origin.model_copy(update={"verified": None})]
    step = await policy.step(restore(database="nowhere", snapshot="latestVerified"))
    assert "has passed a restore test yet" in step.message
    assert "nowhere" not in databases(shop.server)


@pytest.mark.parametrize(
    ("query", "complaint"),
    [
        ({"query": "SELECT count(*) FROM public.orders", "min": 20001}, "expected at least 20001, found '20000'"),
        ({"query": "DELETE FROM public.users", "equals": "1"}, "cannot execute DELETE in a read-only"),
    ],
)
async def test_what_does_not_answer_as_expected_does_not_take_over(
    query: dict[str, object], complaint: str, shop: Database, policy: Bench, store: Store
) -> None:
    await backup(policy, store)
    oid = identity(shop)
    report = await policy.report(restore(confirm=shop.name, queries=[{"name": "orders", **query}]))
    assert report.outcome is Outcome.FAILED
    assert complaint in report.message
    assert report.message.endswith("the database in service is as it was")
    assert report.counts.critical == 1
    assert identity(shop) == oid
    assert leftovers(shop) == set()


async def test_a_damaged_backup_does_not_take_over(shop: Database, policy: Bench, store: Store) -> None:
    # given a backup that lost rows, one that lost the end of a table, and a repository with a flipped bit
    whole = await backup(policy, store)
    oid = identity(shop)
    with store.rewritten(DIRECTORY) as directory:
        largest = max(directory.rglob("*.dat"), key=lambda path: path.stat().st_size)
        lines = largest.read_bytes().splitlines(keepends=True)
        largest.write_bytes(b"".join(lines[:100] + lines[110:]))
    fewer = await policy.report(restore(confirm=shop.name))
    with store.rewritten(DIRECTORY) as directory:
        largest = max(directory.rglob("*.dat"), key=lambda path: path.stat().st_size)
        os.truncate(largest, largest.stat().st_size // 2)
    truncated = await policy.report(restore(confirm=shop.name))
    victim = max((path for path in (store.path / "data").rglob("*") if path.is_file()), key=lambda p: p.stat().st_size)
    content = bytearray(victim.read_bytes())
    content[len(content) // 2] ^= 1
    victim.chmod(0o600)
    victim.write_bytes(content)
    flipped = await policy.report(restore(confirm=shop.name, snapshot=whole))
    # then each is found out, and nothing has changed
    assert "it has 19990 rows, but 20000 were dumped" in fewer.message
    assert "is incomplete: 1 of 2 tables are cut off or missing: choose an older snapshot" in truncated.message
    assert "is damaged" in flipped.message
    assert {report.outcome for report in (fewer, truncated, flipped)} == {Outcome.FAILED}
    assert {report.counts.critical for report in (fewer, truncated, flipped)} == {1}
    assert identity(shop) == oid
    assert leftovers(shop) == set()


async def test_who_may_not_is_told_what_is_missing(shop: Database, policy: Bench, store: Store) -> None:
    await backup(policy, store)
    # a user that may make no database
    shop.server.execute("ALTER ROLE upkeep NOCREATEDB")
    step = await policy.step(restore(database="elsewhere"))
    assert step.outcome is Outcome.FAILED
    assert "ALTER ROLE … CREATEDB" in step.message
    shop.server.execute("ALTER ROLE upkeep CREATEDB")
    # an owner that it may not act for
    shop.execute("ALTER TABLE users OWNER TO reader", "GRANT SELECT ON users TO upkeep")
    await backup(policy, store)
    step = await policy.step(restore(confirm=shop.name))
    assert step.outcome is Outcome.FAILED
    assert "or set owners: false; the database in service is as it was" in step.message
    step = await policy.step(restore(confirm=shop.name, owners=False, keepOld=False))
    assert step.outcome is Outcome.CHANGED, step.message
    # a session that it may not end
    oid = identity(shop)
    with shop.session():
        step = await policy.step(restore(confirm=shop.name, owners=False), seconds=300)
    assert step.outcome is Outcome.FAILED
    assert "is still used by sessions of postgres, whose sessions this user may not end" in step.message
    assert identity(shop) == oid
    assert leftovers(shop) == set()


async def test_a_role_that_is_missing_is_named(shop: Database, policy: Bench, store: Store) -> None:
    shop.server.execute("CREATE ROLE gone")
    shop.execute("GRANT SELECT ON users TO gone")
    await backup(policy, store)
    shop.execute("DROP OWNED BY gone", "DROP ROLE gone")
    step = await policy.step(restore(confirm=shop.name))
    assert step.outcome is Outcome.FAILED
    assert 'role "gone" does not exist: create it first' in step.message


async def test_two_restores_of_one_database_do_not_meet(shop: Database, policy: Bench, store: Store) -> None:
    await backup(policy, store)
    with shop.server.connect() as other:
        other.execute("SELECT pg_advisory_lock(hashtextextended(%s, 0))", [f"upkeep.dev/restore {shop.name}"])
        step = await policy.step(restore(confirm=shop.name))
    assert step.outcome is Outcome.FAILED
    assert "is under way" in step.message


@pytest.mark.parametrize("stage", ["make", "take_over"])
async def test_killed_at_a_stage_the_old_one_stays_in_service_and_the_next_cleans_up(
    stage: str, shop: Database, policy: Bench, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given a restore that comes to an end at a stage without a chance to clean up
    await backup(policy, store)
    oid = identity(shop)

    async def killed(*_: object, **__: object) -> None:
        raise KeyError(stage)

    with monkeypatch.context() as patch:
        patch.setattr(Replacement, "clear", _unless_dirty(Replacement.clear))
        patch.setattr(Replacement, "_carry_over" if stage == "make" else "take_over", killed)
        step = await policy.step(restore(confirm=shop.name))
    assert step.outcome is Outcome.FAILED
    assert identity(shop) == oid
    assert [name for name in leftovers(shop) if name.startswith("upkeep_restore_")]
    # when the next one runs, then it removes what was left, and restores
    step = await policy.step(restore(confirm=shop.name, keepOld=False))
    assert step.outcome is Outcome.CHANGED, step.message
    assert leftovers(shop) == set()


async def test_stopped_while_it_loads_it_leaves_nothing(shop: Database, policy: Bench, store: Store) -> None:
    # given a restore that waits while it loads: an index takes as long as a function of it
    shop.execute(
        "CREATE FUNCTION slow(int) RETURNS int IMMUTABLE LANGUAGE plpgsql AS "
        "$$ BEGIN PERFORM pg_sleep(CASE WHEN current_database() LIKE 'upkeep%' THEN 60 ELSE 0 END); RETURN $1; END $$",
    )
    shop.execute("CREATE INDEX ON users (slow(1))")
    await backup(policy, store)
    oid = identity(shop)
    running = asyncio.create_task(policy.step(restore(confirm=shop.name, owners=False)))
    await eventually(lambda: [name for name in leftovers(shop) if name.startswith("upkeep_restore_")])
    await eventually(lambda: _sleeps(shop.server))
    # when it is told to stop
    running.cancel()
    step = await running
    # then the old database is in service, and nothing else is there
    assert step.outcome is Outcome.FAILED
    assert "stopped" in step.message
    assert identity(shop) == oid
    assert leftovers(shop) == set()


def _sleeps(server: Postgres) -> bool:
    with server.connect() as connection:
        query = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'"
        return bool((connection.execute(query).fetchone() or [0])[0])


def _unless_dirty(clear: Any) -> Any:  # noqa: ANN401 - a method
    """Cleaning up as long as there is nothing to clean up: what a process does that is killed later."""

    async def cleared(self: Replacement) -> None:
        opened: Session = self.opened
        found = await opened.connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", (self.beside,))
        if await found.fetchone() is None:
            await clear(self)

    return cleared


def leftovers(shop: Database) -> set[str]:
    return databases(shop.server) - {"postgres", "template0", "template1", shop.name}


def identity(shop: Database) -> int:
    found: int = shop.value("SELECT oid::int FROM pg_database WHERE datname = current_database()")
    return found


def properties(shop: Database) -> Any:  # noqa: ANN401 - a row
    return shop.value(
        "SELECT row(d.datacl, d.datconnlimit, d.datdba, d.datcollate, d.encoding,"
        " shobj_description(d.oid, 'pg_database'),"
        " (SELECT array_agg(row(s.setrole, s.setconfig)::text ORDER BY s.setrole) FROM pg_db_role_setting s"
        " WHERE s.setdatabase = d.oid))::text FROM pg_database d WHERE datname = current_database()"
    )
