"""Transactions that are open for long are found, whatever they do, and short ones and maintenance are not."""

from integration.bench import Bench, eventually
from integration.postgres import Database
from upkeep.actions.contract import Outcome, Severity
from upkeep.actions.postgres.longtransactions import PostgresLongTransactions


def check(**parameters: object) -> PostgresLongTransactions:
    return PostgresLongTransactions.model_validate({"connection": "db", **parameters})


async def test_an_idle_transaction_is_found_with_its_last_statement(database: Database, bench: Bench) -> None:
    # given a session that waits in a transaction in which it has written
    database.as_owner("CREATE TABLE orders (id int)")
    bench.connect_postgres(database.server, database=database.name, user="watcher")
    with database.server.connect(database=database.name, application="web") as other, other.transaction():
        other.execute("INSERT INTO orders VALUES (17)")
        label = f"pid {other.info.backend_pid} (postgres@{database.name}, web)"
        # when transactions count as long from the start
        report = await bench.report(check(warningAfter="0s", criticalAfter="1h"))
    # then it is found
    (finding,) = [finding for finding in report.findings if finding.object == label]
    assert (finding.check_id, finding.severity) == ("postgres.long-transactions", Severity.WARNING)
    assert finding.recommendation == (
        "idle in transaction for 0s, and keeps dead rows from being removed: let the application commit, or set "
        "idle_in_transaction_session_timeout; last statement: INSERT INTO orders VALUES (?)"
    )
    assert report.steps[0].metrics["idle_in_transaction"] >= 1


async def test_a_running_statement_is_found(database: Database, bench: Bench) -> None:
    bench.connect_postgres(database.server, database=database.name, user="watcher")
    with database.executing("SELECT pg_sleep(60)", application="web") as pid:
        await eventually(lambda: database.value("SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'"))
        report = await bench.report(check(warningAfter="0s", criticalAfter="0s"))
    (finding,) = [finding for finding in report.findings if finding.object.startswith(f"pid {pid} ")]
    assert finding.severity is Severity.CRITICAL
    assert finding.recommendation.startswith("its statement runs for 0s, and keeps dead rows")
    assert finding.recommendation.endswith("make it faster or cancel it: SELECT pg_sleep(?)")


async def test_short_transactions_are_no_findings(database: Database, bench: Bench) -> None:
    bench.connect_postgres(database.server, database=database.name, user="watcher")
    with database.session() as other, other.transaction():
        other.execute("SELECT 1")
        report = await bench.report(check())
    assert (report.outcome, report.findings) == (Outcome.OK, [])
    assert report.steps[0].metrics["transactions"] >= 1


async def test_an_idle_session_outside_of_a_transaction_does_not_matter(database: Database, bench: Bench) -> None:
    bench.connect_postgres(database.server, database=database.name, user="watcher")
    with database.session() as other:
        other.execute("SELECT 1")
        report = await bench.report(check(warningAfter="0s"))
        assert not [finding for finding in report.findings if f"pid {other.info.backend_pid} " in finding.object]


async def test_applications_can_be_left_out(database: Database, bench: Bench) -> None:
    bench.connect_postgres(database.server, database=database.name, user="watcher")
    with database.server.connect(database=database.name, application="pg_dump") as other, other.transaction():
        other.execute("SELECT 1")
        report = await bench.report(check(warningAfter="0s", ignoreApplications=["pg_dump"]))
        assert not [finding for finding in report.findings if "pg_dump" in finding.object]


async def test_a_forgotten_prepared_transaction_is_found(database: Database, bench: Bench) -> None:
    bench.connect_postgres(database.server, database=database.name, user="watcher")
    with database.session() as other:
        other.execute("BEGIN; CREATE TABLE made (id int); PREPARE TRANSACTION 'a''b; DROP TABLE x'")
        try:
            report = await bench.report(check(warningAfter="0s"))
        finally:
            other.execute("ROLLBACK PREPARED 'a''b; DROP TABLE x'")
    assert f"prepared transaction a'b; DROP TABLE x (postgres@{database.name})" in {
        finding.object for finding in report.findings
    }


async def test_a_role_that_may_not_see_others_does_not_know(database: Database, bench: Bench) -> None:
    bench.connect_postgres(database.server, database=database.name, user="reader")
    step = await bench.step(check())
    assert step.outcome is Outcome.UNKNOWN
    assert "GRANT pg_read_all_stats" in step.message
