"""What restic complains of is told from what is wrong with the repository, and comes with what to do."""

from pathlib import Path
from typing import Final

import pytest

from upkeep.actions.backup.complaint import Complaint
from upkeep.actions.backup.process import Finished
from upkeep.actions.backup.s3 import Bucket, S3Location
from upkeep.actions.backup.storage import Storage, Volume
from upkeep.actions.contract import Context

LOCATION: Final = {"endpoint": "http://minio:9000", "bucket": "backups", "secretRef": {"name": "keys"}}
CUT: Final = 'Save(<data/3d2>) returned error, retrying after 4s: Put "http://minio:9000/backups/data": EOF'
ASKS: Final = "Fatal: unable to open config file: {}\nIs there a repository at the following location?\ns3:…"


@pytest.fixture
def bucket(tmp_path: Path) -> Storage:
    (tmp_path / "storage").mkdir()
    for key in ("accessKeyId", "secretAccessKey"):
        (tmp_path / "storage" / key).write_text("value")
    context = Context(connections={}, credentials=tmp_path, scratch=tmp_path, volumes=tmp_path, remaining=60)
    return Bucket(S3Location.model_validate(LOCATION), context)


def complaint(storage: Storage, errors: str, code: int = 1) -> Complaint:
    return Complaint(finished=Finished(code=code, output="", errors=errors), storage=storage)


@pytest.mark.parametrize(
    ("errors", "advice"),
    [
        (CUT, "the server does not answer: check the network to it, and that it runs"),
        ("Fatal: dial tcp: lookup minio: no such host", "the server does not answer"),
        ("Fatal: client.PutObject: Access Denied.", "allow the credentials to read, write and delete there"),
        ("Fatal: XMinioStorageFull", "bucket backups takes no more: raise its quota, or give the server more room"),
        ("Fatal: QuotaExceeded", "bucket backups takes no more"),
        ("Fatal: The specified bucket does not exist", "the bucket is gone: restore it, or correct s3.bucket"),
        ("Fatal: SlowDown: Please reduce your request rate.", "the server has trouble: look into its log"),
        ("Fatal: write /scratch/tmp: no space left on device", "the scratch volume is full: raise scratchSize"),
        (ASKS.format("Stat: Access Denied."), "allow the credentials to read, write and delete there"),
    ],
)
def test_what_a_server_does_is_no_damage(bucket: Storage, errors: str, advice: str) -> None:
    found = complaint(bucket, errors)
    assert found.explained
    assert found.meaning == 1
    assert advice in found.advice(secret="repository")  # noqa: S106 - a name


@pytest.mark.parametrize(
    ("errors", "advice"),
    [
        ("Fatal: open /backups/x: permission denied", "check that the volume is mounted writable"),
        ("Fatal: write /backups/x: no space left on device", "the volume is full: enlarge it"),
        (ASKS.format("stat /backups/config: permission denied"), "check that the volume is mounted writable"),
    ],
)
def test_nor_is_what_a_volume_does(errors: str, advice: str) -> None:
    found = complaint(Volume(Path("/backups")), errors)
    assert found.explained
    assert advice in found.advice(secret="repository")  # noqa: S106 - a name


@pytest.mark.parametrize("code", [1, 2])
def test_what_nothing_else_explains_may_be_damage(bucket: Storage, code: int) -> None:
    for storage in (bucket, Volume(Path("/backups"))):
        assert not complaint(storage, "error: pack 3d2: ciphertext verification failed", code).explained


def test_a_missing_repository_is_told_from_one_that_cannot_be_read(bucket: Storage) -> None:
    assert complaint(bucket, ASKS.format("Stat: The specified key does not exist.")).meaning == 10
    assert complaint(bucket, ASKS.format("Stat: 503 Service Unavailable")).meaning == 1


def test_for_how_long_a_lock_was_waited_for_is_told(bucket: Storage) -> None:
    errors = "unable to create lock in backend: repository is already locked by PID 7 on shop-db-x7k2p by upkeep"
    finished = Finished(code=1, output="", errors=errors, waited=61.4)
    found = Complaint(finished=finished, storage=bucket).advice(secret="repository")  # noqa: S106 - a name
    assert found.startswith(errors)
    assert found.endswith("(waited 61s for its end): wait until the other run has ended, then run this again")
