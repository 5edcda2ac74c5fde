"""Missing indexes are made online, also on partitioned tables; what is there is left, what fails leaves nothing."""

import asyncio
from typing import Any, Final

import pytest

from integration.bench import Bench, eventually
from integration.postgres import Database, Postgres
from upkeep.actions.contract import Outcome
from upkeep.actions.postgres.applyindexes import PostgresApplyIndexes

_MAKING: Final = "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query LIKE 'CREATE INDEX CONC%'"
_HOSTILE = ('"; DROP TABLE orders; --', "-index", "größe 表", "%s")


@pytest.fixture
def shop(database: Database) -> Database:
    database.as_owner(
        "CREATE TABLE orders (id int, note text, customer int)",
        "INSERT INTO orders SELECT g, 'note ' || g % 50, g % 10 FROM generate_series(1, 100) g",
    )
    return database


def apply(*indexes: dict[str, Any], **parameters: object) -> PostgresApplyIndexes:
    return PostgresApplyIndexes.model_validate({"connection": "db", "indexes": indexes, **parameters})


def index(name: str = "by_note", **changes: object) -> dict[str, Any]:
    return {"name": name, "table": "public.orders", "columns": ["note"], **changes}


def definitions(database: Database) -> dict[str, str]:
    query = (
        "SELECT c.relname, pg_get_indexdef(c.oid) || CASE WHEN i.indisvalid THEN '' ELSE ' INVALID' END "
        "FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid WHERE c.relnamespace = 'public'::regnamespace"
    )
    with database.session() as connection:
        return dict(connection.execute(query).fetchall())


async def test_what_is_missing_is_made_and_what_is_there_is_left(shop: Database, bench: Bench) -> None:
    bench.connect_postgres(shop.server, database=shop.name)
    wanted = (
        index(),
        index("by_both", table="orders", columns=["customer", "note"], include=["id"], where="id > 5 -- new ones"),
        index("one", columns=["id"], unique=True),
        index("hashed", method="hash"),
    )
    first, second = await bench.step(apply(*wanted)), await bench.step(apply(*wanted))
    assert first.outcome is Outcome.CHANGED, first.message
    assert first.message == "made public.by_note, public.by_both, public.one, public.hashed; 0 were there"
    assert (second.outcome, second.message) == (Outcome.OK, "all 4 indexes are there")
    assert definitions(shop) == {
        "by_note": "CREATE INDEX by_note ON public.orders USING btree (note)",
        "by_both": "CREATE INDEX by_both ON public.orders USING btree (customer, note) INCLUDE (id) WHERE (id > 5)",
        "one": "CREATE UNIQUE INDEX one ON public.orders USING btree (id)",
        "hashed": "CREATE INDEX hashed ON public.orders USING hash (note)",
    }


async def test_partitions_get_theirs_one_by_one_and_are_joined(database: Database, bench: Bench) -> None:
    # given a table with partitions of partitions
    database.as_owner(
        "CREATE TABLE events (id int, day int) PARTITION BY RANGE (day)",
        "CREATE TABLE events_1 PARTITION OF events FOR VALUES FROM (1) TO (2)",
        "CREATE TABLE events_2 PARTITION OF events FOR VALUES FROM (2) TO (3) PARTITION BY RANGE (id)",
        "CREATE TABLE events_2_low PARTITION OF events_2 FOR VALUES FROM (0) TO (50)",
    )
    bench.connect_postgres(database.server, database=database.name)
    wanted = {"name": "by_id", "table": "events", "columns": ["id"]}
    first, second = await bench.step(apply(wanted)), await bench.step(apply(wanted))
    assert (first.outcome, first.message) == (Outcome.CHANGED, "made public.by_id; 0 were there")
    assert second.outcome is Outcome.OK
    assert len(definitions(database)) == 4
    assert not any("INVALID" in definition for definition in definitions(database).values())
    # and a partition that comes later gets it by itself
    database.as_owner("CREATE TABLE events_3 PARTITION OF events FOR VALUES FROM (3) TO (4)")
    assert len(definitions(database)) == 5
    assert (await bench.step(apply(wanted))).outcome is Outcome.OK


async def test_another_index_of_that_name_is_never_touched(shop: Database, bench: Bench) -> None:
    shop.as_owner("CREATE INDEX by_note ON orders (id)", "CREATE TABLE taken (id int)")
    bench.connect_postgres(shop.server, database=shop.name)
    before = definitions(shop)
    step = await bench.step(apply(index(), index("taken"), index("fine")))
    assert step.outcome is Outcome.FAILED
    assert step.message == (
        "2 of 3 indexes not made: public.by_note: there is something else named public.by_note: choose another name, "
        "or drop that one first; public.taken: there is something else named public.taken: choose another name, or "
        "drop that one first"
    )
    assert set(definitions(shop)) == {*before, "fine"}


async def test_duplicates_are_told_and_leave_nothing_behind(shop: Database, bench: Bench) -> None:
    bench.connect_postgres(shop.server, database=shop.name)
    step = await bench.step(apply(index(unique=True)))
    assert step.outcome is Outcome.FAILED
    assert step.message.endswith("the table has duplicates that it forbids: remove them, then run this again")
    assert definitions(shop) == {}


async def test_an_invalid_one_is_made_anew(shop: Database, bench: Bench) -> None:
    import psycopg  # noqa: PLC0415 - used here alone

    with shop.session(user="upkeep") as owner, pytest.raises(psycopg.errors.UniqueViolation):
        owner.execute("CREATE UNIQUE INDEX CONCURRENTLY by_note ON orders (note)")
    shop.as_owner("DELETE FROM orders WHERE id > 50")
    assert definitions(shop)["by_note"].endswith("INVALID")
    bench.connect_postgres(shop.server, database=shop.name)
    step = await bench.step(apply(index(unique=True)))
    assert step.outcome is Outcome.CHANGED, step.message
    assert not definitions(shop)["by_note"].endswith("INVALID")


@pytest.mark.parametrize(
    ("definition", "message"),
    [
        (index(table="public.ordres"), "there is no table 'public.ordres': did you mean public.orders?"),
        (index(table="*"), "no table matches '*': check the spelling"),
        (
            index(columns=["note", "naught"]),
            "public.orders has no column 'naught' for index 'by_note': it has customer",
        ),
        (
            index(where="true); DROP TABLE orders; SELECT (1"),
            "cannot insert multiple commands into a prepared statement",
        ),
        (index(where="missing > 5"), 'column "missing" does not exist'),
        (index(columns=["id) WHERE (true"]), "public.orders has no column 'id) WHERE (true'"),
    ],
)
async def test_a_definition_that_cannot_be_is_refused(
    shop: Database, bench: Bench, definition: dict[str, Any], message: str
) -> None:
    bench.connect_postgres(shop.server, database=shop.name)
    step = await bench.step(apply(definition))
    assert step.outcome is Outcome.FAILED
    assert message in step.message
    assert definitions(shop) == {}
    assert shop.value("SELECT count(*) FROM orders") == 100


@pytest.mark.parametrize("name", _HOSTILE)
async def test_a_hostile_name_is_only_a_name(shop: Database, bench: Bench, name: str) -> None:
    bench.connect_postgres(shop.server, database=shop.name)
    step = await bench.step(apply(index(name)))
    assert step.outcome is Outcome.CHANGED, step.message
    assert set(definitions(shop)) == {name}
    assert (await bench.step(apply(index(name)))).outcome is Outcome.OK


async def test_a_role_that_may_not_hears_what_to_grant(shop: Database, bench: Bench) -> None:
    bench.connect_postgres(shop.server, database=shop.name, user="reader")
    step = await bench.step(apply(index()))
    assert step.outcome is Outcome.FAILED
    assert step.message.endswith('GRANT "upkeep" TO "reader"')


async def test_a_standby_is_refused(standby: Postgres, bench: Bench) -> None:
    bench.connect_postgres(standby)
    step = await bench.step(apply(index()))
    assert "is a standby (in recovery) and cannot run CREATE INDEX" in step.message


async def test_a_cancelled_run_drops_what_it_was_making(shop: Database, bench: Bench) -> None:
    # given an index in the making that waits for a transaction with an old snapshot
    bench.connect_postgres(shop.server, database=shop.name)
    with shop.session() as other:
        other.execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1")
        run = asyncio.create_task(bench.report(apply(index())))
        await eventually(lambda: "INVALID" in definitions(shop).get("by_note", ""))
        # when the run is cancelled, and the transaction ends
        run.cancel()
        await eventually(lambda: not shop.value(_MAKING))
        other.execute("COMMIT")
        report = await run
    # then nothing is left of it
    assert "SIGTERM" in report.message
    assert definitions(shop) == {}
