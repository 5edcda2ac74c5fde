"""Where the status page gets what it shows: the windows of the chosen namespaces, asked for again and again.

It only ever lists, and keeps nothing but what is published. When the API server does not answer, the last that is known
stays, with the time at which it was true.
"""

import asyncio
import logging
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

from upkeep.cluster.client import Client
from upkeep.cluster.errors import ApiError
from upkeep.cluster.resources import WINDOWS
from upkeep.domain.bulletin import Bulletin, Entry, bulletin, published

_LOG: Final = logging.getLogger(__name__)


class Source:
    """The last known state of the windows that a page may show.

    Args:
        namespaces: of the windows; empty: all.
        selector: labels of the windows; empty: any.

    Attributes:
        as_of: when it was known to be true; None before the first time.
    """

    def __init__(self, *, namespaces: Sequence[str] = (), selector: str = "") -> None:
        self._namespaces: tuple[str | None, ...] = tuple(namespaces) or (None,)
        self._selector = selector
        self._entries: tuple[Entry, ...] = ()
        self._complained = ""
        self.as_of: datetime | None = None

    def bulletin(self, now: datetime) -> Bulletin:
        """What there is to be told now."""
        return bulletin(self._entries, now)

    async def refresh(self, client: Client) -> None:
        """Ask once.

        Raises:
            ApiError: the API server did not answer, or refused; what is known stays as it is.
        """
        asked = datetime.now(UTC)
        found: list[Entry] = []
        for namespace in self._namespaces:
            async for page in client.list_pages(WINDOWS, namespace, selector=self._selector):
                found += published(page["items"])
        self._entries, self.as_of = tuple(found), asked

    async def follow(self, client: Client, every: float) -> None:
        """Ask for ever, every so many seconds; what goes wrong is logged once."""
        while True:
            try:
                await self.refresh(client)
            except ApiError as problem:
                if str(problem) != self._complained:
                    _LOG.warning("cannot list windows, showing what is known: %s", problem)
                self._complained = str(problem)
            else:
                self._complained = ""
            await asyncio.sleep(every)
