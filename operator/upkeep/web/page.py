"""The server behind a maintenance page: 503 to everything, in a form that the client understands.

It stands in for whole applications while they are away, so it answers every path, method and protocol upgrade, never
fails on a request or on its own content, needs nothing from the cluster, and stays small: of Upkeep it imports only
what it is made of. Liveness has a port of its own, where 200 means that the page is being served.
"""

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from aiohttp import web

from upkeep.resources.page import BRAND_DIRECTORY, CONTAINER_PORT, CONTENT_DIRECTORY, CONTENT_FILE, HEALTH_PORT
from upkeep.web.content import Content
from upkeep.web.listener import listening, told_to_stop
from upkeep.web.negotiation import negotiated
from upkeep.web.representation import Representations

_LOG: Final = logging.getLogger(__name__)

_HEADER_LIMIT: Final = 64 * 1024
"""Bytes of a request line or header that are read. Proxies let larger ones through than servers usually take, and a
client with many cookies is to see the page, not an error."""
_SHUTDOWN_SECONDS: Final = 1.0
"""Time for answers under way when the process is told to stop."""

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Listening:
    """Where the server listens.

    Attributes:
        port: of the page.
        health_port: of `/healthz`.
    """

    port: int
    health_port: int


def page_handler(content: Content) -> Handler:
    """Answers every request with 503 and the page."""
    representations = Representations()

    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        notice, now = content.notice(), datetime.now(UTC)
        media = negotiated(",".join(request.headers.getall("Accept", ())))
        edition = notice.edition(",".join(request.headers.getall("Accept-Language", ())))
        return web.Response(
            status=503,
            text=representations.body(media, edition, now=now),
            content_type=media,
            charset="utf-8",
            headers={
                "Retry-After": str(notice.retry_after(now)),
                "Cache-Control": "no-store",
                "Content-Language": edition.language,
                "Vary": "Accept, Accept-Language",
                "Content-Security-Policy": representations.policy(notice.brand),
                "X-Content-Type-Options": "nosniff",
                "Referrer-Policy": "no-referrer",
                "X-Robots-Tag": "noindex",
                "Server": "upkeep",
            },
        )

    return answer


async def _health(request: web.BaseRequest) -> web.StreamResponse:
    return web.Response(text="ok\n") if request.path == "/healthz" else web.Response(status=404, text="not found\n")


@asynccontextmanager
async def serving(
    content: Path, *, port: int, health_port: int, host: str | None = None, brand: Path | None = None
) -> AsyncIterator[Listening]:
    """Serves the page as long as the context lasts.

    Args:
        content: the JSON file with title, message and until.
        port: of the page; 0 for a free one.
        health_port: of `/healthz`; 0 for a free one.
        host: address to listen on; None for all of them, IPv4 and IPv6.
        brand: directory with name, logo and colour; it may be missing.

    Raises:
        OSError: a port is taken.
    """
    async with (
        listening(_runner(page_handler(Content(content, brand))), host, port) as page,
        listening(_runner(_health), host, health_port) as health,
    ):
        yield Listening(port=page, health_port=health)


def _runner(handler: Handler) -> web.ServerRunner:
    server = web.Server(
        handler,
        access_log=None,
        auto_decompress=False,
        max_line_size=_HEADER_LIMIT,
        max_field_size=_HEADER_LIMIT,
    )
    return web.ServerRunner(server, shutdown_timeout=_SHUTDOWN_SECONDS)


async def serve(content: Path, port: int, health_port: int, brand: Path | None = None) -> None:
    """Serves the page on all addresses until SIGTERM or SIGINT.

    Raises:
        OSError: a port is taken.
    """
    stop = told_to_stop()
    async with serving(content, port=port, health_port=health_port, brand=brand) as where:
        _LOG.info("serving the maintenance page on port %d, health on port %d", where.port, where.health_port)
        await stop.wait()


def main() -> int:
    """The command `upkeep page`, as a Pod of a maintenance page runs it; returns its exit code."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    asyncio.run(serve(Path(CONTENT_DIRECTORY, CONTENT_FILE), CONTAINER_PORT, HEALTH_PORT, Path(BRAND_DIRECTORY)))
    return os.EX_OK
