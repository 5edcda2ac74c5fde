"""The Alertmanagers of the platform, as the operator uses them: it asks for firing alerts, and looks after silences."""

import asyncio
from collections.abc import Callable, Mapping
from datetime import datetime

from upkeep.alertmanager.client import Alertmanager
from upkeep.alertmanager.configuration import Endpoint
from upkeep.controller.alerts import Alerts
from upkeep.controller.queue import WorkQueue
from upkeep.controller.silences import Silences


class Alerting:
    """What is known of alerts and silences; decisions never wait for it."""

    def __init__(self, endpoints: Mapping[str, Endpoint], queue: WorkQueue, *, clock: Callable[[], datetime]) -> None:
        self._alertmanagers = {name: Alertmanager(endpoint) for name, endpoint in endpoints.items()}
        self.alerts = Alerts(self._alertmanagers, queue, clock=clock)
        self.silences = Silences(self._alertmanagers, queue, clock=clock)

    @property
    def names(self) -> frozenset[str]:
        """The Alertmanagers that resources may name."""
        return frozenset(self._alertmanagers)

    async def run(self) -> None:
        """Look after silences for ever."""
        try:
            await self.silences.run()
        finally:
            await asyncio.gather(*(alertmanager.close() for alertmanager in self._alertmanagers.values()))
