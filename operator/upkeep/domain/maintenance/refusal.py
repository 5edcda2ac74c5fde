"""When an object cannot show a page, and what its owner can do about it.

A backend that is spoken to in TLS or gRPC cannot be swapped for a page that answers in plain HTTP. Most controllers
take that from annotations of the Ingress; routes say it of each backend, and the page is a backend of its own. Sources:
the annotation references of ingress-nginx, NGINX Ingress Controller, HAProxy Ingress, HAProxy Kubernetes Ingress
Controller, Traefik, Contour and AWS Load Balancer Controller.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from upkeep.api.window.maintenance import MODE_LABEL
from upkeep.domain.maintenance.backend import kind_of, titled
from upkeep.domain.maintenance.dialects import slots
from upkeep.domain.maintenance.ingress import INGRESS
from upkeep.domain.maintenance.record import MODE_ON, UNDO_ANNOTATION


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why an object was not put into maintenance mode.

    Attributes:
        reason: one CamelCase word for programs.
        message: a sentence or two for people that says what to do.
    """

    reason: str
    message: str


_PASSTHROUGH: Final = frozenset(
    {
        "nginx.ingress.kubernetes.io/ssl-passthrough",
        "haproxy-ingress.github.io/ssl-passthrough",
        "haproxy.org/ssl-passthrough",
        "ingress.kubernetes.io/ssl-passthrough",
    }
)
"""`true` hands the TLS connection to the backend unopened."""

_SECURE: Final = frozenset(
    {
        "nginx.ingress.kubernetes.io/secure-backends",
        "nginx.ingress.kubernetes.io/grpc-backend",
        "haproxy-ingress.github.io/secure-backends",
        "ingress.kubernetes.io/secure-backends",
        "haproxy.org/server-ssl",
    }
)
"""`true` makes the controller speak TLS or gRPC to every backend."""

_PLAIN_PROTOCOLS: Final[Mapping[str, frozenset[str]]] = {
    "nginx.ingress.kubernetes.io/backend-protocol": frozenset({"http"}),
    "haproxy-ingress.github.io/backend-protocol": frozenset({"h1", "http"}),
    "ingress.kubernetes.io/backend-protocol": frozenset({"h1", "http"}),
    "haproxy.org/server-proto": frozenset({"h1"}),
    "traefik.ingress.kubernetes.io/service.serversscheme": frozenset({"http"}),
    "ingress.kubernetes.io/protocol": frozenset({"http"}),
    "alb.ingress.kubernetes.io/backend-protocol": frozenset({"http"}),
    "alb.ingress.kubernetes.io/backend-protocol-version": frozenset({"http1"}),
}
"""Annotations that name the protocol of every backend, with the values (any case) that a page can answer."""

_FOREIGN_PROTOCOLS: Final = frozenset(
    {
        "nginx.org/grpc-services",
        "projectcontour.io/upstream-protocol.h2",
        "projectcontour.io/upstream-protocol.h2c",
        "projectcontour.io/upstream-protocol.tls",
    }
)
"""Annotations that list services or ports spoken to in something else than HTTP/1.1; any value counts."""

_NODE_PORT_TARGETS: Final = ("alb.ingress.kubernetes.io/target-type", "instance")
"""Makes the AWS controller demand a node port, which a page does not have."""


def refusal(item: Mapping[str, Any], *, swaps: bool = True, redirects: bool = False) -> Refusal | None:
    """Why this object, not in maintenance mode yet, cannot be put into it; None where it can.

    Args:
        item: the object.
        swaps: whether its backends are to be swapped; annotations can be set on anything.
        redirects: whether for a Service of somebody else, who speaks what the application speaks.
    """
    if not swaps:
        return lost_record(item)
    annotations: Mapping[str, str] = item["metadata"].get("annotations") or {}
    protocol = _unspeakable(titled(item), annotations) if kind_of(item) == INGRESS.kind and not redirects else None
    return lost_record(item) or protocol or nothing_to_swap(item)


def lost_record(item: Mapping[str, Any]) -> Refusal | None:
    """That somebody removed the undo record of an object in maintenance mode: its real backends are not known."""
    metadata = item["metadata"]
    if (metadata.get("labels") or {}).get(MODE_LABEL) != MODE_ON or UNDO_ANNOTATION in (
        metadata.get("annotations") or {}
    ):
        return None
    return Refusal(
        "UndoRecordMissing",
        f"{titled(item)} has the label {MODE_LABEL}={MODE_ON} but no annotation {UNDO_ANNOTATION}: somebody removed "
        "the record of its real backends. See to it that it leads to the real ones, then remove the label",
    )


def _unspeakable(name: str, annotations: Mapping[str, str]) -> Refusal | None:
    for key, text in annotations.items():
        value = text.strip().lower()
        if key in _PASSTHROUGH and value == "true":
            return Refusal(
                "TLSPassthrough",
                f"{name} passes TLS through to its backends ({key}), so no page can answer in their place. "
                "Take it out of the window's maintenanceMode, or let the controller terminate TLS",
            )
        if (key in _SECURE and value == "true") or key in _FOREIGN_PROTOCOLS or _is_foreign(key, value):
            return Refusal(
                "BackendProtocol",
                f"{name} speaks something else than plain HTTP to its backends ({key}: {text}), which the maintenance "
                "page does not understand. Move the paths that are plain HTTP to an Ingress of their own and name "
                "that one in the window's maintenanceMode",
            )
        if (key, value) == _NODE_PORT_TARGETS:
            return Refusal(
                "BackendTargetType",
                f"{name} reaches its backends by node port ({key}: {text}), which the maintenance page does not have. "
                "Set the annotation to ip",
            )
    return None


def _is_foreign(key: str, value: str) -> bool:
    plain = _PLAIN_PROTOCOLS.get(key)
    return plain is not None and value not in plain


def nothing_to_swap(item: Mapping[str, Any]) -> Refusal | None:
    """That an object has no backend of an application."""
    if any(slot.swappable for slot in slots(item)):
        return None
    return Refusal(
        "NoBackend",
        f"{titled(item)} has no backend that a page could replace. Name the one that serves the application "
        "in the window's maintenanceMode",
    )
