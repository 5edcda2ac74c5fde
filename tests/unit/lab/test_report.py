from __future__ import annotations

import io
import re

import pytest
from rich.console import Console

from lab.report import Report


def test_without_a_terminal_every_step_is_a_plain_line_with_its_time(capsys: pytest.CaptureFixture[str]) -> None:
    with Report(console=Console(file=io.StringIO())) as report, report.step("Building", total=2) as step:
        step.advance(detail="one")

    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "  Building …"
    assert re.fullmatch(r"  done: Building \(\d+\.\d s\)", lines[1])


def test_a_step_that_takes_long_says_how_far_it_is(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lab.report.QUIET_SECONDS", 0.0)

    with Report(console=Console(file=io.StringIO())) as report, report.step("Building", total=3) as step:
        step.advance(detail="k8s.io/api")

    assert re.search(r"    1/3 k8s\.io/api \(0 s\)", capsys.readouterr().out)


def test_a_failed_step_is_shown_as_failed(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(KeyError), Report(console=Console(file=io.StringIO())) as report, report.step("Building"):
        raise KeyError

    assert "failed: Building" in capsys.readouterr().out


def test_on_a_terminal_the_finished_step_stays_as_one_line() -> None:
    screen = io.StringIO()

    with (
        Report(console=Console(file=screen, force_terminal=True, width=100)) as report,
        report.step("Building [all]", total=1) as step,
    ):
        step.advance(detail="k8s.io/api")

    assert "Building [all]" in screen.getvalue()
    assert "✓" in screen.getvalue()
