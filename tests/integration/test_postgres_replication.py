"""Standbys that are missing or behind and slots that keep log are found, from either side; quiet ones are not."""

from collections.abc import Iterator

import pytest

from integration import postgres
from integration.bench import Bench, eventually
from integration.postgres import Postgres
from upkeep.actions.contract import Outcome, Severity
from upkeep.actions.postgres.replication import PostgresReplication


@pytest.fixture(scope="module")
def primary() -> Iterator[Postgres]:
    with postgres.running_postgres("max_slot_wal_keep_size=64MB") as server:
        yield server


@pytest.fixture(scope="module")
def follower(primary: Postgres) -> Iterator[Postgres]:
    with postgres.running_standby(primary) as server:
        yield server


def check(**parameters: object) -> PostgresReplication:
    return PostgresReplication.model_validate({"connection": "db", **parameters})


async def found(bench: Bench, action: PostgresReplication) -> dict[str, Severity]:
    report = await bench.report(action)
    assert report.outcome is Outcome.OK, report.message
    return {finding.check_id: finding.severity for finding in report.findings}


async def test_missing_standbys_are_found_only_where_they_are_wanted(primary: Postgres, bench: Bench) -> None:
    bench.connect_postgres(primary, user="watcher")
    assert await found(bench, check()) == {}
    assert await found(bench, check(minStandbys=9)) == {"postgres.replication.standbys": Severity.CRITICAL}


async def test_a_slot_that_nobody_reads_is_found_when_it_keeps_too_much(primary: Postgres, bench: Bench) -> None:
    bench.connect_postgres(primary, user="watcher")
    primary.execute("SELECT pg_create_physical_replication_slot('forgotten', true)")
    try:
        calm = await found(bench, check())
        primary.execute("CREATE TABLE IF NOT EXISTS made AS SELECT 1 AS id", "SELECT pg_switch_wal()")
        alarmed = await bench.report(check(maxRetainedMebibytes=0))
    finally:
        primary.execute("SELECT pg_drop_replication_slot('forgotten')")
    assert calm == {}
    (finding,) = alarmed.findings
    assert (finding.check_id, finding.severity) == ("postgres.replication.slot", Severity.CRITICAL)
    assert finding.object == "slot forgotten"
    assert finding.recommendation.endswith("it is not read, its log is reserved")
    assert alarmed.steps[0].metrics["inactive_slots"] == 1


async def test_a_slot_that_lost_its_log_is_found(primary: Postgres, bench: Bench) -> None:
    bench.connect_postgres(primary, user="watcher")
    primary.execute("SELECT pg_create_physical_replication_slot('late', true)")
    try:
        for _ in range(8):
            primary.execute("CREATE TABLE wide AS SELECT 1 AS id", "DROP TABLE wide", "SELECT pg_switch_wal()")
        primary.execute("CHECKPOINT")
        assert await found(bench, check()) == {"postgres.replication.slot": Severity.CRITICAL}
    finally:
        primary.execute("SELECT pg_drop_replication_slot('late')")


async def test_a_standby_is_seen_from_both_sides(primary: Postgres, follower: Postgres, bench: Bench) -> None:
    # given a standby that streams
    bench.connect_postgres(primary, user="watcher")
    with primary.connect() as connection:
        query = "SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'"
        await eventually(lambda: (connection.execute(query).fetchone() or [0])[0] == 1)
    report = await bench.report(check(minStandbys=1))
    assert (report.outcome, report.findings) == (Outcome.OK, [])
    assert report.steps[0].message.startswith("1 standbys stream, 0s behind at most; ")
    # when the standby itself is asked
    bench.connections.clear()
    bench.connect_postgres(follower, user="watcher")
    own = await bench.report(check())
    # then it says so too
    assert (own.outcome, own.findings) == (Outcome.OK, [])
    assert own.steps[0].message.startswith("a standby that streams, 0s behind; ")


async def test_a_standby_that_is_paused_and_behind_is_found(
    primary: Postgres, follower: Postgres, bench: Bench
) -> None:
    # given a standby that receives what it does not replay
    follower.execute("SELECT pg_wal_replay_pause()")
    try:
        primary.execute("CREATE TABLE later AS SELECT 1 AS id")
        with follower.connect() as connection:
            behind = "SELECT pg_last_wal_receive_lsn() > pg_last_wal_replay_lsn()"
            await eventually(lambda: (connection.execute(behind).fetchone() or [False])[0])
        bench.connect_postgres(follower, user="watcher")
        severities = await found(bench, check(warningAfter="0s", criticalAfter="1h"))
    finally:
        follower.execute("SELECT pg_wal_replay_resume()")
    assert severities == {
        "postgres.replication.paused": Severity.WARNING,
        "postgres.replication.lag": Severity.WARNING,
    }


async def test_a_role_that_may_not_see_it_does_not_know(primary: Postgres, bench: Bench) -> None:
    bench.connect_postgres(primary, user="reader")
    step = await bench.step(check())
    assert step.outcome is Outcome.UNKNOWN
    assert "GRANT pg_read_all_stats" in step.message
