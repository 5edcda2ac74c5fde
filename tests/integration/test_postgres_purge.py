"""Only rows that the team's SELECT names are deleted, in batches, and nothing at all unless that is asked for."""

import asyncio

import pytest
from psycopg import sql

from integration.bench import Bench, eventually
from integration.postgres import Database, Postgres
from upkeep.actions.contract import Outcome
from upkeep.actions.postgres.purge import PostgresPurge

_OLD = "SELECT id FROM sessions WHERE id <= 30"
_HOSTILE = ('"; DROP TABLE sessions; --', "-sessions", "größe 表", "%s", "{table}")


@pytest.fixture
def shop(database: Database) -> Database:
    """A table of 100 rows, of which 30 are old."""
    database.as_owner(
        "CREATE TABLE sessions (id int PRIMARY KEY, note text)",
        "INSERT INTO sessions SELECT g, 'note ' || g FROM generate_series(1, 100) g",
        "ANALYZE",
    )
    return database


def purge(**parameters: object) -> PostgresPurge:
    given = {"connection": "db", "table": "public.sessions", "key": "id", "select": _OLD, "dryRun": False}
    return PostgresPurge.model_validate({**given, **parameters})


def rows(database: Database) -> int:
    return int(database.value("SELECT count(*) FROM sessions"))


async def test_by_default_it_only_counts(shop: Database, bench: Bench) -> None:
    bench.connect_postgres(shop.server, database=shop.name)
    given = {"connection": "db", "table": "sessions", "key": "id", "select": _OLD}
    step = await bench.step(PostgresPurge.model_validate(given))
    assert step.outcome is Outcome.OK
    assert step.message == "dry run: would delete 30 rows of public.sessions: 1, 2, 3, 4, 5, …"
    assert step.metrics == {"qualifying_rows": 30, "deleted_rows": 0}
    assert rows(shop) == 100


@pytest.mark.parametrize("batch", [1, 7, 30, 1000])
async def test_what_the_select_names_is_deleted_in_batches(shop: Database, bench: Bench, batch: int) -> None:
    bench.connect_postgres(shop.server, database=shop.name)
    step = await bench.step(purge(batchSize=batch, select=f"{_OLD}; "))
    assert (step.outcome, step.message) == (Outcome.CHANGED, "deleted 30 rows of public.sessions")
    assert shop.value("SELECT min(id) FROM sessions") == 31
    again = await bench.step(purge())
    assert (again.outcome, again.message) == (Outcome.OK, "no row of public.sessions qualifies")


async def test_a_run_stops_at_its_cap_and_the_next_goes_on(shop: Database, bench: Bench) -> None:
    bench.connect_postgres(shop.server, database=shop.name)
    step = await bench.step(purge(maxRows=20, batchSize=15))
    assert step.outcome is Outcome.CHANGED
    assert step.message == "deleted 20 rows of public.sessions; 10 more qualify: the next run goes on, or raise maxRows"
    assert rows(shop) == 80
    await bench.step(purge(maxRows=20))
    assert rows(shop) == 70


async def test_keys_of_other_rows_and_doubles_do_not_matter(shop: Database, bench: Bench) -> None:
    bench.connect_postgres(shop.server, database=shop.name)
    step = await bench.step(purge(select="SELECT g % 5 FROM generate_series(1, 5000) g -- 0 is no key", batchSize=2))
    assert step.message == "deleted 4 rows of public.sessions"


async def test_more_than_the_share_is_taken_for_a_mistake(shop: Database, bench: Bench) -> None:
    bench.connect_postgres(shop.server, database=shop.name)
    step = await bench.step(purge(select="SELECT id FROM sessions"))
    assert step.outcome is Outcome.FAILED
    assert step.message == (
        "100 of about 100 rows of public.sessions qualify, more than maxShare: 0.5: check the SELECT, or raise maxShare"
    )
    assert rows(shop) == 100


async def test_what_would_cascade_is_refused_until_it_is_agreed_to(shop: Database, bench: Bench) -> None:
    shop.as_owner(
        "CREATE TABLE clicks (session int REFERENCES sessions ON DELETE CASCADE)", "INSERT INTO clicks VALUES (1), (99)"
    )
    bench.connect_postgres(shop.server, database=shop.name)
    refused = await bench.step(purge())
    assert refused.outcome is Outcome.FAILED
    assert refused.message.startswith("rows of public.clicks would be deleted or changed along with those of public.se")
    assert (rows(shop), shop.value("SELECT count(*) FROM clicks")) == (100, 2)
    agreed = await bench.step(purge(allowCascade=True))
    assert agreed.outcome is Outcome.CHANGED
    assert shop.value("SELECT count(*) FROM clicks") == 1


async def test_rows_that_others_refer_to_stay(shop: Database, bench: Bench) -> None:
    shop.as_owner("CREATE TABLE clicks (session int REFERENCES sessions)", "INSERT INTO clicks VALUES (25)")
    bench.connect_postgres(shop.server, database=shop.name)
    step = await bench.step(purge(batchSize=10))
    assert step.outcome is Outcome.FAILED
    assert step.message.endswith("rows of another table refer to these: purge those first")
    assert shop.value("SELECT count(*) FROM sessions WHERE id = 25") == 1


async def test_rows_that_a_trigger_keeps_are_no_success(shop: Database, bench: Bench) -> None:
    shop.as_owner(
        "CREATE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'",
        "CREATE TRIGGER keep BEFORE DELETE ON sessions FOR EACH ROW WHEN (OLD.id > 10) EXECUTE FUNCTION keep()",
    )
    bench.connect_postgres(shop.server, database=shop.name)
    step = await bench.step(purge())
    assert step.outcome is Outcome.FAILED
    assert step.message.startswith("deleted 10 rows of public.sessions, but 20 that qualify are still there")


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"key": "note"}, "'note' is no unique key of public.sessions"),
        ({"key": "naught"}, "'naught' is no unique key of public.sessions"),
        ({"key": 'id" OR true --'}, "is no unique key of public.sessions"),
        ({"table": "public.session"}, "there is no table 'public.session': did you mean public.sessions?"),
        ({"table": "*"}, "no table matches '*'"),
        ({"select": "DELETE FROM sessions RETURNING id"}, "write one SELECT of one column"),
        ({"select": "WITH gone AS (DELETE FROM sessions RETURNING id) SELECT id FROM gone"}, "WITH clause"),
        ({"select": "SELECT 1)) q; DROP TABLE sessions; SELECT ((1"}, "write one SELECT of one column"),
        ({"select": "SELECT id, note FROM sessions"}, "subquery has too many columns: write one SELECT of one column"),
        ({"select": "SELECT note FROM sessions"}, "keys of the same type as the key"),
        ({"select": "SELECT empty_it()"}, "read-only transaction"),
    ],
)
async def test_what_is_not_as_it_should_be_deletes_nothing(
    shop: Database, bench: Bench, parameters: dict[str, str], message: str
) -> None:
    shop.as_owner("CREATE FUNCTION empty_it() RETURNS int LANGUAGE sql AS 'DELETE FROM public.sessions RETURNING id'")
    bench.connect_postgres(shop.server, database=shop.name)
    step = await bench.step(purge(**parameters))
    assert step.outcome is Outcome.FAILED, step.message
    assert message in step.message
    assert rows(shop) == 100


@pytest.mark.parametrize("name", _HOSTILE)
async def test_a_hostile_name_is_only_a_name(shop: Database, bench: Bench, name: str) -> None:
    quoted = sql.Identifier(name)
    with shop.session(user="upkeep") as owner:
        owner.execute(sql.SQL("CREATE TABLE {} ({} text PRIMARY KEY)").format(quoted, quoted))
        owner.execute(sql.SQL("INSERT INTO {} VALUES ({}), ('kept')").format(quoted, sql.Literal(name)))
    bench.connect_postgres(shop.server, database=shop.name)
    select = f"VALUES ('x'), ('{name}')"
    step = await bench.step(purge(table=name, key=name, select=select))
    assert step.message == f"deleted 1 rows of public.{name}"
    with shop.session() as connection:
        assert connection.execute(sql.SQL("SELECT * FROM {}").format(quoted)).fetchall() == [("kept",)]
    assert rows(shop) == 100


async def test_a_role_that_may_only_read_hears_what_to_grant(shop: Database, bench: Bench) -> None:
    shop.as_owner("GRANT SELECT ON sessions TO reader")
    bench.connect_postgres(shop.server, database=shop.name, user="reader")
    preview = await bench.step(purge(dryRun=True))
    step = await bench.step(purge())
    assert preview.outcome is Outcome.OK
    assert step.outcome is Outcome.FAILED
    assert "permission denied for table sessions: GRANT SELECT, DELETE ON public.sessions" in step.message
    shop.as_owner("GRANT DELETE ON sessions TO reader")
    assert (await bench.step(purge())).outcome is Outcome.CHANGED


async def test_a_standby_is_refused(standby: Postgres, bench: Bench) -> None:
    bench.connect_postgres(standby)
    step = await bench.step(purge())
    assert "is a standby (in recovery) and cannot run DELETE" in step.message


async def test_a_cancelled_run_keeps_what_it_did_and_holds_no_lock(shop: Database, bench: Bench) -> None:
    bench.connect_postgres(shop.server, database=shop.name)
    run = asyncio.create_task(bench.report(purge(batchSize=10, pause="1h")))
    await eventually(lambda: rows(shop) == 90)
    run.cancel()
    report = await run
    assert "SIGTERM" in report.message
    assert rows(shop) == 90
    shop.execute("SET lock_timeout = '1s'; LOCK TABLE sessions")
