"""Statements with a long mean time are found; without the extension, or with hidden ones, nothing is called fast."""

from collections.abc import Iterator

import pytest

from integration import postgres
from integration.bench import Bench
from integration.postgres import Database, Postgres
from upkeep.actions.contract import Outcome, Severity
from upkeep.actions.postgres.slowqueries import PostgresSlowQueries


@pytest.fixture(scope="module")
def counting_server() -> Iterator[Postgres]:
    with postgres.running_postgres("shared_preload_libraries=pg_stat_statements") as server:
        yield server


@pytest.fixture
def counted(counting_server: Postgres) -> Iterator[Database]:
    """A database with the extension in a schema whose name is not harmless."""
    with counting_server.database("shop") as database:
        database.execute('CREATE SCHEMA "ext; x"', 'CREATE EXTENSION pg_stat_statements SCHEMA "ext; x"')
        database.execute('GRANT USAGE ON SCHEMA "ext; x" TO PUBLIC', 'SELECT "ext; x".pg_stat_statements_reset()')
        yield database


def check(**parameters: object) -> PostgresSlowQueries:
    return PostgresSlowQueries.model_validate({"connection": "db", "warningAfter": "0s", **parameters})


def sleep(database: Database, *, times: int = 2) -> None:
    for _ in range(times):
        database.as_owner("SELECT pg_sleep(0.05), 'secret'")


async def test_a_slow_statement_is_found(counted: Database, bench: Bench) -> None:
    # given a statement of 50 ms that was executed twice
    sleep(counted)
    bench.connect_postgres(counted.server, database=counted.name, user="watcher")
    # when any duration counts as slow
    report = await bench.report(check())
    # then it is the slowest, and shown without its values
    assert report.outcome is Outcome.OK, report.message
    worst = report.findings[0]
    assert (worst.check_id, worst.severity) == ("postgres.slow-queries", Severity.WARNING)
    assert worst.object.endswith(" of upkeep")
    assert 0.05 <= worst.observed < 5
    assert worst.recommendation.startswith("EXPLAIN (ANALYZE, BUFFERS) it: 2 calls, up to 0.")
    assert worst.recommendation.endswith("SELECT pg_sleep($1), $2")


async def test_fast_statements_are_no_findings(counted: Database, bench: Bench) -> None:
    sleep(counted)
    bench.connect_postgres(counted.server, database=counted.name, user="watcher")
    report = await bench.report(PostgresSlowQueries(connection="db"))
    assert (report.outcome, report.findings) == (Outcome.OK, [])
    assert report.steps[0].message.endswith("statements take 1 s or more on average")


async def test_what_was_executed_once_and_maintenance_are_no_findings(counted: Database, bench: Bench) -> None:
    sleep(counted, times=1)
    counted.as_owner("CREATE TABLE a AS SELECT 1 FROM pg_sleep(0.01)", "DROP TABLE a")
    counted.as_owner("CREATE TABLE a AS SELECT 1 FROM pg_sleep(0.01)", "DROP TABLE a")
    bench.connect_postgres(counted.server, database=counted.name, user="watcher")
    report = await bench.report(check())
    texts = " ".join(finding.recommendation for finding in report.findings)
    assert "pg_sleep" not in texts


async def test_each_run_can_start_from_zero(counted: Database, bench: Bench) -> None:
    # given statistics that the first run resets
    sleep(counted)
    counted.execute('GRANT EXECUTE ON FUNCTION "ext; x".pg_stat_statements_reset TO watcher')
    bench.connect_postgres(counted.server, database=counted.name, user="watcher")
    first = await bench.report(check(resetAfterwards=True))
    second = await bench.report(check(resetAfterwards=True))
    # then the second reports only what happened since
    assert (first.outcome, second.outcome) == (Outcome.CHANGED, Outcome.CHANGED)
    assert "pg_sleep" in first.findings[0].recommendation
    assert not [finding for finding in second.findings if "pg_sleep" in finding.recommendation]


async def test_a_reset_without_the_privilege_is_unknown(counted: Database, bench: Bench) -> None:
    bench.connect_postgres(counted.server, database=counted.name, user="watcher")
    step = await bench.step(check(resetAfterwards=True))
    assert step.outcome is Outcome.UNKNOWN
    assert "permission denied for function pg_stat_statements_reset" in step.message


async def test_hidden_statements_are_unknown(counted: Database, bench: Bench) -> None:
    sleep(counted)
    bench.connect_postgres(counted.server, database=counted.name, user="reader")
    step = await bench.step(check())
    assert step.outcome is Outcome.UNKNOWN
    assert "statements of other roles are hidden: GRANT pg_read_all_stats" in step.message


async def test_without_the_extension_it_is_unknown_and_says_what_to_do(database: Database, bench: Bench) -> None:
    bench.connect_postgres(database.server, database=database.name, user="watcher")
    step = await bench.step(check())
    assert step.outcome is Outcome.UNKNOWN
    assert step.message.endswith(
        "has no extension pg_stat_statements: add it to shared_preload_libraries, restart the server, and CREATE "
        "EXTENSION pg_stat_statements there"
    )


async def test_an_extension_that_the_server_does_not_load_is_unknown(database: Database, bench: Bench) -> None:
    database.execute("CREATE EXTENSION pg_stat_statements")
    bench.connect_postgres(database.server, database=database.name, user="watcher")
    step = await bench.step(check())
    assert step.outcome is Outcome.UNKNOWN
    assert step.message.endswith("add it to shared_preload_libraries and restart the server")


async def test_an_extension_that_an_upgrade_left_behind_is_unknown(counted: Database, bench: Bench) -> None:
    counted.execute("DROP EXTENSION pg_stat_statements", "CREATE EXTENSION pg_stat_statements VERSION '1.7'")
    bench.connect_postgres(counted.server, database=counted.name, user="watcher")
    step = await bench.step(check())
    assert step.outcome is Outcome.UNKNOWN
    assert step.message.endswith("ALTER EXTENSION pg_stat_statements UPDATE in this database")
