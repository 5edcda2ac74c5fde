"""What a task's status remembers of its runs, and which Jobs are kept."""

from datetime import timedelta

import pytest

from unit.domain.cluster import BAD, at, minutes, pod, said
from unit.domain.taskworld import TaskWorld

EVERY_MINUTE = {"schedule": "* * * * *"}


def condition(world: TaskWorld, name: str) -> dict[str, str]:
    found: dict[str, str] = next(each for each in world.status["conditions"] if each["type"] == name)
    return found


def test_the_history_keeps_the_newest_ten() -> None:
    world = TaskWorld(now=at("00:30"), spec=EVERY_MINUTE)

    world.wait(minutes(15.9))

    assert [due for _, _, due in world.history] == [f"00:{minute}" for minute in range(45, 35, -1)]


def test_good_and_failed_jobs_have_limits_of_their_own_and_the_newest_stay() -> None:
    limits = {"successfulRunsHistoryLimit": 2, "failedRunsHistoryLimit": 1}
    world = TaskWorld(now=at("00:30"), spec={**EVERY_MINUTE, **limits})
    world.wait(minutes(5.9))
    world.good = False
    world.wait(minutes(4))

    kept = [made["metadata"]["annotations"]["upkeep.dev/scheduled-time"] for made in world.jobs.objects.values()]
    assert [time[11:16] for time in sorted(kept)] == ["00:34", "00:35", "00:39"]


def test_no_job_is_removed_before_its_end_is_recorded() -> None:
    limits = {"successfulRunsHistoryLimit": 0, "concurrencyPolicy": "Allow"}
    world = TaskWorld(now=at("00:30"), spec={**EVERY_MINUTE, **limits}, takes=None)
    world.wait(minutes(2.5))
    first, second = sorted(world.jobs.active)
    world.jobs.end(second, world.now)
    world.jobs.end(first, world.now, seen=False)

    world.act()

    assert sorted(world.jobs.active + list(world.jobs.objects)) == [first], "its Pod has not been seen to end yet"
    assert world.status["active"] == [first]
    world.wait(timedelta(seconds=11))
    assert first not in world.jobs.objects
    assert len(said(world.events, "RunSucceeded")) == 2


def test_a_run_that_outlives_the_whole_history_is_recorded_when_it_ends() -> None:
    world = TaskWorld(now=at("00:30"), spec={**EVERY_MINUTE, "concurrencyPolicy": "Allow"}, takes=None)
    world.wait(minutes(1))
    (patient,) = world.jobs.active
    world.takes = timedelta(seconds=5)
    world.endless = {patient}
    world.wait(minutes(14))
    world.jobs.end(patient, world.now, message=BAD)

    world.act()
    world.act()

    assert len(said(world.events, "RunFailed")) == 1
    assert patient not in world.status.get("active", [])


def test_the_end_of_a_job_waits_for_its_pods_last_words() -> None:
    world = TaskWorld(now=at("00:59:59"), spec={"schedule": "0 * * * *"}, takes=None)
    world.wait(minutes(1))
    (name,) = world.jobs.active
    world.jobs.end(name, world.now, seen=False)
    world.act()
    assert world.history == []
    assert world.wake_at == world.now + timedelta(seconds=10)
    world.jobs.pods[name] = [pod(name, world.now, code=0, message='{"outcome":"changed","message":"tidied"}')]

    world.act()

    assert world.history == [("Ran", "changed", "01:00")]
    assert world.status["lastRun"]["message"] == "tidied"


def test_without_last_words_the_job_alone_decides_after_a_while() -> None:
    world = TaskWorld(now=at("00:59:59"), spec={"schedule": "0 * * * *"}, takes=None)
    world.wait(minutes(1))
    world.jobs.end(world.jobs.active[0], world.now, seen=False)

    world.wait(timedelta(seconds=10))

    assert world.history == [("Ran", "ok", "01:00")]


def test_the_soonest_of_several_that_wait_for_last_words_decides_when_to_look() -> None:
    world = TaskWorld(now=at("00:30"), spec={**EVERY_MINUTE, "concurrencyPolicy": "Allow"}, takes=None)
    world.wait(minutes(2.5))
    first, second = sorted(world.jobs.active)
    world.jobs.end(first, world.now, seen=False)
    world.now += timedelta(seconds=4)
    world.jobs.end(second, world.now, seen=False)

    decision = world.act()

    assert decision.wake_at == world.now + timedelta(seconds=6)


def test_failures_in_a_row_are_counted_and_a_good_run_ends_them() -> None:
    world = TaskWorld(now=at("00:30"), spec=EVERY_MINUTE, good=False)
    world.wait(minutes(3.9))
    assert world.status["consecutiveFailures"] == 3
    assert condition(world, "LastRunSucceeded")["status"] == "False"
    world.good = True

    world.wait(minutes(1))

    assert world.status.get("consecutiveFailures", 0) == 0
    assert condition(world, "LastRunSucceeded")["status"] == "True"
    assert world.status["lastSuccessfulTime"] == "2026-03-02T00:34:30Z"


def test_while_a_run_is_under_way_the_condition_speaks_of_the_one_before() -> None:
    world = TaskWorld(now=at("00:30"), spec=EVERY_MINUTE, good=False)
    world.wait(minutes(1.9))

    world.wait(timedelta(seconds=10))

    assert "outcome" not in world.status["lastRun"]
    assert condition(world, "LastRunSucceeded")["reason"] == "Failed"


def test_a_condition_changes_its_time_only_together_with_its_status() -> None:
    world = TaskWorld(now=at("00:30"), spec=EVERY_MINUTE)
    world.wait(minutes(3.9))

    assert condition(world, "Ready")["lastTransitionTime"] == "2026-03-02T00:30:00Z"
    assert condition(world, "LastRunSucceeded")["lastTransitionTime"] == "2026-03-02T00:31:30Z"


@pytest.mark.parametrize("takes", [None, timedelta(seconds=5)])
def test_a_run_shows_as_the_last_one_from_its_start(takes: timedelta | None) -> None:
    world = TaskWorld(now=at("00:59:59"), spec={"schedule": "0 * * * *"}, takes=takes)
    world.act()
    world.now = at("01:00")

    world.act()

    assert world.status["lastRun"]["job"] == world.started[0][1].name
    assert world.status["lastRun"]["startTime"] == "2026-03-02T01:00:00Z"
    assert world.status["phase"] == "Running"


def test_a_pod_that_cannot_start_is_told_while_it_lasts() -> None:
    world = TaskWorld(now=at("00:59:59"), spec={"schedule": "0 * * * *"}, takes=None)
    world.wait(minutes(1))
    (name,) = world.jobs.active
    waiting = {"reason": "ImagePullBackOff", "message": 'Back-off pulling image "nope"'}
    world.jobs.pods[name] = [
        {
            "metadata": {"name": f"{name}-x", "creationTimestamp": "2026-03-02T01:00:00Z"},
            "status": {"containerStatuses": [{"name": "run", "image": "nope", "state": {"waiting": waiting}}]},
        }
    ]

    world.act()

    assert condition(world, "Ready")["reason"] == "ImagePullFailed"
    assert condition(world, "Ready")["message"] == f'{name}: nope: Back-off pulling image "nope"'
    world.jobs.end(name, world.now)
    world.act()
    assert condition(world, "Ready")["status"] == "True"
