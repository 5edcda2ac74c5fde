"""What a runbook adds: where to look when a task has failed, and how long it takes in a window."""

from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from unit.domain.cluster import BAD, GOOD, at, minutes, resource
from unit.domain.taskworld import TaskWorld
from unit.domain.windowworld import TASK_SPEC, WindowWorld
from upkeep.api.runbook import Runbook
from upkeep.domain.runbook import advice, advised, runbook_of

Object = dict[str, Any]

WIKI: Final = "https://wiki.example.com/nightly"
BY_URL: Final = {"procedure": ["Stop the importer."], "url": WIKI}


def task(runbook: object) -> Object:
    return resource("MaintenanceTask", {**TASK_SPEC, "runbook": runbook}, created=at("01:00"))


@pytest.mark.parametrize(
    ("runbook", "words"),
    [
        (None, ""),
        ({"purpose": "Care."}, ""),
        (BY_URL, f"runbook: {WIKI}"),
        ({"procedure": ["Stop\n the  importer.", "Wait."]}, "runbook: 1. Stop the importer."),
        ({"procedure": ["a" * 500]}, f"runbook: 1. {'a' * 160}…"),
        ({"procedure": "not a list"}, ""),
        ("not a runbook", ""),
    ],
)
def test_the_address_is_told_else_the_first_step(runbook: object, words: str) -> None:
    assert advice(task(runbook)) == words


@given(st.text(max_size=2000), st.text(max_size=200), st.integers(min_value=300, max_value=1000))
def test_an_advice_is_told_whole_and_once(message: str, words: str, longest: int) -> None:
    once = advised(message, words, longest=longest)

    assert len(once) <= longest
    assert once.endswith(words)
    assert advised(once, words, longest=longest) == once


def test_a_run_that_fails_tells_where_it_stands_what_to_do() -> None:
    world = TaskWorld(now=at("01:59"), spec={"schedule": "0 2 * * *", "runbook": BY_URL}, good=False)
    world.wait(minutes(5))

    (failed,) = [event for event in world.events if event.reason == "RunFailed"]
    (condition,) = [each for each in world.task["status"]["conditions"] if each["type"] == "LastRunSucceeded"]
    assert failed.message.endswith(f"; runbook: {WIKI}")
    assert condition["message"].endswith(f"; runbook: {WIKI}")


def test_a_run_that_goes_well_needs_no_advice() -> None:
    world = TaskWorld(now=at("01:59"), spec={"schedule": "0 2 * * *", "runbook": BY_URL})
    world.wait(minutes(5))

    assert world.task["status"]["lastRun"]["outcome"] == "ok"
    assert not [event for event in world.events if "runbook" in event.message]
    assert "runbook" not in str(world.task["status"])


def window(*tasks: Object, runbooks: dict[str, Object], **outcomes: Any) -> WindowWorld:  # noqa: ANN401 - as the world has them
    spec = {"schedule": "0 2 * * *", "duration": "1h", "plan": {"tasks": list(tasks), "onFailure": "Continue"}}
    known = {
        name: resource("MaintenanceTask", {**TASK_SPEC, "runbook": runbook}, created=at("01:59"), name=name)
        for name, runbook in runbooks.items()
    }
    world = WindowWorld(now=at("01:59"), spec=spec, tasks=known, outcomes=outcomes)
    world.wait(minutes(1))
    return world


def test_its_estimate_counts_where_the_plan_has_none() -> None:
    world = window(
        {"name": "a"},
        {"name": "long"},
        {"name": "short", "estimate": "5m"},
        runbooks={"long": {"estimate": "45m"}, "short": {"estimate": "45m"}},
        a=(minutes(20), GOOD),
    )
    world.wait(minutes(25))

    assert world.task_states() == {
        "a": ("Succeeded", ""),
        "long": ("Skipped", "NoTimeLeft"),
        "short": ("Succeeded", ""),
    }
    assert "its estimate of 45m" in world.occurrence["tasks"][1]["message"]


def test_a_window_says_what_to_do_about_the_task_that_failed() -> None:
    world = window({"name": "a"}, {"name": "b"}, runbooks={"a": BY_URL}, a=(minutes(1), BAD))
    world.wait(minutes(5))

    failed, _ = world.occurrence["tasks"]
    assert failed["message"].count(f"runbook: {WIKI}") == 1
    assert f"a failed (runbook: {WIKI})" in world.status["lastRun"]["message"]
    (said,) = [event.message for event in world.events if event.reason == "TaskFailed"]
    assert said.endswith(f"; runbook: {WIKI}")


@pytest.mark.parametrize(
    "wrong",
    [
        {"url": "javascript:alert(1)"},
        {"url": "https://a b"},
        {"url": f"https://{'a' * 200}"},
        {"procedure": [""]},
        {"procedure": ["step"] * 31},
        {"purpose": "a" * 1001},
        {"estimate": "soon"},
        {"purpos": "misspelt"},
    ],
    ids=str,
)
def test_a_wrong_runbook_is_refused(wrong: Object) -> None:
    with pytest.raises(ValidationError):
        Runbook.model_validate(wrong)
    assert runbook_of(task(wrong)) is None
