"""Watches the routes of a cluster, which may know such kinds today, tomorrow or never.

Kopf watches what there is when it starts, and gives up where a kind goes: for somebody else's kinds, which come and go
with an ingress controller, that would be too little and too much. Nothing that goes wrong here may reach anything else.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from http import HTTPStatus
from itertools import product
from typing import Any, Final

from upkeep.cluster.cache import Cache, Key, key_of
from upkeep.cluster.client import Client
from upkeep.cluster.errors import ApiError, NotFoundError
from upkeep.cluster.resources import ROUTES, Resource
from upkeep.controller.watches import Observer

logger = logging.getLogger(__name__)

_LASTS: Final = 240.0
"""Seconds that a watch lasts, at most."""
_UNKNOWN_KIND: Final = 30.0
"""Seconds until a kind that the cluster does not know is asked for again."""
_BETWEEN: Final = 0.5
"""Seconds between two watches, so that a server that ends them at once is not stormed."""
_AFTER_FAILURE: Final = 5.0

Place = tuple[Resource, str | None]
"""A kind, in a namespace or in all."""


class RouteWatches:
    """Shows the observer what happens to routes.

    Args:
        client: of the cluster.
        cache: what the observer keeps.
        observer: whom it is shown.
        namespaces: where; empty for everywhere.
        relist: seconds after which all are listed again, for what no watch told.
        unknown_kind: seconds until a kind that the cluster does not know is asked for again.
        monotonic: a clock in seconds.
    """

    def __init__(
        self,
        *,
        client: Client,
        cache: Cache,
        observer: Observer,
        namespaces: tuple[str, ...],
        relist: float,
        unknown_kind: float = _UNKNOWN_KIND,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client = client
        self._cache = cache
        self._observer = observer
        self._places: list[Place] = list(product(ROUTES, namespaces or (None,)))
        self._relist = relist
        self._unknown_kind = unknown_kind
        self._monotonic = monotonic
        self._listed: dict[Place, float] = {}
        self._versions: dict[Place, str] = {}
        self._complaints: dict[Place, str] = {}

    async def run(self) -> None:
        """Watch for ever."""
        async with asyncio.TaskGroup() as group:
            for place in self._places:
                group.create_task(self._follow(place), name=f"watch of {place[0].plural}")

    async def _follow(self, place: Place) -> None:
        while True:
            pause = await self._go_on(place)
            await asyncio.sleep(pause)

    async def _go_on(self, place: Place) -> float:
        """List or watch for as long as it works; returns the seconds until the next attempt."""
        try:
            if place not in self._versions or self._monotonic() - self._listed[place] >= self._relist:
                began = self._monotonic()
                self._versions[place] = await self._list(*place)
                self._listed[place] = began
                self._complaints.pop(place, None)
            await self._watch(place)
        except NotFoundError:
            self._versions.pop(place, None)
            return self._unknown_kind
        except ApiError as problem:
            return self._failed(place, problem)
        return _BETWEEN

    def _failed(self, place: Place, problem: ApiError) -> float:
        if not problem.transient:
            self._versions.pop(place, None)
        if problem.status == HTTPStatus.GONE:
            return _BETWEEN
        if self._complaints.get(place) != str(problem):
            self._complaints[place] = str(problem)
            logger.warning("The %s are not watched for now: %s", place[0].plural, problem)
        return max(problem.retry_after or 0.0, _AFTER_FAILURE)

    async def _list(self, resource: Resource, namespace: str | None) -> str:
        seen: set[Key] = set()
        version = ""
        async for page in self._client.list_pages(resource, namespace):
            version = version or page["metadata"]["resourceVersion"]
            for item in page["items"]:
                seen.add(key_of(resource, item))
                await self._take_in(resource, item)
        for key in self._cache.keys(resource):
            lost = self._cache.get(key)
            if lost and namespace in {None, key.namespace} and key not in seen:
                await self._take_in(resource, lost, deleted=True)
        return version

    async def _watch(self, place: Place) -> None:
        resource, namespace = place
        seconds = max(1, int(min(_LASTS, self._relist)))
        async for event in self._client.watch(resource, namespace, since=self._versions[place], seconds=seconds):
            if event["type"] != "BOOKMARK":
                await self._take_in(resource, event["object"], deleted=event["type"] == "DELETED")
            self._versions[place] = event["object"]["metadata"]["resourceVersion"]

    async def _take_in(self, resource: Resource, body: Mapping[str, Any], *, deleted: bool = False) -> None:
        await self._client.calm()
        self._observer.seen(resource, body, deleted=deleted)
