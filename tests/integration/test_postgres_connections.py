"""Connections are counted against every limit that there is, and hidden ones are not taken for idle."""

from integration.bench import Bench, eventually
from integration.postgres import Database
from upkeep.actions.contract import Outcome, Severity
from upkeep.actions.postgres.connections import PostgresConnections


async def test_a_quiet_server_is_no_finding_but_is_counted(database: Database, bench: Bench) -> None:
    bench.connect_postgres(database.server, database=database.name, user="watcher")
    report = await bench.report(PostgresConnections(connection="db"))
    assert (report.outcome, report.findings) == (Outcome.OK, [])
    metrics = report.steps[0].metrics
    assert metrics["connection_limit"] == 97  # the default of 100 without the 3 reserved for superusers
    assert metrics["connections"] >= 1
    assert report.steps[0].message.startswith(f"{metrics['connections']:g} of 97 connections (")


async def test_use_over_the_threshold_of_the_server_is_a_finding(database: Database, bench: Bench) -> None:
    bench.connect_postgres(database.server, database=database.name, user="watcher")
    report = await bench.report(PostgresConnections(connection="db", warning_percent=0.5, critical_percent=90))
    (finding,) = report.findings
    assert (finding.check_id, finding.severity, finding.threshold) == ("postgres.connections", Severity.WARNING, 0.5)
    assert finding.object == f"{database.server.host}:{database.server.port}"
    assert finding.recommendation.endswith(
        " of 97 connections are in use: close idle ones, use a pooler, or raise max_connections"
    )


async def test_the_limits_of_database_and_role_count_too(database: Database, bench: Bench) -> None:
    # given a database and a role that are nearly full while the server is not
    database.execute(f'ALTER DATABASE "{database.name}" CONNECTION LIMIT 2', "ALTER ROLE reader CONNECTION LIMIT 1")
    bench.connect_postgres(database.server, database=database.name, user="watcher")
    try:
        with database.session(user="reader"):
            report = await bench.report(PostgresConnections(connection="db"))
    finally:
        database.execute("ALTER ROLE reader CONNECTION LIMIT -1")
    assert [(finding.object, finding.observed, finding.severity) for finding in report.findings] == [
        (f"database {database.name}", 100, Severity.CRITICAL),
        ("role reader", 100, Severity.CRITICAL),
    ]


async def test_what_runs_and_what_waits_is_told(database: Database, bench: Bench) -> None:
    # given one session that works, one idle in a transaction, and one that waits for its lock
    database.as_owner("CREATE TABLE orders (id int)")
    bench.connect_postgres(database.server, database=database.name, user="watcher")
    with database.session() as holder, holder.transaction():
        holder.execute("LOCK TABLE orders")
        with database.executing("DELETE FROM orders WHERE id = 5", application="web"):
            await eventually(lambda: database.value("SELECT count(*) > 0 FROM pg_locks WHERE NOT granted"))
            step = await bench.step(PostgresConnections(connection="db"))
    assert step.metrics["active"] == 1
    assert step.metrics["idle_in_transaction"] == 1
    assert (step.metrics["waiting"], step.metrics["waiting_for_locks"]) == (1, 1)
    assert "1 waiting (1 for Lock/relation)" in step.message
    assert step.message.endswith("web) for 0s: DELETE FROM orders WHERE id = ?")


async def test_hidden_sessions_are_counted_but_what_they_do_is_unknown(database: Database, bench: Bench) -> None:
    bench.connect_postgres(database.server, database=database.name, user="reader")
    with database.session(user="upkeep"):
        step = await bench.step(PostgresConnections(connection="db"))
    assert step.outcome is Outcome.UNKNOWN
    assert step.metrics["connections"] >= 2
    assert "is hidden: GRANT pg_read_all_stats to the user of the connection; of the rest: " in step.message


async def test_a_server_that_is_full_says_so(database: Database, bench: Bench) -> None:
    database.execute(f'ALTER DATABASE "{database.name}" CONNECTION LIMIT 0')
    bench.connect_postgres(database.server, database=database.name, user="watcher")
    step = await bench.step(PostgresConnections(connection="db"))
    assert step.outcome is Outcome.FAILED
    assert step.message.endswith("free or raise the connection limit of the role or database")
