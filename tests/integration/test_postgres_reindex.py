"""Indexes are rebuilt while others work, what was left is repaired, and nothing else is dropped."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import psycopg
import pytest

from integration.bench import Bench, eventually
from integration.postgres import Database, Postgres
from upkeep.actions.contract import Outcome
from upkeep.actions.postgres.reindex import PostgresReindex

_REBUILDING: Final = "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query LIKE 'REINDEX %'"
_HOSTILE = ('"; DROP TABLE orders; --', "-index", "größe 表", "%s")


def make(database: Database) -> None:
    database.as_owner(
        "CREATE TABLE orders (id int PRIMARY KEY, note text)",
        "INSERT INTO orders SELECT g, 'note ' || g FROM generate_series(1, 100) g",
        "CREATE INDEX by_note ON orders (lower(note)) WHERE id > 5",
    )


def files(database: Database) -> dict[str, int]:
    query = "SELECT relname, relfilenode FROM pg_class WHERE relkind = 'i' AND relnamespace = 'public'::regnamespace"
    with database.session() as connection:
        return dict(connection.execute(query).fetchall())


def invalid(database: Database) -> set[str]:
    query = "SELECT c.relname FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid WHERE NOT i.indisvalid"
    with database.session() as connection:
        return {row[0] for row in connection.execute(query).fetchall()}


@contextmanager
def a_transaction_that_uses(database: Database, table: str) -> Iterator[None]:
    with database.session() as other, other.transaction():
        other.execute(psycopg.sql.SQL("LOCK TABLE {} IN ROW EXCLUSIVE MODE").format(psycopg.sql.Identifier(table)))
        yield


def interrupt_a_rebuild(database: Database) -> None:
    """Leave what a REINDEX CONCURRENTLY leaves that gives up on a long transaction."""
    with a_transaction_that_uses(database, "orders"), database.session() as rebuilder:
        rebuilder.execute("SET lock_timeout = '50ms'")
        with pytest.raises(psycopg.errors.LockNotAvailable):
            rebuilder.execute("REINDEX INDEX CONCURRENTLY by_note")


async def test_every_index_gets_a_new_file(database: Database, bench: Bench) -> None:
    make(database)
    before = files(database)
    bench.connect_postgres(database.server, database=database.name)
    step = await bench.step(PostgresReindex(connection="db"))
    assert (step.outcome, step.message) == (Outcome.CHANGED, "rebuilt 2 indexes")
    after = files(database)
    assert set(after) == set(before)
    assert all(after[name] != before[name] for name in before)


@pytest.mark.parametrize("names", [["public.by_note"], ["by_*"]])
async def test_only_the_named_indexes(database: Database, bench: Bench, names: list[str]) -> None:
    make(database)
    before = files(database)
    bench.connect_postgres(database.server, database=database.name)
    step = await bench.step(PostgresReindex(connection="db", tables=["orders"], indexes=names))
    assert step.message == "rebuilt 1 index"
    assert {name for name, file in files(database).items() if file != before[name]} == {"by_note"}


async def test_a_name_that_does_not_exist_fails(database: Database, bench: Bench) -> None:
    make(database)
    bench.connect_postgres(database.server, database=database.name)
    step = await bench.step(PostgresReindex(connection="db", indexes=["by_nothing"]))
    assert step.outcome is Outcome.FAILED
    assert step.message.startswith("there is no index 'by_nothing' on the tables: check the spelling")


async def test_without_concurrently_it_is_rebuilt_in_place(database: Database, bench: Bench) -> None:
    make(database)
    before = files(database)
    bench.connect_postgres(database.server, database=database.name)
    action = PostgresReindex(connection="db", indexes=["by_note"], concurrently=False, allow_downtime=True)
    step = await bench.step(action)
    assert step.outcome is Outcome.CHANGED
    assert files(database)["by_note"] != before["by_note"]


async def test_what_an_interrupted_rebuild_left_is_dropped(database: Database, bench: Bench) -> None:
    # given an invalid index that was left, and one of that name that somebody made
    make(database)
    interrupt_a_rebuild(database)
    database.as_owner("CREATE INDEX mine_ccnew ON orders (note)")
    assert invalid(database) == {"by_note_ccnew"}
    before = files(database)
    bench.connect_postgres(database.server, database=database.name)
    # when only repairs are asked for
    report = await bench.report(PostgresReindex(connection="db", only_invalid=True))
    # then it is gone, and nothing else was touched
    assert report.outcome is Outcome.CHANGED, report.message
    assert report.steps[0].message == (
        "rebuilt 0 indexes, dropped 1 left by interrupted rebuilds: public.by_note_ccnew"
    )
    after = files(database)
    assert after == {name: file for name, file in before.items() if name != "by_note_ccnew"}
    assert report.findings == []


async def test_an_index_that_could_not_be_made_is_rebuilt(database: Database, bench: Bench) -> None:
    # given a unique index that failed on duplicates, which are gone now
    make(database)
    database.as_owner("INSERT INTO orders VALUES (101, 'twice'), (102, 'twice')")
    with database.session(user="upkeep") as owner, pytest.raises(psycopg.errors.UniqueViolation):
        owner.execute("CREATE UNIQUE INDEX CONCURRENTLY unique_note ON orders (note)")
    bench.connect_postgres(database.server, database=database.name)
    failed = await bench.step(PostgresReindex(connection="db", only_invalid=True))
    database.as_owner("DELETE FROM orders WHERE id = 102")
    repaired = await bench.step(PostgresReindex(connection="db", only_invalid=True))
    again = await bench.step(PostgresReindex(connection="db", only_invalid=True))
    assert failed.message == (
        "1 of 1 index not done: public.unique_note: its table has duplicates that it forbids: remove them, then run "
        "this again"
    )
    assert (repaired.outcome, repaired.message) == (Outcome.CHANGED, "rebuilt 1 index")
    assert (again.outcome, again.message) == (Outcome.OK, "every index is valid: nothing to repair")
    assert invalid(database) == set()


async def test_an_index_that_somebody_is_making_is_left_alone(database: Database, bench: Bench) -> None:
    make(database)
    bench.connect_postgres(database.server, database=database.name)
    with (
        a_transaction_that_uses(database, "orders"),
        database.executing("CREATE INDEX CONCURRENTLY in_the_making ON orders (note)"),
    ):
        await eventually(lambda: invalid(database) == {"in_the_making"})
        step = await bench.step(PostgresReindex(connection="db", only_invalid=True))
        assert invalid(database) == {"in_the_making"}
    assert step.outcome is Outcome.FAILED
    assert "public.in_the_making: somebody is making it, or VACUUM runs: try again later" in step.message


async def test_a_transaction_that_stays_is_given_up_on(database: Database, bench: Bench) -> None:
    make(database)
    bench.connect_postgres(database.server, database=database.name)
    with a_transaction_that_uses(database, "orders"):
        action = PostgresReindex.model_validate({"connection": "db", "indexes": ["by_note"], "lockTimeout": "1s"})
        report = await bench.report(action)
    assert report.outcome is Outcome.FAILED
    assert "another session or transaction kept its table for over 1 s" in report.message
    # what could not be cleaned up beside that transaction is told
    assert {finding.object for finding in report.findings} == {f"public.{name}" for name in invalid(database)}


async def test_an_exclusion_constraint_cannot_be_rebuilt_concurrently(database: Database, bench: Bench) -> None:
    database.as_owner("CREATE TABLE stays (during int4range, CONSTRAINT apart EXCLUDE USING gist (during WITH &&))")
    bench.connect_postgres(database.server, database=database.name)
    step = await bench.step(PostgresReindex(connection="db"))
    assert step.outcome is Outcome.FAILED
    assert "public.apart: it cannot be rebuilt concurrently (exclusion constraint)" in step.message


@pytest.mark.parametrize("name", _HOSTILE)
async def test_a_hostile_name_is_only_a_name(database: Database, bench: Bench, name: str) -> None:
    make(database)
    with database.session(user="upkeep") as owner:
        owner.execute(psycopg.sql.SQL("CREATE INDEX {} ON orders (note)").format(psycopg.sql.Identifier(name)))
    before = files(database)
    bench.connect_postgres(database.server, database=database.name)
    step = await bench.step(PostgresReindex(connection="db", indexes=[name]))
    assert (step.outcome, step.message) == (Outcome.CHANGED, "rebuilt 1 index")
    assert {one for one, file in files(database).items() if file != before[one]} == {name}


async def test_a_role_that_may_not_rebuild_hears_what_to_grant(database: Database, bench: Bench) -> None:
    make(database)
    bench.connect_postgres(database.server, database=database.name, user="reader")
    step = await bench.step(PostgresReindex(connection="db", indexes=["by_note"]))
    assert step.outcome is Outcome.FAILED
    assert step.message.endswith('public.by_note: not allowed: GRANT "upkeep" TO "reader"')


async def test_a_standby_is_refused(standby: Postgres, bench: Bench) -> None:
    bench.connect_postgres(standby)
    step = await bench.step(PostgresReindex(connection="db"))
    assert step.outcome is Outcome.FAILED
    assert "is a standby (in recovery) and cannot run REINDEX" in step.message


async def test_a_cancelled_run_drops_what_it_was_making(database: Database, bench: Bench) -> None:
    # given a rebuild in the middle: it waits for a transaction that holds an old snapshot
    make(database)
    bench.connect_postgres(database.server, database=database.name)
    with database.session() as other:
        other.execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1")
        run = asyncio.create_task(bench.report(PostgresReindex(connection="db", indexes=["by_note"])))
        await eventually(lambda: invalid(database) == {"by_note_ccnew"})
        # when the run is cancelled and the transaction ends meanwhile
        run.cancel()
        await eventually(lambda: not database.value(_REBUILDING))
        other.execute("COMMIT")
        report = await run
    # then the report says so and the half-made index is gone
    assert "SIGTERM" in report.message
    assert invalid(database) == set()
    assert set(files(database)) == {"orders_pkey", "by_note"}
