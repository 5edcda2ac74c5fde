"""One request to a path of a connection, read to its end and timed."""

import asyncio
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Final

from pydantic import Field

from upkeep.actions.http.session import explained

if TYPE_CHECKING:
    from httpx import AsyncClient

FIRST_ERROR: Final = 400
"""The lowest status that says that something is wrong."""

RequestPath = Annotated[str, Field(min_length=1, max_length=512, pattern=r"^/([^\t-\r #/][^\t-\r #]*)?$")]


@dataclass(frozen=True, slots=True, kw_only=True)
class Visit:
    """One request: its path without the query, how long it took, and what was wrong, if anything was."""

    path: str
    status: int = 0
    fault: str = ""
    size: int = 0
    seconds: float = 0.0


async def visit(client: "AsyncClient", path: str, limit: float) -> Visit:
    """Request a path by GET and read the answer to its end, for so many seconds at most. Redirects are not followed."""
    import httpx  # noqa: PLC0415 - a driver is loaded only when an action runs

    shown, size, begun = path.partition("?")[0], 0, time.monotonic()
    try:
        async with asyncio.timeout(limit), client.stream("GET", path, follow_redirects=False) as response:
            async for chunk in response.aiter_raw():
                size += len(chunk)
            status = response.status_code
    except (TimeoutError, httpx.TimeoutException):
        return Visit(path=shown, fault=f"no complete answer within {limit:g} s: check the server")
    except httpx.HTTPError as error:
        return Visit(path=shown, fault=explained(error))
    fault = f"status {status}" if status >= FIRST_ERROR else ""
    return Visit(path=shown, status=status, fault=fault, size=size, seconds=time.monotonic() - begun)
