"""A window off its usual course, on a real cluster: a plan that is undone, and people who start, extend and end it."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest
import yaml

from cluster.installation import Installation
from cluster.kubectl import Kubectl, Object
from cluster.manifests import resource, script, task, web_server, window
from cluster.space import PATIENCE, Space
from cluster.timing import Timings
from cluster.waiting import until
from lab.access import ClusterAccess
from upkeep.cluster.resources import JOBS, TASKS, WINDOWS
from upkeep.domain.instants import read_instant

pytestmark = pytest.mark.usefixtures("upkeep")

SAMPLE: Final = Path(__file__).parents[2] / "manifests" / "samples" / "window-change-night.yaml"
TOPIC: Final = "Windows by hand (whole seconds)"
NEVER: Final = {"schedule": "0 3 29 2 *"}
"""Only by hand, most years."""


@pytest.fixture(scope="module")
def shop(space: Space, access: ClusterAccess, upkeep: Installation) -> Space:  # noqa: ARG001 - it serves
    """A namespace with something that answers."""
    space.make(*web_server(access.shop_image, "shop"))
    space.ready("shop")
    return space


def ask(
    access: ClusterAccess, space: Space, command: str, name: str, *options: str
) -> subprocess.CompletedProcess[str]:
    """`kubectl upkeep start …` and the like."""
    return subprocess.run(
        [sys.executable, "-m", "upkeep", command, name, *options, f"--namespace={space.name}"],
        env={**os.environ, "KUBECONFIG": str(access.kubeconfig)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def occurrence(space: Space, name: str) -> Object:
    """The opening of a window; empty before the first."""
    found: Object = space.status(WINDOWS, name).get("occurrence", {})
    return found


def closed(space: Space, name: str, *, seconds: float = 60) -> Object:
    """The status once the opening is over."""
    return until(
        lambda: space.status(WINDOWS, name),
        lambda status: "closedAt" in status.get("occurrence", {}),
        what=f"{name} is closed",
        seconds=seconds,
    )


def test_a_plan_that_fails_is_undone_the_last_task_first(shop: Space, access: ClusterAccess) -> None:
    undo = [{"name": "answers", "httpCheck": {"url": "http://shop:8000/"}}]
    for name, text in (("schema", "true"), ("data", "exit 3"), ("cache", "true")):
        shop.make(task(name, run_now="", job=script(access.shop_image, text), rollback={"steps": undo}))
    names = ("schema", "data", "cache")
    plan = {"onFailure": "Rollback", "tasks": [{"name": name, "priority": -at} for at, name in enumerate(names)]}
    shop.make(window("undone", urgency="Emergency", duration="3m", plan=plan))

    status = closed(shop, "undone")

    tasks = {each["name"]: each for each in status["occurrence"]["tasks"]}
    assert {name: each["state"] for name, each in tasks.items()} == {
        "schema": "Succeeded",
        "data": "Failed",
        "cache": "Skipped",
    }
    assert {name: each["rollback"]["state"] for name, each in tasks.items() if "rollback" in each} == {
        "schema": "Succeeded",
        "data": "Succeeded",
    }
    assert "2 of 2 tasks rolled back" in status["lastRun"]["message"]
    begun = {name: shop.get(JOBS, tasks[name]["rollback"]["job"])["status"]["startTime"] for name in ("data", "schema")}
    assert begun["data"] < begun["schema"]
    until(
        lambda: [event["reason"] for event in shop.events_of("undone")].count("TaskRolledBack"),
        lambda count: count == 2,
        what="Events of both",
        seconds=PATIENCE,
    )


def test_what_a_container_did_a_container_undoes(shop: Space, access: ClusterAccess) -> None:
    shop.make({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "way-back"}, "data": {"note": "undone"}})
    note = {"name": "way-back", "mountPath": "/way-back", "configMap": {"name": "way-back"}}
    says = script(access.shop_image, "cat /way-back/note >/dev/termination-log", volumes=[note])
    shop.make(task("migrate", run_now="", job=script(access.shop_image, "true"), rollback={"job": says}))
    shop.make(task("break", run_now="", job=script(access.shop_image, "exit 3")))
    plan = {"onFailure": "Rollback", "tasks": [{"name": "migrate"}, {"name": "break", "dependsOn": ["migrate"]}]}
    shop.make(window("undone-by-container", urgency="Emergency", duration="3m", plan=plan))

    tasks = {each["name"]: each for each in closed(shop, "undone-by-container")["occurrence"]["tasks"]}

    assert tasks["break"]["rollback"]["reason"] == "NoRollback"
    assert (tasks["migrate"]["rollback"]["state"], tasks["migrate"]["rollback"]["message"]) == ("Succeeded", "undone")
    (container,) = shop.get(JOBS, tasks["migrate"]["rollback"]["job"])["spec"]["template"]["spec"]["containers"]
    assert container["image"] == access.shop_image
    assert "migrate" in shop.said("undone-by-container", "TaskRolledBack")


def test_a_window_is_started_extended_and_ended_by_hand_and_says_who_did_it(
    shop: Space, access: ClusterAccess, timings: Timings
) -> None:
    shop.make(task("long", run_now="", job=script(access.shop_image, "trap 'exit 1' TERM; sleep 300 & wait")))
    shop.make(window("by-hand", **NEVER, duration="10m", overrun="Stop", plan={"tasks": [{"name": "long"}]}))
    shop.condition("by-hand", "Ready", "True", kind=WINDOWS)

    started = ask(access, shop, "start", "by-hand")
    (running,) = until(
        lambda: [each for each in occurrence(shop, "by-hand").get("tasks", []) if "job" in each],
        bool,
        what="its task runs",
        seconds=PATIENCE,
    )
    before = occurrence(shop, "by-hand")
    extended = ask(access, shop, "extend", "by-hand", "30m")
    until(
        lambda: occurrence(shop, "by-hand"),
        lambda now: now["endTime"] > before["endTime"],
        what="it ends later",
        seconds=10,
    )
    after = occurrence(shop, "by-hand")
    ended = ask(access, shop, "end", "by-hand")
    status = closed(shop, "by-hand")

    assert [done.returncode for done in (started, extended, ended)] == [0, 0, 0], started.stderr
    assert (before["trigger"], "extendedBy" in before) == ("Manual", False)
    assert (read_instant(after["endTime"]) - read_instant(before["endTime"])).total_seconds() == 1800
    asked = [(each["request"], each["by"]) for each in status["occurrence"]["interventions"]]
    assert [request for request, _ in asked] == ["start-now", "extend", "end-now"]
    assert all(by in started.stdout for _, by in asked)
    assert status["occurrence"]["tasks"][0]["reason"] == "Stopped"
    stopped = until(
        lambda: shop.get(JOBS, running["job"])["status"].get("conditions", []),
        lambda found: any(each["type"] == "Failed" for each in found),
        what="its Job is stopped",
        seconds=60,
    )
    assert "DeadlineExceeded" in {each.get("reason") for each in stopped}
    delay = read_instant(before["openedAt"]) - read_instant(before["interventions"][0]["time"])
    timings.note(TOPIC, "asked to start → open", delay.total_seconds())


def test_who_asks_in_the_name_of_another_is_refused(shop: Space, kubectl: Kubectl) -> None:
    shop.make(window("guarded", **NEVER, duration="10m"))
    annotate = ("annotate", "mw", "guarded", f"--namespace={shop.name}")

    silent = kubectl.attempt(*annotate, "upkeep.dev/start-now=1")
    forged = kubectl.attempt(*annotate, "upkeep.dev/start-now=1", "upkeep.dev/requested-by=somebody-else")

    assert (silent.returncode, forged.returncode) == (1, 1)
    assert "set the annotation upkeep.dev/requested-by to your own user name" in silent.stderr
    assert "set the annotation upkeep.dev/requested-by to your own user name" in forged.stderr


def test_the_next_opening_is_called_off_and_shown_so(shop: Space, access: ClusterAccess) -> None:
    shop.make(window("called-off", schedule="0 3 * * *", duration="10m"))
    until(
        lambda: shop.status(WINDOWS, "called-off"),
        lambda now: "upcoming" in now,
        what="it looks ahead",
        seconds=PATIENCE,
    )

    done = ask(access, shop, "cancel", "called-off")

    status = until(
        lambda: shop.status(WINDOWS, "called-off"), lambda now: "cancelled" in now, what="it is noted", seconds=PATIENCE
    )
    assert done.returncode == 0, done.stderr
    states = [each["state"] for each in status["upcoming"]]
    assert states[:2] == ["Cancelled", "Planned"]
    assert status["nextScheduleTime"] == status["upcoming"][1]["startTime"]


def test_the_sample_of_a_change_night_runs_with_short_times(shop: Space) -> None:
    found = {item["metadata"]["name"]: item for item in yaml.safe_load_all(SAMPLE.read_text())}
    answers = [{"name": "answers", "httpCheck": {"url": "http://shop:8000/"}}]
    for name in ("tidy-orders", "add-archive", "count-orders"):
        shop.make(resource("MaintenanceTask", name, {"steps": answers, "rollback": {"steps": answers}}))
    spec = {key: value for key, value in found["change-night"]["spec"].items() if key != "schedule"}
    short = {"urgency": "Emergency", "duration": "4h", "verify": {**spec["verify"], "steps": answers}}
    shop.make(
        resource(
            "MaintenanceWindow", "change-night", {**spec, **short, "watch": {"duration": "45s", "interval": "30s"}}
        )
    )

    status = until(
        lambda: shop.status(WINDOWS, "change-night"),
        lambda now: now.get("occurrence", {}).get("watch", {}).get("checks", 0) >= 2,
        what="it is watched",
        seconds=120,
    )

    assert [each["state"] for each in status["occurrence"]["tasks"]] == ["Succeeded"] * 3
    assert status["lastRun"]["outcome"] == "ok"
    assert status["occurrence"]["watch"]["healthy"] is True
    assert shop.status(TASKS, "tidy-orders")["lastRun"]["trigger"] == "Window"
