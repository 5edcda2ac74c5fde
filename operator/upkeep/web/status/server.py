"""The server behind the status page: tells everybody what is under maintenance, and lets nobody change anything.

It answers from what it knows, also while the API server is away, and says then of when that is. Nothing that a client
sends reaches the cluster.
"""

import asyncio
import logging
import os
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, Self

from aiohttp import web

from upkeep.cluster.client import Client
from upkeep.web.listener import listening, told_to_stop
from upkeep.web.negotiation import JSON, negotiated
from upkeep.web.status.edition import edition
from upkeep.web.status.representation import StatusRepresentations, entity_tag
from upkeep.web.status.source import Source

_LOG: Final = logging.getLogger(__name__)

PORT: Final = 8080
API_PATH: Final = "/api/v1/status"
_FRESH: Final = 10
"""Seconds for which an answer may be reused without asking."""
_NAMESPACE: Final = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")


class StatusSettingsError(ValueError):
    """A setting is wrong; the message names it and says what to set."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusSettings:
    """What a status page shows.

    Attributes:
        namespaces: of its windows; empty: all (UPKEEP_STATUS_NAMESPACES, comma separated).
        selector: labels of its windows; empty: any (UPKEEP_STATUS_SELECTOR).
        name: of the page; empty: the usual one (UPKEEP_STATUS_NAME).
        interval: seconds between two looks at the windows (UPKEEP_STATUS_INTERVAL).
    """

    namespaces: tuple[str, ...] = ()
    selector: str = ""
    name: str = ""
    interval: float = 5.0

    @classmethod
    def read(cls, environment: Mapping[str, str] = os.environ) -> Self:
        """The settings of this process.

        Raises:
            StatusSettingsError: one is wrong.
        """
        parts = [part.strip() for part in environment.get("UPKEEP_STATUS_NAMESPACES", "").split(",")]
        namespaces = tuple(dict.fromkeys(part for part in parts if part))
        wrong = next((name for name in namespaces if not _NAMESPACE.fullmatch(name)), None)
        if wrong is not None:
            msg = f"UPKEEP_STATUS_NAMESPACES: {wrong!r} is not a namespace: name them, separated by commas"
            raise StatusSettingsError(msg)
        return cls(
            namespaces=namespaces,
            selector=environment.get("UPKEEP_STATUS_SELECTOR", "").strip(),
            name=environment.get("UPKEEP_STATUS_NAME", "").strip()[:80],
            interval=_seconds(environment.get("UPKEEP_STATUS_INTERVAL") or "5"),
        )


def application(source: Source, *, name: str = "") -> web.Application:
    """The HTTP application: the page at `/`, the same as JSON at `/api/v1/status`, and probes."""
    representations = StatusRepresentations()

    async def answer(request: web.Request) -> web.StreamResponse:
        named = request.path == API_PATH
        media = JSON if named else negotiated(",".join(request.headers.getall("Accept", ())))
        now = datetime.now(UTC)
        headers = {
            "Vary": "Accept-Language" if named else "Accept, Accept-Language",
            "Content-Security-Policy": representations.policy,
            "X-Content-Type-Options": "nosniff",
            "X-Frame-Options": "DENY",
            "Referrer-Policy": "no-referrer",
            "Server": "upkeep",
            # It is the same for everybody and holds nothing of whoever asks, so that any web site may read it.
            **({"Access-Control-Allow-Origin": "*"} if media == JSON else {}),
        }
        if source.as_of is None:
            gone = headers | {"Retry-After": "5", "Cache-Control": "no-store"}
            return web.Response(status=503, text="The status is not known yet.\n", headers=gone)
        found = edition(
            source.bulletin(now),
            now,
            as_of=source.as_of,
            name=name,
            accept_language=",".join(request.headers.getall("Accept-Language", ())),
        )
        body = representations.body(media, found)
        response = web.Response(text=body, content_type=media, charset="utf-8", headers=headers)
        response.headers["Cache-Control"] = f"public, max-age={_FRESH}"
        response.headers["Content-Language"] = found.language
        response.etag = entity_tag(media, found, body)
        wanted = request.if_none_match or ()
        if any(tag.value in {response.etag.value, "*"} for tag in wanted if response.etag):
            unchanged = web.Response(status=304, headers=headers)
            unchanged.headers["Cache-Control"] = response.headers["Cache-Control"]
            unchanged.etag = response.etag
            return unchanged
        return response

    async def healthz(_: web.Request) -> web.StreamResponse:
        return web.Response(text="ok\n")

    async def readyz(_: web.Request) -> web.StreamResponse:
        known = source.as_of is not None
        return web.Response(status=200 if known else 503, text="ok\n" if known else "the windows are not known yet\n")

    app = web.Application()
    app.add_routes(
        [
            web.get("/", answer),
            web.get(API_PATH, answer),
            web.get("/healthz", healthz),
            web.get("/readyz", readyz),
        ]
    )
    return app


@asynccontextmanager
async def serving(source: Source, *, port: int = PORT, host: str | None = None, name: str = "") -> AsyncIterator[int]:
    """Serves the page as long as the context lasts; yields its port.

    Args:
        source: what it shows.
        port: 0 for a free one.
        host: address to listen on; None for all of them, IPv4 and IPv6.
        name: of the page.

    Raises:
        OSError: the port is taken.
    """
    runner = web.AppRunner(application(source, name=name), access_log=None, shutdown_timeout=1.0)
    async with listening(runner, host, port) as where:
        yield where


async def _serve(settings: StatusSettings) -> None:
    stop = told_to_stop()
    source = Source(namespaces=settings.namespaces, selector=settings.selector)
    async with await Client.connect() as client, serving(source, name=settings.name) as port:
        _LOG.info("serving the status page on port %d", port)
        follower = asyncio.create_task(source.follow(client, settings.interval))
        stopped = asyncio.create_task(stop.wait())
        # Whatever ends the follower for good must end the process, which is then started anew.
        await asyncio.wait({follower, stopped}, return_when=asyncio.FIRST_COMPLETED)
        stopped.cancel()
        follower.cancel()
        with suppress(asyncio.CancelledError):
            await follower


def main() -> int:
    """The command `upkeep status-page`, as its Pods run it; returns its exit code."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    try:
        settings = StatusSettings.read()
    except StatusSettingsError as problem:
        _LOG.error("%s", problem)
        return os.EX_CONFIG
    asyncio.run(_serve(settings))
    return os.EX_OK


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 1 <= seconds <= 3600:  # noqa: PLR2004 - an hour
        msg = f"UPKEEP_STATUS_INTERVAL={text!r} is not a number of seconds from 1 to 3600"
        raise StatusSettingsError(msg)
    return seconds
