"""Tasks that a plan chooses by their labels: which they are is settled once, before the first of them starts."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unit.domain.cluster import BAD, GOOD, Object, at, minutes, resource, said
from unit.domain.windowworld import TASK_SPEC, WindowWorld
from upkeep.api.status import RunSummary
from upkeep.api.window import Plan, WindowOccurrence
from upkeep.api.window.plan import MAX_TASKS

START: Final = at("02:00")
Labels = Mapping[str, str]


def task(name: str, **labels: str) -> Object:
    made = resource("MaintenanceTask", dict(TASK_SPEC), created=START, name=name)
    return {**made, "metadata": {**made["metadata"], "labels": labels}}


def part(name: str, *needs: str, **labels: str) -> Object:
    """A part of a plan: a selector where there are labels, else the task of that name."""
    return {
        "name": name,
        **({"selector": {"matchLabels": labels}} if labels else {}),
        **({"dependsOn": list(needs)} if needs else {}),
    }


def opening(*parts: Object, tasks: list[Object], now: str = "02:00", **settings: object) -> WindowWorld:
    """A window that opens at two o'clock and has these tasks in its namespace."""
    outcomes = settings.pop("outcomes", {})
    spec = {"startAt": "2026-03-02T02:00:00Z", "duration": "1h", "plan": {"tasks": list(parts), **settings}}
    world = WindowWorld(now=at(now), spec=spec, outcomes=outcomes)  # type: ignore[arg-type] # outcomes, as they came
    world.tasks = {each["metadata"]["name"]: each for each in tasks}
    return world


def order(world: WindowWorld) -> list[str]:
    return [start.owner.name for _, start in world.started]


def selectors(world: WindowWorld) -> dict[str, list[str]]:
    return {each["name"]: each.get("selectedBy", []) for each in world.occurrence["tasks"]}


def ready(world: WindowWorld) -> tuple[str, str, str]:
    found = next(each for each in world.status["conditions"] if each["type"] == "Ready")
    return found["status"], found["reason"], found["message"]


class TestChoosing:
    def test_all_that_have_the_labels_run_by_name(self) -> None:
        tasks = [task("vacuum-b", tier="db"), task("vacuum-a", tier="db"), task("report", tier="web")]
        world = opening(part("databases", tier="db"), tasks=tasks)

        world.wait(minutes(5))

        assert order(world) == ["vacuum-a", "vacuum-b"]
        assert selectors(world) == {"vacuum-a": ["databases"], "vacuum-b": ["databases"]}
        assert said(world.events, "TasksSelected") == ["databases: vacuum-a, vacuum-b"]
        assert world.status["lastRun"]["outcome"] == "ok"

    def test_expressions_choose_too_and_what_is_said_of_the_part_is_said_of_each(self) -> None:
        expression = {"key": "tier", "operator": "In", "values": ["db", "cache"]}
        chosen = {"name": "stores", "priority": 5, "selector": {"matchExpressions": [expression]}}
        tasks = [task("report"), task("redis", tier="cache"), task("postgres", tier="db")]
        world = opening(part("report"), chosen, tasks=tasks, maxConcurrency=2)

        world.wait(timedelta(seconds=1))

        assert order(world) == ["postgres", "redis"]
        assert world.task_states()["report"] == ("Waiting", "MaxConcurrency")

    def test_an_estimate_counts_for_each_of_them(self) -> None:
        long = part("databases", tier="db") | {"estimate": "40m"}
        outcomes = {"a": (minutes(30), GOOD)}
        world = opening(long, tasks=[task("a", tier="db"), task("b", tier="db")], outcomes=outcomes)

        world.wait(minutes(40))

        assert world.task_states() == {"a": ("Succeeded", ""), "b": ("Skipped", "NoTimeLeft")}

    def test_nothing_starts_before_it_is_written_down_what_was_chosen(self) -> None:
        world = opening(part("databases", tier="db"), tasks=[task("a", tier="db")])
        world.act()
        world.act()

        assert world.started == []
        assert world.task_states() == {"a": ("Waiting", "")}


class TestBinding:
    def test_a_task_that_comes_later_does_not_join(self) -> None:
        world = opening(part("databases", tier="db"), tasks=[task("a", tier="db"), task("b", tier="db")])
        world.wait(timedelta(seconds=5))
        world.tasks["aa"] = task("aa", tier="db")

        world.wait(minutes(5))

        assert order(world) == ["a", "b"]

    def test_a_task_that_loses_its_label_stays(self) -> None:
        world = opening(part("databases", tier="db"), tasks=[task("a", tier="db"), task("b", tier="db")])
        world.wait(timedelta(seconds=5))
        world.tasks["b"]["metadata"]["labels"] = {}

        world.wait(minutes(5))

        assert order(world) == ["a", "b"]

    def test_a_task_that_vanishes_is_shown_at_once_and_fails_when_it_is_its_turn(self) -> None:
        world = opening(part("databases", tier="db"), tasks=[task("a", tier="db"), task("b", tier="db")])
        world.wait(timedelta(seconds=5))
        del world.tasks["b"]

        world.act()
        status, reason, message = ready(world)
        world.wait(minutes(5))

        assert (status, reason) == ("False", "TaskNotFound")
        assert "was chosen by its labels when the window opened, and was deleted since" in message
        assert world.task_states() == {"a": ("Succeeded", ""), "b": ("Failed", "TaskNotFound")}
        assert "deleted since" in world.occurrence["tasks"][1]["message"]

    def test_what_a_selector_that_is_edited_meanwhile_had_chosen_stays(self) -> None:
        world = opening(part("databases", tier="db"), tasks=[task("a", tier="db"), task("b", tier="db"), task("c")])
        world.wait(timedelta(seconds=5))
        world.edit(plan={"tasks": [part("databases", tier="web"), part("c")]})

        world.wait(minutes(5))

        assert order(world) == ["a", "b", "c"]

    def test_the_next_opening_chooses_anew(self) -> None:
        world = opening(part("databases", tier="db"), tasks=[task("a", tier="db")])
        world.edit(startAt=None, schedule="0 * * * *", duration="30m")
        world.wait(minutes(61))
        world.tasks["b"] = task("b", tier="db")

        world.wait(minutes(60))

        assert order(world) == ["a", "a", "b"]


class TestDependencies:
    def test_what_depends_on_a_selector_waits_for_all_that_it_chose(self) -> None:
        tasks = [task("report"), task("a", tier="db"), task("b", tier="db")]
        world = opening(part("report", "databases"), part("databases", tier="db"), tasks=tasks, maxConcurrency=3)

        world.wait(minutes(5))

        assert order(world) == ["a", "b", "report"]

    def test_when_one_of_them_fails_it_is_left_out(self) -> None:
        tasks = [task("report"), task("a", tier="db"), task("b", tier="db")]
        parts = (part("report", "databases"), part("databases", tier="db"))
        outcomes = {"b": (timedelta(seconds=5), BAD)}
        world = opening(*parts, tasks=tasks, onFailure="Continue", outcomes=outcomes)

        world.wait(minutes(5))

        assert world.task_states()["report"] == ("Skipped", "DependencyFailed")

    def test_a_task_that_two_parts_choose_runs_once_as_the_first_and_is_waited_for_by_what_needs_either(self) -> None:
        tasks = [task("a", tier="db", size="large"), task("b", tier="db"), task("c", size="large"), task("end")]
        parts = (part("databases", tier="db"), part("large", size="large"), part("end", "large"))
        world = opening(*parts, tasks=tasks)

        world.wait(minutes(5))

        assert order(world) == ["a", "b", "c", "end"]
        assert selectors(world)["a"] == ["databases", "large"]
        (message,) = said(world.events, "TasksSelected")
        assert message == "databases: a, b; large: a, c; a runs once, as part of databases"

    def test_a_task_never_waits_for_itself(self) -> None:
        world = opening(part("a", "all"), part("all", tier="db"), tasks=[task("a", tier="db"), task("b", tier="db")])

        world.wait(minutes(5))

        assert order(world) == ["b", "a"]

    def test_tasks_that_wait_for_each_other_by_what_was_chosen_are_named_and_nothing_opens(self) -> None:
        parts = (part("a", "second"), part("b", "first"), part("first", one="1"), part("second", two="2"))
        world = opening(*parts, tasks=[task("a", one="1"), task("b", two="2")])

        world.wait(minutes(1))

        assert world.started == []
        assert world.status["history"][0]["message"] == "these tasks wait for each other: a, b"


class TestNothing:
    def test_a_selector_that_chooses_nothing_is_said_before_the_opening_until_it_does(self) -> None:
        world = opening(part("databases", tier="db"), tasks=[], now="01:00")
        world.act()
        before = ready(world)
        world.tasks["a"] = task("a", tier="db")
        world.act()

        assert before[:2] == ("False", "NothingSelected")
        assert "databases (tasks with the labels 'tier=db')" in before[2]
        assert ready(world)[0] == "True"

    def test_what_chose_nothing_is_shown_what_needs_it_is_left_out_and_the_window_has_failed(self) -> None:
        parts = (part("databases", tier="db"), part("report", "databases"), part("other"))
        world = opening(*parts, tasks=[task("report"), task("other")])

        world.wait(minutes(5))

        assert world.task_states() == {
            "databases (selector)": ("Skipped", "NothingSelected"),
            "report": ("Skipped", "DependencyFailed"),
            "other": ("Succeeded", ""),
        }
        assert world.status["lastRun"]["outcome"] == "failed"

    def test_a_task_that_comes_after_the_opening_does_not_join_there_either(self) -> None:
        world = opening(part("databases", tier="db"), part("other"), tasks=[task("other")])
        world.wait(timedelta(seconds=5))
        world.tasks["a"] = task("a", tier="db")

        world.wait(minutes(5))

        assert order(world) == ["other"]


class TestTooMany:
    def test_a_plan_of_too_many_tasks_is_named_and_does_not_open(self) -> None:
        tasks = [task(f"task-{number:03}", tier="db") for number in range(MAX_TASKS + 2)]
        world = opening(part("databases", tier="db"), tasks=tasks)

        world.wait(minutes(1))

        assert world.started == []
        assert "has 2 more than the 128 tasks" in world.status["history"][0]["message"]

    def test_those_that_come_in_the_last_moment_are_left_out_and_said(self) -> None:
        tasks = [task(f"task-{number:03}", tier="db") for number in range(MAX_TASKS - 1)]
        world = opening(part("databases", tier="db"), part("more", size="large"), tasks=tasks)
        world.act()
        world.tasks |= {name: task(name, size="large") for name in ("extra-1", "extra-2")}

        world.wait(timedelta(seconds=5))

        assert len(world.occurrence["tasks"]) == MAX_TASKS
        assert len(order(world)) == 1
        (message,) = said(world.events, "TasksSelected")
        assert message.startswith("1 more than the most of 128 are left out; databases: task-000, task-001")


labels = st.dictionaries(st.sampled_from("xyz"), st.sampled_from("12"), max_size=3)


@st.composite
def choices(draw: st.DrawFn) -> tuple[list[Object], dict[str, Labels]]:
    """A plan that holds together by itself, and labels of the tasks in its namespace."""
    found: dict[str, Labels] = {
        name: draw(labels) for name in draw(st.lists(st.sampled_from("abcdef"), max_size=6, unique=True))
    }
    names = draw(st.lists(st.sampled_from(["a", "b", "c", "one", "two", "three"]), min_size=1, unique=True))
    parts = []
    for place, name in enumerate(names):
        needs = draw(st.lists(st.sampled_from(names[:place]), unique=True)) if place else []
        parts.append(part(name, *needs, **(draw(labels.filter(bool)) if len(name) > 1 else {})))
    return draw(st.permutations(parts)), found


@settings(max_examples=25, deadline=None)
@given(chosen=choices(), comes=st.sampled_from("abcdef"), goes=st.sampled_from("abcdef"))
def test_whatever_comes_and_goes_each_task_runs_once_in_order_and_only_what_was_there(
    chosen: tuple[list[Object], dict[str, Labels]], comes: str, goes: str
) -> None:
    parts, found = chosen
    there = [task(name, **marks) for name, marks in found.items()]
    world = opening(*parts, tasks=there, onFailure="Continue", maxConcurrency=3)
    world.wait(timedelta(seconds=5))
    bound = set(world.task_states())
    world.tasks.setdefault(comes, task(comes, x="1", y="1", z="1"))
    world.tasks.pop(goes, None)

    world.wait(minutes(4))

    assert set(world.task_states()) == bound
    assert len(order(world)) == len(set(order(world)))
    spans = {start.owner.name: at_ for at_, start in world.started}
    taken: set[str] = set()
    for each in parts:
        own = _chosen(each, found) - taken
        taken |= own
        for needed in (other for other in parts if other["name"] in each.get("dependsOn", [])):
            for name in own & spans.keys():
                assert all(spans.get(other, at("04:00")) < spans[name] for other in _chosen(needed, found) - {name})


def _chosen(each: Object, found: Mapping[str, Labels]) -> set[str]:
    wanted = each.get("selector", {}).get("matchLabels")
    if wanted is None:
        return {each["name"]}
    return {name for name, marks in found.items() if wanted.items() <= marks.items()}


@pytest.mark.parametrize(
    ("selector", "told"),
    [({"matchLabels": {"tier": "db"}}, "all (tasks with the labels 'tier=db')"), ({}, "all (tasks at all)")],
)
def test_a_part_of_a_plan_says_what_it_chooses(selector: dict[str, Any], told: str) -> None:
    plan = Plan.model_validate({"tasks": [{"name": "all", "selector": selector}]})

    assert list(map(str, plan.tasks)) == [told]


def test_what_an_opening_may_have_fits_into_what_is_said_of_it() -> None:
    """A status that is refused would hold up the window for ever."""
    limits = {
        name: next(each.max_length for each in model.model_fields[field].metadata if hasattr(each, "max_length"))
        for name, model, field in (("tasks", WindowOccurrence, "tasks"), ("summary", RunSummary, "steps"))
    }

    assert limits == {"tasks": MAX_TASKS, "summary": MAX_TASKS}
