"""Who waits for a lock is found with what blocks it, through the whole chain, and both statements."""

import pytest

from integration.bench import Bench, eventually
from integration.postgres import Database
from upkeep.actions.contract import Outcome, Severity
from upkeep.actions.postgres.locks import PostgresLocks

_HOSTILE = '"; DROP TABLE orders; --'


def waiting(database: Database) -> int:
    return int(database.value("SELECT count(*) FROM pg_locks WHERE NOT granted"))


def locks(**parameters: object) -> PostgresLocks:
    return PostgresLocks.model_validate({"connection": "db", "warningAfter": "0s", **parameters})


async def test_without_waits_nothing_is_found(database: Database, bench: Bench) -> None:
    bench.connect_postgres(database.server, database=database.name, user="watcher")
    with database.session() as holder, holder.transaction():
        holder.execute("LOCK TABLE pg_catalog.pg_class IN ACCESS SHARE MODE")
        report = await bench.report(locks())
    assert (report.outcome, report.findings) == (Outcome.OK, [])
    assert report.steps[0].message == "nobody waits for a lock"
    assert report.steps[0].metrics == {"blocked": 0, "root_blockers": 0, "longest_wait_seconds": 0}


async def test_the_chain_of_blockers_is_told_with_both_statements(database: Database, bench: Bench) -> None:
    # given a session idle in transaction, one that waits for it, and one that waits for that
    database.as_owner("CREATE TABLE orders (id int, note text)", "INSERT INTO orders VALUES (1, 'x')")
    bench.connect_postgres(database.server, database=database.name, user="watcher")
    with database.server.connect(database=database.name, application="worker") as holder, holder.transaction():
        updating = "UPDATE orders SET note = ? WHERE note = ?"
        holder.execute(updating.replace("?", "'x'").encode())
        root = holder.info.backend_pid
        with database.executing("ALTER TABLE orders ADD COLUMN more int", application="migration") as middle:
            await eventually(lambda: waiting(database) == 1)
            reading = "SELECT * FROM orders WHERE note = ?"
            with database.executing(reading.replace("?", "'hidden'"), application="web") as last:
                await eventually(lambda: waiting(database) == 2)
                # when the locks are looked at
                report = await bench.report(locks())
    # then each that waits is a finding that names its blocker and both statements, without their values
    findings = {finding.object: finding for finding in report.findings}
    blocker = f"pid {root} (postgres@{database.name}, worker)"
    second = f"pid {middle} (postgres@{database.name}, migration)"
    third = f"pid {last} (postgres@{database.name}, web)"
    assert set(findings) == {second, third}
    assert findings[second].severity is Severity.WARNING
    assert findings[second].recommendation == (
        f"blocked by {blocker}: idle in transaction for 0s after {updating} | "
        "let it end or cancel it | waits for AccessExclusiveLock on public.orders: "
        "ALTER TABLE orders ADD COLUMN more int"
    )
    assert findings[third].recommendation == (
        f"blocked by {second}: ALTER TABLE orders ADD COLUMN more int | which waits too: end {blocker} | "
        f"waits for AccessShareLock on public.orders: {reading}"
    )
    assert report.steps[0].metrics["root_blockers"] == 1
    assert report.steps[0].message.startswith(f"2 sessions wait for a lock, 2 of them behind {blocker}: ")


async def test_a_short_wait_is_no_finding_and_a_long_one_is_critical(database: Database, bench: Bench) -> None:
    database.as_owner("CREATE TABLE orders (id int)")
    bench.connect_postgres(database.server, database=database.name, user="watcher")
    with database.session() as holder, holder.transaction():
        holder.execute("LOCK TABLE orders")
        with database.executing("DELETE FROM orders"):
            await eventually(lambda: waiting(database))
            calm = await bench.report(locks(warningAfter="1h", criticalAfter="1h"))
            alarmed = await bench.report(locks(criticalAfter="0s"))
    assert (calm.findings, calm.steps[0].metrics["blocked"]) == ([], 1)
    assert [finding.severity for finding in alarmed.findings] == [Severity.CRITICAL]


async def test_a_prepared_transaction_can_block_too(database: Database, bench: Bench) -> None:
    database.as_owner("CREATE TABLE orders (id int)")
    bench.connect_postgres(database.server, database=database.name, user="watcher")
    with database.session() as holder:
        holder.execute("BEGIN")
        holder.execute("LOCK TABLE orders")
        holder.execute("PREPARE TRANSACTION 'forgotten'")
        with database.executing("DELETE FROM orders"):
            await eventually(lambda: waiting(database))
            report = await bench.report(locks())
        holder.execute("ROLLBACK PREPARED 'forgotten'")
    assert report.findings[0].recommendation.startswith("blocked by a prepared transaction: see pg_prepared_xacts")


@pytest.mark.parametrize("name", [_HOSTILE, "größe 表", "-orders"])
async def test_a_hostile_name_is_only_shown(database: Database, bench: Bench, name: str) -> None:
    quoted = '"' + name.replace('"', '""') + '"'
    bench.connect_postgres(database.server, database=database.name, user="watcher")
    with database.session() as holder, holder.transaction():
        holder.execute(f"CREATE TABLE kept (id int); CREATE TABLE {quoted} (id int)".encode())
        holder.execute("COMMIT; BEGIN")
        holder.execute(f"LOCK TABLE {quoted}".encode())
        with database.executing(f"TRUNCATE {quoted}", application=name):
            await eventually(lambda: waiting(database))
            report = await bench.report(locks())
    assert f"waits for AccessExclusiveLock on public.{quoted}: TRUNCATE" in report.findings[0].recommendation
    assert database.value("SELECT count(*) FROM kept") == 0


async def test_a_role_that_may_not_see_others_does_not_know(database: Database, bench: Bench) -> None:
    bench.connect_postgres(database.server, database=database.name, user="reader")
    step = await bench.step(locks())
    assert step.outcome is Outcome.UNKNOWN
    assert step.message.endswith("hides what other roles do: GRANT pg_read_all_stats to the user of the connection")
