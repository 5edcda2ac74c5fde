"""Tells whether something accepts TCP connections at a host and port, and how fast.

It says nothing to the server and reads nothing from it: whether the right one answers, it does not know.
"""

import asyncio
import errno
import socket
import time
from collections.abc import Mapping
from typing import Annotated, ClassVar, Final

from pydantic import Field

from upkeep.actions.connections import Port
from upkeep.actions.contract import Action, Context, Finding, Outcome, Result, Severity
from upkeep.actions.fields import Duration
from upkeep.actions.percentile import percentile
from upkeep.actions.text import readable
from upkeep.actions.thresholds import Graded

_PERCENT: Final = 95
_NO_NAME: Final = "no such name in DNS: check host and that the Service exists"
_REFUSED: Final = "connection refused: nothing listens there: check host and port, and that the server runs"
_NO_WAY: Final = "there is no way to it: check host, the network and the NetworkPolicies"
_SEVERAL: Final = "Multiple exceptions"
"""What asyncio says where a name has several addresses and none of them accepts."""


class TcpCheck(Action, Graded):
    """Opens TCP connections to a host and port, one after the other, and closes them at once.

    The time includes the look-up of the name. Where a name has several addresses, the first that accepts counts.
    Locks: none. Privileges: none. Source of the defaults: a connection takes one round trip, below 1 ms in a cluster;
    a lost packet is sent again after 1 s (RFC 6298); 100 ms is what people begin to notice (Nielsen, Response Times).
    """

    action_name: ClassVar[str] = "tcpCheck"
    check: ClassVar[bool] = True
    graded_by: ClassVar[tuple[str, str]] = ("warning_milliseconds", "critical_milliseconds")
    finds: ClassVar[Mapping[str, str]] = {
        "tcp.check": "connections that failed",
        "tcp.connect-time": "connecting takes long",
    }

    host: Annotated[str, Field(max_length=253, pattern=r"^[A-Za-z0-9_:][-A-Za-z0-9._:]*$")]
    """Host name, usually the name of a Service, or IP address."""
    port: Port
    """TCP port."""
    samples: Annotated[int, Field(ge=1, le=50)] = 1
    """How many connections are made; the 95th percentile of their times is compared with the thresholds."""
    warning_milliseconds: Annotated[float, Field(ge=0, le=60000)] = 100
    """Time from which on it is a warning."""
    critical_milliseconds: Annotated[float, Field(ge=0, le=60000)] = 1000
    """Time from which on it is critical."""
    timeout: Duration = Field(default="5s", validate_default=True)
    """How long one connection may take."""

    @property
    def server(self) -> str:
        """Host and port, as messages call them."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    async def run(self, context: Context) -> Result:
        """Connect. A server that does not accept is a failed result, not an exception."""
        taken = []
        for number in range(1, self.samples + 1):
            begun = time.monotonic()
            fault = await self._fault(min(self.timeout.total_seconds(), context.remaining))
            if fault:
                return self._failed(fault, number)
            taken.append((time.monotonic() - begun) * 1000)
        p95 = percentile(taken, _PERCENT)
        return Result(
            outcome=Outcome.OK,
            message=f"{self.server} accepts connections, p95 {p95:.2f} ms",
            findings=self._slowness(p95),
            metrics={"samples": float(len(taken)), "p95_milliseconds": round(p95, 3)},
        )

    async def _fault(self, limit: float) -> str:
        """What was wrong with one attempt; empty if nothing was."""
        try:
            async with asyncio.timeout(limit):
                _, writer = await asyncio.open_connection(self.host, self.port)
        except TimeoutError:
            return f"no connection within {limit:g} s: check host and port, and the NetworkPolicies"
        except (UnicodeError, OSError) as error:
            return _explained(error)
        writer.transport.abort()
        return ""

    def _failed(self, fault: str, number: int) -> Result:
        of_all = f" (connection {number} of {self.samples})" if self.samples > 1 else ""
        finding = Finding(
            check_id="tcp.check",
            severity=Severity.CRITICAL,
            object=self.server,
            observed=1,
            threshold=1,
            unit="connections",
            recommendation=fault,
        )
        message = f"cannot connect to {self.server}: {fault}{of_all}"
        return Result(outcome=Outcome.FAILED, message=message, findings=[finding], metrics={"samples": float(number)})

    def _slowness(self, p95: float) -> list[Finding]:
        if p95 < self.warning_milliseconds:
            return []
        critical = p95 >= self.critical_milliseconds
        return [
            Finding(
                check_id="tcp.connect-time",
                severity=Severity.CRITICAL if critical else Severity.WARNING,
                object=self.server,
                observed=round(p95, 3),
                threshold=self.critical_milliseconds if critical else self.warning_milliseconds,
                unit="milliseconds",
                recommendation="connections take long to open: look into DNS, the network, and a server that has more "
                "connections waiting than it accepts",
            )
        ]


def _explained(error: UnicodeError | OSError) -> str:
    """What went wrong with a connection, and what to do about it."""
    match error:
        case UnicodeError():  # a part of it is empty or longer than 63 characters
            return _NO_NAME
        case socket.gaierror(errno=socket.EAI_AGAIN):
            return "DNS does not answer: check the cluster's DNS"
        case socket.gaierror():
            return _NO_NAME
        case ConnectionRefusedError():
            return _REFUSED
        case OSError(errno=errno.EHOSTUNREACH | errno.ENETUNREACH):
            return _NO_WAY
    what = readable(error.strerror or str(error))
    if what.startswith(_SEVERAL):
        return "none of its addresses accepts: check host and port, and that the server runs"
    return f"{what}: check host and port, and the network between"
