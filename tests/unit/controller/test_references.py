"""What a window needs of other objects is read from whatever stands there."""

from typing import Any, Final

import pytest

from upkeep.cluster.resources import WINDOWS
from upkeep.controller.references import planned_tasks, task_selectors, terms_of

PLAN: Final = {"tasks": [{"name": "report"}, {"name": "databases", "selector": {"matchLabels": {"tier": "db"}}}]}


def window(plan: object = PLAN, **occurrence: Any) -> dict[str, Any]:  # noqa: ANN401 - any JSON value
    metadata = {"name": "night", "namespace": "shop"}
    return {"metadata": metadata, "spec": {"plan": plan}, "status": {"occurrence": occurrence}}


def test_a_part_with_a_selector_is_no_task() -> None:
    assert planned_tasks(window()) == ["report"]
    assert [selector.query for selector in task_selectors(window())] == ["tier=db"]
    assert list(terms_of(WINDOWS, window())) == [("selects-tasks", "shop")]


def test_once_it_is_open_what_was_chosen_is_looked_at_and_nothing_is_searched_for() -> None:
    bound = window(tasks=[{"name": "vacuum", "selectedBy": ["databases"]}])

    assert planned_tasks(bound) == ["report", "vacuum"]
    assert task_selectors(bound) == []


def test_after_its_end_it_is_searched_for_again() -> None:
    closed = window(tasks=[{"name": "vacuum", "selectedBy": ["databases"]}], closedAt="2026-03-02T03:00:00Z")

    assert planned_tasks(closed) == ["report"]
    assert len(task_selectors(closed)) == 1


@pytest.mark.parametrize("plan", [None, 5, [], {"tasks": 7}, {"tasks": [None, "x", {"selector": 5}, {"name": 4}]}])
def test_a_plan_without_sense_has_no_tasks(plan: object) -> None:
    assert planned_tasks(window(plan)) == []
    assert task_selectors(window(plan, tasks=[4, {"selectedBy": 7}, {"name": "a", "selectedBy": [[]]}])) == []
