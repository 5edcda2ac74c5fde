"""Routes as an API server has them, for the tests that hold for every kind that can be put into maintenance mode."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from unit.domain.maintenance_ingress import Backend, backends, ingress, path, rule, service
from upkeep.domain.maintenance import Holder

Item = dict[str, Any]
Entry = dict[str, Any]


def reference(name: str, port: int = 80, weight: int = 1, **more: object) -> Entry:
    """A backend of an HTTPRoute, with all that the API server fills in."""
    return {"group": "", "kind": "Service", "name": name, "port": port, "weight": weight, **more}


def http_rule(at: str, *references: Entry, **more: object) -> Entry:
    """A rule for one path."""
    matches = [{"path": {"type": "PathPrefix", "value": at}}]
    return {"matches": matches, **({"backendRefs": list(references)} if references else {}), **more}


def http_route(*rules: Entry, **metadata: Any) -> Item:  # noqa: ANN401 - labels, annotations
    return {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": {"name": "shop", "namespace": "shop", "uid": "uid-route", "resourceVersion": "1", **metadata},
        "spec": {"parentRefs": [{"name": "public"}], "hostnames": ["shop.example.com"], "rules": list(rules)},
    }


def traefik_rule(match: str, *services: Entry) -> Entry:
    return {"kind": "Rule", "match": match, "services": list(services)}


def ingress_route(*routes: Entry, **metadata: Any) -> Item:  # noqa: ANN401 - labels, annotations
    return {
        "apiVersion": "traefik.io/v1alpha1",
        "kind": "IngressRoute",
        "metadata": {"name": "shop", "namespace": "shop", "uid": "uid-route", "resourceVersion": "1", **metadata},
        "spec": {"entryPoints": ["web"], "routes": list(routes)},
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """How the items of one kind are made and edited, so that the same people can edit all of them.

    Attributes:
        kind: as in `kind`.
        item: makes one from its entries.
        entry: makes an entry from a path and what it leads to.
        entries: where the entries of an item stand.
        backend: where an entry says where it leads.
        page: how it leads to the page of a window.
        choices: some backends.
    """

    kind: str
    item: Callable[..., Item]
    entry: Callable[[str, Any], Entry]
    entries: Callable[[Item], list[Entry]]
    backend: str
    page: Callable[[Holder], Any]
    choices: Sequence[Any]

    def backends(self, item: Item) -> list[Any]:
        """Where all its entries lead."""
        if self.kind == "Ingress":
            return [*backends(item)]
        return [entry[self.backend] for entry in self.entries(item) if self.backend in entry]


def _ingress_entry(at: str, backend: Backend) -> Entry:
    return path(at, backend)


def _ingress(*entries: Entry, **metadata: Any) -> Item:  # noqa: ANN401 - labels, annotations
    return ingress(rule("shop.example.com", *entries), **metadata)


def _ingress_entries(item: Item) -> list[Entry]:
    found: list[Entry] = item["spec"]["rules"][0]["http"]["paths"]
    return found


SHAPES: Final = {
    shape.kind: shape
    for shape in (
        Shape(
            kind="Ingress",
            item=_ingress,
            entry=_ingress_entry,
            entries=_ingress_entries,
            backend="backend",
            page=lambda holder: service(holder.service, holder.port),
            choices=[service("web"), service("api", "http"), service("files", 8080)],
        ),
        Shape(
            kind="HTTPRoute",
            item=http_route,
            entry=lambda at, backend: http_rule(at, *backend),
            entries=lambda item: item["spec"]["rules"],
            backend="backendRefs",
            page=lambda holder: [reference(holder.service, holder.port)],
            choices=[
                [reference("web")],
                [reference("web", weight=90), reference("canary", weight=10)],
                [reference("files", 8080, namespace="shared")],
            ],
        ),
        Shape(
            kind="IngressRoute",
            item=ingress_route,
            entry=lambda at, backend: traefik_rule(f"Host(`shop.example.com`) && PathPrefix(`{at}`)", *backend),
            entries=lambda item: item["spec"]["routes"],
            backend="services",
            page=lambda holder: [{"kind": "Service", "name": holder.service, "port": holder.port}],
            choices=[
                [{"name": "web", "port": 80}],
                [{"name": "api", "port": "http", "scheme": "h2c", "passHostHeader": True}],
                [{"name": "weighted", "kind": "TraefikService"}],
            ],
        ),
    )
}
