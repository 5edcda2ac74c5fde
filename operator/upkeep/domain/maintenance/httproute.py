"""Where an HTTPRoute (gateway.networking.k8s.io/v1) leads: the list of weighted backends of each of its rules.

A rule without backends answers by itself, with a redirect for instance, and stays as it is: who is sent elsewhere by it
meets the page there. Filters of a rule stay too, for whatever they do to a path, the page answers; filters of a backend
go and come with it.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from upkeep.domain.maintenance.backend import ACME_PATH, Backend, Dialect, Place, Slot

EVERYTHING: Final = ({"path": {"type": "PathPrefix", "value": "/"}},)
"""What a rule matches that does not say what it matches, by the API's own default."""

Match = Mapping[str, Any]


def _slots(route: Mapping[str, Any]) -> Iterator[Slot]:
    for index, rule in enumerate((route.get("spec") or {}).get("rules") or ()):
        if not rule.get("backendRefs"):
            continue
        matches = rule.get("matches") or EVERYTHING
        yield Slot(
            place=_place(matches),
            pointer=f"/spec/rules/{index}/backendRefs",
            backend=rule["backendRefs"],
            swappable=not all(_path(match).get("value", "").startswith(ACME_PATH) for match in matches),
        )


def _place(matches: Sequence[Match]) -> Place:
    if len(matches) == 1 and matches[0].keys() == {"path"}:
        path = _path(matches[0])
        return Place(host="", path=path.get("value", ""), path_type=path.get("type", ""))
    return Place(host="", path="", path_type="", match=json.dumps(matches, sort_keys=True, separators=(",", ":")))


def _path(match: Match) -> Mapping[str, str]:
    return match.get("path") or {}


def _page(service: str, port: int) -> Backend:
    # With all that the API server fills in, or it would not be recognised when it is read again.
    return [{"group": "", "kind": "Service", "name": service, "port": port, "weight": 1}]


HTTP_ROUTE: Final = Dialect(kind="HTTPRoute", slots=_slots, page=_page)
