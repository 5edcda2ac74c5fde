"""Reads what windows put into maintenance mode, from the API server itself, just before a decision about it.

It belongs to somebody else, is of kinds that a cluster may not know, and is never kept.
"""

import asyncio
from collections.abc import AsyncIterator, Collection, Mapping
from dataclasses import dataclass
from typing import Final

from upkeep.cluster.client import Client, Object
from upkeep.cluster.errors import ForbiddenError, NotFoundError
from upkeep.cluster.resources import INGRESS_CLASSES, ROUTES, TARGETS, Resource
from upkeep.controller.references import asks_for_classes, companion_kinds, selectors_of, targets_of
from upkeep.domain.identity import OWNER_UID_LABEL
from upkeep.domain.maintenance import MODE_LABEL, PURPOSES, TRAEFIK, TRAEFIK_CLASS, is_companion
from upkeep.domain.window import TargetRef

IN_MAINTENANCE: Final = f"{MODE_LABEL}=on"
"""The label selector of all that is in maintenance mode."""
_BESIDE: Final = f"{MODE_LABEL} in ({','.join(sorted(PURPOSES))})"
"""The label selector of all routes of our own."""
_MANY: Final = 16
"""With so many of a kind, one list is cheaper than asking for each by name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Targets:
    """What was found.

    Attributes:
        found: what exists.
        companions: routes of our own beside it.
        ingress_classes: the controller of each IngressClass, by its name, where that matters.
        unknown_kinds: kinds that were asked for, and that the cluster does not know.
    """

    found: Mapping[TargetRef, Object]
    companions: Mapping[TargetRef, Object]
    ingress_classes: Mapping[str, str]
    unknown_kinds: frozenset[str]


async def read_targets(client: Client, window: Object) -> Targets:
    """What a window names, remembers or selects.

    Raises:
        ApiError: the API server did not say.
    """
    namespace = window["metadata"]["namespace"]
    named: dict[str, set[str]] = {}
    for kind, name in targets_of(window):
        named.setdefault(kind, set()).add(name)
    chosen: dict[str, list[str]] = {}
    for kind, query in selectors_of(window):
        # What was selected before and has lost its labels since is still held.
        chosen.setdefault(kind, [IN_MAINTENANCE]).append(query)
    kinds = {*named, *chosen}
    read = await asyncio.gather(
        *(_of_kind(client, TARGETS[kind], namespace, named.get(kind, set()), chosen.get(kind, ())) for kind in kinds)
    )
    found = {
        TargetRef(kind, name): item for kind, items in zip(kinds, read, strict=True) for name, item in items.items()
    }
    missing = {kind for kind, names in named.items() if any(TargetRef(kind, name) not in found for name in names)}
    doubtful = {kind for kind in kinds & {route.kind for route in ROUTES} if kind in missing or kind in chosen}
    unknown = [kind for kind in doubtful if not await _knows(client, TARGETS[kind], namespace)]
    companions = [
        item
        for kind in companion_kinds(window)
        for item in await companions_in(client, TARGETS[kind], namespace, owner=window["metadata"]["uid"])
    ]
    beside = {TargetRef(item["kind"], item["metadata"]["name"]): item for item in companions}
    classes = await _classes(client) if asks_for_classes(window) else {}
    return Targets(found=found, companions=beside, ingress_classes=classes, unknown_kinds=frozenset(unknown))


async def _classes(client: Client) -> dict[str, str]:
    """The controller of each IngressClass.

    Who has rights in some namespaces only may not ask, for classes belong to none: Traefik's has its usual name then.
    """
    try:
        listed = [item async for item in _listed(client, INGRESS_CLASSES, None, "")]
    except ForbiddenError:
        return {TRAEFIK_CLASS: TRAEFIK}
    return {item["metadata"]["name"]: str((item.get("spec") or {}).get("controller", "")) for item in listed}


async def companions_in(client: Client, resource: Resource, namespace: str | None, *, owner: str = "") -> list[Object]:
    """The routes of our own of a kind, of one window by its UID or of all.

    Raises:
        ApiError: the API server did not say.
    """
    query = f"{_BESIDE},{OWNER_UID_LABEL}={owner}" if owner else _BESIDE
    return [item async for item in _listed(client, resource, namespace, query) if is_companion(item)]


async def in_maintenance(client: Client, resource: Resource, namespace: str | None) -> list[Object]:
    """All of a kind that is in maintenance mode; nothing where the cluster does not know the kind.

    Raises:
        ApiError: the API server did not say.
    """
    return [item async for item in _listed(client, resource, namespace, IN_MAINTENANCE)]


async def _of_kind(
    client: Client, resource: Resource, namespace: str, names: Collection[str], queries: Collection[str]
) -> dict[str, Object]:
    found: dict[str, Object] = {}
    if len(names) > _MANY:
        listed = [item async for item in _listed(client, resource, namespace, "")]
        found |= {name: item for item in listed if (name := item["metadata"]["name"]) in names}
    else:
        asked = await asyncio.gather(*(_named(client, resource, namespace, name) for name in names))
        found |= {item["metadata"]["name"]: item for item in asked if item is not None}
    for query in queries:
        async for item in _listed(client, resource, namespace, query):
            found.setdefault(item["metadata"]["name"], item)
    # What stands beside targets is none.
    return {name: item for name, item in found.items() if not is_companion(item)}


async def _named(client: Client, resource: Resource, namespace: str, name: str) -> Object | None:
    try:
        return await client.get(resource, namespace, name)
    except NotFoundError:
        return None


async def _listed(client: Client, resource: Resource, namespace: str | None, query: str) -> AsyncIterator[Object]:
    try:
        async for page in client.list_pages(resource, namespace, selector=query):
            for item in page["items"]:
                # Items of a list carry neither kind nor apiVersion.
                yield {**item, "apiVersion": resource.api_version, "kind": resource.kind}
    except NotFoundError:
        return


async def _knows(client: Client, resource: Resource, namespace: str) -> bool:
    try:
        await client.request("GET", resource.path(namespace), query={"limit": "1"})
    except NotFoundError:
        return False
    return True
