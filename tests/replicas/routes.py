"""Stories about routes: as with Ingresses, of kinds that a cluster may know or not."""

from typing import Any, Final

from fakeapi.objects import Json
from fakeapi.resources import ROUTES
from replicas.runs import NAME
from replicas.stage import MANAGER, TEAM, Stage, resource
from replicas.story import Story
from replicas.windows import WINDOW, closed, furnish, page_objects, window_spec
from upkeep.domain.maintenance import semantically_equal

TEAMS: Final = {"team": "shop"}
_WEB: Final[Json] = {
    "apiVersion": "gateway.networking.k8s.io/v1",
    "kind": "HTTPRoute",
    "metadata": {"name": "web", "namespace": TEAM, "labels": TEAMS},
    "spec": {
        "hostnames": ["shop.example"],
        "rules": [
            {
                "matches": [{"path": {"type": "PathPrefix", "value": "/"}}],
                "backendRefs": [
                    {"group": "", "kind": "Service", "name": name, "port": 80, "weight": weight}
                    for name, weight in (("web", 90), ("canary", 10))
                ],
            }
        ],
    },
}
_API: Final[Json] = {
    "apiVersion": "traefik.io/v1alpha1",
    "kind": "IngressRoute",
    "metadata": {"name": "api", "namespace": TEAM},
    "spec": {
        "entryPoints": ["web"],
        "routes": [{"kind": "Rule", "match": "Host(`api.example`)", "services": [{"name": "api", "port": 80}]}],
    },
}
MADE: Final = {each["kind"]: each for each in (_WEB, _API)}
MODE: Final[dict[str, Any]] = {
    "targets": [
        {"kind": "HTTPRoute", "selector": {"matchLabels": TEAMS}},
        {"kind": "IngressRoute", "name": "api"},
    ]
}


BYPASS: Final = {"header": {"name": "X-Preview", "value": "let-me-in-7f3a"}}


def companions(stage: Stage) -> list[Json]:
    """Routes of Upkeep's own."""
    label = "upkeep.dev/maintenance-mode=bypass"
    return [each for kind in MADE for each in stage.cluster.list(kind, labels=label)]


def set_up_with_bypass(stage: Stage) -> None:
    """The same, and testers pass by."""
    furnish(stage)
    for route in MADE.values():
        stage.cluster.create(route)
    mode = {**MODE, "bypass": BYPASS}
    stage.cluster.create(resource("MaintenanceWindow", WINDOW, window_spec(maintenanceMode=mode)))


def set_up(stage: Stage) -> None:
    """A window over two routes: one that is selected, one that is named."""
    furnish(stage)
    for route in MADE.values():
        stage.cluster.create(route)
    stage.cluster.create(resource("MaintenanceWindow", WINDOW, window_spec(maintenanceMode=MODE)))


def on_page(stage: Stage) -> set[str]:
    """Kinds of the routes that are in maintenance mode."""
    label = "upkeep.dev/maintenance-mode=on"
    return {each["kind"] for kind in MADE for each in stage.cluster.list(kind, labels=label)}


def as_before(stage: Stage) -> bool:
    """Whether every route says what it said before, and Upkeep owns nothing of it."""
    return all(
        semantically_equal(made, found)
        and all(entry["manager"] != MANAGER for entry in found["metadata"].get("managedFields", ()))
        for kind, made in MADE.items()
        for found in stage.cluster.list(kind, TEAM)
    )


def nothing_is_left(stage: Stage) -> None:
    """Assert that a window has left nothing behind but its own record."""
    assert as_before(stage), [stage.cluster.list(kind, TEAM) for kind in MADE]
    assert not page_objects(stage)


PASSED_BY: Final = Story(
    name="a window with routes by which testers pass",
    begin=set_up_with_bypass,
    over=lambda stage: closed(stage) and not companions(stage),
    jobs=2,
    check=nothing_is_left,
    within=90.0,
    at_once=24,
    others=ROUTES,
)
ORDERLY: Final = Story(
    name=f"a window with routes, and the plan {NAME}",
    begin=set_up,
    over=closed,
    jobs=2,
    check=nothing_is_left,
    within=90.0,
    at_once=24,
    others=ROUTES,
)
