"""Only what runs for too long is ended, and only if a dry run is not asked for; everything else goes on."""

import asyncio

import pytest

from integration.bench import Bench, eventually
from integration.postgres import Database
from upkeep.actions.contract import Outcome
from upkeep.actions.postgres.killqueries import PostgresKillQueries

_SLEEP = "SELECT pg_sleep(60), 'secret'"


@pytest.fixture(autouse=True)
def killer(database: Database) -> None:
    """The role `watcher` may end sessions too."""
    database.execute("GRANT pg_signal_backend TO watcher")


def kill(**parameters: object) -> PostgresKillQueries:
    return PostgresKillQueries.model_validate({"connection": "db", "olderThan": "0s", "dryRun": False, **parameters})


def sleeping(database: Database) -> int:
    query = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND datname = current_database()"
    return int(database.value(query))


def sessions(database: Database, pid: int) -> int:
    with database.session() as connection:
        row = connection.execute("SELECT count(*) FROM pg_stat_activity WHERE pid = %s", [pid]).fetchone()
    assert row is not None
    return int(row[0])


async def test_by_default_it_only_says_what_it_would_end(database: Database, bench: Bench) -> None:
    bench.connect_postgres(database.server, database=database.name, user="watcher")
    with database.executing(_SLEEP, user="upkeep", application="web") as pid:
        await eventually(lambda: sleeping(database) == 1)
        action = PostgresKillQueries.model_validate({"connection": "db", "olderThan": "0s"})
        report = await bench.report(action)
        assert sleeping(database) == 1
    assert (report.outcome, report.steps[0].message) == (Outcome.OK, "dry run: would cancel 1 statement")
    (finding,) = report.findings
    assert finding.object == f"pid {pid} (upkeep@{database.name}, web)"
    assert finding.recommendation == "dryRun: false would cancel it: SELECT pg_sleep(?), ?"


async def test_a_statement_is_cancelled_and_its_session_goes_on(database: Database, bench: Bench) -> None:
    bench.connect_postgres(database.server, database=database.name, user="watcher")
    with database.executing(_SLEEP, user="upkeep", application="web") as pid:
        await eventually(lambda: sleeping(database) == 1)
        step = await bench.step(kill())
        assert (sleeping(database), sessions(database, pid)) == (0, 1)
    assert step.outcome is Outcome.CHANGED, step.message
    assert step.message == (
        f"cancelled 1 statement: pid {pid} (upkeep@{database.name}, web) after 0s: SELECT pg_sleep(?), ?"
    )
    assert step.metrics == {"found": 1, "ended": 1}


async def test_a_session_that_waits_in_its_transaction_is_ended(database: Database, bench: Bench) -> None:
    bench.connect_postgres(database.server, database=database.name, user="watcher")
    with database.executing("BEGIN; SELECT 1", user="upkeep") as idle, database.executing(_SLEEP, user="upkeep"):
        await eventually(lambda: sleeping(database) == 1)
        step = await bench.step(kill(state="IdleInTransaction", method="Terminate"))
        assert (sleeping(database), sessions(database, idle)) == (1, 0)
    assert step.message.startswith("ended 1 session: ")


async def test_what_is_young_of_others_or_excluded_goes_on(database: Database, bench: Bench) -> None:
    # given a statement of a superuser, one of an ignored application, and maintenance
    database.as_owner("CREATE TABLE orders (id int)")
    bench.connect_postgres(database.server, database=database.name, user="watcher")
    with (
        database.executing(_SLEEP),
        database.executing(_SLEEP, user="upkeep", application="pg_dump"),
        database.executing("CREATE TABLE made AS SELECT pg_sleep(60)::text", user="upkeep"),
        database.executing(_SLEEP, user="reader"),
    ):
        await eventually(lambda: sleeping(database) == 4)
        young = await bench.step(kill(olderThan="1h"))
        others = await bench.step(kill(roles=["upkeep"]))
        assert sleeping(database) == 4
    assert (young.outcome, young.message) == (Outcome.OK, "no statement is older than 1h")
    assert others.outcome is Outcome.OK


async def test_sessions_of_other_databases_go_on(database: Database, bench: Bench) -> None:
    bench.connect_postgres(database.server, database="postgres", user="watcher")
    with database.executing(_SLEEP, user="upkeep"):
        await eventually(lambda: sleeping(database) == 1)
        await bench.step(kill())
        assert sleeping(database) == 1


async def test_the_oldest_go_first_and_the_limit_holds(database: Database, bench: Bench) -> None:
    bench.connect_postgres(database.server, database=database.name, user="watcher")
    with database.executing(_SLEEP, user="upkeep") as first:
        await eventually(lambda: sleeping(database) == 1)
        with database.executing(_SLEEP, user="upkeep"):
            await eventually(lambda: sleeping(database) == 2)
            step = await bench.step(kill(limit=1))
            assert sleeping(database) == 1
    assert step.message.startswith(f"cancelled 1 statement (of 2, by limit): pid {first} ")


async def test_without_the_privilege_it_fails_with_what_to_grant(database: Database, bench: Bench) -> None:
    database.execute("GRANT pg_read_all_stats TO reader")
    bench.connect_postgres(database.server, database=database.name, user="reader")
    try:
        with database.executing(_SLEEP, user="upkeep"):
            await eventually(lambda: sleeping(database) == 1)
            step = await bench.step(kill())
            assert sleeping(database) == 1
    finally:
        database.execute("REVOKE pg_read_all_stats FROM reader")
    assert step.outcome is Outcome.FAILED
    assert step.message.endswith("GRANT pg_signal_backend to the user of the connection")


async def test_a_cancelled_run_stops_looking_whether_it_helped(database: Database, bench: Bench) -> None:
    # given a statement that goes on though it is cancelled
    stubborn = """
    DO $$ BEGIN
      LOOP BEGIN PERFORM pg_sleep(60); EXCEPTION WHEN query_canceled THEN PERFORM 1; END; END LOOP;
    END $$
    """
    bench.connect_postgres(database.server, database=database.name, user="watcher")
    with database.executing(stubborn, user="upkeep", application="web") as pid:
        await eventually(lambda: sleeping(database) == 1)
        # when the step is told to end while it waits for the end of that one
        run = asyncio.create_task(bench.report(kill()))
        asking = (
            "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'upkeep' AND query LIKE '%SELECT true%'"
        )
        await eventually(lambda: database.value(asking))
        run.cancel()
        report = await run
        # then it ends, and the other session is as it was
        assert (report.outcome, "SIGTERM" in report.message) == (Outcome.FAILED, True)
        assert sessions(database, pid) == 1
        await eventually(lambda: database.value(asking) == 0)


async def test_what_cannot_be_seen_is_unknown(database: Database, bench: Bench) -> None:
    bench.connect_postgres(database.server, database=database.name, user="reader")
    step = await bench.step(kill())
    assert step.outcome is Outcome.UNKNOWN
    assert "GRANT pg_read_all_stats" in step.message
