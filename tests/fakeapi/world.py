"""The rest of the cluster, simulated and opt-in."""

from fakeapi.store import Store


class World:
    def __init__(self, store: Store) -> None:
        self._store = store

    def stop(self) -> None:
        """Stop all timers."""
