"""Files of a volume come back as they were, and a backup of nothing is none."""

import os
import time
from pathlib import Path
from typing import Any, Final

import pytest

from integration.bench import Bench
from integration.resticstore import Store
from upkeep.actions.backup.files import BackupFiles
from upkeep.actions.backup.filestest import BackupFilesTest
from upkeep.actions.contract import Outcome, Severity

POLICY: Final = "shop/shop-uploads"


@pytest.fixture
def uploads(tmp_path: Path) -> Path:
    """A volume with pictures, a link, and what nobody needs."""
    root = tmp_path / "volume"
    (root / "uploads/ü b").mkdir(parents=True)
    (root / "uploads/ü b/-one.jpg").write_bytes(os.urandom(3000))
    (root / "uploads/two.jpg").write_bytes(os.urandom(2000))
    (root / "uploads/link").symlink_to("/etc/passwd")
    (root / "cache").mkdir()
    (root / "cache/thumbnail.jpg").write_bytes(b"x" * 1000)
    return root


def age(root: Path, *, days: int) -> None:
    """Let all pictures be so old."""
    for path in root.rglob("*.jpg"):
        os.utime(path, (time.time() - days * 86400,) * 2)


def backup(store: Store, root: Path, **changes: object) -> BackupFiles:
    declared = {"root": str(root), "origin": "volume uploads", "repository": store.declared}
    return BackupFiles.model_validate({**declared, "policy": POLICY, "schedule": "hourly", **changes})


def verify(store: Store, *files: dict[str, Any]) -> BackupFilesTest:
    return BackupFilesTest.model_validate({"repository": store.declared, "policy": POLICY, "files": list(files)})


async def test_files_come_back_as_they_were(bench: Bench, store: Store, uploads: Path, tmp_path: Path) -> None:
    # when a volume is backed up
    step = await bench.step(backup(store, uploads))
    # then its files and its links as links are in the repository
    assert step.outcome is Outcome.CHANGED, step.message
    assert step.metrics["files"] == 3
    store.restic("restore", "latest", "--target", str(tmp_path / "back"))
    for name in ("uploads/ü b/-one.jpg", "uploads/two.jpg", "cache/thumbnail.jpg"):
        assert (tmp_path / "back" / name).read_bytes() == (uploads / name).read_bytes()
    assert (tmp_path / "back/uploads/link").readlink() == Path("/etc/passwd")
    # and nothing of it was left in the scratch directory but restic's cache
    assert [path.name for path in bench.scratch.iterdir()] == ["restic-cache"]


async def test_only_what_is_named_is_backed_up_and_what_is_excluded_is_not(
    bench: Bench, store: Store, uploads: Path
) -> None:
    (uploads / "--weird").mkdir()
    (uploads / "--weird/file").write_text("x")

    await bench.step(backup(store, uploads, paths=["uploads", "--weird"], exclude=["two.*", "--nonsense"]))

    listed = store.restic("ls", "latest")
    assert "/--weird/file" in listed
    assert "-one.jpg" in listed
    assert "two.jpg" not in listed
    assert "thumbnail" not in listed


async def test_what_did_not_change_is_not_stored_again(bench: Bench, store: Store, uploads: Path) -> None:
    first = await bench.step(backup(store, uploads))
    (uploads / "uploads/three.jpg").write_bytes(os.urandom(500))

    second = await bench.step(backup(store, uploads))

    assert second.metrics["files"] == first.metrics["files"] + 1
    assert 500 <= second.metrics["added_bytes"] < first.metrics["added_bytes"] / 1.5


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"paths": ["nowhere"]}, "volume uploads has no 'nowhere': correct source.files.paths"),
        ({"paths": ["empty"]}, "there are no files in 'empty' of volume uploads: check the source"),
        ({"exclude": ["*"]}, "snapshot is empty: exclude leaves out everything"),
    ],
)
async def test_a_backup_of_nothing_is_none(
    changes: dict[str, object], words: str, bench: Bench, store: Store, uploads: Path
) -> None:
    (uploads / "empty/deep").mkdir(parents=True)

    step = await bench.step(backup(store, uploads, **changes))

    assert step.outcome is Outcome.FAILED
    assert words in step.message


async def test_a_file_that_cannot_be_read_makes_it_a_failure(bench: Bench, store: Store, uploads: Path) -> None:
    with bench.unreadable(uploads / "uploads/locked"):
        step = await bench.step(backup(store, uploads))

    assert step.outcome is Outcome.FAILED
    assert "only a part was backed up" in step.message


async def test_a_backup_that_has_what_is_expected_is_verified(bench: Bench, store: Store, uploads: Path) -> None:
    await bench.step(backup(store, uploads))

    step = await bench.step(
        verify(
            store,
            {"name": "pictures", "path": "uploads/**/*.jpg", "min": 2},
            {"name": "fresh", "path": "uploads/*", "maxAge": "1h"},
        )
    )

    assert step.outcome is Outcome.OK, step.message
    assert step.message.endswith("4 files, 5.9 KiB, 2 expectations met")
    assert step.facts["snapshot"] == store.snapshots()[0]["short_id"]
    assert [path.name for path in bench.scratch.iterdir()] == ["restic-cache"]


async def test_what_is_expected_and_not_there_is_critical(bench: Bench, store: Store, uploads: Path) -> None:
    # given pictures of which the newest is three days old
    age(uploads, days=3)
    await bench.step(backup(store, uploads))

    report = await bench.report(
        verify(
            store,
            {"name": "documents", "path": "uploads/**/*.pdf"},
            {"name": "fresh", "path": "**/*.jpg", "maxAge": "2d"},
            {"name": "links-are-no-files", "path": "uploads/link"},
        )
    )

    assert report.outcome is Outcome.FAILED
    found = {finding.object: finding for finding in report.findings}
    assert set(found) == {"documents", "fresh", "links-are-no-files"}
    assert {finding.severity for finding in report.findings} == {Severity.CRITICAL}
    assert "0 files match 'uploads/**/*.pdf'" in found["documents"].recommendation
    assert "more than 2d before the backup" in found["fresh"].recommendation


async def test_one_byte_that_changed_in_the_repository_is_found_out(bench: Bench, store: Store, uploads: Path) -> None:
    await bench.step(backup(store, uploads))
    pack = max(
        (path for path in (store.path / "data").rglob("*") if path.is_file()), key=lambda path: path.stat().st_size
    )
    pack.chmod(0o600)
    content = bytearray(pack.read_bytes())
    content[len(content) // 2] ^= 1
    pack.write_bytes(content)

    step = await bench.step(verify(store))

    assert step.outcome is Outcome.FAILED
    assert "is damaged" in step.message
