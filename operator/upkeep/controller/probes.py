"""The operator's HTTP port: metrics, and probes that tell whether it really works, not only whether it runs."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from aiohttp import web
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

LONGEST_LEASE_SILENCE: Final = 60.0
LONGEST_QUEUE_LAG: Final = 120.0
LONGEST_WATCH_AGE: Final = 180.0
"""Seconds. Longer than Kopf takes to notice a dead watch (70 s) and to come back."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Vitals:
    """What the probes look at.

    Attributes:
        leading: whether this replica acts.
        synced: whether it knows the cluster (a leader), or may be asked to lead (the others).
        lease_silence: seconds since the Lease was last reached; None before the first time.
        queue_lag: seconds that the oldest key has been waiting.
        watch_age: seconds for which the watches have owed us our own writes.
    """

    leading: bool
    synced: bool
    lease_silence: float | None
    queue_lag: float
    watch_age: float

    def complaints(self) -> list[str]:
        """Why this process should be restarted; empty while it is well."""
        found = []
        if self.lease_silence is not None and self.lease_silence > LONGEST_LEASE_SILENCE:
            found.append(f"the Lease has not been reached for {self.lease_silence:.0f}s")
        if self.leading and self.queue_lag > LONGEST_QUEUE_LAG:
            found.append(f"a resource has been waiting for a decision for {self.queue_lag:.0f}s")
        if self.watch_age > LONGEST_WATCH_AGE:
            found.append(f"the watches have not shown a write for {self.watch_age:.0f}s")
        return found


def application(vitals: Callable[[], Vitals], metrics: CollectorRegistry) -> web.Application:
    """The HTTP application with /healthz, /readyz and /metrics."""

    async def healthz(_: web.Request) -> web.Response:
        complaints = vitals().complaints()
        return web.Response(text="; ".join(complaints) or "ok", status=503 if complaints else 200)

    async def readyz(_: web.Request) -> web.Response:
        now = vitals()
        role = "leading" if now.leading else "standing by"
        return web.Response(text=role if now.synced else "not synced yet", status=200 if now.synced else 503)

    async def exposition(_: web.Request) -> web.Response:
        return web.Response(body=generate_latest(metrics), headers={"Content-Type": CONTENT_TYPE_LATEST})

    app = web.Application()
    app.add_routes(
        [web.get("/healthz", healthz), web.get("/readyz", readyz), web.get("/metrics", exposition)],
    )
    return app
