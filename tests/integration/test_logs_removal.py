"""Old logs go into an archive and old files go away, but nothing else does, whatever its names and links."""

import asyncio
import fcntl
import gzip
import os
import time
from pathlib import Path
from typing import Any

import pytest

from integration.bench import Bench, being_read, eventually, powerless, small_volume
from upkeep.actions.contract import Outcome
from upkeep.actions.logs.cleantemp import LogsCleanTemp
from upkeep.actions.logs.retention import LogsRetention

_DAY = 86400.0
_HOSTILE = ['"; DROP', "größe", "-rf", " ", "a\nb", "$(reboot)", "*", os.fsdecode(b"\xff\xfe")]


def retention(**changes: Any) -> LogsRetention:  # noqa: ANN401 - parameters of any kind
    return LogsRetention.model_validate({"connection": "logs", "dryRun": False, **changes})


def clean(**changes: Any) -> LogsCleanTemp:  # noqa: ANN401 - parameters of any kind
    return LogsCleanTemp.model_validate({"connection": "logs", "path": "", "dryRun": False, **changes})


def old(path: Path, *, days: float, content: bytes = b"line\n") -> Path:
    """A file, or a directory that is there, that was used so many days ago."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.is_dir():
        path.write_bytes(content)
    then = time.time() - days * _DAY
    os.utime(path, (then, then))
    return path


def files(directory: Path) -> list[str]:
    return sorted(str(path.relative_to(directory)) for path in directory.rglob("*") if not path.is_dir())


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


async def test_a_dry_run_only_counts(volume: Path, bench: Bench) -> None:
    old(volume / "app.log.1", days=40)
    old(volume / "app.log.2", days=400)
    report = await bench.report(
        LogsRetention.model_validate({"connection": "logs", "archiveAfter": "30d", "deleteAfter": "365d"}),
        LogsCleanTemp.model_validate({"connection": "logs", "path": ""}),
    )
    assert report.outcome is Outcome.OK
    assert [step.message for step in report.steps] == [
        "dry run: would archive 2 files and delete 0",
        "dry run: would remove 2 files of 0.0 MiB, unused for 1w",
    ]
    assert len(report.findings) == 2
    assert files(volume) == ["app.log.1", "app.log.2"]


async def test_old_logs_are_archived_and_older_ones_deleted(volume: Path, bench: Bench) -> None:
    old(volume / "web" / "app.log", days=400)
    old(volume / "web" / "app.log-20260101T000000Z", days=40, content=b"content\n" * 1000)
    old(volume / "web" / "app.log.2.gz", days=40, content=gzip.compress(b"packed"))
    old(volume / "web" / "archive" / "app.log.4.gz", days=40)
    old(volume / "web" / "archive" / "app.log.5.gz", days=400)
    (volume / "web" / "app.log.1").write_text("young")
    step = await bench.step(retention(archiveAfter="30d", deleteAfter="365d"))
    assert (step.outcome, step.message) == (Outcome.CHANGED, "2 files archived (0.0 MiB → 0.0 MiB), 1 deleted")
    assert files(volume / "web") == [
        "app.log",
        "app.log.1",
        "archive/app.log-20260101T000000Z.gz",
        "archive/app.log.2.gz",
        "archive/app.log.4.gz",
    ]
    copy = volume / "web" / "archive" / "app.log-20260101T000000Z.gz"
    assert gzip.decompress(copy.read_bytes()) == b"content\n" * 1000
    assert time.time() - copy.stat().st_mtime > 39 * _DAY
    assert gzip.decompress((volume / "web" / "archive" / "app.log.2.gz").read_bytes()) == b"packed"


async def test_what_was_never_archived_is_archived_before_it_is_deleted(volume: Path, bench: Bench) -> None:
    # given one that should be gone long ago, and nothing in the archive that says so
    old(volume / "app.log.1", days=400)
    steps = [await bench.step(retention(archiveAfter="30d", deleteAfter="365d")) for _ in range(2)]
    # then it was archived, and deleted from there, by the same run or the next
    assert [sum(step.metrics[name] for step in steps) for name in ("archived_files", "deleted_files")] == [1, 1]
    assert files(volume) == []


async def test_without_an_archive_what_is_old_is_deleted(volume: Path, bench: Bench) -> None:
    old(volume / "app.log.1", days=400)
    old(volume / "app.log.2", days=40)
    assert (await bench.step(retention(deleteAfter="365d"))).outcome is Outcome.CHANGED
    assert files(volume) == ["app.log.2"]


async def test_nothing_old_is_no_change(volume: Path, bench: Bench) -> None:
    old(volume / "app.log.1", days=20)
    step = await bench.step(retention(archiveAfter="30d", deleteAfter="365d"))
    assert (step.outcome, files(volume)) == (Outcome.OK, ["app.log.1"])
    assert not (volume / "archive").exists()


async def test_a_file_of_the_same_name_in_the_archive_is_not_overwritten(volume: Path, bench: Bench) -> None:
    # given what a run left that was killed, and another file that only has the name
    old(volume / "same.log.1", days=40)
    old(volume / "archive" / "same.log.1.gz", days=40, content=gzip.compress(b"line\n"))
    old(volume / "other.log.1", days=40)
    old(volume / "archive" / "other.log.1.gz", days=40, content=gzip.compress(b"other\n"))
    old(volume / "broken.log.1", days=40)
    old(volume / "archive" / "broken.log.1.gz", days=40, content=gzip.compress(b"line\n")[:-3])
    old(volume / "archive" / ".same.log.1.gz.upkeep-partial", days=40)
    step = await bench.step(retention(archiveAfter="30d"))
    assert step.outcome is Outcome.FAILED
    assert "other.log.1: the archive has a file of this name with other content: move one" in step.message
    assert step.metrics["archived_files"] == 1
    assert {"other.log.1", "broken.log.1"} <= set(files(volume))
    assert "same.log.1" not in files(volume)


async def test_a_full_disk_loses_no_log(volume: Path, bench: Bench) -> None:
    with small_volume(volume):
        content = os.urandom(700_000)
        old(volume / "app.log.1", days=40, content=content)
        step = await bench.step(retention(archiveAfter="30d"))
        left = {name: (volume / name).read_bytes() for name in files(volume)}
    assert step.outcome is Outcome.FAILED
    assert "app.log.1: No space left on device: free room on the volume" in step.message
    assert left == {"app.log.1": content}


async def test_a_stopped_archiving_leaves_the_file_as_it_was(volume: Path, bench: Bench) -> None:
    (volume / "app.log.1").touch()
    os.truncate(volume / "app.log.1", 1024**4)
    old_time = time.time() - 40 * _DAY
    os.utime(volume / "app.log.1", (old_time, old_time))
    running = asyncio.create_task(bench.step(retention(archiveAfter="30d")))
    await eventually((volume / "archive" / ".app.log.1.gz.upkeep-partial").exists)
    running.cancel()
    step = await running
    assert (step.outcome, "SIGTERM" in step.message) == (Outcome.FAILED, True)
    assert files(volume) == ["app.log.1"]


async def test_a_log_that_is_written_while_it_is_archived_stays(volume: Path, bench: Bench) -> None:
    log = old(volume / "app.log.1", days=40, content=os.urandom(1024 * 1024) * 100)
    running = asyncio.create_task(bench.step(retention(archiveAfter="30d")))
    await eventually(lambda: being_read(log))
    with log.open("ab") as writer:
        writer.write(b"late\n")
    step = await running
    assert step.outcome is Outcome.FAILED
    assert "app.log.1: it was changed while it was archived: its writer still uses it" in step.message
    assert files(volume) == ["app.log.1"]
    assert log.read_bytes().endswith(b"late\n")


@pytest.mark.parametrize("name", _HOSTILE)
async def test_hostile_names_are_names(volume: Path, bench: Bench, name: str) -> None:
    old(volume / f"{name}.log.1", days=40)
    old(volume / f"{name}.tmp", days=40)
    archived = await bench.step(retention(archiveAfter="30d"))
    cleaned = await bench.step(clean(files=["*.tmp"]))
    assert (archived.outcome, cleaned.outcome) == (Outcome.CHANGED, Outcome.CHANGED), archived.message
    assert names(volume) == ["archive"]
    assert names(volume / "archive") == [f"{name}.log.1.gz"]


async def test_nothing_outside_of_the_volume_goes(volume: Path, bench: Bench, tmp_path: Path) -> None:
    # given links out of the volume: to files, to directories, and in the place of the archive
    outside = tmp_path / "outside"
    old(outside / "a.log.1", days=400)
    (volume / "file.log.1").symlink_to(outside / "a.log.1")
    (volume / "directory").symlink_to(outside)
    (volume / "archive").symlink_to(outside)
    old(volume / "b.log.1", days=40)
    archived = await bench.step(retention(archiveAfter="30d", deleteAfter="365d"))
    cleaned = await bench.step(clean(files=["a*", "file*"]))
    assert (archived.outcome, cleaned.outcome) == (Outcome.FAILED, Outcome.OK), cleaned.message
    assert files(outside) == ["a.log.1"]
    assert names(volume) == ["archive", "b.log.1", "directory", "file.log.1"]


async def test_what_is_not_allowed_fails_and_says_what_to_do(reachable_bench: Bench) -> None:
    volume = reachable_bench.connect_volume()
    old(volume / "app.log.1", days=40)
    with powerless():
        deleted = await reachable_bench.step(retention(deleteAfter="30d"))
        archived = await reachable_bench.step(retention(archiveAfter="30d"))
    assert deleted.outcome is Outcome.FAILED
    for message in (deleted.message, archived.message):
        assert "app.log.1: Permission denied: let the group 65532 read and write it and its directory" in message
    assert files(volume) == ["app.log.1"]


async def test_files_that_nobody_used_and_their_directories_go(volume: Path, bench: Bench) -> None:
    old(volume / "tmp" / "a" / "deep" / "x.tmp", days=10)
    old(volume / "tmp" / "b" / "y.tmp", days=1)
    old(volume / "tmp" / "c" / "z.tmp", days=10)
    old(volume / "precious.tmp", days=10)
    for directory in ("a/deep", "a", "b"):
        old(volume / "tmp" / directory, days=10)
    step = await bench.step(clean(path="tmp"))
    assert step.outcome is Outcome.CHANGED
    assert (step.metrics["removed_files"], step.metrics["removed_directories"]) == (2, 2)
    assert names(volume / "tmp") == ["b", "c"]
    assert files(volume) == ["precious.tmp", "tmp/b/y.tmp"]


async def test_what_is_read_or_locked_is_in_use(volume: Path, bench: Bench) -> None:
    read = old(volume / "read.tmp", days=10)
    os.utime(read, (time.time(), read.stat().st_mtime))
    old(volume / "locked.tmp", days=10)
    old(volume / "session" / "x.tmp", days=10)
    held = [os.open(volume / name, os.O_RDONLY) for name in ("locked.tmp", "session")]
    try:
        for descriptor in held:
            fcntl.flock(descriptor, fcntl.LOCK_SH)
        step = await bench.step(clean())
    finally:
        for descriptor in held:
            os.close(descriptor)
    assert (step.outcome, step.metrics["locked"]) == (Outcome.OK, 2), step.message
    assert files(volume) == ["locked.tmp", "read.tmp", "session/x.tmp"]


async def test_what_is_no_file_stays(volume: Path, bench: Bench) -> None:
    os.mkfifo(volume / "pipe")
    (volume / "dangling").symlink_to("nowhere")
    for name in ("pipe", "dangling"):
        os.utime(volume / name, (0, 0), follow_symlinks=False)
    step = await bench.step(clean())
    assert (step.outcome, names(volume)) == (Outcome.OK, ["dangling", "pipe"])
