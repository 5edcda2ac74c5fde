"""A repository is made by one run, also where two policies that share it have their first backup in the same second.

restic looks whether there is a repository, then writes a key and a config of its own: two that do so at once leave one
config, and data that only the other one's key could read. So whoever wants to make one says so first, in a file beside
where the repository will be, and makes it only if nobody else has said so.
"""

import asyncio
import random
import secrets
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Final

from upkeep.actions.backup.lock import Departed
from upkeep.actions.backup.storage import Storage
from upkeep.actions.contract import ActionError

_CLAIM: Final = "upkeep-creates-"
_CLAIM_SECONDS: Final = 120.0
"""After so long whoever made a claim is taken to be gone: making a repository takes a second or two."""
_CONFIG: Final = "config"
_CONTENT: Final = frozenset({"data", "index", "snapshots"})
_PARTS: Final = _CONTENT | {"keys"}
_PAUSE_SECONDS: Final = (0.2, 1.5)


async def step_back() -> None:
    """Wait a moment, each for another time: of two that saw each other's claims, one comes back first, to nobody's."""
    await asyncio.sleep(random.uniform(*_PAUSE_SECONDS))  # noqa: S311 - nothing secret depends on it


class Creation:
    """The creation of a repository."""

    def __init__(self, storage: Storage, departed: Departed) -> None:
        self._storage = storage
        self._departed = departed

    @asynccontextmanager
    async def alone(self) -> AsyncIterator[Sequence[str] | None]:
        """The right to make it, with the files that an interrupted attempt left; None where somebody else has it.

        Raises:
            ActionError: there are remains of a repository, or the storage cannot be used.
        """
        claim = f"{_CLAIM}{socket.gethostname()}-{secrets.token_hex(8)}"
        await self._storage.put(claim)
        try:
            yield await self._leftovers(claim)
        finally:
            await self._storage.remove(claim)

    async def _leftovers(self, claim: str) -> Sequence[str] | None:
        files = await self._storage.files()
        others = {name: file for name, file in files.items() if name.startswith(_CLAIM) and name != claim}
        if any(file.age < _CLAIM_SECONDS and not self._gone(name) for name, file in others.items()):
            return None
        if _CONFIG in files:
            return None
        parts = {name.partition("/")[0] for name in files} & _PARTS
        if parts & _CONTENT:
            msg = (
                f"repository {self._storage.name} has {', '.join(sorted(parts))} but no config: it is damaged; "
                "restore its config file from a copy, or name another place"
            )
            raise ActionError(msg)
        return [*others, *(name for name in files if name.startswith(("keys/", "locks/")))]

    def _gone(self, claim: str) -> bool:
        host = claim.removeprefix(_CLAIM).rpartition("-")[0]
        return self._departed.known(host)
