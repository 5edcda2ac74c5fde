"""Waits for what other processes do, and notices at once when the one that is waited for has died.

It must never poll the API server while a contestant is being measured.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from lab.failure import LabError
from lab.process import last_words, log_path, running

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from lab.home import Home

PAUSE_SECONDS = 0.2


async def until(
    condition: Callable[[], Awaitable[bool]],
    *,
    doing: str,
    seconds: float,
    home: Home,
    component: str,
) -> None:
    """Return as soon as `condition()` holds.

    Raises:
        LabError: it did not hold within `seconds`, or `component` has ended; its log is quoted.
    """
    deadline = time.monotonic() + seconds
    while not await condition():
        late = time.monotonic() > deadline
        if late or not running(home, component):
            problem = f"not after {seconds:.0f} s" if late else f"{component} has ended"
            message = f"{doing}: {problem}. The end of {log_path(home, component)}:\n{last_words(home, component)}"
            raise LabError(message)
        await asyncio.sleep(PAUSE_SECONDS)
