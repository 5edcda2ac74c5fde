"""The plan of a window against its time: priorities, estimates, the cutoff, and what still runs at the end."""

from datetime import timedelta
from typing import Any

import pytest

from unit.domain.cluster import BAD, GOOD, at, minutes
from unit.domain.windowworld import WindowWorld

SECONDS = timedelta(seconds=1)


def begun(*tasks: dict[str, Any], plan: dict[str, Any] | None = None, **attributes: Any) -> WindowWorld:  # noqa: ANN401
    """A window of one hour from two o'clock."""
    window: dict[str, Any] = {key: attributes.pop(key) for key in ("cutoff", "overrun") if key in attributes}
    whole = {"tasks": list(tasks), **(plan or {})}
    spec = {"schedule": "0 2 * * *", "duration": "1h", **window, "plan": whole}
    world = WindowWorld(now=at("01:59"), spec=spec, outcomes=attributes)
    world.wait(minutes(1))
    return world


def order(world: WindowWorld) -> list[str]:
    return [start.owner.name for _, start in world.started]


class TestPriority:
    def test_the_highest_priority_goes_first_and_equal_ones_as_they_are_written(self) -> None:
        world = begun(
            {"name": "a"}, {"name": "b", "priority": 5}, {"name": "c", "priority": 5}, {"name": "d", "priority": -1}
        )

        world.wait(minutes(5))

        assert order(world) == ["b", "c", "a", "d"]

    def test_what_it_depends_on_comes_before_it_however_important_it_is(self) -> None:
        world = begun(
            {"name": "late"}, {"name": "first", "priority": -5}, {"name": "a", "priority": 9, "dependsOn": ["first"]}
        )

        world.wait(minutes(5))

        assert order(world) == ["late", "first", "a"]


class TestTimeLeft:
    def test_a_task_that_does_not_fit_any_more_is_left_out_and_says_so(self) -> None:
        world = begun({"name": "a"}, {"name": "long", "estimate": "45m"}, a=(minutes(20), GOOD))

        world.wait(minutes(21))

        assert world.task_states() == {"a": ("Succeeded", ""), "long": ("Skipped", "NoTimeLeft")}
        message = world.occurrence["tasks"][1]["message"]
        assert message == (
            "less time is left than its estimate of 45m: it would have had to start by 2026-03-02T02:15:00Z"
        )
        assert world.status["lastRun"]["outcome"] == "failed"

    def test_it_is_said_as_soon_as_its_last_moment_has_passed(self) -> None:
        world = begun({"name": "a"}, {"name": "long", "estimate": "45m"}, a=(minutes(50), GOOD))

        world.wait(minutes(15.5))

        assert world.task_states()["long"] == ("Skipped", "NoTimeLeft")

    def test_a_task_that_just_fits_starts(self) -> None:
        world = begun({"name": "a"}, {"name": "b", "estimate": "30m"}, a=(minutes(30), GOOD))

        world.wait(minutes(31))

        assert order(world) == ["a", "b"]

    def test_nothing_starts_within_the_cutoff_before_the_end(self) -> None:
        world = begun({"name": "a"}, {"name": "b"}, cutoff="30m", a=(minutes(31), GOOD))

        world.wait(minutes(32))

        assert order(world) == ["a"]
        assert world.task_states()["b"] == ("Skipped", "NoTimeLeft")
        assert "the cutoff is 30m before the end" in world.occurrence["tasks"][1]["message"]


class TestErrors:
    @pytest.mark.parametrize(("allowed", "started"), [(0, ["a"]), (1, ["a", "b"]), (2, ["a", "b", "c", "d"])])
    def test_so_many_failures_are_put_up_with(self, allowed: int, started: list[str]) -> None:
        names = ({"name": name} for name in "abcd")
        bad = dict.fromkeys("ab", (5 * SECONDS, BAD))
        world = begun(*names, plan={"maxErrors": allowed}, **bad)

        world.wait(minutes(10))

        assert order(world) == started
        assert world.status["lastRun"]["outcome"] == "failed"


class TestOverrun:
    def test_what_still_runs_at_the_end_goes_on_by_default(self) -> None:
        world = begun({"name": "slow"}, slow=(minutes(90), GOOD))

        world.wait(minutes(61))

        assert len(world.jobs.active) == 1
        assert world.task_states()["slow"] == ("Failed", "Overran")

    def test_stop_ends_what_still_runs(self) -> None:
        world = begun({"name": "slow"}, overrun="Stop", slow=(minutes(90), GOOD))

        world.wait(minutes(61))

        assert world.jobs.active == []
        assert world.task_states()["slow"] == ("Failed", "Stopped")
        assert world.occurrence["closedAt"] == "2026-03-02T03:00:00Z"
