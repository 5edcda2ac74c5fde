"""The operator's own full list of all that it watches: at the start of leadership, and now and then as a safety net.

A new leader must not wait for watches to replay, and must know everything that the last one wrote; a watch that has
silently died must not hide anything for ever.
"""

import asyncio
import logging
from http import HTTPStatus
from typing import Final

from upkeep.cluster.cache import Cache, Key, key_of
from upkeep.cluster.client import Client
from upkeep.cluster.errors import ApiError
from upkeep.cluster.resources import INGRESSES, OWNERS, Resource
from upkeep.controller.queue import WorkQueue
from upkeep.controller.targets import IN_MAINTENANCE
from upkeep.controller.watches import SELECTORS, WATCHED, Observer

logger = logging.getLogger(__name__)

_FIRST_PAUSE: Final = 0.25
_LONGEST_PAUSE: Final = 8.0
"""Seconds between two attempts at the first list, and how long they grow."""
_SECOND_LIST: Final = 30.0
"""Seconds: what is deleted between the first list and the beginning of the watches, no watch ever tells."""


class Lister:
    """Lists everything into the cache."""

    def __init__(
        self, *, client: Client, cache: Cache, queue: WorkQueue, observer: Observer, namespaces: tuple[str, ...]
    ) -> None:
        self._client = client
        self._cache = cache
        self._queue = queue
        self._observer = observer
        self._namespaces: tuple[str | None, ...] = namespaces or (None,)
        self.complete = False

    async def list_all(self) -> None:
        """List every watched kind; afterwards all custom resources are in the queue.

        Raises:
            ApiError: the API server did not answer; nothing that is known is forgotten then.
        """
        # What is ours comes first and Jobs last, so that a Job is never older than the status that speaks of it.
        for resource in WATCHED:
            await self._list(resource)
        self._listed()

    async def list_first(self) -> None:
        """List what the first decisions look at, as often as it takes while trying again makes sense.

        Of the Ingresses of a cluster, thousands maybe, that is those in maintenance mode: the watch, which has begun
        before, brings those that somebody asks for by hand.

        Raises:
            ApiError: the API server refuses, so that somebody has to act.
        """
        pause = _FIRST_PAUSE
        while True:
            try:
                for resource in WATCHED:
                    if resource == INGRESSES:
                        await self._see(resource, IN_MAINTENANCE)
                    else:
                        await self._list(resource)
            except ApiError as problem:
                # A page whose list has expired is asked for again with the whole list.
                if not problem.transient and problem.status != HTTPStatus.GONE:
                    raise
                logger.warning("The first list failed and is tried again: %s", problem)
                await asyncio.sleep(max(pause, problem.retry_after or 0.0))
                pause = min(2 * pause, _LONGEST_PAUSE)
            else:
                self._listed()
                return

    async def relist(self, every: float) -> None:
        """List again soon after the first time, then for ever, every so many seconds."""
        pause = min(every, _SECOND_LIST)
        while True:
            await asyncio.sleep(pause)
            pause = every
            try:
                await self.list_all()
            except ApiError as problem:
                # The watches go on; a net that is late by one round is no reason to stop acting.
                logger.warning("The safety list failed and is tried again later: %s", problem)

    async def _list(self, resource: Resource) -> None:
        seen, version = await self._see(resource, SELECTORS.get(resource, ""))
        # What was created in the first namespace while the last was listed is new, not gone.
        for key in self._cache.retain(resource, seen, version):
            self._observer.forgotten(key)

    async def _see(self, resource: Resource, selector: str) -> tuple[list[Key], int]:
        """Take in what there is of a kind; returns where it is, and the oldest version of the list."""
        seen: list[Key] = []
        versions: list[int] = []
        for namespace in self._namespaces:
            async for page in self._client.list_pages(resource, namespace, selector=selector):
                versions.append(int(page["metadata"].get("resourceVersion") or 0))
                for item in page["items"]:
                    seen.append(key_of(resource, item))
                    self._observer.seen(resource, item)
        return seen, min(versions)

    def _listed(self) -> None:
        for resource in OWNERS:
            for key in self._cache.keys(resource):
                self._queue.add(key)
        self.complete = True
        logger.info("Listed all.", extra={"objects": len(self._cache)})
