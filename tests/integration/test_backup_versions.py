"""Backups of servers of every supported version, with several versions of PostgreSQL's programs in the image."""

from collections.abc import Iterator
from typing import Final

import pytest

from integration.bench import Bench
from integration.postgres import Database, running_postgres
from integration.resticstore import Store
from upkeep.actions.backup.origin import Origin
from upkeep.actions.backup.postgres import BackupPostgres
from upkeep.actions.backup.restore import BackupRestore
from upkeep.actions.backup.restoretest import BackupRestoreTest
from upkeep.actions.connections import SecretReference
from upkeep.actions.contract import Outcome

POLICY: Final = "shop/shop-db"
WHERE: Final = {"passwordSecretRef": SecretReference(name="repository-secret")}


@pytest.fixture(scope="module", params=["14", "16", "17", "18"])
def shop(request: pytest.FixtureRequest) -> Iterator[Database]:
    """A database of a server that is not of Debian's version."""
    with running_postgres(version=request.param) as server, server.database("shop") as database:
        server.execute("ALTER ROLE upkeep CREATEDB")
        database.as_owner(
            "CREATE TABLE orders AS SELECT g AS id, md5(g::text) AS note FROM generate_series(1, 1000) g",
            "ALTER TABLE orders ADD PRIMARY KEY (id)",
            "CREATE TABLE users AS SELECT 'Ada' AS name",
        )
        yield database


def backup(store: Store) -> BackupPostgres:
    repository = {"path": str(store.path), **WHERE}
    return BackupPostgres.model_validate(
        {"connection": "db", "repository": repository, "policy": POLICY, "schedule": "daily"}
    )


@pytest.mark.usefixtures("many_versions")
async def test_a_backup_of_any_version_is_restored_to_the_last_row(
    shop: Database, bench: Bench, pod: Bench, store: Store
) -> None:
    bench.connect_postgres(shop.server, database=shop.name)
    made = await bench.step(backup(store))
    assert made.outcome is Outcome.CHANGED, made.message
    test = BackupRestoreTest.model_validate(
        {"repository": {"path": str(store.path), **WHERE}, "policy": POLICY, "full": True}
    )
    tested = await pod.step(test)
    assert tested.outcome is Outcome.OK, tested.message
    assert "2 tables with 1001 rows as they were dumped, 2 checksums and all roles as they were" in tested.message


@pytest.mark.usefixtures("many_versions")
async def test_a_backup_of_any_version_comes_back_into_its_server(shop: Database, bench: Bench, store: Store) -> None:
    bench.connect_postgres(shop.server, database=shop.name)
    await bench.step(backup(store))
    origin = {"policy": "shop-db", "owner": POLICY, "credentials": ""}
    repository = {"path": str(store.path), "password_secret_ref": WHERE["passwordSecretRef"]}
    bench.origins.append(Origin.model_validate({**origin, "repository": repository}))
    # when it is restored beside the one in service
    restored = await bench.step(
        BackupRestore.model_validate({"connection": "db", "policy": "shop-db", "database": "again"})
    )
    assert restored.outcome is Outcome.CHANGED, restored.message
    again = Database(server=shop.server, name="again")
    assert again.value("SELECT count(*) FROM public.orders") == 1000
    shop.server.execute("DROP DATABASE again")


async def test_an_image_with_older_programs_alone_says_what_is_needed(bench: Bench, store: Store) -> None:
    with running_postgres(version="16") as server, server.database("shop") as database:
        bench.connect_postgres(server, database=database.name)
        step = await bench.step(backup(store))
    assert step.outcome is Outcome.FAILED
    assert "is version 16 and cannot be dumped: this image has the programs of PostgreSQL 15, and 16" in step.message
