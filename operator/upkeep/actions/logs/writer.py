"""Tells the writer of log files by HTTP to open them anew, as an administrator's port or a sidecar offers it."""

import asyncio
from enum import StrEnum
from typing import Final

from upkeep.actions.contract import Context
from upkeep.actions.fields import LabelName, Model
from upkeep.actions.http.session import explained, session
from upkeep.actions.http.visit import RequestPath

_SECONDS: Final = 10.0


class SignalMethod(StrEnum):
    """How it is asked."""

    POST = "POST"
    PUT = "PUT"
    GET = "GET"


class WriterSignal(Model):
    """A request that makes the writer open its files anew; redirects are not followed."""

    connection: LabelName
    """Name of an http connection."""
    path: RequestPath
    """Path, for example `/logs/reopen`."""
    method: SignalMethod = SignalMethod.POST
    """POST, PUT or GET."""

    @property
    def shown(self) -> str:
        """What it is called in messages, without its query."""
        return f"{self.method} {self.path.partition('?')[0]}"

    async def send(self, context: Context) -> str:
        """Send it; what was wrong, and what to do, or nothing.

        Raises:
            ActionError: no such connection or Secret.
        """
        import httpx  # noqa: PLC0415 - a driver is loaded only when an action runs

        limit = max(0.1, min(_SECONDS, context.remaining))
        try:
            async with asyncio.timeout(limit), session(context, self.connection, seconds=limit) as client:
                answer = await client.request(self.method, self.path, follow_redirects=False)
        except (TimeoutError, httpx.TimeoutException):
            return f"no answer within {limit:g} s: check the server"
        except httpx.HTTPError as error:
            return explained(error)
        return "" if answer.is_success else f"status {answer.status_code}: check path, method and credentials"
