"""The kinds that can be put into maintenance mode. A new one is a module that describes it, and a line here."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from upkeep.domain.maintenance.backend import Backend, Dialect, Slot, kind_of
from upkeep.domain.maintenance.httproute import HTTP_ROUTE
from upkeep.domain.maintenance.ingress import INGRESS
from upkeep.domain.maintenance.ingressroute import INGRESS_ROUTE

DIALECTS: Final[Mapping[str, Dialect]] = {dialect.kind: dialect for dialect in (INGRESS, HTTP_ROUTE, INGRESS_ROUTE)}


def slots(item: Mapping[str, Any]) -> Iterator[Slot]:
    """Every place of an object that has a backend, in its order."""
    return DIALECTS[kind_of(item)].slots(item)


def page_backend(item: Mapping[str, Any], service: str, port: int) -> Backend:
    """The backend by which an object leads to a page, in the words of its kind."""
    return DIALECTS[kind_of(item)].page(service, port)
