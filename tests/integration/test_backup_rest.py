"""Backups on a REST server of restic: the same as in a bucket, with a user name and a password."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from integration.bench import Bench
from integration.certificate import Certificate
from integration.postgres import Database
from integration.resticstore import Store
from integration.restserver import PASSWORD, USER, RestServer, running_rest
from upkeep.actions.backup.integrity import BackupIntegrity
from upkeep.actions.backup.postgres import BackupPostgres
from upkeep.actions.backup.prune import BackupPrune
from upkeep.actions.backup.restoretest import BackupRestoreTest
from upkeep.actions.contract import Outcome

POLICY: Final = "shop/shop-db"


@pytest.fixture
def server() -> Iterator[RestServer]:
    with running_rest() as server:
        yield server


@pytest.fixture
def shop(database: Database, bench: Bench) -> Database:
    """A database with a table, the connection to it, and the mounted Secrets."""
    database.as_owner("CREATE TABLE orders AS SELECT g AS id, md5(g::text) AS note FROM generate_series(1, 20000) g")
    bench.connect_postgres(database.server, database=database.name)
    bench.repository_secret()
    bench.secret("storage", username=USER, password=PASSWORD)
    return database


def repository(url: str, /, **changes: Any) -> dict[str, Any]:  # noqa: ANN401 - of any type
    location = {"url": url, "secretRef": {"name": "rest-login"}} | changes
    return {"repository": {"rest": location, "passwordSecretRef": {"name": "repository-secret"}}}


def backup(url: str, /, **changes: Any) -> BackupPostgres:  # noqa: ANN401 - likewise
    declared = {"connection": "db", "policy": POLICY, "schedule": "daily"}
    return BackupPostgres.model_validate({**declared, **repository(url, **changes)})


async def test_all_that_is_done_with_a_repository(shop: Database, bench: Bench, pod: Bench, server: RestServer) -> None:
    url = f"{server.url}/of/shop"
    first = await bench.step(backup(url))
    assert first.message.endswith(", first one in a new repository")
    shop.as_owner("INSERT INTO orders VALUES (0, 'new')")
    second = await bench.step(backup(url))
    store = Store(server.directory / "of" / "shop", bench.repository_secret())
    files = [path for path in store.path.rglob("*") if path.is_file()]
    assert second.metrics["repository_bytes"] == sum(path.stat().st_size for path in files)
    check = await bench.step(BackupIntegrity.model_validate({**repository(url), "readDataSubset": "100%"}))
    assert check.message == f"repository rest:{url} is intact: 2 snapshots, 100% of the data read back"
    pod.secret("storage", username=USER, password=PASSWORD)
    test = await pod.step(BackupRestoreTest.model_validate({**repository(url), "policy": POLICY}))
    assert "1 table with 20001 rows as they were dumped" in test.message
    kept = {"schedule": "daily", "retention": {"keepLast": 1}}
    prune = await bench.step(BackupPrune.model_validate({**repository(url), "policy": POLICY, "retentions": [kept]}))
    assert prune.message.startswith("removed 1 of 2 snapshots (daily 1 of 2), 1 kept; repository ")
    assert len(store.snapshots()) == 1
    store.restic("check", "--read-data")


@pytest.mark.usefixtures("shop")
@pytest.mark.parametrize(
    ("wrong", "keys", "words"),
    [
        (
            {},
            {"password": "guess"},
            "access denied (HTTP 401): check keys 'username' and 'password' of Secret 'rest-login'",
        ),
        ({"secretRef": None}, {}, "access denied (HTTP 401): check rest.secretRef"),
        ({"url": "http://127.0.0.1:1/"}, {}, "nothing listens there: check host and port, and that the server runs"),
    ],
)
async def test_what_is_wrong_is_said_at_once(
    wrong: dict[str, Any], keys: dict[str, str], words: str, bench: Bench, server: RestServer
) -> None:
    bench.secret("storage", **keys)
    step = await bench.step(backup(server.url, **wrong))
    assert step.outcome is Outcome.FAILED
    assert words in step.message
    assert PASSWORD not in step.message


@pytest.mark.usefixtures("shop")
async def test_tls_with_an_authority_of_ones_own(bench: Bench, tmp_path: Path) -> None:
    certificate = Certificate.make(tmp_path)
    with running_rest(certificate) as server:
        refused = await bench.step(backup(server.url))
        assert "CERTIFICATE_VERIFY_FAILED" in refused.message
        bench.secret("storage", ca_crt=certificate.certificate.read_text())
        step = await bench.step(backup(server.url))
    assert step.outcome is Outcome.CHANGED, step.message
