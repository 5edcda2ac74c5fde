"""One request and what was answered to it, with the patience that a service far away needs."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final, TypeVar

from upkeep.actions.contract import ActionError
from upkeep.actions.http.answer import limited
from upkeep.actions.http.session import explained
from upkeep.actions.text import readable

if TYPE_CHECKING:
    from httpx import AsyncClient

_LIMIT_BYTES: Final = 8 * 1024 * 1024
_SHOWN_CHARACTERS: Final = 300
_FIRST_SECONDS: Final = 0.5
_LONGEST_SECONDS: Final = 30.0
_PASSING: Final = frozenset(
    {
        HTTPStatus.REQUEST_TIMEOUT,
        HTTPStatus.INTERNAL_SERVER_ERROR,
        HTTPStatus.BAD_GATEWAY,
        HTTPStatus.SERVICE_UNAVAILABLE,
        HTTPStatus.GATEWAY_TIMEOUT,
    }
)

T = TypeVar("T")


class BusyError(ActionError):
    """No answer just now; the same question may be answered later."""


async def answer(client: "AsyncClient", method: str, url: str, **request: Any) -> tuple[int, object]:  # noqa: ANN401 - of httpx
    """The status and the JSON of an answer; None where it is no JSON.

    Raises:
        BusyError: none, or one that says to come back later.
        ActionError: it is too large.
    """
    import httpx  # noqa: PLC0415 - a driver is loaded only when an action runs

    host = httpx.URL(url).host
    try:
        async with client.stream(method, url, **request) as response:
            body = await limited(response, _LIMIT_BYTES)
    except httpx.TimeoutException as error:
        msg = f"{host} does not answer in time: check endpoint, and that the NetworkPolicies let the Pod out"
        raise BusyError(msg) from error
    except httpx.HTTPError as error:
        msg = f"{host} cannot be asked: {explained(error)}"
        raise BusyError(msg) from error
    if body is None:
        msg = f"{host} answers with more than {_LIMIT_BYTES // 1024**2} MiB: check endpoint"
        raise ActionError(msg)
    if response.status_code in _PASSING:
        msg = f"{host} cannot answer now (status {response.status_code})"
        raise BusyError(msg)
    try:
        return response.status_code, json.loads(body)
    except (ValueError, RecursionError):
        return response.status_code, None


async def patiently(ask: Callable[[], Awaitable[T]], *, seconds: float) -> T:
    """What is answered, asked again after growing pauses for as long as nobody answers, at most about so many seconds.

    Raises:
        ActionError: the answer is an error, or there was none.
    """
    clock = asyncio.get_running_loop().time
    begun, pauses = clock(), Pauses()
    while True:
        try:
            return await ask()
        except BusyError as error:
            pause = pauses.next()
            if clock() + pause > begun + seconds:
                msg = f"{error} (asked again for {clock() - begun:.0f} s)"
                raise ActionError(msg) from error
            await asyncio.sleep(pause)


class Pauses:
    """Pauses between questions, each half as long again as the one before."""

    def __init__(self) -> None:
        self._seconds = _FIRST_SECONDS

    def next(self) -> float:
        """The next one, in seconds."""
        now = self._seconds
        self._seconds = min(now * 1.5, _LONGEST_SECONDS)
        return now


def quoted(text: str, *secrets: str) -> str:
    """What a server said, fit for a message: printable, short and without these values."""
    for secret in filter(None, secrets):
        text = text.replace(secret, "…")
    text = readable(text)
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[: _SHOWN_CHARACTERS - 1]}…"
