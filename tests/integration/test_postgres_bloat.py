"""Bloat is found by estimate or by measuring, says which, and what cannot be estimated is unknown."""

from integration.bench import Bench
from integration.postgres import Database
from upkeep.actions.contract import Outcome
from upkeep.actions.postgres.bloat import PostgresBloat


def fill(database: Database, *, kept_of_ten: int) -> None:
    """The table `orders` of some 6 MiB, vacuumed and analyzed, of which so many of ten rows are left on every page."""
    database.as_owner("CREATE TABLE orders (id int, note text)")
    with database.session(user="upkeep") as connection:
        connection.execute("INSERT INTO orders SELECT g, repeat('x', 80) FROM generate_series(1, 50000) g")
        connection.execute("DELETE FROM orders WHERE id %% 10 >= %s", [kept_of_ten])
    database.as_owner("VACUUM ANALYZE orders")


async def test_a_bloated_table_is_estimated(database: Database, bench: Bench) -> None:
    # given a table that keeps the pages of ten times as many rows
    fill(database, kept_of_ten=1)
    bench.connect_postgres(database.server, database=database.name)
    # when it is checked on a server without pgstattuple
    report = await bench.report(PostgresBloat(connection="db"))
    # then it is about ten times as large as needed, by estimate
    (finding,) = report.findings
    assert (finding.check_id, finding.object, finding.threshold) == ("postgres.bloat", "public.orders", 2.0)
    assert 8 < finding.observed < 12
    assert finding.recommendation.endswith("estimated from statistics")
    assert report.steps[0].metrics["bloated_tables"] == 1


async def test_the_worst_are_measured_where_that_is_allowed(database: Database, bench: Bench) -> None:
    fill(database, kept_of_ten=1)
    database.execute('CREATE SCHEMA "ext; x"', 'CREATE EXTENSION pgstattuple SCHEMA "ext; x"')
    database.execute('GRANT USAGE ON SCHEMA "ext; x" TO upkeep', "GRANT pg_stat_scan_tables TO upkeep")
    try:
        bench.connect_postgres(database.server, database=database.name)
        report = await bench.report(PostgresBloat(connection="db"))
    finally:
        database.execute("REVOKE pg_stat_scan_tables FROM upkeep")
    assert 6 < report.findings[0].observed < 12
    assert report.findings[0].recommendation.endswith("measured by pgstattuple_approx")


async def test_without_the_privilege_to_measure_the_estimate_stands(database: Database, bench: Bench) -> None:
    fill(database, kept_of_ten=1)
    database.execute("CREATE EXTENSION pgstattuple")
    bench.connect_postgres(database.server, database=database.name)
    report = await bench.report(PostgresBloat(connection="db"))
    assert report.findings[0].recommendation.endswith("estimated from statistics")


async def test_a_table_of_the_right_size_is_no_finding(database: Database, bench: Bench) -> None:
    fill(database, kept_of_ten=8)
    bench.connect_postgres(database.server, database=database.name)
    report = await bench.report(PostgresBloat(connection="db"))
    assert (report.outcome, report.findings) == (Outcome.OK, [])


async def test_the_estimate_knows_types_nulls_and_fillfactor(database: Database, bench: Bench) -> None:
    # given a table of which exactly half is left on every page
    database.as_owner(
        "CREATE TABLE mixed (a int, b bigint, c text, d timestamptz, e boolean, f numeric) WITH (fillfactor = 70)",
        "INSERT INTO mixed SELECT g, g, CASE WHEN g % 3 > 0 THEN repeat('y', g % 50) END, now(), true, g / 7.0 "
        "FROM generate_series(1, 50000) g",
    )
    database.as_owner("DELETE FROM mixed WHERE a % 2 = 0", "VACUUM ANALYZE mixed")
    bench.connect_postgres(database.server, database=database.name)
    report = await bench.report(PostgresBloat(connection="db", threshold=1.0))
    assert 1.7 < report.findings[0].observed < 2.3


async def test_a_table_that_was_emptied_is_bloated(database: Database, bench: Bench) -> None:
    fill(database, kept_of_ten=10)
    database.execute("DELETE FROM orders", "ANALYZE orders")
    bench.connect_postgres(database.server, database=database.name)
    report = await bench.report(PostgresBloat(connection="db"))
    assert report.findings[0].observed > 100


async def test_a_table_without_statistics_is_unknown(database: Database, bench: Bench) -> None:
    database.as_owner("CREATE TABLE orders AS SELECT g AS id, repeat('x', 80) AS note FROM generate_series(1, 50000) g")
    bench.connect_postgres(database.server, database=database.name)
    step = await bench.step(PostgresBloat(connection="db"))
    assert step.outcome is Outcome.UNKNOWN
    assert step.message.startswith("no statistics for public.orders (never analyzed, locked, or hidden from the user)")


async def test_a_small_table_without_statistics_does_not_matter(database: Database, bench: Bench) -> None:
    database.as_owner("CREATE TABLE orders AS SELECT 1 AS id")
    bench.connect_postgres(database.server, database=database.name)
    step = await bench.step(PostgresBloat(connection="db"))
    assert step.outcome is Outcome.OK


async def test_statistics_that_the_role_may_not_see_are_unknown(database: Database, bench: Bench) -> None:
    fill(database, kept_of_ten=1)
    bench.connect_postgres(database.server, database=database.name, user="reader")
    hidden = await bench.step(PostgresBloat(connection="db"))
    assert hidden.outcome is Outcome.UNKNOWN
    assert "grant pg_read_all_data" in hidden.message
    database.execute("GRANT SELECT ON orders TO reader")
    seen = await bench.report(PostgresBloat(connection="db"))
    assert seen.counts.warning == 1


async def test_a_locked_table_is_unknown_and_holds_nothing_up(database: Database, bench: Bench) -> None:
    fill(database, kept_of_ten=1)
    bench.connect_postgres(database.server, database=database.name)
    with database.session() as other, other.transaction():
        other.execute("LOCK TABLE orders IN ACCESS EXCLUSIVE MODE")
        step = await bench.step(PostgresBloat(connection="db"))
    assert step.outcome is Outcome.UNKNOWN
    assert step.seconds < 4
