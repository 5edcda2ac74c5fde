"""Where Traefik's IngressRoute (traefik.io/v1alpha1) leads: the list of services of each of its routes.

The scheme of a backend (`h2c`, `https`) stands at the service itself, so that it goes and comes with it. Middlewares of
a route stay.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from upkeep.domain.maintenance.backend import ACME_PATH, Backend, Dialect, Place, Slot

_ACME_ONLY: Final = re.compile(rf"(?<!!)\bPath(Prefix)?\([`\"]{re.escape(ACME_PATH)}")
"""A demand that a path is one of a challenge, unless it is negated."""


CLASS_ANNOTATION: Final = "kubernetes.io/ingress.class"
"""By which one of several Traefiks knows its own."""


def rank(route: Mapping[str, Any]) -> int:
    """The priority of a route: by default the length of its rule (Traefik, "Priority calculation")."""
    return int(route.get("priority") or len(str(route.get("match", "")).encode()))


def _slots(route: Mapping[str, Any]) -> Iterator[Slot]:
    for index, entry in enumerate((route.get("spec") or {}).get("routes") or ()):
        if not entry.get("services"):
            continue
        match = str(entry.get("match", ""))
        yield Slot(
            place=Place(host="", path="", path_type="", match=match),
            pointer=f"/spec/routes/{index}/services",
            backend=entry["services"],
            # One that serves something else besides challenges is swapped whole.
            swappable="||" in match or not _ACME_ONLY.search(match),
        )


def _page(service: str, port: int) -> Backend:
    return [{"kind": "Service", "name": service, "port": port}]


INGRESS_ROUTE: Final = Dialect(kind="IngressRoute", slots=_slots, page=_page)
