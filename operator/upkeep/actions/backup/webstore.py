"""Requests to a server that keeps repositories, tried again a few times, with errors that say what to do.

Proxies of the environment are not used: restic runs without that environment too.
"""

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from upkeep.actions.backup.storage import Storage
from upkeep.actions.contract import ActionError
from upkeep.actions.http.session import CONNECT_SECONDS, explained, trust

if TYPE_CHECKING:
    from httpx import Response

_SECONDS: Final = 30.0
_PAUSES: Final = (0.5, 1.0, 2.0)
_SERVER_ERROR: Final = 500


class WebStore(Storage):
    """A repository on a server.

    Attributes:
        authority: file with the certificate of the server's authority; None for the system's.
    """

    advice = "look into the log, and the server's"
    authority: Path | None
    _known: bool = False

    async def probe(self) -> None:
        """Ask for the locks: a short list that everybody who uses the repository has to be able to read."""
        if not self._known:
            await self.files("locks/")
            self._known = True

    async def request(self, method: str, url: str, headers: Mapping[str, str]) -> "Response":
        """The answer to a request without a body, whatever it says.

        Raises:
            ActionError: nobody answers.
        """
        import httpx  # noqa: PLC0415 - a driver is loaded only when an action runs

        timeout = httpx.Timeout(_SECONDS, connect=CONNECT_SECONDS)
        async with httpx.AsyncClient(timeout=timeout, verify=trust(url, self.authority), trust_env=False) as client:
            for pause in (*_PAUSES, None):
                try:
                    answer = await client.request(method, url, headers=headers)
                    if answer.status_code < _SERVER_ERROR or pause is None:
                        return answer
                except httpx.HTTPError as error:
                    if pause is None:
                        msg = f"cannot reach repository {self.name}: {explained(error)}"
                        raise ActionError(msg) from error
                await asyncio.sleep(pause)
        raise AssertionError  # the last attempt returns or raises


@contextmanager
def private_file(path: Path, content: str) -> Iterator[Path]:
    """A file that only this user can read, for as long as the block."""
    path.unlink(missing_ok=True)
    path.touch(mode=0o600)
    try:
        path.write_text(content)
        yield path
    finally:
        path.unlink(missing_ok=True)
