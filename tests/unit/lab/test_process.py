from __future__ import annotations

import json
import subprocess
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from lab.failure import LabError
from lab.process import alive, end, last_words, launch, parse_stat, recorded, records, running, started, stop

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lab.home import Home


@pytest.fixture
def bystander() -> Iterator[subprocess.Popen[bytes]]:
    """A process that is none of the lab's."""
    with subprocess.Popen(["sleep", "300"]) as process:
        yield process
        process.kill()


def test_the_start_time_is_found_behind_a_name_with_blanks_and_brackets() -> None:
    line = "42 (a) b (c) S 1 42 42 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 98765 1000 1 18446744073709551615"

    assert parse_stat(line) == ("S", 98765)


def test_a_started_process_runs_until_it_is_stopped_and_is_then_forgotten(home: Home) -> None:
    record = launch(home, "sleeper", ["sleep", "300"])

    assert running(home, "sleeper")
    assert records(home) == [record]

    stop(home, "sleeper")

    assert started(record.pid) is None
    assert recorded(home, "sleeper") is None


def test_starting_what_runs_already_changes_nothing(home: Home) -> None:
    first = launch(home, "sleeper", ["sleep", "300"])
    try:
        assert launch(home, "sleeper", ["sleep", "1"]) == first
    finally:
        stop(home, "sleeper")


def test_what_has_ended_is_started_again(home: Home) -> None:
    first = launch(home, "sleeper", ["sleep", "300"])
    end(first.pid, first.started)
    try:
        second = launch(home, "sleeper", ["sleep", "300"])

        assert not alive(first)
        assert alive(second)
    finally:
        stop(home, "sleeper")


def test_a_pid_that_belongs_to_another_process_by_now_is_left_alone(
    home: Home, bystander: subprocess.Popen[bytes]
) -> None:
    record = launch(home, "sleeper", ["sleep", "300"])
    end(record.pid, record.started)
    ticks = started(bystander.pid)
    assert ticks is not None
    path = home.processes / "sleeper.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "pid": bystander.pid, "started": ticks - 1}))

    assert not running(home, "sleeper")
    stop(home, "sleeper")

    assert bystander.poll() is None


def test_a_record_of_an_earlier_boot_names_no_process(home: Home) -> None:
    record = launch(home, "sleeper", ["sleep", "300"])
    try:
        assert not alive(replace(record, boot="an earlier boot"))
    finally:
        stop(home, "sleeper")


def test_ending_a_process_with_another_start_time_does_nothing(bystander: subprocess.Popen[bytes]) -> None:
    ticks = started(bystander.pid)
    assert ticks is not None

    end(bystander.pid, ticks + 1)

    assert bystander.poll() is None


def test_a_program_that_does_not_exist_is_named(home: Home) -> None:
    with pytest.raises(LabError, match=r"Starting ghost: .*no-such-program cannot be started"):
        launch(home, "ghost", ["/no-such-program"])


def test_the_last_words_of_a_component_are_the_end_of_its_log(home: Home) -> None:
    home.logs.mkdir(parents=True)
    (home.logs / "etcd.log").write_text("".join(f"line {number}\n" for number in range(1000)))

    assert last_words(home, "etcd").splitlines()[-1].strip() == "line 999"
    assert "no log" in last_words(home, "unknown")
