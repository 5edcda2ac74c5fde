"""Where an Ingress (networking.k8s.io/v1) leads: the default backend, and one backend a path."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from upkeep.domain.maintenance.backend import ACME_PATH, DEFAULT_PLACE, Backend, Dialect, Place, Slot


def _slots(ingress: Mapping[str, Any]) -> Iterator[Slot]:
    spec = ingress.get("spec") or {}
    if spec.get("defaultBackend"):
        yield Slot(place=DEFAULT_PLACE, pointer="/spec/defaultBackend", backend=spec["defaultBackend"], swappable=True)
    for rule_index, rule in enumerate(spec.get("rules") or ()):
        for path_index, path in enumerate((rule.get("http") or {}).get("paths") or ()):
            place = Place(
                host=rule.get("host") or "", path=path.get("path") or "", path_type=path.get("pathType") or ""
            )
            yield Slot(
                place=place,
                pointer=f"/spec/rules/{rule_index}/http/paths/{path_index}/backend",
                backend=path["backend"],
                swappable=not place.path.startswith(ACME_PATH),
            )


def _page(service: str, port: int) -> Backend:
    return {"service": {"name": service, "port": {"number": port}}}


INGRESS: Final = Dialect(kind="Ingress", slots=_slots, page=_page)
