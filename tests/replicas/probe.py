"""What an operator answers on its own port."""

import asyncio

import aiohttp

from replicas.replica import PATIENCE


async def fetched(port: int, path: str) -> tuple[int, str]:
    """Status and text of an answer; waits until somebody listens.

    Raises:
        TimeoutError: nobody does.
    """
    async with asyncio.timeout(PATIENCE), aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session:
        while True:
            try:
                async with session.get(path) as answer:
                    return answer.status, await answer.text()
            except aiohttp.ClientConnectionError:
                await asyncio.sleep(0.05)
