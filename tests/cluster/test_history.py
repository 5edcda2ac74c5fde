"""What became of a run stands on its task in words, and what is not needed any more is cleared away."""

from typing import Final

import pytest

from cluster.kubectl import Object
from cluster.manifests import script, soon, task
from cluster.space import PATIENCE, Space, conditions
from cluster.waiting import until
from lab.access import ClusterAccess
from upkeep.cluster.resources import CONFIG_MAPS, JOBS, PODS, TASKS

SLOW: Final = "trap 'exit 143' TERM; sleep 300 & wait"


@pytest.fixture
def image(access: ClusterAccess) -> str:
    return access.shop_image


def _failure(space: Space, name: str, *, seconds: float = PATIENCE) -> Object:
    """The last run of a task, which has failed, after it was seen that its conditions and Events say the same."""
    status = space.ended_run(name, seconds=seconds)
    run: Object = status["lastRun"]
    assert (run["outcome"], status["consecutiveFailures"]) == ("failed", 1)
    succeeded = conditions(status)["LastRunSucceeded"]
    assert (succeeded["status"], succeeded["reason"]) == ("False", "Failed")
    assert succeeded["message"] == f"{run['job']}: {run['message']}"
    assert conditions(status)["Ready"]["status"] == "True"
    events = until(
        lambda: {event["reason"]: event for event in space.events_of(name)},
        lambda known: "RunFailed" in known,
        what="the Event",
        seconds=PATIENCE,
    )
    assert events["RunFailed"]["type"] == "Warning"
    assert run["message"] in events["RunFailed"]["message"]
    return run


def test_an_exit_code_is_told_with_the_last_line_of_the_log(space: Space, image: str) -> None:
    space.make(task("exits", job=script(image, "echo looking; echo 'disk is full'; exit 3")))

    run = _failure(space, "exits")

    assert run["message"] == "exit code 3: disk is full"


def test_what_a_container_leaves_as_its_message_is_told(space: Space, image: str) -> None:
    space.make(task("says", job=script(image, "echo noise; echo 'refreshed 42 days' >/dev/termination-log")))

    status = space.ended_run("says")

    assert (status["lastRun"]["outcome"], status["lastRun"]["message"]) == ("ok", "refreshed 42 days")
    assert status["lastSuccessfulTime"] == status["lastRun"]["completionTime"]


def test_running_out_of_memory_is_told_with_what_to_do(space: Space, image: str) -> None:
    little = {"requests": {"memory": "16Mi"}, "limits": {"memory": "16Mi"}}
    space.make(task("hungry", job=script(image, "exec tail /dev/zero", resources=little)))

    run = _failure(space, "hungry")

    assert run["message"] == "it ran out of memory and was killed: raise its memory limit"


def test_a_run_that_takes_too_long_is_stopped_and_told(space: Space, image: str) -> None:
    space.make(task("endless", timeout="5s", job=script(image, SLOW)))

    run = _failure(space, "endless", seconds=40)

    assert run["message"] == "it took longer than its timeout and was stopped"
    until(lambda: space.pods_of(run["job"]), lambda pods: not pods, what="its Pod is gone", seconds=PATIENCE)


def test_a_failed_run_is_tried_again_in_the_same_job(space: Space, image: str) -> None:
    space.make(task("stubborn", retries=1, job=script(image, "echo no; exit 4")))

    run = _failure(space, "stubborn", seconds=60)

    assert run["message"] == "exit code 4: no"
    assert len(space.pods_of(run["job"])) == 2
    assert len(space.jobs_of(space.get(TASKS, "stubborn"))) == 1
    assert len(space.status(TASKS, "stubborn")["history"]) == 1


def test_jobs_beyond_the_history_limits_are_deleted_with_their_pods(space: Space, image: str) -> None:
    text = 'if [ "$(cat /way/out)" = good ]; then exit 0; else exit 1; fi'
    volume = {"name": "way", "mountPath": "/way", "configMap": {"name": "way"}}
    space.make(
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "way"}, "data": {"out": "good"}},
        task(
            "often",
            run_now="good-1",
            successfulRunsHistoryLimit=1,
            failedRunsHistoryLimit=0,
            job=script(image, text, volumes=[volume]),
        ),
    )
    first = space.ended_run("often", token="good-1")  # noqa: S106 - of a run
    space.run_now("often", "good-2")
    second = space.ended_run("often", token="good-2")  # noqa: S106 - of a run
    space.change(CONFIG_MAPS, "way", {"data": {"out": "bad"}})

    space.run_now("often", "bad-1")

    third = space.ended_run("often", token="bad-1")  # noqa: S106 - of a run
    assert (third["lastRun"]["outcome"], third["consecutiveFailures"]) == ("failed", 1)
    kept = {second["lastRun"]["job"]}
    owner = space.get(TASKS, "often")
    until(
        lambda: {job["metadata"]["name"] for job in space.jobs_of(owner)},
        lambda names: names == kept,
        what=f"only {kept} is left",
        seconds=PATIENCE,
    )
    pods = {"labelSelector": f"upkeep.dev/owner-uid={owner['metadata']['uid']}"}
    until(
        lambda: len(space.all(PODS, selector=pods["labelSelector"])),
        lambda left: left == 1,
        what="its Pod is left",
        seconds=PATIENCE,
    )
    told = [record["job"] for record in space.status(TASKS, "often")["history"]]
    assert told == [status["lastRun"]["job"] for status in (third, second, first)]


def test_replace_stops_the_run_that_is_in_the_way(space: Space, image: str) -> None:
    space.make(task("impatient", runAt=soon(6), concurrencyPolicy="Replace", job=script(image, SLOW)))
    owner = space.get(TASKS, "impatient")
    (slow,) = until(lambda: space.jobs_of(owner), bool, what="the run by hand", seconds=PATIENCE)
    until(lambda: space.pods_of(slow["metadata"]["name"]), bool, what="its Pod", seconds=PATIENCE)

    (replacement,) = until(
        lambda: space.jobs_of(owner),
        lambda jobs: [job["metadata"]["uid"] for job in jobs] not in ([], [slow["metadata"]["uid"]]) and len(jobs) == 1,
        what="another run alone",
        seconds=PATIENCE,
    )

    assert replacement["metadata"]["annotations"]["upkeep.dev/trigger"] == "Schedule"
    until(
        lambda: space.pods_of(slow["metadata"]["name"]), lambda pods: not pods, what="its Pod is gone", seconds=PATIENCE
    )
    until(
        lambda: space.status(TASKS, "impatient").get("active"),
        lambda active: active == [replacement["metadata"]["name"]],
        what="the new run is shown",
        seconds=PATIENCE,
    )


def test_forbid_leaves_out_the_run_that_is_due_meanwhile_and_says_so(space: Space, image: str) -> None:
    space.make(task("patient", runAt=soon(3), job=script(image, SLOW)))

    status = until(
        lambda: space.status(TASKS, "patient"),
        lambda seen: any(record["ending"] == "Missed" for record in seen.get("history", ())),
        what="the missed occurrence is recorded",
        seconds=PATIENCE,
    )

    (missed,) = (record for record in status["history"] if record["ending"] == "Missed")
    (running,) = space.jobs_of(space.get(TASKS, "patient"))
    assert missed["reason"] == "ConcurrencyForbidden"
    assert missed["message"] == f"{running['metadata']['name']} still ran"
    assert missed["message"] in space.said("patient", "MissedConcurrencyForbidden")


def test_a_task_takes_its_jobs_and_pods_with_it(space: Space, image: str) -> None:
    space.make(task("leaving", job=script(image, SLOW)))
    owner = space.get(TASKS, "leaving")
    (job,) = until(lambda: space.jobs_of(owner), bool, what="its Job", seconds=PATIENCE)
    until(lambda: space.pods_of(job["metadata"]["name"]), bool, what="its Pod", seconds=PATIENCE)

    space.remove(TASKS, "leaving")

    until(
        lambda: (space.server.find(JOBS, space.name, job["metadata"]["name"]), space.pods_of(job["metadata"]["name"])),
        lambda left: left == (None, []),
        what="nothing of it is left",
        seconds=40,
    )
