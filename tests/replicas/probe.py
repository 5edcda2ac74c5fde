"""What an operator answers on its own port."""

import asyncio
from collections.abc import Callable

import aiohttp

from replicas.replica import PATIENCE


async def fetched(port: int, path: str, *, until: Callable[[int], bool] = bool) -> tuple[int, str]:
    """Status and text of an answer; waits until somebody listens, and for a status.

    Args:
        port: of the operator.
        path: for example `/readyz`.
        until: which status to wait for; any by default.

    Raises:
        TimeoutError: nobody listens, or that status does not come.
    """
    async with asyncio.timeout(PATIENCE), aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session:
        while True:
            try:
                async with session.get(path) as answer:
                    if until(answer.status):
                        return answer.status, await answer.text()
            except aiohttp.ClientConnectionError:
                pass  # it is not up yet
            await asyncio.sleep(0.05)
