"""VACUUM FULL writes a table anew only where the disk is shown to have room, by a person or by a real Prometheus."""

from collections.abc import Iterator

import pytest

from integration.bench import Bench, eventually
from integration.postgres import Database
from integration.prometheusserver import PrometheusServer, running_prometheus
from upkeep.actions.contract import Outcome
from upkeep.actions.postgres.vacuum import PostgresVacuum

_FREE = """
- {record: kubelet_volume_stats_available_bytes, expr: vector(1e12), labels: {persistentvolumeclaim: shop-db}}
- {record: kubelet_volume_stats_available_bytes, expr: vector(1000), labels: {persistentvolumeclaim: full-db}}
"""


@pytest.fixture(scope="module")
def prometheus() -> Iterator[PrometheusServer]:
    with running_prometheus(_FREE) as server:
        yield server


@pytest.fixture
def shop(database: Database, bench: Bench) -> Database:
    """A large and a small table with dead rows."""
    database.as_owner(
        "CREATE TABLE large AS SELECT g AS id, repeat('x', 300) AS note FROM generate_series(1, 20000) g",
        "CREATE INDEX ON large (note)",
        "DELETE FROM large WHERE id % 3 > 0",
        "CREATE TABLE small AS SELECT g AS id FROM generate_series(1, 100) g",
        "DELETE FROM small WHERE id % 3 > 0",
    )
    bench.connect_postgres(database.server, database=database.name)
    return database


def full(**parameters: object) -> PostgresVacuum:
    return PostgresVacuum.model_validate({"connection": "db", "full": True, "allowDowntime": True, **parameters})


def volume(claim: str) -> dict[str, object]:
    query = f'kubelet_volume_stats_available_bytes{{persistentvolumeclaim="{claim}"}}'
    return {"freeSpace": {"connection": "metrics", "query": query}}


def files(database: Database) -> dict[str, int]:
    query = "SELECT json_object_agg(relname, relfilenode) FROM pg_class WHERE relname IN ('large', 'small')"
    found: dict[str, int] = database.value(query)
    return found


async def test_a_table_without_room_is_left_alone_and_the_others_are_done(shop: Database, bench: Bench) -> None:
    # given a volume of which somebody says that 2 MiB are free, and a table of 8 MiB
    before = files(shop)
    # when all tables are to be written anew
    step = await bench.step(full(freeMebibytes=2))
    # then the small one is, and the step says what the large one needs
    assert step.outcome is Outcome.FAILED
    assert step.message.startswith("1 of 2 tables not vacuumed: public.large: it may need ")
    assert step.message.endswith("write-ahead log) and 2.0 MiB are free: make room first")
    after = files(shop)
    assert after["large"] == before["large"]
    assert after["small"] != before["small"]


async def test_what_may_be_needed_is_counted_with_indexes_sorting_and_log(shop: Database, bench: Bench) -> None:
    size = "SELECT pg_total_relation_size('large') * 2 + pg_relation_size('large_note_idx')"
    needed = shop.value(size) / 1024**2
    refused = await bench.step(full(tables=["large"], freeMebibytes=int(needed)))
    assert f"it may need {needed:.1f} MiB" in refused.message
    enough = await bench.step(full(tables=["large"], freeMebibytes=int(needed) + 1))
    assert enough.outcome is Outcome.CHANGED, enough.message


@pytest.mark.parametrize(
    ("claim", "outcome", "said"),
    [
        ("shop-db", Outcome.CHANGED, "VACUUM FULL of 2 tables"),
        ("full-db", Outcome.FAILED, "0.0 MiB are free: make room first"),
        ("no-db", Outcome.UNKNOWN, "not known: Prometheus gives no number: check the query of freeSpace"),
    ],
)
async def test_prometheus_is_asked_how_much_is_free(
    shop: Database, bench: Bench, prometheus: PrometheusServer, claim: str, outcome: Outcome, said: str
) -> None:
    bench.connect_prometheus(prometheus.url)
    await _measured(prometheus)
    before = files(shop)
    step = await bench.step(full(**volume(claim)))
    assert step.outcome is outcome, step.message
    assert said in step.message
    assert (files(shop) == before) is (outcome is not Outcome.CHANGED)


async def test_a_query_for_several_volumes_is_refused(
    shop: Database, bench: Bench, prometheus: PrometheusServer
) -> None:
    before = files(shop)
    bench.connect_prometheus(prometheus.url)
    await _measured(prometheus)
    space = {"connection": "metrics", "query": "kubelet_volume_stats_available_bytes"}
    step = await bench.step(full(freeSpace=space))
    assert (step.outcome, files(shop)) == (Outcome.FAILED, before)
    assert step.message == "the query for the free space gives 2 series, not one: name the volume in it"


async def test_a_prometheus_that_is_away_is_no_yes(shop: Database, bench: Bench) -> None:
    bench.connect_prometheus("http://127.0.0.1:9")
    before = files(shop)
    step = await bench.step(full(**volume("shop-db")))
    assert (step.outcome, files(shop)) == (Outcome.UNKNOWN, before)


async def test_tables_of_several_volumes_are_refused(shop: Database, bench: Bench) -> None:
    # given an index on another volume
    shop.execute("SET allow_in_place_tablespaces = on", "CREATE TABLESPACE fast LOCATION ''")
    try:
        shop.execute("GRANT CREATE ON TABLESPACE fast TO upkeep")
        shop.as_owner("CREATE INDEX on_fast ON small (id) TABLESPACE fast")
        # when all is to be written anew
        step = await bench.step(full(freeMebibytes=1000))
        # then the free space of one volume is not enough to know
        assert step.outcome is Outcome.FAILED
        assert "in several tablespaces (fast, that of the database)" in step.message
        # and tables of one volume are not kept from it
        one = await bench.step(full(tables=["large"], freeMebibytes=1000))
        assert one.outcome is Outcome.CHANGED, one.message
    finally:
        shop.execute("DROP INDEX on_fast", "DROP TABLESPACE fast")


async def test_a_locked_table_does_not_keep_the_others(shop: Database, bench: Bench) -> None:
    with shop.session() as other, other.transaction():
        other.execute("LOCK TABLE large IN ACCESS EXCLUSIVE MODE")
        step = await bench.step(full(freeMebibytes=1000, lockTimeout="1s"))
    assert step.outcome is Outcome.FAILED
    assert step.message == "1 of 2 tables not vacuumed: public.large: another session kept it locked for over 1 s"


async def _measured(prometheus: PrometheusServer) -> None:
    await eventually(lambda: len(prometheus.values("kubelet_volume_stats_available_bytes")) == 2)
