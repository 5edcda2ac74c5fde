"""What a server answers to a check: of bounded size and time, and with words for every way in which it may not.

A server must never be able to fill the memory of a Pod.
"""

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from upkeep.actions.contract import UncheckableError
from upkeep.actions.http.session import explained

if TYPE_CHECKING:
    from httpx import AsyncClient, Response


async def limited(response: "Response", most: int) -> bytes | None:
    """The body of an answer under way; None where it is larger than `most` bytes."""
    body = bytearray()
    async for chunk in response.aiter_bytes():
        body += chunk
        if len(body) > most:
            return None
    return bytes(body)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What is expected of an answer.

    Attributes:
        seconds: how long it may take.
        size: bytes of the largest one that is read.
        advice: what to do about a larger one.
        server: what answers, for messages.
    """

    seconds: float
    size: int
    advice: str
    server: str = "it"


async def asked(
    client: "AsyncClient",
    method: str,
    url: str,
    *,
    name: str,
    limits: Limits,
    **content: Any,  # noqa: ANN401 - whatever httpx takes
) -> tuple["Response", bytes]:
    """An answer, and its body.

    Args:
        client: of the connection.
        method: for example `GET`.
        url: relative to the connection's.
        name: of the connection, for messages.
        limits: what is expected of the answer.
        content: what is sent, as httpx takes it.

    Raises:
        UncheckableError: no answer, or one that is too large.
    """
    import httpx  # noqa: PLC0415 - a driver is loaded only when an action runs

    try:
        async with asyncio.timeout(limits.seconds), client.stream(method, url, **content) as response:
            body = await limited(response, limits.size)
    except (TimeoutError, httpx.TimeoutException):
        seconds, server = limits.seconds, limits.server
        msg = f"{name!r} gives no answer within {seconds:g} s: check that {server} runs, and the NetworkPolicies"
        raise UncheckableError(msg) from None
    except httpx.HTTPError as error:
        msg = f"{name!r} cannot be asked: {explained(error)}"
        raise UncheckableError(msg) from None
    if body is None:
        msg = f"{name!r} answers with more than {limits.size // 1024**2} MiB: {limits.advice}"
        raise UncheckableError(msg)
    return response, body
