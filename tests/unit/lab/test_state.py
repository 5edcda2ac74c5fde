from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from lab.port import choose
from lab.report import Report
from lab.state import State, alone, load, save

if TYPE_CHECKING:
    from lab.home import Home

HOLDER = """
import sys
from lab.home import Home
from lab.report import Report
from lab.state import alone
from pathlib import Path
home = Home(root=Path(sys.argv[1]))
with alone(home, Report()):
    print("held", flush=True)
    sys.stdin.readline()
"""


def test_what_was_decided_is_read_back_as_it_was(home: Home) -> None:
    state = State(
        kind="home-built", context="upkeep-lab", ports={"etcd": 1}, settings={"a/b": "0"}, ingress=True, boot="x"
    )

    save(home, state)

    assert load(home) == state


def test_without_a_record_there_is_no_cluster(home: Home) -> None:
    assert load(home) is None


def test_a_second_command_waits_for_the_first_and_says_so(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    tests = str(Path(__file__).parents[2])
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(home.root)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={"PYTHONPATH": tests},
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"

        class Impatient(Report):
            def say(self, text: str) -> None:
                super().say(text)
                holder.communicate("go on\n", timeout=20)

        with alone(home, Impatient()):
            assert holder.returncode == 0

    assert f"pid {holder.pid}" in capsys.readouterr().out


def test_the_lab_can_be_held_again_after_a_failure(home: Home) -> None:
    with pytest.raises(ZeroDivisionError), alone(home, Report()):
        _ = 1 / 0

    with alone(home, Report()):
        pass


def test_a_port_that_is_taken_is_replaced_and_no_port_is_chosen_twice() -> None:
    with socket.socket() as taken:
        taken.bind(("", 0))
        number = taken.getsockname()[1]

        chosen = choose({"one": number, "two": number})

    assert number not in chosen.values()
    assert chosen["one"] != chosen["two"]
