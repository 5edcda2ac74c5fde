"""Leadership: one replica acts, the others watch and wait.

The holder of the Lease renews it every few seconds. Times are measured on the monotonic clock of each process, from
the moment a change of the Lease was *seen*, so that clocks of nodes that disagree do no harm. A holder that cannot
renew before its deadline stops acting before anybody else may start: retry < call timeout < renew deadline < duration.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from upkeep.cluster.client import FIELD_MANAGER, Client, Object, Urgency
from upkeep.cluster.errors import AlreadyExistsError, ApiError, ConflictError, NotFoundError
from upkeep.cluster.resources import LEASES

logger = logging.getLogger(__name__)

_RENEWAL: Final = 2
"""A holder renews every so many retry periods: it has less to hurry than those who wait for a Lease to come free."""


class LeaseTimesError(ValueError):
    """The times of a Lease do not keep two replicas from acting at once; the message says which to change."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseTimes:
    """How fast leadership moves, in seconds; the first two defaults are those of the Kubernetes controllers.

    Attributes:
        duration: how long after its last renewal others leave a Lease alone; the API keeps whole seconds only.
        renew_deadline: how long after its last renewal the holder still acts.
        call_timeout: how long one request for the Lease may take.
        retry_period: how often those who wait look at it; the holder renews every second time.

    Raises:
        LeaseTimesError: they are not in this order, the longest first.
    """

    duration: int = 15
    renew_deadline: float = 10.0
    call_timeout: float = 4.0
    retry_period: float = 1.0

    def __post_init__(self) -> None:
        if not self.duration > self.renew_deadline > self.call_timeout > self.retry_period > 0:
            msg = (
                f"lease duration ({self.duration:g}s) > renew deadline ({self.renew_deadline:g}s) > call timeout "
                f"({self.call_timeout:g}s) > retry period ({self.retry_period:g}s) > 0 must hold: a holder has to stop "
                "acting before another may start"
            )
            raise LeaseTimesError(msg)
        attempt = _RENEWAL * self.retry_period + self.call_timeout
        if attempt >= self.renew_deadline:
            msg = (
                f"the renew deadline ({self.renew_deadline:g}s) leaves no time for a renewal, which takes up to "
                f"{attempt:g}s ({_RENEWAL} retry periods and a call timeout): raise it, or lower the others"
            )
            raise LeaseTimesError(msg)


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
        return self._time_left > 0

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
            await asyncio.sleep(self._times.retry_period * _RENEWAL)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._time_left):
                    await self._try()
            if not self.held:
                msg = f"Lease {self._namespace}/{self._name} is lost: another replica takes over"
                raise LeadershipLostError(msg)

    async def release(self) -> None:
        """Give the Lease back, so that the next replica need not wait for it to expire."""
        if self._renewed_at is None or self._seen is None:
            return
        self._renewed_at = None
        try:
            await self._give_back(self._seen)
        except ApiError as problem:
            logger.warning("The Lease was not given back; it expires by itself: %s", problem)

    async def _give_back(self, lease: Object) -> None:
        spec = {"holderIdentity": "", "leaseDurationSeconds": 1, "renewTime": _now()}
        try:
            await self._write({**lease, "spec": {**_spec(lease), **spec}})
        except ConflictError:
            # The renewal that was under way when this process was told to stop may have been committed.
            current = await self._read()
            if current and _spec(current).get("holderIdentity") == self._identity:
                await self._write({**current, "spec": {**_spec(current), **spec}})

    @property
    def _time_left(self) -> float:
        """Seconds for which this process may still act without another renewal."""
        if self._renewed_at is None:
            return 0.0
        return max(0.0, self._renewed_at + self._times.renew_deadline - self._monotonic())

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
        known = _spec(lease)
        holder = known.get("holderIdentity") or ""
        if holder not in {"", self._identity} and not self._expired(known):
            return False
        mine = holder == self._identity
        transitions = int(known.get("leaseTransitions") or 0) + (0 if mine else 1)
        spec = self._claim(acquired=known.get("acquireTime") if mine else None, transitions=transitions)
        await self._write({**lease, "spec": spec})
        return True

    def _claim(self, *, acquired: str | None, transitions: int) -> Object:
        """The spec of the Lease in the hands of this process."""
        now = _now()
        return {
            "holderIdentity": self._identity,
            "leaseDurationSeconds": self._times.duration,
            "acquireTime": acquired or now,
            "renewTime": now,
            "leaseTransitions": transitions,
        }

    def _expired(self, spec: Object) -> bool:
        duration = float(spec.get("leaseDurationSeconds") or self._times.duration)
        return self._monotonic() - self._seen_at >= duration

    async def _read(self) -> Object | None:
        try:
            lease = await self._call("GET", LEASES.path(self._namespace, self._name))
        except NotFoundError:
            return None
        self._observe(lease)
        return lease

    async def _create(self) -> bool:
        body = {
            "apiVersion": LEASES.api_version,
            "kind": LEASES.kind,
            "metadata": {"namespace": self._namespace, "name": self._name},
            "spec": self._claim(acquired=None, transitions=0),
        }
        try:
            self._observe(await self._call("POST", LEASES.path(self._namespace), body))
        except AlreadyExistsError:
            return False
        return True

    async def _write(self, lease: Object) -> None:
        self._observe(await self._call("PUT", LEASES.path(self._namespace, self._name), lease))

    async def _call(self, method: str, path: str, body: Object | None = None) -> Object:
        query = {"fieldManager": FIELD_MANAGER} if body else None
        return await self._client.request(
            method, path, query=query, body=body, urgency=Urgency.LEASE, timeout=self._times.call_timeout
        )

    def _observe(self, lease: Object) -> None:
        version = lease["metadata"]["resourceVersion"]
        if self._seen is None or self._seen["metadata"]["resourceVersion"] != version:
            self._seen_at = self._monotonic()
        self._contact_at = self._monotonic()
        self._seen = lease


def _spec(lease: Object) -> Object:
    """The spec of a Lease; somebody may have made one without."""
    spec: Object = lease.get("spec") or {}
    return spec


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
