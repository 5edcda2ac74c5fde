"""The way past the page: a route beside the target that leads who shows a header or a cookie to the application.

It says what the target says, with one more demand in each match, so that it comes first where it holds: the Gateway API
prefers the match with more headers among those of one path, Traefik the rule with the higher priority. Its backends are
those that the target has, or had before it led to a page.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

from upkeep.api.window.bypass import Bypass
from upkeep.domain.maintenance.backend import Backend, kind_of, titled
from upkeep.domain.maintenance.companion import BYPASS, Companion
from upkeep.domain.maintenance.dialects import slots
from upkeep.domain.maintenance.httproute import EVERYTHING, HTTP_ROUTE
from upkeep.domain.maintenance.ingressroute import CLASS_ANNOTATION, INGRESS_ROUTE, rank
from upkeep.domain.maintenance.matching import matching
from upkeep.domain.maintenance.record import UndoRecordError, read_record
from upkeep.domain.maintenance.refusal import Refusal, lost_record

_HEADERS_LIMIT: Final = 16
"""Headers of a match (HTTPRouteMatch of the Gateway API)."""
_AHEAD: Final = 2
"""By how much a rule comes before that of the target."""


def bypass(item: Mapping[str, Any], passing: Bypass) -> Companion | Refusal | None:
    """The route past the page of a target, or why there can be none; None where nothing leads to an application."""
    try:
        record = read_record(item)
    except UndoRecordError as error:
        return Refusal("UndoRecordUnreadable", str(error))
    if lost := lost_record(item):
        return lost
    build = _BUILDERS.get(kind_of(item))
    if build is None:
        return Refusal(
            "BypassUnsupported",
            f"{titled(item)} cannot tell testers from users, for it matches no headers: leave out bypass, or lead to "
            "the application by an HTTPRoute or an IngressRoute and name that",
        )
    applied = record.applied if record else None
    # What somebody has set meanwhile leads to the application already.
    real = {slot.pointer: slot.backend for slot in slots(item) if slot.swappable and slot.backend != applied}
    if record and applied is not None:
        held = [(slot, field) for slot, field in matching(record, item).pairs if slot.backend == applied]
        real |= {slot.pointer: field.original for slot, field in held}
    return build(item, passing, real) if real else None


def _cookie(name: str, value: str) -> str:
    """What matches a Cookie header with this cookie: the whole header, as some controllers match, or any part of it."""
    return f"^(.*; *)?{re.escape(name)}={re.escape(value)}(;.*)?$"


def _http_route(item: Mapping[str, Any], passing: Bypass, real: Mapping[str, Backend]) -> Companion | Refusal:
    demand = _demanded(passing)
    rules: list[dict[str, Any]] = []
    for rule, backend in _served(item, "rules", real):
        matches: Sequence[Mapping[str, Any]] = rule.get("matches") or EVERYTHING
        for match in matches:
            headers = match.get("headers") or ()
            taken = any(header["name"].lower() == demand["name"].lower() for header in headers)
            if taken or len(headers) >= _HEADERS_LIMIT:
                return Refusal(
                    "BypassHeaderTaken",
                    f"{titled(item)} matches the header {demand['name']} itself, or {_HEADERS_LIMIT} headers, so that "
                    "none can be added: choose another header or a cookie in the window's bypass, or leave it out",
                )
        marked = [{**match, "headers": [*(match.get("headers") or ()), demand]} for match in matches]
        rules.append({**rule, "matches": marked, "backendRefs": backend})
    return _beside(item, {**item["spec"], "rules": rules})


def _demanded(passing: Bypass) -> dict[str, str]:
    if passing.cookie:
        pattern = _cookie(passing.cookie.name, passing.cookie.value)
        return {"type": "RegularExpression", "name": "Cookie", "value": pattern}
    if passing.header is None:
        raise ValueError(passing.demand())
    return {"type": "Exact", "name": passing.header.name, "value": passing.header.value}


def _ingress_route(item: Mapping[str, Any], passing: Bypass, real: Mapping[str, Backend]) -> Companion | Refusal:
    demand = _demanded(passing)
    routes = []
    for route, backend in _served(item, "routes", real):
        plural = "s" if route.get("syntax") == "v2" else ""
        matcher = f"Header{plural}" if demand["type"] == "Exact" else f"Header{plural}Regexp"
        match = f"({route.get('match', '')}) && {matcher}(`{demand['name']}`, `{demand['value']}`)"
        routes.append({**route, "match": match, "priority": rank(route) + _AHEAD, "services": backend})
    return _beside(item, {**item["spec"], "routes": routes})


def _served(
    item: Mapping[str, Any], entries: str, real: Mapping[str, Backend]
) -> Iterator[tuple[dict[str, Any], Backend]]:
    """The entries of a route that lead to the application, each with where it does."""
    by_index = {int(pointer.split("/")[3]): backend for pointer, backend in real.items()}
    for index, entry in enumerate(item["spec"][entries]):
        if index in by_index:
            yield entry, by_index[index]


def _beside(item: Mapping[str, Any], spec: Mapping[str, Any]) -> Companion:
    annotations: Mapping[str, str] = item["metadata"].get("annotations") or {}
    return Companion(
        kind=kind_of(item),
        api_version=item["apiVersion"],
        target=item["metadata"]["name"],
        purpose=BYPASS,
        spec=spec,
        annotations={key: value for key, value in annotations.items() if key == CLASS_ANNOTATION},
    )


_BUILDERS: Final[Mapping[str, Callable[[Mapping[str, Any], Bypass, Mapping[str, Backend]], Companion | Refusal]]] = {
    HTTP_ROUTE.kind: _http_route,
    INGRESS_ROUTE.kind: _ingress_route,
}
