"""How old transaction numbers are is compared with thresholds, for databases and for the tables to blame."""

from integration.bench import Bench
from integration.postgres import Database, Postgres
from upkeep.actions.contract import Outcome, Severity
from upkeep.actions.postgres.wraparound import PostgresWraparound


async def test_a_young_server_is_no_finding(database: Database, bench: Bench) -> None:
    bench.connect_postgres(database.server, database=database.name, user="reader")
    report = await bench.report(PostgresWraparound(connection="db"))
    assert (report.outcome, report.findings) == (Outcome.OK, [])
    assert report.steps[0].message.endswith(": 0.0 % of the transaction numbers are used")
    assert report.steps[0].metrics["oldest_transactions"] > 0


async def test_old_numbers_are_found_with_the_tables_to_blame(database: Database, bench: Bench) -> None:
    # given a table that is some transactions old, and thresholds that are lower
    database.as_owner("CREATE TABLE orders (id int)")
    for _ in range(20):
        database.as_owner("INSERT INTO orders VALUES (1)")
    bench.connect_postgres(database.server, database=database.name, user="reader")
    report = await bench.report(PostgresWraparound(connection="db", warning_age=5, critical_age=100_000_000))
    found = {finding.object: finding for finding in report.findings}
    assert found[f"database {database.name}"].severity is Severity.WARNING
    assert found[f"database {database.name}"].check_id == "postgres.wraparound"
    assert any("." in name and "VACUUM (FREEZE) it" in finding.recommendation for name, finding in found.items())
    critical = await bench.report(PostgresWraparound(connection="db", warning_age=5, critical_age=6))
    assert {finding.severity for finding in critical.findings} == {Severity.CRITICAL}


async def test_a_standby_can_be_asked_too(standby: Postgres, bench: Bench) -> None:
    bench.connect_postgres(standby)
    step = await bench.step(PostgresWraparound(connection="db"))
    assert step.outcome is Outcome.OK
