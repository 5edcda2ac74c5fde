"""A full restore brings everything back, and finds out when a single row has changed."""

from typing import Final

import pytest

from integration.bench import Bench
from integration.postgres import Database
from integration.resticstore import Store
from integration.test_backup_restoretest import ORDERS, backup, verify
from upkeep.actions.backup.archive import RECORD, Record
from upkeep.actions.backup.dump import DIRECTORY
from upkeep.actions.contract import Outcome, Severity

KINDS: Final = (
    "CREATE TABLE kinds AS SELECT now() AS at, 0.1::float8 AS real, '1 day'::interval AS span, '\\x00ff'::bytea AS raw,"
    " E'a\\tb\\\\\\n' AS text, ARRAY[1, NULL] AS list, '{\"a\": 1}'::jsonb AS json, NULL::int AS nothing"
)


@pytest.fixture
def shop(database: Database, bench: Bench) -> Database:
    """A database of rows of many kinds, on a server with another time zone."""
    database.as_owner(
        "CREATE TABLE orders AS SELECT g AS id, now() - g * interval '1 minute' AS placed_at, "
        "md5(g::text) AS note FROM generate_series(1, 20000) g",
        KINDS,
        "CREATE TABLE prices AS SELECT 1.5::numeric::money AS price",
        "ALTER ROLE upkeep SET timezone = 'Asia/Tokyo'",
    )
    bench.connect_postgres(database.server, database=database.name)
    return database


async def test_everything_comes_back_to_the_last_row(shop: Database, bench: Bench, pod: Bench, store: Store) -> None:
    # given roles with rights, settings and memberships
    shop.server.execute(
        'CREATE ROLE "odd;\n""role" CREATEDB CONNECTION LIMIT 3',
        'GRANT reader TO "odd;\n""role" WITH ADMIN OPTION',
        "ALTER ROLE reader SET work_mem = '5MB'",
    )
    try:
        first = await bench.step(backup(store))
        assert first.outcome is Outcome.CHANGED, first.message
        # when all of it is restored
        step = await pod.step(verify(store, ORDERS, full=True))
    finally:
        shop.server.execute(
            'DROP ROLE "odd;\n""role"', "ALTER ROLE reader RESET ALL", "ALTER ROLE upkeep RESET timezone"
        )
    # then it is what was dumped
    assert step.outcome is Outcome.OK, step.message
    assert "3 tables with 20002 rows as they were dumped, 3 checksums and all roles as they were" in step.message
    assert step.facts["snapshot"]


@pytest.mark.usefixtures("shop")
async def test_one_changed_letter_is_found_where_every_count_is_right(
    bench: Bench,
    pod: Bench,
    store: Store,
) -> None:
    # given a backup in which one letter of one row is another, on the way from the dump to the repository
    await bench.step(backup(store))
    with store.rewritten(DIRECTORY) as directory:
        largest = max(directory.rglob("*.dat"), key=lambda path: path.stat().st_size)
        content = bytearray(largest.read_bytes())
        place = content.index(b"\n") - 1
        content[place] = ord("0") if content[place] != ord("0") else ord("1")
        largest.write_bytes(content)
    # when it is tested by its rows, then nothing is missed
    assert (await pod.step(verify(store, ORDERS))).outcome is Outcome.OK
    # when all of it is compared, then it is found
    report = await pod.report(verify(store, ORDERS, full=True))
    assert report.outcome is Outcome.FAILED
    (found,) = report.findings
    assert (found.check_id, found.severity) == ("backup.restore.content", Severity.CRITICAL)
    assert found.object == "public orders upkeep"


@pytest.mark.usefixtures("shop")
async def test_a_role_that_does_not_come_back_is_found(
    bench: Bench,
    pod: Bench,
    store: Store,
) -> None:
    await bench.step(backup(store))
    with store.rewritten(DIRECTORY) as directory:
        path = directory / "globals.sql"
        path.write_text(path.read_text() + '\nGRANT "nobody knows" TO upkeep;\n\\! touch /tmp/owned\n')
    report = await pod.report(verify(store, full=True))
    assert report.outcome is Outcome.FAILED
    (found,) = report.findings
    assert found.check_id == "backup.restore.globals"
    assert 'role "nobody knows" does not exist' in found.recommendation


@pytest.mark.usefixtures("shop")
async def test_a_backup_without_checksums_is_not_called_compared(
    bench: Bench,
    pod: Bench,
    store: Store,
) -> None:
    await bench.step(backup(store))
    with store.rewritten(DIRECTORY) as directory:
        path = directory / RECORD
        record = Record.model_validate_json(path.read_bytes())
        path.write_text(record.model_copy(update={"digests": {}}).model_dump_json(by_alias=True))
    report = await pod.report(verify(store, full=True))
    assert report.outcome is Outcome.UNKNOWN
    assert "has no checksums, because an older version made it" in report.message


@pytest.mark.usefixtures("shop")
async def test_the_same_rows_always_give_the_same_checksums(bench: Bench, store: Store) -> None:
    await bench.step(backup(store))
    again = await bench.step(backup(store))

    assert again.metrics["added_bytes"] < 100_000
