"""Stories about maintenance windows: Ingresses go onto a page and come back, whatever happens meanwhile."""

from datetime import UTC, datetime, timedelta
from typing import Any, Final

from fakeapi.objects import Json
from replicas.runs import JOB, NAME, runs_end_well
from replicas.stage import MANAGER, TEAM, Stage, instant, resource
from replicas.story import Story
from upkeep.domain.maintenance import semantically_equal

WINDOW: Final = "night"
_SHOP: Final[Json] = {
    "apiVersion": "networking.k8s.io/v1",
    "kind": "Ingress",
    "metadata": {"name": "shop", "namespace": TEAM},
    "spec": {
        "defaultBackend": {"service": {"name": "shop", "port": {"number": 80}}},
        "rules": [
            {
                "host": "shop.example",
                "http": {
                    "paths": [
                        {
                            "path": "/.well-known/acme-challenge",
                            "pathType": "Prefix",
                            "backend": {"service": {"name": "acme", "port": {"number": 8089}}},
                        },
                        {
                            "path": "/",
                            "pathType": "Prefix",
                            "backend": {"service": {"name": "shop", "port": {"name": "http"}}},
                        },
                    ]
                },
            }
        ],
    },
}
_API: Final[Json] = {
    "apiVersion": "networking.k8s.io/v1",
    "kind": "Ingress",
    "metadata": {
        "name": "api",
        "namespace": TEAM,
        "labels": {"app": "api"},
        "annotations": {"nginx.ingress.kubernetes.io/proxy-read-timeout": "60"},
    },
    "spec": {
        "ingressClassName": "contour",
        "rules": [
            {
                "host": f"{name}.shop.example",
                "http": {
                    "paths": [
                        {
                            "path": "/",
                            "pathType": "Prefix",
                            "backend": {"service": {"name": name, "port": {"number": 8080}}},
                        }
                    ]
                },
            }
            for name in ("api", "api-v2")
        ],
    },
}
INGRESSES: Final = {each["metadata"]["name"]: each for each in (_SHOP, _API)}
PAGE_KINDS: Final = ("deployments", "services", "configmaps")
_VERIFICATION: Final = [{"name": "answers", "httpCheck": {"url": "http://shop/"}}]


def window_spec(**changes: object) -> dict[str, Any]:
    """A window that opens about now: both Ingresses on the page, a plan of one task, and a check at the end."""
    spec = {
        "startAt": instant(datetime.now(UTC) + timedelta(seconds=1)),
        "duration": "10m",
        "maintenanceMode": {"targets": [{"name": name} for name in INGRESSES]},
        "plan": {"tasks": [{"name": NAME}]},
        "verify": {"steps": _VERIFICATION},
    }
    return {key: value for key, value in {**spec, **changes}.items() if value is not None}


def furnish(stage: Stage, *, page_after: float | None = 0.0) -> None:
    """What a window needs: Ingresses, a task, and a cluster in which Jobs end well and pages come up.

    Args:
        stage: where.
        page_after: seconds until a page answers, None for never.
    """
    runs_end_well(stage)
    stage.cluster.world.deployments(ready_after=page_after)
    for ingress in INGRESSES.values():
        stage.cluster.create(ingress)
    stage.cluster.create(resource("MaintenanceTask", NAME, {"job": JOB}))


def open_window(stage: Stage, **changes: object) -> None:
    """A window on a furnished stage."""
    furnish(stage)
    stage.cluster.create(resource("MaintenanceWindow", WINDOW, window_spec(**changes)))


def swapped(stage: Stage) -> set[str]:
    """The Ingresses that are in maintenance mode."""
    return {
        each["metadata"]["name"] for each in stage.cluster.list("ingresses", labels="upkeep.dev/maintenance-mode=on")
    }


def restored(stage: Stage) -> bool:
    """Whether every Ingress says what it said before, and Upkeep owns nothing of it."""
    return all(
        semantically_equal(INGRESSES[each["metadata"]["name"]], each)
        and all(entry["manager"] != MANAGER for entry in each["metadata"].get("managedFields", ()))
        for each in stage.cluster.list("ingresses", TEAM)
    )


def page_objects(stage: Stage) -> list[str]:
    """What is there of the window's page."""
    return [f"{kind}/{each['metadata']['name']}" for kind in PAGE_KINDS for each in stage.cluster.list(kind, TEAM)]


def all_is_as_before(stage: Stage) -> None:
    """Assert that a window has left nothing behind but its own record."""
    assert restored(stage), stage.cluster.list("ingresses", TEAM)
    assert not page_objects(stage)
    window = stage.cluster.get("MaintenanceWindow", TEAM, WINDOW)
    assert not window["metadata"].get("finalizers")


def closed(stage: Stage) -> bool:
    """Whether the window has closed and its page is gone."""
    status = stage.status("MaintenanceWindow", WINDOW)
    return status.get("phase") == "Completed" and not status["occurrence"].get("pageShown") and not page_objects(stage)


ORDERLY: Final = Story(
    name="a window with maintenance mode, a plan and a check",
    begin=open_window,
    over=closed,
    jobs=2,
    check=all_is_as_before,
    within=90.0,
    at_once=24,
)


_TIER: Final = {"tier": "db"}


def _chosen(stage: Stage) -> list[Json]:
    found: list[Json] = stage.status("MaintenanceWindow", WINDOW).get("occurrence", {}).get("tasks", [])
    return found


def _choose_by_labels(stage: Stage) -> None:
    runs_end_well(stage)
    for name in ("vacuum-a", "vacuum-b"):
        stage.cluster.create(resource("MaintenanceTask", name, {"job": JOB}, labels=_TIER))
    plan = {"tasks": [{"name": "databases", "selector": {"matchLabels": _TIER}}]}
    spec = window_spec(maintenanceMode=None, verify=None, plan=plan)
    stage.cluster.create(resource("MaintenanceWindow", WINDOW, spec))


async def _label_another_and_take_the_label_of_one(stage: Stage) -> None:
    await stage.cluster.until(lambda: bool(_chosen(stage)), within=60.0)
    stage.cluster.create(resource("MaintenanceTask", "late", {"job": JOB}, labels=_TIER))
    stage.cluster.patch("MaintenanceTask", TEAM, "vacuum-b", {"metadata": {"labels": {"tier": None}}})


def _both_ran_as_chosen(stage: Stage) -> None:
    states = [(each["name"], each["state"], each["selectedBy"]) for each in _chosen(stage)]
    assert states == [(name, "Succeeded", ["databases"]) for name in ("vacuum-a", "vacuum-b")]


LABELLED: Final = Story(
    name="a window whose plan chooses tasks by their labels, which change in the moment that it opens",
    begin=_choose_by_labels,
    meanwhile=_label_another_and_take_the_label_of_one,
    over=closed,
    jobs=2,
    check=_both_ran_as_chosen,
    within=90.0,
    at_once=12,
)
