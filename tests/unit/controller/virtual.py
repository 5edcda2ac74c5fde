"""An event loop whose time is made up: when nobody has anything to do, it is at once the time of the next timer.

So a test waits for hours without waiting. Nothing in it may wait for a socket or a thread.
"""

import asyncio
import selectors
from collections.abc import Coroutine
from datetime import UTC, datetime, timedelta
from typing import Any, Final, TypeVar

Result = TypeVar("Result")

START: Final = datetime(2026, 3, 1, tzinfo=UTC)
_ENDLESS: Final = 1_000_000
"""Turns of the loop after which a test that should have ended counts as stuck."""


class _Impatient(selectors.DefaultSelector):
    """Takes no time to wait, and notes how long it should have."""

    def __init__(self) -> None:
        super().__init__()
        self.waited = 0.0
        self._turns = 0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        self._turns += 1
        if timeout is None or self._turns > _ENDLESS:
            msg = "the test waits for something that never comes"
            raise RuntimeError(msg)
        self.waited += max(0.0, timeout)
        return super().select(0)


class VirtualLoop(asyncio.SelectorEventLoop):
    """The loop."""

    def __init__(self) -> None:
        self._impatient = _Impatient()
        super().__init__(self._impatient)

    def time(self) -> float:
        """Seconds since its start, of which none has really passed."""
        return self._impatient.waited


def lived(coroutine: Coroutine[Any, Any, Result]) -> Result:
    """Run it to its end in made-up time."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(coroutine)


def elapsed() -> float:
    """Seconds of made-up time since the start."""
    return asyncio.get_running_loop().time()


def clock() -> datetime:
    """What a clock on the wall shows meanwhile."""
    return START + timedelta(seconds=elapsed())


def at(seconds: float) -> datetime:
    """What it shows so many seconds after the start."""
    return START + timedelta(seconds=seconds)
