"""What can be put into maintenance mode, of whatever kind: places that lead to a backend.

A kind is described once, in a module of its own; everything else in this package works on the places alone. A place is
named by what it serves, so that it is found again when the list that it stands in has changed.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

ACME_PATH: Final = "/.well-known/acme-challenge"
"""Where certificate authorities look during HTTP-01 (RFC 8555, section 8.3)."""

Backend = Mapping[str, Any] | list[Any]
"""Where a place leads, as the API server has it: an IngressBackend, or the list of backends of a route's rule."""

DEFAULT_KIND: Final = "Ingress"
"""What an object is that does not say so."""


class Place(NamedTuple):
    """What a backend serves, independent of its position: rules are lists that others insert into and remove from."""

    host: str
    """Empty: any host, or those of the whole route."""
    path: str
    """Empty: any path."""
    path_type: str
    """Exact, Prefix or ImplementationSpecific; of routes Exact, PathPrefix or RegularExpression."""
    default: bool = False
    """True for spec.defaultBackend, where the rest is empty."""
    match: str = ""
    """What a route matches where that is more than a path; the rest is empty then."""

    def __str__(self) -> str:
        if self.default:
            return "the default backend"
        return self.match or f"{self.host or '*'}{self.path or '/'}"


DEFAULT_PLACE: Final = Place(host="", path="", path_type="", default=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Slot:
    """A place of an object as it is now.

    Attributes:
        place: what it serves.
        pointer: JSON Pointer to its backend, good for the object it was read from only.
        backend: where it leads.
        swappable: whether it may be swapped: certificates must be renewable during a maintenance as well.
    """

    place: Place
    pointer: str
    backend: Backend
    swappable: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """How one kind says where it leads.

    Attributes:
        kind: as in `kind`.
        slots: every place of an object that has a backend, in its order.
        page: the backend that leads to a port of a Service, as the API server has it once its defaults are filled in.
    """

    kind: str
    slots: Callable[[Mapping[str, Any]], Iterator[Slot]]
    page: Callable[[str, int], Backend]


def kind_of(item: Mapping[str, Any]) -> str:
    """The kind of an object; items of a list may not say it."""
    return str(item.get("kind") or DEFAULT_KIND)


def titled(item: Mapping[str, Any]) -> str:
    """An object in the words of a message: `Ingress shop/web`."""
    metadata = item["metadata"]
    return f"{kind_of(item)} {metadata.get('namespace', '')}/{metadata['name']}"


def described(backend: Backend) -> str:
    """A backend in the words of a message: `Service shop:80` or `StorageBucket assets`."""
    match backend:
        case {"service": {"name": name, "port": {"number": port}}} | {
            "service": {"name": name, "port": {"name": port}}
        }:
            return f"Service {name}:{port}"
        case {"resource": {"kind": kind, "name": name}}:
            return f"{kind} {name}"
        case [_, *_] if all(isinstance(item, dict) and "name" in item for item in backend):
            return " and ".join(_referred(item) for item in backend)
    return json.dumps(backend)


def _referred(reference: Mapping[str, Any]) -> str:
    port = f":{reference['port']}" if "port" in reference else ""
    namespace = f"{reference['namespace']}/" if "namespace" in reference else ""
    return f"{reference.get('kind') or 'Service'} {namespace}{reference['name']}{port}"
