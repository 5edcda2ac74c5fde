"""Log that waits for its archive is found, and a failure only as long as it lasts."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from integration import postgres
from integration.bench import Bench, eventually
from integration.postgres import Postgres
from upkeep.actions.contract import Outcome, Severity
from upkeep.actions.postgres.walarchive import PostgresWalArchive


@pytest.fixture(scope="module")
def archiving() -> Iterator[Postgres]:
    """A server whose archive takes everything, to begin with."""
    with postgres.running_postgres("archive_mode=on") as server:
        server.execute("ALTER SYSTEM SET archive_command = '/bin/true'", "SELECT pg_reload_conf()")
        server.execute("GRANT pg_monitor TO watcher")
        yield server


def check(**parameters: object) -> PostgresWalArchive:
    return PostgresWalArchive.model_validate({"connection": "db", **parameters})


def value(server: Postgres, query: str) -> object:
    with server.connect() as connection:
        row = connection.execute(query.encode()).fetchone()
    assert row is not None
    return row[0]


@contextmanager
def a_broken_archive(server: Postgres) -> Iterator[None]:
    server.execute("ALTER SYSTEM SET archive_command = '/bin/false'", "SELECT pg_reload_conf()")
    try:
        yield
    finally:
        server.execute("ALTER SYSTEM SET archive_command = '/bin/true'", "SELECT pg_reload_conf()")


_FAILING = "SELECT last_failed_time > coalesce(last_archived_time, '-infinity') FROM pg_stat_archiver"
_ARCHIVED = "SELECT archived_count FROM pg_stat_archiver"


async def test_an_archive_that_works_is_no_finding(archiving: Postgres, bench: Bench) -> None:
    archiving.execute("CREATE TABLE IF NOT EXISTS made AS SELECT 1 AS id", "SELECT pg_switch_wal()")
    await eventually(lambda: value(archiving, _ARCHIVED))
    bench.connect_postgres(archiving, user="watcher")
    report = await bench.report(check())
    assert (report.outcome, report.findings) == (Outcome.OK, [])
    assert report.steps[0].message.startswith("archive_mode is on: ")
    assert report.steps[0].metrics["wal_bytes"] >= 16 * 1024 * 1024


async def test_a_failure_is_found_as_long_as_it_lasts(archiving: Postgres, bench: Bench) -> None:
    bench.connect_postgres(archiving, user="watcher")
    with a_broken_archive(archiving):
        archiving.execute("CREATE TABLE failing AS SELECT 1 AS id", "SELECT pg_switch_wal()")
        await eventually(lambda: value(archiving, _FAILING))
        report = await bench.report(check())
        late = await bench.report(check(warningAfter="0s", criticalAfter="0s"))
    (finding,) = report.findings
    assert (finding.check_id, finding.severity) == ("postgres.wal-archive.failing", Severity.WARNING)
    assert finding.recommendation.endswith(" failed: look into the server's log and at archive_command")
    assert [finding.severity for finding in late.findings] == [Severity.CRITICAL]
    assert report.steps[0].metrics["waiting_segments"] >= 1


async def test_too_much_log_is_found(archiving: Postgres, bench: Bench) -> None:
    bench.connect_postgres(archiving, user="watcher")
    report = await bench.report(check(maxWalMebibytes=1))
    assert "postgres.wal-archive.size" in {finding.check_id for finding in report.findings}


async def test_no_archive_at_all_is_a_finding(postgres_server: Postgres, bench: Bench) -> None:
    bench.connect_postgres(postgres_server, user="postgres")
    report = await bench.report(check())
    assert [finding.check_id for finding in report.findings] == ["postgres.wal-archive.off"]
    assert report.outcome is Outcome.OK


async def test_a_role_that_may_not_look_does_not_know(archiving: Postgres, bench: Bench) -> None:
    bench.connect_postgres(archiving, user="reader")
    step = await bench.step(check())
    assert step.outcome is Outcome.UNKNOWN
    assert step.message.endswith("hides its write-ahead log: GRANT pg_monitor to the user of the connection")
