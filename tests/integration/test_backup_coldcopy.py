"""A copy in cold storage: whole or not said to be, a repository when it is thawed, never written over another's."""

import asyncio
import itertools
import json
import os
import re
import shutil
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest

from integration.bench import Bench, eventually
from integration.cutter import relay
from integration.resticstore import Store
from integration.restserver import PASSWORD, USER, running_rest
from integration.s3server import ACCESS_KEY, SECRET_KEY, S3Server, answering
from upkeep.actions.backup.cold import MARKER
from upkeep.actions.backup.coldcopy import BackupColdCopy
from upkeep.actions.backup.s3 import Bucket, S3Place
from upkeep.actions.backup.storage import GoneError, UnreachableError
from upkeep.actions.contract import ActionError, Outcome, Severity
from upkeep.domain.report import RunReport, StepReport

_NUMBERS = itertools.count(1)
PACK: Final = 300_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Shop:
    """A repository, and a bucket for its copy.

    Attributes:
        repository: as a person sees it who has the disk of the server.
        source: what a policy says of it.
        copy: the directory of the copy on that disk.
        target: what a policy says of that.
    """

    bench: Bench
    repository: Store
    source: dict[str, Any]
    copy: Path
    target: dict[str, Any]

    @property
    def same_server(self) -> bool:
        """Whether the server can copy by itself."""
        place = self.source.get("s3")
        return place is not None and place["endpoint"] == self.target["endpoint"]

    def back_up(self, name: str) -> str:
        """Store a file of this name with content of its own; returns the short id of the snapshot."""
        files = self.repository.path.parent / "files"
        files.mkdir(exist_ok=True)
        (files / name).write_bytes(os.urandom(PACK))
        said = self.repository.restic("backup", "--json", name, directory=files)
        return str(json.loads(said.splitlines()[-1])["snapshot_id"])[:8]

    def action(self, **changes: Any) -> BackupColdCopy:  # noqa: ANN401 - of any type
        declared = {"repository": self.source, "target": self.target, "storageClass": "DEEP_ARCHIVE"}
        return BackupColdCopy.model_validate({**declared, **changes})

    async def copied(self, **changes: Any) -> StepReport:  # noqa: ANN401 - of any type
        return await self.bench.step(self.action(**changes))

    def kept(self) -> Sequence[str]:
        """The names of the files of the copy, without the marker."""
        names = [path.relative_to(self.copy).as_posix() for path in self.copy.rglob("*") if path.is_file()]
        return sorted(name for name in names if name != MARKER)

    def there(self) -> Sequence[str]:
        """The names of the files of the repository, without locks."""
        root = self.repository.path
        names = [path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()]
        return sorted(name for name in names if not name.startswith("locks/"))

    def thawed(self) -> Store:
        """The copy, as restic sees it."""
        return Store(self.copy, self.bench.credentials / "repository" / "password")

    def marker(self) -> dict[str, Any]:
        """What stands beside the copy."""
        found: dict[str, Any] = json.loads((self.copy / MARKER).read_text())
        return found


def lost(report: RunReport) -> Sequence[float]:
    """How many files are said to be lost; the server of the test keeps all in one class, and that is a finding too."""
    assert {each.check_id for each in report.findings} <= {"backup.cold-copy.lost", "backup.cold-copy.class"}
    return [each.observed for each in report.findings if each.check_id == "backup.cold-copy.lost"]


def cold_secret(bench: Bench, **changes: str) -> None:
    bench.secret("cold", **{"accessKeyId": ACCESS_KEY, "secretAccessKey": SECRET_KEY, **changes})


EVERYWHERE: Final = pytest.mark.parametrize("shop", ["volume", "same server", "another login"], indirect=True)


@pytest.fixture
def shop(request: pytest.FixtureRequest, s3: S3Server, bench: Bench, tmp_path: Path) -> Shop:
    """A repository in a bucket beside that of the copy, in one that the server cannot copy from, or on a volume.

    The Job has not its password.
    """
    number = next(_NUMBERS)
    bench.storage_secret()
    cold_secret(bench)
    password = bench.repository_secret()
    cold = s3.bucket(f"cold-{number}")
    directory = tmp_path / "volume" / "repository"
    source: dict[str, Any] = {"path": str(directory)}
    place = getattr(request, "param", "another login")
    if place != "volume":
        directory = s3.bucket(f"warm-{number}") / "of" / "shop"
        source = {"s3": s3.location(f"warm-{number}")}
        if place == "another login":
            source["s3"]["endpoint"] = s3.url.replace("127.0.0.1", "localhost")
    directory.mkdir(parents=True)
    store = Store(directory, password)
    store.restic("init")
    target = s3.location(cold.name, prefix="copies/shop")
    return Shop(bench=bench, repository=store, source=source, copy=cold / "copies" / "shop", target=target)


@EVERYWHERE
async def test_a_copy_is_a_repository_when_it_is_thawed(shop: Shop) -> None:
    # given two backups
    shop.back_up("orders")
    second = shop.back_up("users")
    # when they are copied
    step = await shop.copied(known=[second])
    # then every file is there, and said to be, and nothing is said to be verified
    assert step.outcome is Outcome.CHANGED, step.message
    assert shop.kept() == shop.there()
    assert f"{len(shop.there()) - 1} files copied" in step.message
    assert "holds 2 snapshots" in step.message
    assert "nothing can be read or verified before it is thawed (12h to 48h)" in step.message
    assert step.metrics["copy_snapshots"] == 2
    sizes = [path.stat().st_size for path in shop.copy.rglob("*") if path.is_file() and path.name != MARKER]
    assert step.metrics["copy_bytes"] == sum(sizes)
    assert step.facts["snapshot"] == second
    assert (step.facts["storage_class"], step.facts["thaw_time"]) == ("DEEP_ARCHIVE", "12h to 48h")
    # and restic takes it for a whole repository
    shop.thawed().restic("check", "--read-data")
    assert [each["id"] for each in shop.thawed().snapshots()] == [each["id"] for each in shop.repository.snapshots()]


@EVERYWHERE
async def test_only_data_is_put_into_the_cold_class_and_all_of_it_is_hashed(shop: Shop, s3: S3Server) -> None:
    # given somebody who listens to what the server of the copy is asked for
    shop.back_up("orders")
    async with relay(s3.port) as overheard:
        overheard.listens = True
        here = f"http://127.0.0.1:{overheard.port}"
        source = {"s3": {**shop.source["s3"], "endpoint": here}} if shop.same_server else shop.source
        step = await shop.copied(repository=source, target={**shop.target, "endpoint": here})
    # then all data goes into the class, and nothing else does
    assert step.outcome is Outcome.CHANGED, step.message
    heads = re.findall(rb"PUT /\S+?/copies/shop/(\S+) HTTP/1.1\r\n(.*?)\r\n\r\n", bytes(overheard.said), re.DOTALL)
    asked = {name.decode(): head.decode() for name, head in heads}
    assert {*shop.there(), MARKER} == set(asked)
    classes = {name: re.findall(r"x-amz-storage-class: (\S+)", head) for name, head in asked.items()}
    assert {name: found for name, found in classes.items() if found} == {
        name: ["DEEP_ARCHIVE"] for name in shop.there() if name.startswith("data/")
    }
    # and the server is told the SHA-256, or asked for it
    for name, head in asked.items():
        if "x-amz-copy-source: " in head:
            assert shop.same_server
            assert "x-amz-checksum-algorithm: SHA256" in head
        elif "/" in name:
            digest = name.rpartition("/")[2]
            assert f"x-amz-content-sha256: {digest}" in head
            assert f"x-amz-checksum-sha256: {b64encode(bytes.fromhex(digest)).decode()}" in head
    assert any("x-amz-copy-source: " in head for head in asked.values()) == shop.same_server


async def test_a_network_that_is_cut_for_a_moment_does_no_harm(shop: Shop, s3: S3Server) -> None:
    # given a line that is cut in the middle of the data, and is mended a moment later
    shop.back_up("orders")
    async with relay(s3.port) as line:
        line.cut_after = PACK // 2
        target = {**shop.target, "endpoint": f"http://127.0.0.1:{line.port}"}
        run = asyncio.create_task(shop.copied(target=target))
        await eventually(lambda: line.cut)
        line.mend()
        step = await run
    assert step.outcome is Outcome.CHANGED, step.message
    shop.thawed().restic("check", "--read-data")


async def test_a_network_that_stays_cut_is_said(shop: Shop, s3: S3Server) -> None:
    shop.back_up("orders")
    async with relay(s3.port) as line:
        line.cut_after = PACK // 2
        target = {**shop.target, "endpoint": f"http://127.0.0.1:{line.port}"}
        report = await shop.bench.report(shop.action(target=target), seconds=90)
    assert report.outcome is Outcome.FAILED
    assert "cannot reach repository" in report.message
    assert report.findings == []
    assert shop.thawed().snapshots() == []


@EVERYWHERE
async def test_only_what_is_new_is_copied(shop: Shop) -> None:
    shop.back_up("orders")
    first = await shop.copied()
    # when nothing is new
    step = await shop.copied()
    assert step.outcome is Outcome.OK, step.message
    assert step.message.startswith("0 files copied (0 B); ")
    assert step.findings == 0
    # when a backup is
    before = set(shop.there())
    shop.back_up("users")
    step = await shop.copied()
    assert step.outcome is Outcome.CHANGED
    assert step.message.startswith(f"{len(set(shop.there()) - before)} files copied")
    assert PACK < step.metrics["copied_bytes"] < first.metrics["copied_bytes"] * 2
    shop.thawed().restic("check", "--read-data")


async def test_what_the_repository_has_no_longer_stays_as_long_as_it_should(shop: Shop) -> None:
    # given a copy of two backups, of which one is then removed and its data freed
    first, second = shop.back_up("orders"), shop.back_up("users")
    await shop.copied()
    shop.repository.restic("forget", first, "--prune")
    # when it is copied again, with any time for which things are kept
    for keep in ({}, {"keepFor": "90d"}):
        step = await shop.copied(**keep)
        # then both are there, and can be read
        assert "holds 2 snapshots" in step.message
        assert [each["short_id"] for each in shop.thawed().snapshots()] == [first, second]
        shop.thawed().restic("check", "--read-data")
        assert set(shop.there()) < set(shop.kept())
    # when that time is over
    step = await shop.copied(keepFor="0s")
    # then what is left is what the repository has, and is whole
    assert step.outcome is Outcome.CHANGED
    assert " removed; " in step.message
    assert "holds 1 snapshot in" in step.message
    assert shop.kept() == shop.there()
    assert shop.marker()["gone"] == {}
    shop.thawed().restic("check", "--read-data")


async def test_a_copy_that_is_stopped_lists_no_snapshot_and_the_next_one_goes_on(shop: Shop) -> None:
    for number in range(4):
        shop.back_up(f"file-{number}")
    # given a copy that is so slow that its time is over in the middle
    report = await shop.bench.report(shop.action(limitUpload="500Ki"), seconds=2)
    assert report.outcome is Outcome.FAILED
    assert "copied (" in report.message
    assert "the next run goes on from there" in report.message
    assert shop.thawed().snapshots() == []
    assert shop.marker()["complete"] is None
    there = set(shop.kept())
    # when it is copied again, then only the rest is
    report = await shop.bench.report(shop.action())
    assert report.steps[0].message.startswith(f"{len(set(shop.there()) - there)} files copied")
    assert lost(report) == [], "nothing was"
    shop.thawed().restic("check", "--read-data")


@EVERYWHERE
async def test_a_damaged_file_is_not_copied(shop: Shop) -> None:
    # given a copy, and a new backup of which a bit flips
    first = shop.back_up("orders")
    await shop.copied()
    before = set(shop.there())
    shop.back_up("users")
    new = [shop.repository.path / name for name in sorted(set(shop.there()) - before) if name.startswith("data/")]
    victim = max(new, key=lambda path: path.stat().st_size)
    content = bytearray(victim.read_bytes())
    content[len(content) // 2] ^= 1
    victim.chmod(0o600)
    victim.write_bytes(content)
    # when it is copied
    report = await shop.bench.report(shop.action())
    # then that is told, and the copy is what it was
    assert report.outcome is Outcome.FAILED
    assert victim.name in report.message
    assert report.message.endswith("is damaged: it was not copied")
    assert [(each.check_id, each.severity) for each in report.findings] == [("backup.cold-copy", Severity.CRITICAL)]
    assert victim.relative_to(shop.repository.path).as_posix() not in shop.kept()
    assert [each["short_id"] for each in shop.thawed().snapshots()] == [first]


async def test_what_goes_missing_from_the_copy_is_noticed_and_copied_again(shop: Shop) -> None:
    shop.back_up("orders")
    await shop.copied()
    # given files of the copy of which one is cut off
    packs = sorted((shop.copy / "data").rglob("*/*"))
    os.truncate(packs[0], 5)
    # when it is copied again
    report = await shop.bench.report(shop.action())
    # then it is told, and whole again
    assert lost(report) == [1]
    shop.thawed().restic("check", "--read-data")
    # when one that is old is gone, then too
    os.utime(shop.repository.path / packs[0].relative_to(shop.copy), (1, 1))
    packs[0].unlink()
    report = await shop.bench.report(shop.action())
    assert lost(report) == [1]
    shop.thawed().restic("check", "--read-data")


async def test_the_copy_of_another_repository_is_left_alone(shop: Shop, tmp_path: Path) -> None:
    shop.back_up("orders")
    await shop.copied()
    kept = shop.kept()
    # given another repository
    other = Store(tmp_path / "other", shop.bench.credentials / "repository" / "password")
    other.path.mkdir()
    other.restic("init")
    (tmp_path / "note").write_text("hello")
    other.restic("backup", "note", directory=tmp_path)
    # when that is to be copied to the same place, then it is not
    step = await shop.copied(repository={"path": str(other.path)}, keepFor="0s")
    assert step.outcome is Outcome.FAILED
    assert "holds a copy of another repository: name another bucket or prefix in coldCopy.s3" in step.message
    assert shop.kept() == kept
    # nor where the config of what is there is missing
    (shop.copy / "config").unlink()
    step = await shop.copied(repository={"path": str(other.path)}, keepFor="0s")
    assert "holds files of a repository without its config" in step.message


async def test_the_repository_itself_is_no_copy_of_it(shop: Shop, s3: S3Server) -> None:
    shop.back_up("orders")
    itself = {**shop.source["s3"], "endpoint": s3.url}
    step = await shop.copied(target=itself, keepFor="0s")
    assert step.outcome is Outcome.FAILED
    assert "is the repository itself: name another bucket in coldCopy.s3" in step.message
    assert MARKER not in shop.there()
    shop.repository.restic("check", "--read-data")


@EVERYWHERE
async def test_a_copy_of_what_others_write_and_remove_meanwhile_is_whole(shop: Shop) -> None:
    # given somebody who makes backups and removes them, time and again
    shop.back_up("orders")
    stop = False

    def busy() -> int:
        rounds = 0
        while not stop:
            shop.repository.restic("forget", shop.back_up(f"file-{rounds}"), "--prune")
            shop.back_up(f"kept-{rounds}")
            rounds += 1
        return rounds

    work = asyncio.create_task(asyncio.to_thread(busy))
    try:
        # when it is copied meanwhile, more than once
        steps = [await shop.copied() for _ in range(4)]
    finally:
        stop = True
        rounds = await work
    # then whatever is in the copy can be read
    assert rounds > 0
    assert {step.outcome for step in steps} <= {Outcome.CHANGED, Outcome.OK}, [step.message for step in steps]
    shop.thawed().restic("check", "--read-data")


@pytest.mark.parametrize(
    ("wrong", "keys", "words"),
    [
        ({"bucket": "nowhere"}, {}, "there is no bucket 'nowhere': create it, or correct coldCopy.s3.bucket"),
        ({}, {"accessKeyId": "somebody"}, "does not know the access key: check key 'accessKeyId' of Secret 's3-keys'"),
        ({}, {"secretAccessKey": "guess"}, "the secret key is wrong: check key 'secretAccessKey' of Secret 's3-keys'"),
        ({"endpoint": "http://127.0.0.1:1"}, {}, "nothing listens there"),
        ({"region": "mars-1"}, {}, "correct coldCopy.s3.region"),
    ],
)
async def test_what_is_wrong_is_said(wrong: dict[str, str], keys: dict[str, str], words: str, shop: Shop) -> None:
    shop.back_up("orders")
    cold_secret(shop.bench, **keys)
    step = await shop.copied(target={**shop.target, **wrong})
    assert step.outcome is Outcome.FAILED
    assert words in step.message
    assert SECRET_KEY not in step.message
    assert not shop.copy.exists()


async def test_a_missing_secret_is_said(shop: Shop) -> None:
    shutil.rmtree(shop.bench.credentials / "cold")
    step = await shop.copied()
    assert "Secret 's3-keys'" in step.message
    assert step.outcome is Outcome.FAILED


@EVERYWHERE
async def test_where_there_is_nothing_yet_nothing_is_claimed(shop: Shop) -> None:
    # when there is no backup
    step = await shop.copied()
    assert step.outcome is Outcome.UNKNOWN
    assert "has no snapshots: there is nothing to copy yet: make a backup" in step.message
    # or not even a repository
    shutil.rmtree(shop.repository.path)
    step = await shop.copied()
    assert step.outcome is Outcome.UNKNOWN
    assert "there is no repository at " in step.message
    assert not shop.copy.exists()


async def test_a_repository_that_was_emptied_takes_nothing_with_it(shop: Shop) -> None:
    # given a copy of a repository that somebody empties
    shop.back_up("orders")
    await shop.copied()
    kept = shop.kept()
    for part in ("snapshots", "index", "data"):
        shutil.rmtree(shop.repository.path / part)
    # when it is copied, then nothing goes, however short things are kept
    step = await shop.copied(keepFor="0s")
    assert step.outcome is Outcome.UNKNOWN
    assert shop.kept() == kept


@pytest.mark.parametrize("left", ["", "no json", "[]", '{"gone": {"never": ["data/x"]}}', '{"gone": 3, "begun": "x"}'])
async def test_a_marker_that_cannot_be_read_hinders_nobody(left: str, shop: Shop) -> None:
    first = shop.back_up("orders")
    shop.back_up("users")
    await shop.copied()
    (shop.copy / MARKER).write_text(left)
    shop.repository.restic("forget", first, "--prune")
    step = await shop.copied(keepFor="90d")
    assert step.outcome in {Outcome.CHANGED, Outcome.OK}, step.message
    assert "holds 2 snapshots" in step.message


@pytest.mark.parametrize(
    ("answer", "error", "words"),
    [
        ("200 OK|<Error><Code>InternalError</Code></Error>", UnreachableError, "cannot copy into s3:"),
        ("404 Not Found|<Error><Code>NoSuchKey</Code></Error>", GoneError, "has gone: run this again"),
        ("403 Forbidden|<Error><Code>InvalidObjectState</Code></Error>", ActionError, "it was archived: thaw it"),
        ("200 OK|hello", ActionError, "does not answer like an S3 server"),
    ],
)
async def test_what_looks_like_a_copy_and_is_none_is_none(
    answer: str, error: type[ActionError], words: str, shop: Shop
) -> None:
    status, _, body = answer.partition("|")

    async with answering(status, body) as endpoint:
        place = S3Place.model_validate({**shop.target, "endpoint": endpoint})
        bucket = Bucket(place, shop.bench.context(), directory="cold", field="coldCopy.s3")
        with pytest.raises(error, match=words) as refused:
            await bucket.adopt(bucket, f"data/00/{'0' * 64}", storage_class="GLACIER")
    assert type(refused.value) is error


async def test_a_repository_on_a_rest_server(bench: Bench, s3: S3Server, tmp_path: Path) -> None:
    with running_rest() as server:
        repository = Store(server.directory / "shop", bench.repository_secret())
        repository.path.mkdir(parents=True)
        repository.restic("init")
        (tmp_path / "note").write_bytes(os.urandom(PACK))
        repository.restic("backup", "note", directory=tmp_path)
        bench.secret("storage", username=USER, password=PASSWORD)
        cold_secret(bench)
        cold = s3.bucket(f"cold-rest-{next(_NUMBERS)}")
        action = BackupColdCopy.model_validate(
            {
                "repository": {"rest": {"url": f"{server.url}/shop", "secretRef": {"name": "rest"}}},
                "target": s3.location(cold.name, prefix=None),
                "storageClass": "GLACIER",
            }
        )
        step = await bench.step(action)
        assert step.outcome is Outcome.CHANGED, step.message
        thawed = Store(cold, bench.credentials / "repository" / "password")
        thawed.restic("check", "--read-data")
        assert (await bench.step(action)).message.startswith("0 files copied")
