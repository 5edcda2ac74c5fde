"""The operator process: everything wired together, crash-only.

Whatever goes wrong at this level ends the process; Kubernetes starts it anew, and another replica takes over. Nothing
is kept in memory that could not be read again.
"""

import asyncio
import contextlib
import gc
import logging
import signal
import sys
import time
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime
from typing import Any, Final

import kopf
import uvloop
from aiohttp import web

from upkeep.cluster.cache import Cache
from upkeep.cluster.client import Client
from upkeep.cluster.lease import Leadership
from upkeep.controller.alerting import Alerting
from upkeep.controller.apply import Applier
from upkeep.controller.byhand import ByHand
from upkeep.controller.journal import configure
from upkeep.controller.listing import Lister
from upkeep.controller.metrics import Metrics
from upkeep.controller.notifier import Notifier
from upkeep.controller.probes import Vitals, application
from upkeep.controller.queue import WorkQueue
from upkeep.controller.reconcile import Reconciler
from upkeep.controller.references import terms_of
from upkeep.controller.routes import RouteWatches
from upkeep.controller.settings import Settings, SettingsError
from upkeep.controller.snapshots import Snapshots
from upkeep.controller.sweep import Sweep
from upkeep.controller.watches import Observer, kopf_settings, namespaces_argument, registry

logger = logging.getLogger(__name__)

LEASE_NAME: Final = "upkeep-operator"
_GARBAGE: Final = 20_000
"""Objects that may come to be before the youngest are looked through."""
_HANDOVER_SECONDS: Final = 1.5
_LAST_MESSAGES_SECONDS: Final = 1.0
"""How long messages that are being sent may hold up the hand-over, so that nobody is left in doubt about them."""


class Operator:
    """One replica of the operator."""

    def __init__(self, settings: Settings, client: Client) -> None:
        self._settings = settings
        self._client = client
        self._cache = Cache(terms=terms_of)
        self._queue = WorkQueue(clock=_utc_now, monotonic=time.monotonic)
        self._observer = Observer(self._cache, self._queue, deleted=self._take_leave)
        self._metrics = Metrics(prefix=settings.metrics_prefix, cache=self._cache)
        self._notifier = Notifier(
            file=settings.channels_file,
            identity=settings.identity,
            cache=self._cache,
            queue=self._queue,
            metrics=self._metrics,
        )
        self._alerting = Alerting(settings.alertmanagers, self._queue, clock=_utc_now)
        self._snapshots = Snapshots(
            self._cache,
            client,
            self._alerting,
            approval_policy=settings.approval_policy,
            served=settings.watch_namespaces,
            post=self._notifier.post,
        )
        self._applier = Applier(
            alerting=self._alerting,
            client=client,
            cache=self._cache,
            settings=settings,
            metrics=self._metrics,
            wrote=self._observer.wrote,
            notifier=self._notifier,
        )
        self._lister = Lister(
            client=client,
            cache=self._cache,
            queue=self._queue,
            observer=self._observer,
            namespaces=settings.watch_namespaces,
        )
        self._routes = RouteWatches(
            client=client,
            cache=self._cache,
            observer=self._observer,
            namespaces=settings.watch_namespaces,
            relist=settings.relist_interval,
        )
        self._leadership = Leadership(
            client,
            namespace=settings.namespace,
            name=LEASE_NAME,
            identity=settings.identity,
            times=settings.lease,
        )
        client.fence(lambda: self._leadership.held)
        self._stop = asyncio.Event()

    async def run(self) -> None:
        """Serve until told to stop.

        Raises:
            ExceptionGroup: something failed that only a new process can mend, LeadershipLostError among it.
        """
        ready = asyncio.Event()
        async with self._http():
            watching = asyncio.create_task(self._watch(ready), name="watches")
            leading = asyncio.create_task(self._lead(ready), name="leadership")
            routes = asyncio.create_task(self._routes.run(), name="routes")
            tasks = [watching, routes, leading, asyncio.create_task(self._stop.wait(), name="stop")]
            try:
                done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
                await self._hand_over(leading)
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.wait(tasks, timeout=_HANDOVER_SECONDS)
        for task in done:
            task.result()

    def stop(self) -> None:
        """Hand over and end."""
        self._stop.set()

    def vitals(self) -> Vitals:
        """What the probes look at."""
        leading = self._leadership.held
        self._metrics.leader.set(leading)
        self._metrics.queue.set(len(self._queue))
        return Vitals(
            leading=leading,
            synced=self._lister.complete if leading else self._leadership.contact_age is not None,
            lease_silence=self._leadership.contact_age,
            queue_lag=self._queue.lag,
            watch_age=self._observer.watch_age,
        )

    def _take_leave(self, window: Mapping[str, Any]) -> None:
        """Tell people that a window is gone; only the replica that acts may."""
        if self._leadership.held:
            self._notifier.take_leave(window)

    async def _watch(self, ready: asyncio.Event) -> None:
        await kopf.operator(
            registry=registry(self._observer, self._client.calm),
            settings=kopf_settings(),
            standalone=True,
            ready_flag=ready,
            **namespaces_argument(self._settings.watch_namespaces),
        )

    async def _lead(self, ready: asyncio.Event) -> None:
        await ready.wait()
        # Kopf has taken the signals for itself by now; the hand-over needs them.
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, self.stop)
        await self._leadership.acquire()
        reconciler = Reconciler(
            cache=self._cache,
            queue=self._queue,
            snapshots=self._snapshots,
            applier=self._applier,
            by_hand=ByHand(
                client=self._client,
                cache=self._cache,
                observer=self._observer,
                applier=self._applier,
                clock=_utc_now,
            ),
            notifier=self._notifier,
            metrics=self._metrics,
            clock=_utc_now,
        )
        sweep = Sweep(
            client=self._client,
            cache=self._cache,
            snapshots=self._snapshots,
            applier=self._applier,
            metrics=self._metrics,
            clock=_utc_now,
            namespaces=self._settings.watch_namespaces,
        )
        async with asyncio.TaskGroup() as group:
            group.create_task(self._leadership.keep(), name="lease")
            await self._lister.list_first()
            group.create_task(self._queue.ring(), name="alarms")
            group.create_task(reconciler.run(), name="reconciler")
            group.create_task(self._alerting.run(), name="silences")
            group.create_task(self._notifier.run(), name="channels")
            group.create_task(sweep.run(self._settings.sweep_interval), name="sweep")
            group.create_task(self._lister.relist(self._settings.relist_interval), name="relist")

    async def _hand_over(self, leading: "asyncio.Task[None]") -> None:
        """Stop acting first, and only then let another replica act."""
        if self._leadership.held and not leading.done():
            await self._notifier.drain(_LAST_MESSAGES_SECONDS)
        leading.cancel()
        await asyncio.wait([leading], timeout=_HANDOVER_SECONDS)
        await self._leadership.release()

    @contextlib.asynccontextmanager
    async def _http(self) -> AsyncIterator[None]:
        runner = web.AppRunner(application(self.vitals, self._metrics.registry), access_log=None)
        await runner.setup()
        await web.TCPSite(runner, port=self._settings.port, shutdown_timeout=0.5).start()
        try:
            yield
        finally:
            await runner.cleanup()


def main() -> int:
    """Run the operator; the exit code is 0 when it was told to stop, 2 when its settings are wrong."""
    try:
        settings = Settings.read()
    except SettingsError as problem:
        sys.stderr.write(f"upkeep operator: {problem}\n")
        return 2
    configure(level=settings.log_level, form=settings.log_format)
    # What was imported stays: looking through it for garbage again and again would take a fifth of the time.
    gc.freeze()
    gc.set_threshold(_GARBAGE)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_serve(settings))


async def _serve(settings: Settings) -> int:
    async with await Client.connect(timeout=settings.api_timeout) as client:
        operator = Operator(settings, client)
        try:
            await operator.run()
        except Exception:
            logger.exception("The operator ends; it will be started anew.")
            return 1
    logger.info("Stopped.")
    return 0


def _utc_now() -> datetime:
    return datetime.now(UTC)
