"""`upkeep upcoming` shows the calendar of a file: when windows open, when not, and why."""

import io
import json
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from upkeep.cli.upcoming import main

RANGE: Final = ("--from", "2026-12-01", "--to", "2027-01-10T00:00:00Z")
CALENDAR: Final = """
apiVersion: upkeep.dev/v1alpha1
kind: MaintenanceWindow
metadata: {name: weekly, namespace: shop}
spec:
  schedule: "30 23 * * SAT"
  timeZone: Europe/Berlin
  duration: 2h
  exclusions: [{from: 2026-12-12, reason: sale}]
---
apiVersion: upkeep.dev/v1alpha1
kind: MaintenanceWindow
metadata: {name: year-end, namespace: platform}
spec:
  kind: Freeze
  startAt: 2026-12-20T00:00:00Z
  duration: 14d
  reason: end of the year
  sharedWith: ["*"]
---
apiVersion: v1
kind: ConfigMap
metadata: {name: other}
"""


@pytest.fixture
def calendar(tmp_path: Path) -> str:
    path = tmp_path / "calendar.yaml"
    path.write_text(CALENDAR)
    return str(path)


def asked(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = main(arguments)
    said = capsys.readouterr()
    return code, said.out, said.err


def test_json_has_every_occurrence_in_order_with_its_state(calendar: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = asked(capsys, "-f", calendar, *RANGE, "-o", "json")

    rows: list[dict[str, Any]] = json.loads(out)
    assert code == 0
    assert [(row["window"], row["startTime"], row["state"]) for row in rows] == [
        ("weekly", "2026-12-05T22:30:00Z", "Planned"),
        ("weekly", "2026-12-12T22:30:00Z", "Excluded"),
        ("weekly", "2026-12-19T22:30:00Z", "Planned"),
        ("year-end", "2026-12-20T00:00:00Z", "Planned"),
        ("weekly", "2026-12-26T22:30:00Z", "Frozen"),
        ("weekly", "2027-01-02T22:30:00Z", "Frozen"),
        ("weekly", "2027-01-09T22:30:00Z", "Planned"),
    ]
    assert rows[4]["reason"] == "frozen by platform/year-end until 2027-01-03T00:00:00Z: end of the year"
    assert (rows[3]["kind"], rows[3]["endTime"]) == ("Freeze", "2027-01-03T00:00:00Z")


def test_the_table_shows_times_in_the_zone_of_the_window(calendar: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = asked(capsys, "weekly", "-n", "shop", "-f", calendar, *RANGE)

    lines = out.splitlines()
    assert code == 0
    assert lines[0].split() == ["WINDOW", "KIND", "START", "END", "STATE", "REASON"]
    assert "shop/weekly  Maintenance  Sat 2026-12-05 23:30 CET  Sun 2026-12-06 01:30  Planned" in lines[1]
    assert lines[2].rstrip().endswith("Excluded  2026-12-12 (sale)")
    assert "year-end" not in {line.split()[0] for line in lines[1:]}


def test_an_opening_that_somebody_has_cancelled_is_shown_as_that(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    window = yaml.safe_load(CALENDAR.split("---")[0])
    del window["spec"]["exclusions"]
    cancelled = {"startTime": "2026-12-05T22:30:00Z", "by": "alice"}
    path = tmp_path / "saved.json"
    path.write_text(json.dumps({"kind": "List", "items": [{**window, "status": {"cancelled": [cancelled]}}]}))

    _, out, _ = asked(capsys, "-f", str(path), *RANGE, "-o", "json")

    first = json.loads(out)[0]
    assert (first["startTime"], first["state"], first["reason"]) == (
        "2026-12-05T22:30:00Z",
        "Cancelled",
        "cancelled by alice",
    )


def test_yaml_is_the_same_for_machines(calendar: str, capsys: pytest.CaptureFixture[str]) -> None:
    _, as_yaml, _ = asked(capsys, "-f", calendar, *RANGE, "-o", "yaml")
    _, as_json, _ = asked(capsys, "-f", calendar, *RANGE, "-o", "json")

    assert yaml.safe_load(as_yaml) == json.loads(as_json)


def test_a_file_can_come_from_the_input(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(CALENDAR.replace(", namespace: shop", "")))

    _, out, _ = asked(
        capsys, "weekly", "-f", "-", "-n", "here", "--from", "2026-12-01", "--to", "2026-12-08", "-o", "json"
    )

    assert [row["namespace"] for row in json.loads(out)] == ["here"]


def test_a_window_that_is_not_there_is_said_so(calendar: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = asked(capsys, "nightly", "-f", calendar)

    assert (code, out) == (1, "")
    assert "there is no MaintenanceWindow 'nightly'" in err


def test_what_cannot_be_read_is_said_and_the_rest_is_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "calendar.yaml"
    path.write_text(CALENDAR.replace("30 23 * * SAT", "30 25 * * SAT"))

    code, out, err = asked(capsys, "-f", str(path), *RANGE, "-o", "json")

    assert code == 1
    assert err.startswith("shop/weekly: ")
    assert [row["window"] for row in json.loads(out)] == ["year-end"]


def test_more_than_a_thousand_are_cut_off_and_it_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "calendar.yaml"
    path.write_text(CALENDAR.replace("30 23 * * SAT", "*/5 * * * *"))

    code, out, err = asked(capsys, "weekly", "-n", "shop", "-f", str(path), *RANGE, "-o", "json")

    assert (code, len(json.loads(out))) == (0, 1000)
    assert "only the first 1000 are shown" in err


@pytest.mark.parametrize("text", ["yesterday", "2026-13-01", "02:00", "99999999999w"])
def test_a_time_that_is_none_is_refused_with_what_helps(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--from", text])

    assert "write a day 2026-12-01" in capsys.readouterr().err


def test_a_range_that_ends_before_it_begins_is_refused(calendar: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = asked(capsys, "-f", calendar, "--from", "2026-12-02", "--to", "2026-12-01")

    assert (code, err) == (2, "--to is not after --from\n")
