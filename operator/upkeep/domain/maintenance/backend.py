"""The places of an Ingress that lead to a backend, named so that they are found again when the list has changed."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

_ACME_PATH: Final = "/.well-known/acme-challenge"
"""Where certificate authorities look during HTTP-01 (RFC 8555, section 8.3)."""

Backend = Mapping[str, Any]
"""An IngressBackend: a service with its port, or a resource."""


class Place(NamedTuple):
    """What a backend serves, independent of its position: rules are lists that others insert into and remove from."""

    host: str
    """Empty: any host."""
    path: str
    """Empty: any path."""
    path_type: str
    """Exact, Prefix or ImplementationSpecific."""
    default: bool = False
    """True for spec.defaultBackend, where the rest is empty."""

    def __str__(self) -> str:
        if self.default:
            return "the default backend"
        return f"{self.host or '*'}{self.path or '/'}"

    @property
    def swappable(self) -> bool:
        """Whether its backend may be swapped: certificates must be renewable during a maintenance as well."""
        return not self.path.startswith(_ACME_PATH)


DEFAULT_PLACE: Final = Place(host="", path="", path_type="", default=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Slot:
    """A place of an Ingress as it is now.

    Attributes:
        place: what it serves.
        pointer: JSON Pointer to its backend, good for the Ingress it was read from only.
        backend: where it leads.
    """

    place: Place
    pointer: str
    backend: Backend


def slots(ingress: Mapping[str, Any]) -> Iterator[Slot]:
    """Every place of the Ingress that has a backend, in its order."""
    spec = ingress.get("spec") or {}
    if spec.get("defaultBackend"):
        yield Slot(place=DEFAULT_PLACE, pointer="/spec/defaultBackend", backend=spec["defaultBackend"])
    for rule_index, rule in enumerate(spec.get("rules") or ()):
        for path_index, path in enumerate((rule.get("http") or {}).get("paths") or ()):
            yield Slot(
                place=Place(
                    host=rule.get("host") or "", path=path.get("path") or "", path_type=path.get("pathType") or ""
                ),
                pointer=f"/spec/rules/{rule_index}/http/paths/{path_index}/backend",
                backend=path["backend"],
            )


def titled(ingress: Mapping[str, Any]) -> str:
    """An Ingress in the words of a message: `Ingress shop/web`."""
    metadata = ingress["metadata"]
    return f"Ingress {metadata.get('namespace', '')}/{metadata['name']}"


def service_backend(service: str, port: int) -> dict[str, Any]:
    """The backend that leads to a port of a Service."""
    return {"service": {"name": service, "port": {"number": port}}}


def described(backend: Backend) -> str:
    """A backend in the words of a message: `Service shop:80` or `StorageBucket assets`."""
    match backend:
        case {"service": {"name": name, "port": {"number": port}}} | {
            "service": {"name": name, "port": {"name": port}}
        }:
            return f"Service {name}:{port}"
        case {"resource": {"kind": kind, "name": name}}:
            return f"{kind} {name}"
    return json.dumps(backend)
