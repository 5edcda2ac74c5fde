"""Waits for a condition with a limit, and notices at once when what is waited for has died.

It must never wait for something that cannot come any more.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from lab.failure import LabError
from lab.process import last_words, log_path, running

if TYPE_CHECKING:
    from collections.abc import Callable

    from lab.home import Home

PAUSE_SECONDS = 0.1


def until(
    condition: Callable[[], bool],
    *,
    doing: str,
    seconds: float,
    home: Home | None = None,
    component: str | None = None,
) -> None:
    """Return as soon as `condition()` holds.

    Raises:
        LabError: it did not hold within `seconds`, or the `component` it depends on ended; its log is quoted.
    """
    deadline = time.monotonic() + seconds
    pause = threading.Event()
    while not condition():
        if home and component and not running(home, component):
            message = f"{doing}: {component} has ended. The end of {log_path(home, component)}:\n"
            raise LabError(message + last_words(home, component))
        if time.monotonic() > deadline:
            message = f"{doing}: not after {seconds:.0f} s."
            if home and component:
                message += f" The end of {log_path(home, component)}:\n{last_words(home, component)}"
            raise LabError(message)
        pause.wait(PAUSE_SECONDS)
