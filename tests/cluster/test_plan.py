"""Plans that choose their tasks by labels, on a real cluster."""

from pathlib import Path
from typing import Final

import pytest
import yaml

from cluster.installation import Installation
from cluster.kubectl import Object
from cluster.manifests import resource, script, soon, task, window
from cluster.space import Space
from cluster.waiting import until
from lab.access import ClusterAccess
from upkeep.cluster.resources import TASKS, WINDOWS

pytestmark = pytest.mark.usefixtures("upkeep")

SAMPLE: Final = Path(__file__).parents[2] / "manifests" / "samples" / "window-monthly-plan.yaml"
LABEL: Final = "plan.example.com/monthly"


@pytest.fixture(scope="module")
def shop(space: Space, upkeep: Installation) -> Space:  # noqa: ARG001 - it serves
    """A namespace of the tests."""
    return space


def labelled(body: Object, **labels: str) -> Object:
    return {**body, "metadata": {**body["metadata"], "labels": labels}}


def closed(space: Space, name: str, *, seconds: float = 90) -> Object:
    """The status once the opening is over."""
    return until(
        lambda: space.status(WINDOWS, name),
        lambda status: "closedAt" in status.get("occurrence", {}),
        what=f"{name} is closed",
        seconds=seconds,
    )


def test_the_sample_of_a_monthly_plan_runs_what_has_its_label_and_says_what_that_is(
    shop: Space, access: ClusterAccess
) -> None:
    found = {(item["kind"], item["metadata"]["name"]): item for item in yaml.safe_load_all(SAMPLE.read_text())}
    spec = found.pop(("MaintenanceWindow", "monthly-plan"))["spec"]
    for (_, name), item in found.items():
        short = task(name, run_now="", job=script(access.shop_image, "sleep 3"))
        shop.make(labelled(short, **item["metadata"].get("labels", {})))
    del spec["schedule"]
    shop.make(resource("MaintenanceWindow", "monthly-plan", {**spec, "urgency": "Emergency"}))
    until(
        lambda: shop.status(WINDOWS, "monthly-plan").get("occurrence", {}).get("tasks", []),
        lambda tasks: any("job" in each for each in tasks),
        what="it has begun",
        seconds=60,
    )
    shop.make(labelled(task("too-late", run_now="", job=script(access.shop_image, "true")), **{LABEL: "databases"}))

    status = closed(shop, "monthly-plan")

    tasks = status["occurrence"]["tasks"]
    assert [(each["name"], each.get("selectedBy", []), each["state"]) for each in tasks] == [
        ("check-bloat", ["databases"], "Succeeded"),
        ("vacuum-orders", ["databases"], "Succeeded"),
        ("shop-answers", [], "Succeeded"),
    ]
    assert tasks[2]["startTime"] >= max(each["completionTime"] for each in tasks[:2])
    assert status["lastRun"]["outcome"] == "ok"
    assert shop.said("monthly-plan", "TasksSelected") == "databases: check-bloat, vacuum-orders"
    assert "lastRun" not in shop.status(TASKS, "too-late")


def test_a_selector_that_no_task_fits_is_said_before_the_opening_until_one_is_labelled(
    shop: Space, access: ClusterAccess
) -> None:
    part = {
        "name": "caches",
        "selector": {"matchExpressions": [{"key": "tier", "operator": "In", "values": ["cache"]}]},
    }
    shop.make(task("warm", run_now="", job=script(access.shop_image, "true")))
    shop.make(window("lonely", startAt=soon(3600), duration="10m", plan={"tasks": [part]}))

    before = shop.condition("lonely", "Ready", "False", kind=WINDOWS)
    shop.change(TASKS, "warm", {"metadata": {"labels": {"tier": "cache"}}})
    shop.condition("lonely", "Ready", "True", kind=WINDOWS)

    assert before["reason"] == "NothingSelected"
    assert "caches (tasks with the labels 'tier in (cache)')" in before["message"]


def test_a_chosen_task_that_is_deleted_before_its_turn_is_named(shop: Space, access: ClusterAccess) -> None:
    for name, text in (("first", "sleep 10"), ("gone", "true")):
        shop.make(labelled(task(name, run_now="", job=script(access.shop_image, text)), set="two"))
    plan = {"tasks": [{"name": "both", "selector": {"matchLabels": {"set": "two"}}}]}
    shop.make(window("vanishing", urgency="Emergency", duration="3m", plan=plan))
    until(
        lambda: shop.status(WINDOWS, "vanishing").get("occurrence", {}).get("tasks", []),
        lambda tasks: any("job" in each for each in tasks),
        what="the first of them runs",
        seconds=60,
    )

    shop.remove(TASKS, "gone")

    ready = shop.condition("vanishing", "Ready", "False", kind=WINDOWS)
    assert (ready["reason"], "'gone' was chosen by its labels" in ready["message"]) == ("TaskNotFound", True)
    tasks = closed(shop, "vanishing")["occurrence"]["tasks"]
    assert [(each["name"], each["state"]) for each in tasks] == [("first", "Succeeded"), ("gone", "Failed")]
