"""`upkeep actions` answers without a cluster, with the text of the documents."""

import pytest

from upkeep.api.manual import manuals
from upkeep.api.manualpages import entry
from upkeep.cli.actions import main

EVERY = manuals()


def test_without_a_name_all_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0

    listed = {line.split()[0]: line.split()[1] for line in capsys.readouterr().out.splitlines() if line[:1].strip()}
    assert listed.pop("ACTION") == "CHANGES"
    assert listed == {one.name: "no" if one.check else "yes" for one in EVERY}


@pytest.mark.parametrize("name", ["postgresVacuum", "postgresvacuum"])
def test_a_name_prints_what_the_documents_say(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([name]) == 0

    (vacuum,) = (one for one in EVERY if one.name == "postgresVacuum")
    assert capsys.readouterr().out == f"{entry(vacuum)}\n"


def test_a_group_prints_all_of_its_actions(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["redis"]) == 0

    printed = capsys.readouterr().out
    assert all((f"## {one.name}\n" in printed) == (one.group == "redis") for one in EVERY)


@pytest.mark.parametrize(
    ("name", "hint"),
    [("postgresVacum", "did you mean postgresVacuum?"), ("'; DROP", "see `kubectl upkeep actions` for all")],
)
def test_an_unknown_name_is_answered_with_what_may_be_meant(
    name: str, hint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([name]) == 1

    assert hint in capsys.readouterr().err
