"""The plan of a window: which task runs when, what a failure means, and that none runs twice."""

from datetime import timedelta
from typing import Any, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unit.domain.cluster import BAD, GOOD, at, minutes, resource
from unit.domain.windowworld import WindowWorld
from upkeep.domain.identity import OWNER_NAME_LABEL
from upkeep.domain.order import RunOrder

START: Final = at("02:00")
UNKNOWN: Final = '{"outcome":"unknown","message":"could not look"}'


def planned(*tasks: str | tuple[str, list[str]], **settings: object) -> dict[str, Any]:
    listed = [
        {"name": task} if isinstance(task, str) else {"name": task[0], "dependsOn": list(task[1])} for task in tasks
    ]
    return {"startAt": "2026-03-02T02:00:00Z", "duration": "1h", "plan": {"tasks": listed, **settings}}


def begun(spec: dict[str, Any], **outcomes: tuple[timedelta | None, str]) -> WindowWorld:
    return WindowWorld(now=START, spec=spec, outcomes=outcomes)


def order(world: WindowWorld) -> list[str]:
    return [start.owner.name for _, start in world.started]


class TestOrder:
    def test_tasks_run_one_after_the_other_as_they_are_written(self) -> None:
        world = begun(planned("b", "a", "c"))

        world.wait(minutes(5))

        assert [(start.owner.name, started - START) for started, start in world.started] == [
            ("b", timedelta(0)),
            ("a", timedelta(seconds=20)),
            ("c", timedelta(seconds=40)),
        ]

    def test_what_a_task_depends_on_comes_before_it(self) -> None:
        world = begun(planned(("vacuum", ["backup"]), ("report", ["vacuum"]), "backup"))

        world.wait(minutes(5))

        assert order(world) == ["backup", "vacuum", "report"]

    def test_a_task_is_told_what_its_steps_remember(self) -> None:
        world = begun(planned("a"))
        world.act()
        steps = [{"name": "look", "httpCheck": {"url": "http://shop"}}]
        left = {"step": "look", "action": "httpCheck", "time": "2026-03-01T00:00:00Z", "values": {"p95": "0.1"}}
        world.tasks["a"] |= {"spec": {"steps": steps}, "status": {"memory": [left]}}

        world.wait(minutes(1))

        ((_, start),) = world.started
        assert isinstance(start.work.content, RunOrder)
        (step,) = start.work.content.steps
        assert step.previous is not None
        assert step.previous.values == {"p95": "0.1"}

    def test_as_many_as_are_allowed_run_at_the_same_time(self) -> None:
        world = begun(planned("a", "b", "c", maxConcurrency=2))

        world.wait(timedelta(seconds=1))

        assert order(world) == ["a", "b"]
        assert world.task_states()["c"] == ("Waiting", "MaxConcurrency")

    def test_a_task_that_runs_already_for_another_reason_is_waited_for(self) -> None:
        world = begun(planned("a", "b"))
        foreign = begun(planned("a"))
        foreign.live["metadata"]["uid"] = "uid-foreign"
        foreign.wait(timedelta(seconds=1))
        (job,) = foreign.jobs.objects
        world.jobs.objects[job], world.jobs.pods[job] = foreign.jobs.objects[job], []

        world.act()
        world.act()

        assert world.task_states()["a"] == ("Waiting", "AlreadyRunning")


class TestFailures:
    @pytest.mark.parametrize("message", [BAD, UNKNOWN])
    def test_abort_starts_nothing_more_but_lets_what_runs_end(self, message: str) -> None:
        world = begun(planned("a", "b", "c", maxConcurrency=2), a=(timedelta(seconds=5), message), b=(minutes(5), GOOD))

        world.wait(minutes(10))

        assert order(world) == ["a", "b"]
        assert world.task_states() == {
            "a": ("Failed", ""),
            "b": ("Succeeded", ""),
            "c": ("Skipped", "PlanAborted"),
        }
        assert world.status["lastRun"]["outcome"] == "failed"

    def test_continue_leaves_out_only_what_depends_on_the_failure(self) -> None:
        spec = planned("a", ("b", ["a"]), ("c", ["b"]), "d", onFailure="Continue")
        world = begun(spec, a=(timedelta(seconds=5), BAD))

        world.wait(minutes(10))

        assert order(world) == ["a", "d"]
        assert world.task_states()["b"] == world.task_states()["c"] == ("Skipped", "DependencyFailed")

    def test_a_task_that_does_not_exist_fails_when_it_is_its_turn(self) -> None:
        world = begun(planned("a", "b", "c"))
        del world.tasks["b"]

        world.wait(minutes(10))

        assert order(world) == ["a"]
        assert world.task_states()["b"] == ("Failed", "TaskNotFound")
        assert world.task_states()["c"] == ("Skipped", "PlanAborted")

    def test_a_task_that_cannot_be_read_fails_and_says_why(self) -> None:
        world = begun(planned("a"))
        world.tasks["a"]["spec"] = {"job": {"image": "x"}, "timeout": "soon"}

        world.wait(minutes(1))

        assert world.task_states()["a"] == ("Failed", "TaskInvalid")
        assert "spec.timeout" in world.occurrence["tasks"][0]["message"]

    @pytest.mark.parametrize("tasks", [[("a", ["b"]), ("b", ["a"])], [("a", ["c"]), ("b", ["a"]), ("c", ["b"]), "d"]])
    def test_tasks_that_wait_for_each_other_are_named_and_nothing_opens(self, tasks: list[Any]) -> None:
        world = begun(planned(*tasks))

        world.wait(minutes(1))

        assert world.started == []
        (record,) = world.status["history"]
        assert (record["ending"], record["reason"]) == ("Skipped", "InvalidSpec")
        assert record["message"] == "these tasks wait for each other: " + ", ".join(
            name for name, *_ in tasks if name != "d"
        )


class TestOnce:
    def test_a_task_whose_job_is_deleted_does_not_start_again(self) -> None:
        world = begun(planned("a", "b"), a=(None, GOOD))
        world.wait(minutes(1))
        world.jobs.delete(world.jobs.active[0])

        world.wait(minutes(1))

        assert order(world) == ["a"]
        assert world.task_states() == {"a": ("Failed", "JobDeleted"), "b": ("Skipped", "PlanAborted")}

    def test_a_task_that_keeps_no_jobs_does_not_start_again(self) -> None:
        world = begun(planned("a", "b"))
        world.tasks["a"]["spec"]["successfulRunsHistoryLimit"] = 0

        world.wait(minutes(1))

        assert order(world) == ["a", "b"]
        assert [made["metadata"]["labels"][OWNER_NAME_LABEL] for made in world.jobs.objects.values()] == ["b"]
        assert world.status["lastRun"]["outcome"] == "ok"

    def test_a_task_that_keeps_no_jobs_does_not_start_again_when_the_status_was_not_written_either(self) -> None:
        world = begun(planned("a", "b"))
        world.tasks["a"]["spec"]["successfulRunsHistoryLimit"] = 0
        world.act()
        world.act(crash_after=1)
        world.now += timedelta(seconds=20)
        world._let_end()  # noqa: SLF001 - time passes without the window
        world._let_tasks_decide()  # noqa: SLF001
        assert world.jobs.objects == {}

        world.wait(minutes(1))

        assert order(world) == ["a", "b"]

    @pytest.mark.parametrize("when", [timedelta(seconds=5), timedelta(seconds=25)])
    def test_a_task_that_is_made_anew_meanwhile_does_not_run_a_second_time(self, when: timedelta) -> None:
        world = begun(planned("a", "b"), b=(minutes(5), GOOD))
        world.wait(when)
        world.tasks["a"] = resource("MaintenanceTask", {"job": {"image": "x"}}, created=world.now, name="a")
        world.tasks["a"]["metadata"]["uid"] = "uid-another"

        world.wait(minutes(10))

        assert order(world) == ["a", "b"]
        assert world.task_states()["a"] == ("Succeeded", "")

    def test_a_task_that_is_deleted_after_it_ran_has_still_succeeded(self) -> None:
        world = begun(planned("a", "b"))
        world.wait(timedelta(seconds=25))
        del world.tasks["a"]

        world.wait(minutes(1))

        assert world.task_states() == {"a": ("Succeeded", ""), "b": ("Succeeded", "")}


names = st.lists(st.sampled_from("abcdef"), min_size=1, max_size=6, unique=True)


@st.composite
def plans(draw: st.DrawFn) -> dict[str, Any]:
    """Plans whose tasks depend on tasks that are written anywhere, but never in a circle."""
    found = draw(names)
    tasks: list[tuple[str, list[str]]] = [
        (name, draw(st.lists(st.sampled_from(found[:place]), unique=True)) if place else [])
        for place, name in enumerate(found)
    ]
    shuffled = draw(st.permutations(tasks))
    policy = draw(st.sampled_from(["Abort", "Continue"]))
    return planned(*shuffled, maxConcurrency=draw(st.integers(1, 3)), onFailure=policy)


@settings(max_examples=60, deadline=None)
@given(spec=plans(), data=st.data())
def test_any_plan_keeps_its_order_its_limits_and_its_promises(spec: dict[str, Any], data: st.DataObject) -> None:
    tasks = {task["name"]: task.get("dependsOn", []) for task in spec["plan"]["tasks"]}
    lengths = st.sampled_from([timedelta(seconds=3), timedelta(seconds=30), minutes(50)])
    outcomes = {name: (data.draw(lengths), data.draw(st.sampled_from([GOOD, GOOD, BAD]))) for name in tasks}
    world = begun(spec, **outcomes)

    world.wait(minutes(59.9))
    running = [made for made in world.jobs.objects.values() if "conditions" not in made["status"]]
    assert len(running) <= spec["plan"]["maxConcurrency"]
    world.wait(minutes(60))

    started = order(world)
    assert len(started) == len(set(started))
    spans = {start.owner.name: (at_, at_ + outcomes[start.owner.name][0]) for at_, start in world.started}
    for name, (begin, _) in spans.items():
        assert all(spans[needed][1] <= begin and outcomes[needed][1] == GOOD for needed in tasks[name])
        assert sum(other <= begin < end for other, end in spans.values()) <= spec["plan"]["maxConcurrency"]
        if spec["plan"]["onFailure"] == "Abort":
            assert not [n for n, (_, end) in spans.items() if outcomes[n][1] == BAD and end <= begin and n != name]
        assert begin < START + timedelta(hours=1)
    assert set(world.task_states()) == set(tasks)
    assert {state for state, _ in world.task_states().values()} <= {"Succeeded", "Failed", "Skipped"}
    assert (world.status["lastRun"]["outcome"] == "ok") == (
        {s for s, _ in world.task_states().values()} == {"Succeeded"}
    )
