"""Backups in a bucket: all that is done with a repository, what is wrong is said at once, and no secret is told."""

import asyncio
import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
from psycopg import sql

from integration.bench import Bench
from integration.certificate import Certificate
from integration.postgres import Database
from integration.resticstore import Store
from integration.s3server import ACCESS_KEY, REGION, SECRET_KEY, S3Server, answering, running_s3
from upkeep.actions.backup.integrity import BackupIntegrity
from upkeep.actions.backup.origin import Origin
from upkeep.actions.backup.postgres import BackupPostgres
from upkeep.actions.backup.prune import BackupPrune
from upkeep.actions.backup.restore import BackupRestore
from upkeep.actions.backup.restoretest import BackupRestoreTest
from upkeep.actions.contract import Action, Outcome, Severity

POLICY: Final = "shop/shop-db"
_NUMBERS = itertools.count(1)


@pytest.fixture
def bucket(s3: S3Server, bench: Bench) -> str:
    """Name of an empty bucket; its Secret and that of the repository are mounted."""
    bench.storage_secret()
    bench.repository_secret()
    name = f"backups-{next(_NUMBERS)}"
    s3.bucket(name)
    return name


@pytest.fixture
def store(s3: S3Server, bucket: str, bench: Bench) -> Store:
    """The repository in it, as a person sees it who has the disk of the server."""
    return Store(s3.directory / bucket / "of" / "shop", bench.repository_secret())


@pytest.fixture
def shop(database: Database, bench: Bench) -> Iterator[Database]:
    """A database with two tables and the connection to it."""
    database.as_owner(
        "CREATE TABLE orders AS SELECT g AS id, md5(g::text) AS note FROM generate_series(1, 20000) g",
        "CREATE TABLE users AS SELECT 'Ada' AS name",
    )
    bench.connect_postgres(database.server, database=database.name)
    yield database
    assert not [path for path in bench.scratch.rglob("*") if path.is_file() and "restic-cache" not in path.parts]


def repository(location: dict[str, Any], **changes: str) -> dict[str, Any]:
    return {"s3": location, "passwordSecretRef": {"name": "repository-secret"}, **changes}


def backup(location: dict[str, Any], **changes: str) -> BackupPostgres:
    declared = {"connection": "db", "policy": POLICY, "schedule": "daily"}
    return BackupPostgres.model_validate({**declared, "repository": repository(location, **changes)})


def others(location: dict[str, Any]) -> dict[str, Action]:
    kept = {"schedule": "daily", "retention": {"keepLast": 1}}
    where = {"repository": repository(location)}
    return {
        "check": BackupIntegrity.model_validate({**where, "readDataSubset": "100%"}),
        "test": BackupRestoreTest.model_validate({**where, "policy": POLICY}),
        "prune": BackupPrune.model_validate({**where, "policy": POLICY, "retentions": [kept]}),
    }


async def test_all_that_is_done_with_a_repository(
    shop: Database, bench: Bench, pod: Bench, s3: S3Server, bucket: str, store: Store
) -> None:
    location = s3.location(bucket, region=REGION, storageClass="STANDARD")
    # when there is no repository yet, it is made
    first = await bench.step(backup(location))
    assert first.outcome is Outcome.CHANGED, first.message
    assert first.message.endswith(", first one in a new repository")
    # then another backup stores only what has changed
    shop.as_owner("INSERT INTO users VALUES ('Grace')")
    second = await bench.step(backup(location))
    assert second.metrics["added_bytes"] < first.metrics["added_bytes"] / 20
    files = [path for path in store.path.rglob("*") if path.is_file()]
    assert second.metrics["repository_bytes"] == sum(path.stat().st_size for path in files)
    assert "free_bytes" not in second.metrics, "nobody knows it"
    # and it can be checked, restored and pruned
    steps = others(location)
    pod.storage_secret()
    check, test = await bench.step(steps["check"]), await pod.step(steps["test"])
    prune = await bench.step(steps["prune"])
    address = f"s3:{s3.url}/{bucket}/of/shop"
    assert check.message == f"repository {address} is intact: 2 snapshots, 100% of the data read back"
    assert "2 tables with 20002 rows as they were dumped" in test.message
    assert prune.message.startswith("removed 1 of 2 snapshots (daily 1 of 2), 1 kept; repository ")
    assert prune.metrics["freed_bytes"] > 0
    assert len(store.snapshots()) == 1
    store.restic("check", "--read-data")


async def test_a_task_restores_out_of_a_bucket(shop: Database, bench: Bench, s3: S3Server, bucket: str) -> None:
    # given a backup, and the Secrets of its policy where the operator has them mounted for a task
    location = s3.location(bucket)
    await bench.step(backup(location))
    (bench.credentials / "policy.0").mkdir()
    for name in ("repository", "storage"):
        (bench.credentials / name).rename(bench.credentials / "policy.0" / name)
    origin = {"policy": "shop-db", "owner": POLICY, "credentials": "policy.0", "repository": repository(location)}
    bench.origins.append(Origin.model_validate(origin))
    shop.server.execute("ALTER ROLE upkeep CREATEDB")
    beside = f"{shop.name}_beside"
    try:
        # when it is restored into a new database
        step = await bench.step(
            BackupRestore.model_validate({"connection": "db", "policy": "shop-db", "database": beside})
        )
        # then all is there
        assert step.outcome is Outcome.CHANGED, step.message
        assert Database(server=shop.server, name=beside).value("SELECT count(*) FROM orders") == 20000
    finally:
        shop.server.execute("ALTER ROLE upkeep NOCREATEDB")
        with shop.server.connect() as connection:
            connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(beside)))


@pytest.mark.usefixtures("shop")
async def test_names_of_amazon_and_a_region_that_nobody_said_do_too(bench: Bench, s3: S3Server, bucket: str) -> None:
    amazon = {"AWS_ACCESS_KEY_ID": ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": f"{SECRET_KEY}\n"}
    bench.storage_secret(accessKeyId="", secretAccessKey="", **amazon)
    step = await bench.step(backup(s3.location(bucket, prefix=None)))
    assert step.outcome is Outcome.CHANGED, step.message


@pytest.mark.usefixtures("shop")
@pytest.mark.parametrize(
    ("wrong", "keys", "words"),
    [
        ({"bucket": "nowhere"}, {}, "there is no bucket 'nowhere': create it, or correct s3.bucket"),
        ({}, {"accessKeyId": "somebody"}, "does not know the access key: check key 'accessKeyId' of Secret 's3-keys'"),
        ({}, {"secretAccessKey": "guess"}, "the secret key is wrong: check key 'secretAccessKey' of Secret 's3-keys'"),
        ({}, {"secretAccessKey": ""}, "Secret 's3-keys' of the repository has no key 'secretAccessKey': add the key"),
        (
            {"endpoint": "http://127.0.0.1:1"},
            {},
            "nothing listens there: check host and port, and that the server runs",
        ),
        ({"endpoint": "http://nowhere.invalid"}, {}, "check the host in url and that the Service exists"),
        ({"region": "mars-1"}, {}, f"the bucket is in another region (it is in {REGION}): correct s3.region"),
    ],
)
async def test_what_is_wrong_is_said_before_anything_is_made(
    wrong: dict[str, str], keys: dict[str, str], words: str, bench: Bench, s3: S3Server, bucket: str
) -> None:
    bench.storage_secret(**keys)
    location = s3.location(bucket, **wrong)
    for action in (backup(location), *others(location).values()):
        report = await bench.report(action)
        assert report.outcome is Outcome.FAILED
        assert words in report.message
        assert report.findings == []
    assert [path.name for path in s3.directory.iterdir() if path.name == "nowhere"] == []


@pytest.mark.usefixtures("shop")
async def test_tls_with_an_authority_of_ones_own(bench: Bench, tmp_path: Path) -> None:
    with running_s3(Certificate.make(tmp_path)) as server:
        server.bucket("backups")
        bench.repository_secret()
        bench.storage_secret()
        refused = await bench.step(backup(server.location("backups")))
        assert "CERTIFICATE_VERIFY_FAILED" in refused.message
        assert server.trust
        bench.storage_secret(**{"ca.crt": server.trust.read_text()})
        step = await bench.step(backup(server.location("backups")))
        assert step.outcome is Outcome.CHANGED, step.message


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ("200 OK|hello", "does not answer like an S3 server: check s3.endpoint"),
        ("404 Not Found|<html>", "what answers is no S3 server (HTTP 404): check s3.endpoint"),
        ("403 Forbidden|AccessDenied", "access denied: allow the access key in Secret 's3-keys' s3:ListBucket on"),
        ("403 Forbidden|RequestTimeTooSkewed", "the clocks of this node and of the server differ (Because.): set them"),
        ("400 Bad Request|Whatever", "Whatever: Because: look into the server's log"),
    ],
)
async def test_what_a_server_refuses_is_explained(answer: str, words: str, bench: Bench, bucket: str) -> None:
    status, _, code = answer.partition("|")
    body = code if code[0] in "h<" else f"<Error><Code>{code}</Code><Message>Because.</Message></Error>"

    async with answering(status, body) as endpoint:
        location = {"endpoint": endpoint, "bucket": bucket, "secretRef": {"name": "s3-keys"}}
        step = await bench.step(others(location)["check"])
    assert step.outcome is Outcome.FAILED
    assert words in step.message


@pytest.mark.parametrize("part", ["data", "index", "snapshots"])
@pytest.mark.usefixtures("shop")
async def test_one_flipped_bit_is_found_out(part: str, bench: Bench, s3: S3Server, bucket: str, store: Store) -> None:
    location = s3.location(bucket)
    await bench.step(backup(location))
    victim = max((store.path / part).rglob("*"), key=lambda path: path.stat().st_size if path.is_file() else 0)
    content = bytearray(victim.read_bytes())
    content[len(content) // 2] ^= 1
    victim.write_bytes(content)
    report = await bench.report(others(location)["check"], seconds=120)
    assert report.outcome is Outcome.FAILED
    assert [(finding.check_id, finding.severity) for finding in report.findings] == [
        ("backup.integrity", Severity.CRITICAL)
    ]


async def test_no_credential_is_told_to_anybody_but_restic(
    shop: Database, bench: Bench, s3: S3Server, bucket: str
) -> None:
    # given an upload that takes a while, because its bandwidth is limited
    shop.as_owner("INSERT INTO orders SELECT g, md5(random()::text) FROM generate_series(1, 5000) g")
    run = asyncio.create_task(bench.step(backup(s3.location(bucket), limitUpload="512Ki", limitDownload="1Gi")))
    # when all processes of this machine are looked at meanwhile
    seen: set[str] = set()
    while not run.done():
        seen |= _of_processes(bench.scratch)
        await asyncio.sleep(0.01)
    # then restic was among them, and neither arguments nor environments have a secret
    step = await run
    assert step.outcome is Outcome.CHANGED, step.message
    assert any(
        "restic" in text and "--limit-upload=512" in text and "--limit-download=1048576" in text for text in seen
    )
    assert not [text for text in seen if SECRET_KEY in text or ACCESS_KEY in text or "repository-password" in text]
    assert SECRET_KEY not in json.dumps(step.model_dump(mode="json"), ensure_ascii=False)


def _of_processes(scratch: Path) -> set[str]:
    """Arguments and environments of all processes that work in the scratch directory."""
    found = set()
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if process.joinpath("cwd").readlink().is_relative_to(scratch):
                texts = [process.joinpath(name).read_bytes() for name in ("cmdline", "environ")]
                found.add(" ".join(text.decode(errors="replace").replace("\0", " ") for text in texts))
        except OSError:
            continue
    return found


@pytest.mark.usefixtures("shop")
async def test_two_policies_that_make_one_repository_at_once_both_succeed(
    bench: Bench, s3: S3Server, bucket: str, store: Store, tmp_path: Path
) -> None:
    # given two policies that share a repository that is not there yet
    location = s3.location(bucket)
    second = Bench(tmp_path / "second")
    second.connections = bench.connections
    for name in ("db", "storage", "repository"):
        (second.credentials / name).symlink_to(bench.credentials / name)
    # when both have their first backup at the same time
    steps = await asyncio.gather(bench.step(backup(location)), second.step(backup(location)))
    # then one of them made it, both are in it, and all can be read
    assert [step.outcome for step in steps] == [Outcome.CHANGED] * 2, steps
    assert sum("first one in a new repository" in step.message for step in steps) == 1
    assert len(list((store.path / "keys").iterdir())) == 1
    assert sorted(path.name for path in store.path.iterdir() if path.is_file()) == ["config"]
    assert len(store.snapshots()) == 2
    store.restic("check", "--read-data")
