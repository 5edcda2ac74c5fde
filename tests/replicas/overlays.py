"""Stories about pages that lie over their targets: an Ingress and an IngressRoute that Traefik serves."""

from typing import Any, Final

from fakeapi.objects import Json
from fakeapi.resources import ROUTES
from replicas.runs import NAME
from replicas.stage import MANAGER, TEAM, Stage, resource
from replicas.story import Story
from replicas.windows import WINDOW, closed, furnish, page_objects, window_spec
from upkeep.domain.maintenance import semantically_equal

_CLASS: Final[Json] = {
    "apiVersion": "networking.k8s.io/v1",
    "kind": "IngressClass",
    "metadata": {"name": "traefik"},
    "spec": {"controller": "traefik.io/ingress-controller"},
}
_WEB: Final[Json] = {
    "apiVersion": "networking.k8s.io/v1",
    "kind": "Ingress",
    "metadata": {"name": "web", "namespace": TEAM},
    "spec": {
        "ingressClassName": "traefik",
        "rules": [
            {
                "host": "web.example",
                "http": {
                    "paths": [
                        {
                            "path": path,
                            "pathType": "Prefix",
                            "backend": {"service": {"name": name, "port": {"number": 80}}},
                        }
                        for path, name in (("/", "web"), ("/api", "api"))
                    ]
                },
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
COVERED: Final = {"Ingress": _WEB, "IngressRoute": _API}
PAGES: Final = 3
"""Routes that lead to the page: one a path of the Ingress, for each has a priority of its own."""
MODE: Final[dict[str, Any]] = {
    "strategy": "Overlay",
    "targets": [{"kind": kind, "name": item["metadata"]["name"]} for kind, item in COVERED.items()],
}


def set_up(stage: Stage, **mode: object) -> None:
    """A window over both."""
    furnish(stage)
    for item in (_CLASS, *COVERED.values()):
        stage.cluster.create(item)
    stage.cluster.create(resource("MaintenanceWindow", WINDOW, window_spec(maintenanceMode={**MODE, **mode})))


def pages(stage: Stage) -> list[Json]:
    """Routes that lie over targets."""
    label = "upkeep.dev/maintenance-mode=overlay"
    return [each for kind in COVERED for each in stage.cluster.list(kind, labels=label)]


def untouched(stage: Stage) -> bool:
    """Whether nothing was ever written to a target."""
    return all(
        semantically_equal(made, found)
        and all(entry["manager"] != MANAGER for entry in found["metadata"].get("managedFields", ()))
        for kind, made in COVERED.items()
        for found in [stage.cluster.get(kind, TEAM, made["metadata"]["name"])]
    )


def nothing_is_left(stage: Stage) -> None:
    """Assert that a window has left nothing behind but its own record."""
    assert untouched(stage)
    assert not pages(stage)
    assert not page_objects(stage)


ORDERLY: Final = Story(
    name=f"a window whose page lies over its targets, and the plan {NAME}",
    begin=set_up,
    over=lambda stage: closed(stage) and not pages(stage),
    jobs=2,
    check=nothing_is_left,
    within=90.0,
    at_once=24,
    others=ROUTES,
)
