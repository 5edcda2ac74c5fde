"""Knows which alerts fire, for decisions that must not wait for an Alertmanager.

An answer is kept for a few seconds. A decision waits for a new one for a moment only; one that comes later asks for
the decision again.
"""

import asyncio
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from pydantic import ValidationError

from upkeep.alertmanager.client import Alertmanager, AlertmanagerError
from upkeep.api.window.gating import NoFiringAlerts
from upkeep.cluster.cache import Key
from upkeep.controller.queue import WorkQueue
from upkeep.controller.references import alerts_after, alerts_before
from upkeep.domain.alerts import AlertAnswer, AlertQuery
from upkeep.domain.window.requires import alert_query

KEPT: Final = timedelta(seconds=5)
"""How old an answer may be before the Alertmanager is asked again."""
PATIENCE: Final = 1.0
"""Seconds that a decision waits for an answer."""


class Alerts:
    """What the Alertmanagers say of firing alerts."""

    def __init__(
        self, alertmanagers: Mapping[str, Alertmanager], queue: WorkQueue, *, clock: Callable[[], datetime]
    ) -> None:
        self._alertmanagers = alertmanagers
        self._queue = queue
        self._clock = clock
        self._answers: dict[AlertQuery, AlertAnswer] = {}
        self._asking: dict[AlertQuery, asyncio.Task[None]] = {}
        self._waiting: dict[AlertQuery, set[Key]] = {}

    async def before(self, key: Key, window: Mapping[str, Any]) -> AlertAnswer | None:
        """The newest answer to what a window requires before it opens; None where it requires or knows nothing."""
        return await self._known(key, self._query_of(alerts_before(window, self._clock())))

    async def after(self, key: Key, window: Mapping[str, Any]) -> AlertAnswer | None:
        """The newest answer to what a window is watched for; None where it is not, or nothing is known."""
        return await self._known(key, self._query_of(alerts_after(window, self._clock())))

    async def _known(self, key: Key, query: AlertQuery | None) -> AlertAnswer | None:
        if query is None:
            return None
        known = self._answers.get(query)
        if known and self._clock() < known.asked_at + KEPT:
            return known
        asking = self._asking.get(query)
        if asking is None:
            asking = self._asking[query] = asyncio.create_task(self._ask(query))
        done, _ = await asyncio.wait([asking], timeout=PATIENCE)
        if not done:
            self._waiting.setdefault(query, set()).add(key)
        return self._answers.get(query)

    def _query_of(self, raw: object) -> AlertQuery | None:
        if raw is None:
            return None
        try:
            query = alert_query(NoFiringAlerts.model_validate(raw))
        except ValidationError:
            return None  # the decision says what is wrong with it
        return query if query.alertmanager in self._alertmanagers else None

    async def _ask(self, query: AlertQuery) -> None:
        asked_at = self._clock()
        try:
            firing = await self._alertmanagers[query.alertmanager].firing(query.matchers)
            answer = AlertAnswer(query=query, asked_at=asked_at, firing=firing)
        except AlertmanagerError as problem:
            answer = AlertAnswer(query=query, asked_at=asked_at, firing=None, problem=str(problem))
        finally:
            del self._asking[query]
        self._forget_old(asked_at)
        self._answers[query] = answer
        for key in self._waiting.pop(query, ()):
            self._queue.add(key)

    def _forget_old(self, now: datetime) -> None:
        old = [query for query, answer in self._answers.items() if answer.asked_at + KEPT < now]
        for query in old:
            del self._answers[query]
