"""Runs on demand: each token of upkeep.dev/run-now asks for one run, once."""

import pytest

from unit.domain.cluster import at, minutes, said
from unit.domain.taskworld import TaskWorld

HOURLY = {"schedule": "0 * * * *"}


def tokens(world: TaskWorld) -> list[str]:
    return [start.occasion.token for _, start in world.started]


def test_a_token_starts_one_run() -> None:
    world = TaskWorld(now=at("00:30"))
    world.ask("alice-1")

    world.wait(minutes(60))

    assert tokens(world) == ["alice-1"]
    assert world.status["lastManualRun"] == "alice-1"
    assert world.history == [("Ran", "ok", "")]
    assert world.status["history"][0]["trigger"] == "Manual"


def test_another_token_starts_another_run() -> None:
    world = TaskWorld(now=at("00:30"))
    world.ask("alice-1")
    world.wait(minutes(5))
    world.ask("bob-1")

    world.wait(minutes(5))

    assert tokens(world) == ["alice-1", "bob-1"]
    assert len({start.name for _, start in world.started}) == 2


def test_the_same_token_starts_no_second_run_when_its_job_is_gone() -> None:
    world = TaskWorld(now=at("00:30"), takes=None)
    world.ask("alice-1")
    world.wait(minutes(1))
    world.jobs.delete(world.jobs.active[0])

    world.wait(minutes(60))

    assert tokens(world) == ["alice-1"]


def test_a_token_that_comes_again_after_another_one_starts_nothing() -> None:
    world = TaskWorld(now=at("00:30"), spec={"successfulRunsHistoryLimit": 0})
    for token in ("alice-1", "bob-1", "alice-1"):
        world.ask(token)
        world.wait(minutes(5))

    assert world.jobs.objects == {}
    assert tokens(world) == ["alice-1", "bob-1"]
    assert world.status["lastManualRun"] == "alice-1"


def test_a_status_that_was_not_written_starts_no_second_run() -> None:
    world = TaskWorld(now=at("00:30"))
    world.ask("alice-1")
    world.act(lose_status=True)

    world.wait(minutes(5))

    assert tokens(world) == ["alice-1"]
    assert world.history == [("Ran", "ok", "")]


@pytest.mark.parametrize("policy", ["Forbid", "Replace"])
def test_while_a_run_is_under_way_it_is_refused_and_that_is_said(policy: str) -> None:
    world = TaskWorld(now=at("00:59:59"), spec={**HOURLY, "concurrencyPolicy": policy}, takes=minutes(10))
    world.wait(minutes(1))
    world.ask("alice-1")

    world.wait(minutes(30))

    assert tokens(world) == [""]
    (refusal,) = said(world.events, "ManualRunRefused")
    assert refusal.endswith("still runs: ask again when it has ended")
    assert "'alice-1'" in refusal


def test_allow_lets_it_run_besides() -> None:
    world = TaskWorld(now=at("00:59:59"), spec={**HOURLY, "concurrencyPolicy": "Allow"}, takes=minutes(10))
    world.wait(minutes(1))
    world.ask("alice-1")

    world.wait(minutes(1))

    assert tokens(world) == ["", "alice-1"]


@pytest.mark.parametrize("policy", ["Forbid", "Replace"])
def test_a_run_by_hand_that_begins_at_the_very_time_of_a_scheduled_one_comes_first(policy: str) -> None:
    world = TaskWorld(now=at("00:59:59"), spec={**HOURLY, "concurrencyPolicy": policy})
    world.act()
    world.ask("alice-1")
    world.now = at("01:00")

    world.wait(minutes(1))

    assert tokens(world) == ["alice-1"]
    assert world.history[1] == ("Missed", "ConcurrencyForbidden", "01:00")


def test_a_suspended_task_runs_on_demand() -> None:
    world = TaskWorld(now=at("00:30"), spec={**HOURLY, "suspend": True})
    world.ask("alice-1")

    world.wait(minutes(60))

    assert tokens(world) == ["alice-1"]


def test_a_task_that_lacks_something_refuses_and_says_what() -> None:
    world = TaskWorld(now=at("00:30"), spec={"windows": ["night"]})
    world.ask("alice-1")

    world.wait(minutes(5))

    assert tokens(world) == []
    assert "MaintenanceWindow 'night' does not exist" in said(world.events, "ManualRunRefused")[0]


def test_a_token_of_any_length_and_content_makes_a_name_and_is_not_asked_for_again() -> None:
    world = TaskWorld(now=at("00:30"))
    world.ask("ünï/code $(HOME) " * 50)

    world.wait(minutes(5))

    assert len(world.started) == 1
    assert len(world.status["lastManualRun"]) == 128
