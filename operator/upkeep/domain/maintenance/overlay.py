"""The page over a target: a route beside it, of the next higher priority, that leads to the page.

Only Traefik has such priorities. By default one is the length of its rule, so that a longer, more specific rule comes
first; a page that came before everything would hide what others serve below the target's hosts, and the solvers of
certificate authorities with it. An overlay therefore comes just before the rule that it covers, and after all else.
"""

import json
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any, Final

from upkeep.domain.maintenance.backend import ACME_PATH, Backend, kind_of, titled
from upkeep.domain.maintenance.companion import OVERLAY, Companion
from upkeep.domain.maintenance.dialects import page_backend, slots
from upkeep.domain.maintenance.ingress import INGRESS
from upkeep.domain.maintenance.ingressroute import CLASS_ANNOTATION, INGRESS_ROUTE, rank
from upkeep.domain.maintenance.refusal import Refusal, nothing_to_swap

TRAEFIK: Final = "traefik.io/ingress-controller"
"""The `controller` of Traefik's IngressClasses."""
TRAEFIK_CLASS: Final = "traefik"
"""Its usual name, and by which Traefik knows an Ingress that has its class in an annotation."""
_ROUTER: Final = "traefik.ingress.kubernetes.io/router."
PRIORITY: Final = f"{_ROUTER}priority"
_MATCHER: Final = f"{_ROUTER}pathmatcher"
_LOWEST: Final = 1
"""Traefik gives the default backend of an Ingress without rules the lowest priority that there is."""
_EVERYTHING: Final = ({"http": {"paths": [{"path": "/", "pathType": "Prefix"}]}},)


def overlays(
    item: Mapping[str, Any], service: str, port: int, classes: Mapping[str, str]
) -> tuple[Companion, ...] | Refusal:
    """The routes that lead the users of a target to a page, or why there can be none.

    Args:
        item: the target.
        service: name of the page's Service.
        port: its port.
        classes: the controller of each IngressClass of the cluster, by its name.
    """
    page = page_backend(item, service, port)
    match kind_of(item):
        case INGRESS_ROUTE.kind:
            return nothing_to_swap(item) or (_over_routes(item, page),)
        case INGRESS.kind:
            return _foreign(item, classes) or nothing_to_swap(item) or tuple(_over_paths(item, page))
    return Refusal(
        "NotTraefik",
        f"{titled(item)} has no priority by which a page could lie over it: use the strategy BackendSwap for it",
    )


def _foreign(ingress: Mapping[str, Any], classes: Mapping[str, str]) -> Refusal | None:
    annotations: Mapping[str, str] = ingress["metadata"].get("annotations") or {}
    name = (ingress.get("spec") or {}).get("ingressClassName")
    ours = classes.get(name) == TRAEFIK if name else annotations.get(CLASS_ANNOTATION) == TRAEFIK_CLASS
    if ours:
        return None
    known = f"its class is {name!r}" if name else "it has no ingressClassName"
    return Refusal(
        "NotTraefik",
        f"{titled(ingress)} is not served by Traefik ({known}), so that no page can lie over it: use the strategy "
        f"BackendSwap, or an ingressClassName whose IngressClass has the controller {TRAEFIK}",
    )


def _over_routes(item: Mapping[str, Any], page: Backend) -> Companion:
    swappable = {int(slot.pointer.split("/")[3]) for slot in slots(item) if slot.swappable}
    routes = [
        {
            **route,
            "match": f"({route.get('match', '')}) && !PathPrefix(`{ACME_PATH}/`)",
            "priority": rank(route) + 1,
            "services": page,
        }
        for index, route in enumerate(item["spec"]["routes"])
        if index in swappable
    ]
    annotations: Mapping[str, str] = item["metadata"].get("annotations") or {}
    return Companion(
        kind=kind_of(item),
        api_version=item["apiVersion"],
        target=item["metadata"]["name"],
        purpose=OVERLAY,
        spec={**item["spec"], "routes": routes},
        annotations={key: value for key, value in annotations.items() if key == CLASS_ANNOTATION},
    )


def _over_paths(item: Mapping[str, Any], page: Backend) -> Iterator[Companion]:
    """One Ingress for each priority: it is an annotation of all its rules."""
    annotations: Mapping[str, str] = item["metadata"].get("annotations") or {}
    passed_on = {
        key: value
        for key, value in annotations.items()
        if key == CLASS_ANNOTATION or (key.startswith(_ROUTER) and key != PRIORITY)
    }
    spec = item.get("spec") or {}
    by_rank: dict[int, list[dict[str, Any]]] = defaultdict(list)
    for rule in spec.get("rules") or _EVERYTHING:
        for path in (rule.get("http") or {}).get("paths") or ():
            if str(path.get("path") or "").startswith(ACME_PATH):
                continue
            covered = {"http": {"paths": [{**path, "backend": page}]}}
            host = {"host": rule["host"]} if rule.get("host") else {}
            level = _rank(rule, path, annotations) + 1 if spec.get("rules") else _LOWEST
            by_rank[level].append({**host, **covered})
    kept = {key: spec[key] for key in ("ingressClassName", "tls") if key in spec}
    for number, rules in sorted(by_rank.items()):
        yield Companion(
            kind=kind_of(item),
            api_version=item["apiVersion"],
            target=item["metadata"]["name"],
            purpose=OVERLAY,
            spec={**kept, "rules": rules},
            annotations={**passed_on, PRIORITY: str(number)},
            part=str(number),
        )


def _rank(rule: Mapping[str, Any], path: Mapping[str, Any], annotations: Mapping[str, str]) -> int:
    """The priority of a path: the one of the Ingress, else the longest that Traefik's rule for it may be.

    How it is written depends on Traefik's settings, which nobody can read from here.
    """
    stated = annotations.get(PRIORITY, "").strip()
    if re.fullmatch(r"-?[0-9]{1,15}", stated) and int(stated):
        return int(stated)
    parts = [part for part in (_host(str(rule.get("host") or "")), _path(path, annotations)) if part]
    return len(" && ".join(parts).encode())


def _host(host: str) -> str:
    if not host.startswith("*."):
        return f"Host({json.dumps(host)})" if host else ""
    rest = host.removeprefix("*.")
    escaped = json.dumps(f"^[a-zA-Z0-9-]+\\.{re.escape(rest)}$")
    older = json.dumps(f"{{subdomain:[a-zA-Z0-9-]+}}.{rest}")
    return f"HostRegexp({max(escaped, older, key=len)})"


def _path(path: Mapping[str, Any], annotations: Mapping[str, str]) -> str:
    text = str(path.get("path") or "")
    if not text:
        return ""
    matcher = "PathPrefix"
    if path.get("pathType") == "Exact":
        matcher = "Path"
    elif path.get("pathType") in {None, "", "ImplementationSpecific"}:
        matcher = annotations.get(_MATCHER) or matcher
    if matcher == "PathPrefix" and text != "/":
        whole = text.removesuffix("/")
        return f"(Path({json.dumps(whole)}) || PathPrefix({json.dumps(whole + '/')}))"
    return f"{matcher}({json.dumps(text)})"
