"""Waits for what must become true, and says what was seen last where it does not."""

import threading
import time
from collections.abc import Callable
from typing import Final, TypeVar

import pytest

Seen = TypeVar("Seen")

_PAUSE: Final = 0.05


def until(
    look: Callable[[], Seen], holds: Callable[[Seen], object], *, what: str, seconds: float, every: float = _PAUSE
) -> Seen:
    """Look again and again; returns what was seen when it held, and fails the test where it never does.

    Args:
        look: what is looked at.
        holds: whether that is as it should be.
        what: what is waited for, for the message.
        seconds: the longest time.
        every: seconds between two looks.
    """
    deadline = time.monotonic() + seconds
    pause = threading.Event()
    while not holds(seen := look()):
        if time.monotonic() > deadline:
            pytest.fail(f"{what}: not after {seconds:.0f} s. Seen last: {seen}")
        pause.wait(every)
    return seen
