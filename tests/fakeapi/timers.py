"""What the simulated world does later.

It exists so that the world can be stopped at once and leaves nothing running behind a test.
"""

import asyncio
from collections.abc import Callable


class Timers:
    """Calls on the running event loop, in the order of their times.

    Attributes:
        failure: the first error of a call, which nobody else would notice.
    """

    def __init__(self) -> None:
        self.failure: Exception | None = None
        self._pending: set[asyncio.TimerHandle] = set()

    def after(self, seconds: float, call: Callable[[], object]) -> None:
        """Call once, this many seconds from now and never before the current call has returned.

        Args:
            seconds: how much later, on the event loop's clock.
            call: what to call.
        """

        def fire() -> None:
            self._pending.discard(handle)
            try:
                call()
            except Exception as error:  # noqa: BLE001 -- kept for the test, which raises it
                self.failure = self.failure or error

        handle = asyncio.get_running_loop().call_later(seconds, fire)
        self._pending.add(handle)

    def stop(self) -> None:
        """Forget everything that has not been called yet."""
        for handle in self._pending:
            handle.cancel()
        self._pending.clear()
