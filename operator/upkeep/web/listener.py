"""Where a server listens, on IPv4 and IPv6 alike, whatever the machine has, and when it is told to stop."""

import asyncio
import signal
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web


@asynccontextmanager
async def listening(runner: web.BaseRunner, host: str | None, port: int) -> AsyncIterator[int]:
    """Serves as long as the context lasts; yields the port.

    Args:
        runner: what serves.
        host: address to listen on; None for all of them, IPv4 and IPv6.
        port: 0 for a free one.

    Raises:
        OSError: the port is taken.
    """
    await runner.setup()
    try:
        taken = listener(host, port)
        await web.SockSite(runner, taken).start()
        yield taken.getsockname()[1]
    finally:
        await runner.cleanup()


def told_to_stop() -> asyncio.Event:
    """Set as soon as the process gets SIGTERM or SIGINT."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    return stop


def listener(host: str | None, port: int) -> socket.socket:
    """A listening socket; for all addresses one that takes IPv4 and IPv6, where the machine has both.

    Args:
        host: address to listen on; None for all of them.
        port: 0 for a free one.

    Raises:
        OSError: the port is taken.
    """
    if host is not None:
        return socket.create_server((host, port))
    try:
        return socket.create_server(("", port), family=socket.AF_INET6, dualstack_ipv6=True)
    except (OSError, ValueError):
        return socket.create_server(("", port))
