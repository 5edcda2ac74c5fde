"""`make bench` in small: all that is measured is in the table, and nothing is left running. No time is asserted."""

import os
import re
import subprocess
import sys
from typing import Final

import pytest

from bench.plane import home_of
from lab.home import TREE, Home
from lab.process import records

pytestmark = pytest.mark.longest

SCHEDULES: Final = 50
CONTESTANTS: Final = ("CronJob, default limits", "CronJob, lifted limits", "bare client", "Upkeep")
NUMBER: Final = re.compile(r"\d+(\.\d+)?%?")


@pytest.fixture(scope="module")
def printed() -> str:
    """What a quick run prints where there is no terminal."""
    path = os.pathsep.join(str(TREE / folder) for folder in ("operator", "tests"))
    done = subprocess.run(
        [sys.executable, "-m", "bench", "--quick"],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done.stdout


def rows(printed: str) -> list[list[str]]:
    """The cells of all rows of all tables."""
    lines = [re.split("[│┃]", line)[1:-1] for line in printed.splitlines() if line[:1] in "│┃"]
    return [[cell.strip() for cell in cells] for cells in lines]


@pytest.mark.timeout(900)
def test_every_contestant_is_measured(printed: str) -> None:
    heading, _, *figures = rows(printed)

    assert f"{SCHEDULES} schedules due in one minute" in printed
    assert tuple(heading[1:]) == CONTESTANTS
    measured = {row[0]: dict(zip(CONTESTANTS, row[1:], strict=True)) for row in figures if len(row) == len(heading)}
    everyone, programs, followed = set(CONTESTANTS), set(CONTESTANTS) - {"bare client"}, set(CONTESTANTS[1::2])
    expected = {
        "last Job created, s": everyone,
        "half of the Jobs created (p50), s": everyone,
        "API requests for the start of a run": everyone,
        "API requests until its end is recorded": followed,
        "CPU seconds of the process for all starts": everyone,
        "resident memory afterwards, MiB": programs,
        "CPU taken by other processes meanwhile": everyone,
    }
    assert {row: {who for who, cell in cells.items() if NUMBER.fullmatch(cell)} for row, cells in measured.items()} == (
        expected
    )


@pytest.mark.timeout(900)
def test_every_budget_is_judged(printed: str) -> None:
    judged = {row[0]: row[1:] for row in rows(printed) if len(row) == 4 and NUMBER.fullmatch(row[1])}

    assert set(judged) == {
        "last Job / the bare client's last",
        "last Job / the lifted CronJob controller's last",
        "p50 / the bare client's last",
        "API requests a run",
    }
    for measured, limit, verdict in judged.values():
        assert verdict == ("kept" if float(measured) <= float(limit) else "NOT KEPT")


@pytest.mark.timeout(900)
def test_nothing_is_left_running(printed: str) -> None:
    assert printed
    assert records(home_of(Home.from_environment())) == []
