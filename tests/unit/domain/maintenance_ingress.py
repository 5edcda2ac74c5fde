"""Ingresses as an API server has them, and a server small enough to see through: patches are applied whole or not."""

import copy
from datetime import UTC, datetime
from typing import Any

import jsonpatch

from upkeep.domain.maintenance import Holder, Patch

Ingress = dict[str, Any]
Backend = dict[str, Any]

SUNDAY_END = datetime(2026, 11, 29, 4, tzinfo=UTC)
SUNDAY = Holder(uid="uid-sunday", window="sunday", until=SUNDAY_END, service="page-sunday", port=80)
FREEZE = Holder(
    uid="uid-freeze", window="freeze", until=datetime(2026, 11, 29, 6, tzinfo=UTC), service="page-freeze", port=80
)


def service(name: str, port: int | str = 80) -> Backend:
    return {"service": {"name": name, "port": {"number": port} if isinstance(port, int) else {"name": port}}}


def page_of(holder: Holder) -> Backend:
    return service(holder.service, holder.port)


def path(at: str, backend: Backend, path_type: str = "Prefix") -> dict[str, Any]:
    return {"path": at, "pathType": path_type, "backend": backend}


def rule(host: str | None, *paths: dict[str, Any]) -> dict[str, Any]:
    return {**({"host": host} if host else {}), "http": {"paths": list(paths)}}


def ingress(
    *rules: dict[str, Any],
    default: Backend | None = None,
    labels: dict[str, str] | None = None,
    annotations: dict[str, str] | None = None,
) -> Ingress:
    metadata: dict[str, Any] = {"name": "shop", "namespace": "shop", "uid": "uid-ingress", "resourceVersion": "1"}
    if labels:
        metadata["labels"] = labels
    if annotations:
        metadata["annotations"] = annotations
    spec: dict[str, Any] = {"ingressClassName": "contour"}
    if default:
        spec["defaultBackend"] = default
    if rules:
        spec["rules"] = list(rules)
    return {"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": metadata, "spec": spec}


def shop() -> Ingress:
    return ingress(
        rule("shop.example.com", path("/", service("web", "http")), path("/api", service("api", 8080))),
        default=service("fallback"),
    )


def written(item: Ingress, patch: Patch) -> Ingress:
    """The object after a patch, with a new version; raises `JsonPatchConflict` or `JsonPatchTestFailed` like a 422."""
    return touched(jsonpatch.apply_patch(item, patch))


def touched(item: Ingress) -> Ingress:
    """The object after somebody's write: the same, at another version."""
    item = copy.deepcopy(item)
    item["metadata"]["resourceVersion"] = str(int(item["metadata"]["resourceVersion"]) + 1)
    return item


def backends(item: Ingress) -> list[Backend]:
    spec = item["spec"]
    default = [spec["defaultBackend"]] if "defaultBackend" in spec else []
    return default + [found["backend"] for entry in spec.get("rules", []) for found in paths_of(entry)]


def paths_of(entry: dict[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (entry.get("http") or {}).get("paths", [])
    return found
