"""Log files on a volume: measured, rotated, and nothing outside of the volume touched whatever its names and links."""

import asyncio
import gzip
import os
import re
import time
from pathlib import Path
from typing import Any

import pytest

from integration.bench import Bench, eventually, powerless, small_volume
from integration.test_http_warm import open_shop
from lab.port import free_port
from upkeep.actions.contract import Outcome, Severity
from upkeep.actions.logs.rotate import LogsRotate
from upkeep.actions.logs.size import LogsSize

SIZE = LogsSize(connection="logs", warning_percent=100, critical_percent=100)
_MEBIBYTE = 1024 * 1024


def rotate(**changes: Any) -> LogsRotate:  # noqa: ANN401 - parameters of any kind
    return LogsRotate.model_validate({"connection": "logs", "minMebibytes": 0, **changes})


def copies(directory: Path, name: str = "app.log") -> list[Path]:
    return sorted(path for path in directory.iterdir() if re.fullmatch(rf"{re.escape(name)}-.*", path.name))


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


async def test_small_directories_are_no_finding(volume: Path, bench: Bench) -> None:
    (volume / "app.log").write_bytes(b"x" * 5000)
    report = await bench.report(SIZE)
    assert (report.outcome, report.findings) == (Outcome.OK, []), report.steps
    assert report.steps[0].metrics["files"] == 1
    assert 5000 <= report.steps[0].metrics["bytes"] < 10_000


async def test_a_large_directory_is_a_finding_with_all_that_is_below_it(volume: Path, bench: Bench) -> None:
    (volume / "web" / "deep").mkdir(parents=True)
    (volume / "web" / "deep" / "a.log").write_bytes(b"x" * 3 * _MEBIBYTE)
    (volume / "db").mkdir()
    (volume / "db" / "b.log").write_bytes(b"x" * _MEBIBYTE)
    report = await bench.report(SIZE.model_copy(update={"max_mebibytes": 2}))
    (finding,) = report.findings
    assert (finding.check_id, finding.severity) == ("logs.size.directory", Severity.WARNING)
    assert (finding.object, finding.observed, finding.threshold) == ("logs web", 3, 2)


async def test_room_counts_as_it_is_taken(volume: Path, bench: Bench) -> None:
    # given a sparse file, a file with two names, and a link to something large outside
    (volume / "sparse.log").touch()
    os.truncate(volume / "sparse.log", 100 * _MEBIBYTE)
    (volume / "one.log").write_bytes(b"x" * _MEBIBYTE)
    os.link(volume / "one.log", volume / "two.log")
    (volume / "usr").symlink_to("/usr")
    step = await bench.step(SIZE)
    assert step.metrics["bytes"] < 1.1 * _MEBIBYTE
    assert step.metrics["files"] == 3


async def test_a_full_volume_is_critical(bench: Bench, volume: Path) -> None:
    with small_volume(volume):
        (volume / "big").write_bytes(b"x" * 1_000_000)
        report = await bench.report(LogsSize(connection="logs"))
    (finding,) = [finding for finding in report.findings if finding.check_id == "logs.size.disk"]
    assert (finding.severity, finding.object, finding.threshold) == (Severity.CRITICAL, "logs", 95)


async def test_a_file_goes_into_a_compressed_copy_and_is_empty(volume: Path, bench: Bench) -> None:
    (volume / "web").mkdir()
    (volume / "web" / "app.log").write_text("line\n" * 100_000)
    (volume / "web" / "data.db").write_text("not a log")
    with (volume / "web" / "app.log").open("a") as writer:
        step = await bench.step(rotate(path="web"))
        writer.write("afterwards\n")
    assert step.outcome is Outcome.CHANGED, step.message
    assert step.metrics["bytes_after"] < step.metrics["bytes_before"] == 500_000
    assert (volume / "web" / "app.log").read_text() == "afterwards\n"
    (copy,) = copies(volume / "web")
    assert gzip.decompress(copy.read_bytes()) == b"line\n" * 100_000
    assert (volume / "web" / "data.db").read_text() == "not a log"


async def test_copies_are_as_private_as_the_file(volume: Path, bench: Bench) -> None:
    (volume / "app.log").write_text("line\n")
    (volume / "app.log").chmod(0o640)
    await bench.step(rotate(compress=False))
    (copy,) = copies(volume)
    assert copy.read_text() == "line\n"
    assert copy.stat().st_mode & 0o777 == 0o640


async def test_small_and_empty_files_are_left_alone(volume: Path, bench: Bench) -> None:
    (volume / "small.log").write_text("line\n")
    (volume / "empty.log").touch()
    by_size, by_any = await bench.step(rotate(minMebibytes=1)), await bench.step(rotate(files=["empty*"]))
    assert (by_size.outcome, by_any.outcome) == (Outcome.OK, Outcome.OK)
    assert names(volume) == ["empty.log", "small.log"]


async def test_only_the_newest_copies_of_each_file_are_kept(volume: Path, bench: Bench) -> None:
    for day in range(1, 10):
        (volume / f"app.log-2026010{day}T000000Z.gz").touch()
        (volume / f"app.log.1-2026010{day}T000000Z.gz").touch()
    (volume / "app.log").write_text("line\n")
    step = await bench.step(rotate(keep=3))
    assert step.metrics["removed_files"] == 7
    assert [copy.name for copy in copies(volume)][:2] == ["app.log-20260108T000000Z.gz", "app.log-20260109T000000Z.gz"]
    assert len(copies(volume)) == 3
    assert len(copies(volume, "app.log.1")) == 9


async def test_nothing_outside_of_the_volume_is_touched(volume: Path, bench: Bench, tmp_path: Path) -> None:
    # given links out of the volume, to a file and to a directory, and what only looks like a file
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious.log").write_text("precious")
    (volume / "file.log").symlink_to(outside / "precious.log")
    (volume / "directory").symlink_to(outside)
    (volume / "hard.log").write_text("shared")
    os.link(volume / "hard.log", outside / "hard.log")
    os.mkfifo(volume / "pipe.log")
    step = await bench.step(rotate())
    assert step.outcome is Outcome.FAILED
    assert "hard.log: it has several hard links: remove all but one" in step.message
    assert (outside / "precious.log").read_text() == "precious"
    assert (outside / "hard.log").read_text() == "shared"
    assert sorted(path.name for path in outside.iterdir()) == ["hard.log", "precious.log"]


@pytest.mark.parametrize("path", ["directory", "directory/deeper", "missing", "file.log"])
async def test_a_path_that_leads_out_or_nowhere_is_refused(
    volume: Path, bench: Bench, tmp_path: Path, path: str
) -> None:
    (tmp_path / "outside" / "deeper").mkdir(parents=True)
    (volume / "directory").symlink_to(tmp_path / "outside")
    (volume / "file.log").write_text("x")
    for action in (rotate(path=path), LogsSize(connection="logs", path=path)):
        step = await bench.step(action)
        assert step.outcome is Outcome.FAILED
        assert f"cannot open {path!r} in PersistentVolumeClaim 'shop-logs': " in step.message


@pytest.mark.parametrize("name", ['"; DROP.log', "größe.log", "-rf.log", " .log", "a\nb.log", "$(reboot).log", "*.log"])
async def test_hostile_names_are_names(volume: Path, bench: Bench, name: str) -> None:
    (volume / name).write_text("line\n")
    step = await bench.step(rotate())
    assert step.outcome is Outcome.CHANGED, step.message
    assert len(copies(volume, name)) == 1
    assert (volume / name).read_text() == ""


async def test_names_that_are_no_text_are_names(volume: Path, bench: Bench) -> None:
    (volume / os.fsdecode(b"\xff\xfe.log")).write_text("line\n")
    report = await bench.report(rotate(), SIZE.model_copy(update={"max_mebibytes": 0}))
    assert report.outcome is Outcome.CHANGED
    assert len(names(volume)) == 2


async def test_a_full_disk_loses_nothing(volume: Path, bench: Bench) -> None:
    with small_volume(volume):
        content = os.urandom(700_000)
        (volume / "app.log").write_bytes(content)
        step = await bench.step(rotate())
        left = {name: (volume / name).read_bytes() for name in names(volume)}
    assert step.outcome is Outcome.FAILED
    assert "app.log: No space left on device: free room on the volume" in step.message
    assert left == {"app.log": content}


async def test_what_is_appended_while_a_file_is_copied_is_copied_too(volume: Path, bench: Bench) -> None:
    # given a writer that appends numbered lines until the copy is there, before the last look at the file
    def write() -> int:
        number = 0
        with (volume / "app.log").open("a", buffering=1) as log:
            while not copies(volume):
                log.write(f"{number:06} {'x' * 500}\n")
                number += 1
        return number

    writing = asyncio.create_task(asyncio.to_thread(write))
    await eventually(lambda: (volume / "app.log").exists() and (volume / "app.log").stat().st_size > 20_000)
    await bench.step(rotate())
    lines = await writing
    (copy,) = copies(volume)
    text = gzip.decompress(copy.read_bytes()).decode() + (volume / "app.log").read_text()
    assert [line[:6] for line in text.splitlines()] == [f"{number:06}" for number in range(lines)]


async def test_a_stopped_step_leaves_the_file_as_it_was(volume: Path, bench: Bench) -> None:
    (volume / "app.log").write_bytes(os.urandom(_MEBIBYTE) * 200)
    running = asyncio.create_task(bench.step(rotate()))
    await eventually(lambda: any(path.name.endswith(".upkeep-partial") for path in volume.iterdir()))
    running.cancel()
    step = await running
    assert (step.outcome, "SIGTERM" in step.message) == (Outcome.FAILED, True)
    assert names(volume) == ["app.log"]
    assert (volume / "app.log").stat().st_size == 200 * _MEBIBYTE


async def test_a_renamed_file_is_compressed_once_its_writer_has_begun_the_new_one(volume: Path, bench: Bench) -> None:
    # given a writer that goes on in the file that it has open until it is told
    async with open_shop() as shop:
        bench.connect_http(shop.url)
        (volume / "app.log").write_text("one\n")
        (volume / "app.log").chmod(0o640)
        signal = {"connection": "shop", "path": "/reopen?token=x"}
        action = rotate(method="Rename", signal=signal)
        with (volume / "app.log").open("a", buffering=1) as writer:
            first = await bench.step(action)
            writer.write("two\n")
            second = await bench.step(action)
        (plain,) = copies(volume)
        assert [first.outcome, second.outcome] == [Outcome.CHANGED, Outcome.OK], second.message
        assert (plain.name[-1], plain.read_text()) == ("Z", "one\ntwo\n")
        assert ((volume / "app.log").stat().st_mode & 0o777, plain.stat().st_mode & 0o777) == (0o640, 0o640)
        assert [request.split()[:2] for request in shop.requests] == [["POST", "/reopen?token=x"]] * 2
        # when it has opened the new one
        (volume / "app.log").write_text("three\n")
        third = await bench.step(rotate(method="Rename", minMebibytes=1))
    (copy,) = copies(volume)
    assert third.outcome is Outcome.CHANGED
    assert copy.name == f"{plain.name}.gz"
    assert gzip.decompress(copy.read_bytes()) == b"one\ntwo\n"
    assert names(volume) == ["app.log", copy.name]
    assert (volume / "app.log").read_text() == "three\n"


async def test_a_writer_that_is_not_told_loses_nothing_and_is_named(volume: Path, bench: Bench) -> None:
    bench.connect_http(f"http://127.0.0.1:{free_port()}")
    (volume / "app.log").write_text("one\n")
    step = await bench.step(rotate(method="Rename", signal={"connection": "shop", "path": "/reopen"}))
    assert step.outcome is Outcome.FAILED
    assert "the writer was not told to open its files anew: " in step.message
    assert "nothing listens there" in step.message
    assert copies(volume)[0].read_text() == "one\n"


async def test_who_never_opens_the_new_file_is_found(volume: Path, bench: Bench) -> None:
    (volume / "app.log").touch()
    (volume / "app.log-20260101T000000Z").write_text("written long after\n")
    step = await bench.step(rotate(method="Rename"))
    assert step.outcome is Outcome.FAILED
    assert "its writer still writes into app.log-20260101T000000Z: set `signal`, or method" in step.message
    assert names(volume) == ["app.log", "app.log-20260101T000000Z"]


async def test_a_file_that_its_writer_could_not_open_takes_no_place(reachable_bench: Bench) -> None:
    # given a file of somebody else that its group may not write
    volume = reachable_bench.connect_volume()
    volume.chmod(0o777)
    for name, mode in (("private.log", 0o644), ("shared.log", 0o664)):
        (volume / name).write_text("one\n")
        (volume / name).chmod(mode)
        os.chown(volume / name, 1000, 65532)
    with powerless():
        step = await reachable_bench.step(rotate(method="Rename", files=["shared*"]))
        refused = await reachable_bench.step(rotate(method="Rename", files=["private*"]))
    assert step.outcome is Outcome.CHANGED, step.message
    assert (volume / "shared.log").stat().st_mode & 0o777 == 0o664
    assert refused.outcome is Outcome.FAILED
    assert names(volume)[0] == "private.log"
    assert (volume / "private.log").read_text() == "one\n"


async def test_what_a_killed_run_left_goes_when_it_is_old(volume: Path, bench: Bench) -> None:
    (volume / "app.log").write_text("line\n")
    for name in (".app.log-20260101T000000Z.gz.upkeep-partial", ".app.log-20260102T000000Z.gz.upkeep-partial"):
        (volume / name).touch()
    os.utime(volume / ".app.log-20260101T000000Z.gz.upkeep-partial", (0, time.time() - 100_000))
    await bench.step(rotate())
    assert names(volume)[0] == ".app.log-20260102T000000Z.gz.upkeep-partial"
    assert len(names(volume)) == 3
