"""`upkeep runbook` prints what somebody needs at three in the morning, and nothing that a terminal would obey."""

from pathlib import Path
from typing import Final

import pytest

from upkeep.cli.runbook import main

SAMPLE: Final = Path(__file__).parents[3] / "manifests" / "samples" / "task-runbook.yaml"
NAME: Final = "delivery-import"


def asked(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = main(arguments)
    said = capsys.readouterr()
    return code, said.out, said.err


def test_all_of_it_is_printed_in_the_order_in_which_it_is_needed(capsys: pytest.CaptureFixture[str]) -> None:
    code, told, complaints = asked(capsys, NAME, "-f", str(SAMPLE))

    headings = [line for line in told.splitlines() if line and not line.startswith(" ")]
    assert (code, complaints) == (0, "")
    assert headings == [NAME, "Purpose", "Before", "Takes", "When it has failed", "All is well when", "Back", "More"]
    assert "  3. If the file is there, restart the Deployment delivery-import" in told
    assert "https://wiki.example.com/delivery-import" in told


def test_how_it_ended_last_comes_first(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    status = """
status:
  consecutiveFailures: 3
  lastRun:
    {ending: Ran, outcome: failed, message: no answer, completionTime: "2026-03-02T04:31:00Z"}
"""
    path = tmp_path / "task.yaml"
    path.write_text(SAMPLE.read_text() + status)

    _, told, _ = asked(capsys, NAME, "-f", str(path))

    assert "Last run\n  2026-03-02T04:31:00Z, failed, no answer, 3 failures in a row\n" in told


def test_what_somebody_wrote_stays_text(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "task.yaml"
    runbook = r'{purpose: "\e[2J[bold]not bold[/bold]\a", procedure: ["a\r\nb"]}'
    path.write_text(f"kind: MaintenanceTask\nmetadata: {{name: evil}}\nspec: {{runbook: {runbook}}}\n")

    code, told, _ = asked(capsys, "evil", "-f", str(path))

    assert code == 0
    assert "[bold]not bold[/bold]" in told
    assert not {"\x1b", "\a", "\r"} & set(told)


@pytest.mark.parametrize(
    ("text", "name", "complaint"),
    [
        (
            "kind: MaintenanceTask\nmetadata: {name: bare}\nspec: {}\n",
            "bare",
            "has no runbook: write one in spec.runbook",
        ),
        ("kind: MaintenanceTask\nmetadata: {name: bare}\nspec: {}\n", "other", "there is no MaintenanceTask 'other'"),
        ("kind: [", "any", "while parsing"),
    ],
)
def test_what_is_not_there_is_said(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, text: str, name: str, complaint: str
) -> None:
    path = tmp_path / "task.yaml"
    path.write_text(text)

    code, told, complaints = asked(capsys, name, "-f", str(path))

    assert (code, told) == (1, "")
    assert complaint in complaints
