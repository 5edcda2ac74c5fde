"""Requests to a server that keeps repositories, tried again a few times, with errors that say what to do.

Proxies of the environment are not used: restic runs without that environment too.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from upkeep.actions.backup.storage import PIECE, GoneError, Storage, UnreachableError
from upkeep.actions.http.session import CONNECT_SECONDS, explained, trust

if TYPE_CHECKING:
    from httpx import AsyncClient, Response

Body = Callable[[], AsyncIterator[bytes]]
"""Makes the content of a request, anew for each attempt."""

_SECONDS: Final = 30.0
_PAUSES: Final = (0.5, 1.0, 2.0)
_SERVER_ERROR: Final = 500
_NOT_FOUND: Final = 404


class WebStore(Storage):
    """A repository on a server.

    Attributes:
        authority: file with the certificate of the server's authority; None for the system's.
        url: of the server.
    """

    advice = "look into the log, and the server's"
    authority: Path | None
    url: str
    _known: bool = False
    _client: "AsyncClient | None" = None

    async def probe(self) -> None:
        """Ask for the locks: a short list that everybody who uses the repository has to be able to read."""
        if not self._known:
            await self.files("locks/")
            self._known = True

    @asynccontextmanager
    async def connected(self) -> AsyncIterator[None]:
        """Connections are kept for as long as the block, which many small requests need."""
        async with self._opened() as client:
            self._client = client
            try:
                yield
            finally:
                self._client = None

    async def request(
        self, method: str, url: str, headers: Mapping[str, str], body: Body | None = None, *, seconds: float = _SECONDS
    ) -> "Response":
        """The answer to a request, whatever it says.

        Args:
            method: of HTTP.
            url: the whole address.
            headers: with the length of the content.
            body: makes the content; None for none.
            seconds: how long the server may be silent.

        Raises:
            UnreachableError: nobody answers.
        """
        import httpx  # noqa: PLC0415 - a driver is loaded only when an action runs

        async with self._borrowed() as client:
            for pause in (*_PAUSES, None):
                content = body() if body else None
                try:
                    timeout = httpx.Timeout(seconds, connect=CONNECT_SECONDS)
                    answer = await client.request(method, url, headers=headers, content=content, timeout=timeout)
                    if answer.status_code < _SERVER_ERROR or pause is None:
                        return answer
                except httpx.HTTPError as error:
                    if pause is None:
                        msg = f"cannot reach repository {self.name}: {explained(error)}"
                        raise UnreachableError(msg) from error
                await asyncio.sleep(pause)
        raise AssertionError  # the last attempt returns or raises

    async def received(self, url: str, headers: Mapping[str, str]) -> AsyncGenerator[bytes, None]:
        """What is at an address, piece by piece.

        Raises:
            GoneError: nothing is.
            UnreachableError: nobody answers, or not to the end.
        """
        import httpx  # noqa: PLC0415 - a driver is loaded only when an action runs

        try:
            async with self._borrowed() as client, client.stream("GET", url, headers=headers) as answer:
                if answer.status_code == _NOT_FOUND:
                    msg = f"a file of repository {self.name} has gone: run this again"
                    raise GoneError(msg)
                if not answer.is_success:
                    msg = f"cannot read from repository {self.name}: HTTP {answer.status_code}: {self.advice}"
                    raise UnreachableError(msg)
                async for piece in answer.aiter_raw(PIECE):
                    yield piece
        except httpx.HTTPError as error:
            msg = f"cannot read from repository {self.name}: {explained(error)}"
            raise UnreachableError(msg) from error

    @asynccontextmanager
    async def _borrowed(self) -> AsyncIterator["AsyncClient"]:
        """The client that is kept, or one for this request."""
        if self._client:
            yield self._client
        else:
            async with self._opened() as client:
                yield client

    def _opened(self) -> "AsyncClient":
        import httpx  # noqa: PLC0415 - a driver is loaded only when an action runs

        timeout = httpx.Timeout(_SECONDS, connect=CONNECT_SECONDS)
        return httpx.AsyncClient(timeout=timeout, verify=trust(self.url, self.authority), trust_env=False)


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
