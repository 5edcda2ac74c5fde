"""Leadership: one replica acts, the others watch and wait.

The holder of the Lease renews it every few seconds. Times are measured on the monotonic clock of each process, from
the moment a change of the Lease was *seen*, so that clocks of nodes that disagree do no harm. A holder that cannot
renew before its deadline stops acting before anybody else may start: call timeout < renew deadline < duration.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from upkeep.cluster.client import Client, Object, Urgency
from upkeep.cluster.errors import AlreadyExistsError, ApiError, ConflictError, NotFoundError
from upkeep.cluster.resources import LEASES

logger = logging.getLogger(__name__)

_CALL_TIMEOUT: Final = 4.0


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseTimes:
    """How fast leadership moves, in seconds; the defaults are those of the Kubernetes controllers."""

    duration: float = 15.0
    renew_deadline: float = 10.0
    retry_period: float = 1.0


class LeadershipLostError(Exception):
    """The Lease could not be renewed in time, or somebody else holds it: this process must stop acting at once."""


class Leadership:
    """Takes, keeps and gives back one Lease."""

    def __init__(
        self,
        client: Client,
        *,
        namespace: str,
        name: str,
        identity: str,
        times: LeaseTimes = LeaseTimes(),
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client = client
        self._namespace = namespace
        self._name = name
        self._identity = identity
        self._times = times
        self._monotonic = monotonic
        self._seen: Object | None = None
        self._seen_at = 0.0
        self._contact_at: float | None = None
        self._renewed_at: float | None = None

    @property
    def held(self) -> bool:
        """Whether this process may act now."""
        return self._renewed_at is not None and self._monotonic() - self._renewed_at < self._times.renew_deadline

    @property
    def contact_age(self) -> float | None:
        """Seconds since the Lease was last read or written; None before the first time."""
        return None if self._contact_at is None else self._monotonic() - self._contact_at

    async def acquire(self) -> None:
        """Wait until this process holds the Lease."""
        while not await self._try():  # noqa: ASYNC110 - it asks the API server, no event of ours
            await asyncio.sleep(self._times.retry_period)
        logger.info("Leading.", extra={"lease": self._name, "identity": self._identity})

    async def keep(self) -> None:
        """Renew for ever.

        Raises:
            LeadershipLostError: renewing failed until the deadline, or another process took over.
        """
        while True:
            await asyncio.sleep(self._times.retry_period * 2)
            if not await self._try() and not self.held:
                msg = f"Lease {self._namespace}/{self._name} is lost: another replica takes over"
                raise LeadershipLostError(msg)

    async def release(self) -> None:
        """Give the Lease back, so that the next replica need not wait for it to expire."""
        if self._renewed_at is None or self._seen is None:
            return
        self._renewed_at = None
        spec = {**self._seen["spec"], "holderIdentity": "", "leaseDurationSeconds": 1, "renewTime": _now()}
        try:
            await self._write({**self._seen, "spec": spec})
        except ApiError as problem:
            logger.warning("The Lease was not given back; it expires by itself: %s", problem)

    async def _try(self) -> bool:
        started = self._monotonic()
        try:
            held = await self._acquire_or_renew()
        except ConflictError:
            return False
        except ApiError as problem:
            logger.warning("The Lease cannot be reached: %s", problem)
            return False
        self._renewed_at = started if held else None
        return held

    async def _acquire_or_renew(self) -> bool:
        lease = await self._read()
        if lease is None:
            return await self._create()
        holder = lease["spec"].get("holderIdentity") or ""
        if holder not in {"", self._identity} and not self._expired(lease):
            return False
        mine = holder == self._identity
        spec = {
            "holderIdentity": self._identity,
            "leaseDurationSeconds": int(self._times.duration),
            "acquireTime": lease["spec"].get("acquireTime") if mine else _now(),
            "renewTime": _now(),
            "leaseTransitions": int(lease["spec"].get("leaseTransitions") or 0) + (0 if mine else 1),
        }
        await self._write({**lease, "spec": spec})
        return True

    def _expired(self, lease: Object) -> bool:
        duration = float(lease["spec"].get("leaseDurationSeconds") or self._times.duration)
        return self._monotonic() - self._seen_at >= duration

    async def _read(self) -> Object | None:
        path = LEASES.path(self._namespace, self._name)
        try:
            lease = await self._client.request("GET", path, urgency=Urgency.LEASE, timeout=_CALL_TIMEOUT)
        except NotFoundError:
            return None
        self._observe(lease)
        return lease

    async def _create(self) -> bool:
        spec = {
            "holderIdentity": self._identity,
            "leaseDurationSeconds": int(self._times.duration),
            "acquireTime": _now(),
            "renewTime": _now(),
            "leaseTransitions": 0,
        }
        body = {
            "apiVersion": LEASES.api_version,
            "kind": LEASES.kind,
            "metadata": {"namespace": self._namespace, "name": self._name},
            "spec": spec,
        }
        try:
            self._observe(await self._client.create(LEASES, body, urgency=Urgency.LEASE))
        except AlreadyExistsError:
            return False
        return True

    async def _write(self, lease: Object) -> None:
        written = await self._client.request(
            "PUT",
            LEASES.path(self._namespace, self._name),
            body=lease,
            urgency=Urgency.LEASE,
            timeout=_CALL_TIMEOUT,
        )
        self._observe(written)

    def _observe(self, lease: Object) -> None:
        version = lease["metadata"]["resourceVersion"]
        if self._seen is None or self._seen["metadata"]["resourceVersion"] != version:
            self._seen_at = self._monotonic()
        self._contact_at = self._monotonic()
        self._seen = lease


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
