"""Asks an HTTP endpoint and tells whether it answers as it should, and how fast.

An endpoint that does not answer as expected is a failure; one that answers slowly is a finding.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, ClassVar, Final, Self

from pydantic import Field, model_validator

from upkeep.actions.contract import Action, Context, Finding, Outcome, Result, Severity
from upkeep.actions.fields import Duration, Rule, format_duration
from upkeep.actions.http.session import CONNECT_SECONDS, PageURL, explained, shown, trust
from upkeep.actions.percentile import percentile
from upkeep.actions.thresholds import Graded

if TYPE_CHECKING:
    from httpx import AsyncClient

_NO_BODY: Final = "a HEAD request has no body: remove bodyContains or use GET"
_BODY_LIMIT_BYTES: Final = 1024 * 1024


class HTTPMethod(StrEnum):
    """Methods that change nothing at the server."""

    GET = "GET"
    HEAD = "HEAD"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sample:
    """One request: how long it took, and what was wrong with the answer, if anything was."""

    seconds: float
    fault: str = ""


class HttpCheck(Action, Graded):
    """Requests a URL once or several times, one after the other over one connection, and compares the answers.

    Redirects are not followed: a redirect is an answer, name its status if it is the expected one. Proxies from the
    environment are not used. Certificates of https are checked against the authorities of the system.
    Locks: none. Privileges: none. Do not put passwords or tokens into the URL: it is readable in the resource.
    Source of the defaults: 95 percent of requests within 1 s keep a user's flow of thought (Nielsen, Response Times:
    The 3 Important Limits); 2 s is twice that.
    """

    action_name: ClassVar[str] = "httpCheck"
    check: ClassVar[bool] = True
    graded_by: ClassVar[tuple[str, str]] = ("warning_after", "critical_after")
    finds: ClassVar[Mapping[str, str]] = {
        "http.check": "an answer that is not the expected one, or none",
        "http.response-time": "p95 of the response times is above a threshold",
    }

    url: PageURL
    """What to request, for example `http://shop.shop.svc/healthz`; without user name and password."""
    method: HTTPMethod = HTTPMethod.GET
    """GET or HEAD."""
    expected_status: Annotated[int, Field(ge=100, le=599)] = 200
    """Status code of a good answer."""
    body_contains: Annotated[str | None, Field(min_length=1, max_length=1024)] = None
    """Text that the first MiB of a good answer contains."""
    samples: Annotated[int, Field(ge=1, le=50)] = 1
    """How many requests are made; the 95th percentile of their times is compared with the thresholds."""
    warning_after: Duration = Field(default="1s", validate_default=True)
    """95th percentile of the response time from which on it is a warning."""
    critical_after: Duration = Field(default="2s", validate_default=True)
    """95th percentile of the response time from which on it is critical."""
    timeout: Duration = Field(default="10s", validate_default=True)
    """How long one request may take."""

    @classmethod
    def rules(cls) -> Sequence[Rule]:
        """What cannot hold together."""
        no_body = "!has(self.bodyContains) || !has(self.method) || self.method != 'HEAD'"
        return (*super().rules(), {"rule": no_body, "message": _NO_BODY})

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.body_contains is not None and self.method is HTTPMethod.HEAD:
            raise ValueError(_NO_BODY)
        return self

    async def run(self, context: Context) -> Result:
        """Request and compare. An answer that is not as expected is a failed result, not an exception."""
        import httpx  # noqa: PLC0415 - a driver is loaded only when an action runs

        limit = min(self.timeout.total_seconds(), context.remaining)
        timeout = httpx.Timeout(limit, connect=min(limit, CONNECT_SECONDS))
        async with httpx.AsyncClient(timeout=timeout, verify=trust(self.url), trust_env=False) as client:
            samples = [await self._sample(client, limit) for _ in range(self.samples)]
        return self._result(samples)

    async def _sample(self, client: "AsyncClient", limit: float) -> _Sample:
        import httpx  # noqa: PLC0415 - a driver is loaded only when an action runs

        begun = time.monotonic()
        try:
            async with asyncio.timeout(limit):
                fault = await self._fault(client)
        except TimeoutError:
            fault = f"no complete answer within {limit:g} s: check the server, and the NetworkPolicies"
        except httpx.TimeoutException:
            fault = f"no answer within {limit:g} s: check host and port, the server, and the NetworkPolicies"
        except httpx.HTTPError as error:
            fault = explained(error)
        return _Sample(seconds=time.monotonic() - begun, fault=fault)

    async def _fault(self, client: "AsyncClient") -> str:
        async with client.stream(self.method.value, self.url, follow_redirects=False) as response:
            if response.status_code != self.expected_status:
                return f"status {response.status_code} instead of {self.expected_status}"
            body = bytearray()
            async for chunk in response.aiter_bytes():
                body += chunk
                if len(body) >= _BODY_LIMIT_BYTES:
                    break
        text = bytes(body[:_BODY_LIMIT_BYTES]).decode(response.encoding or "utf-8", errors="replace")
        if self.body_contains is not None and self.body_contains not in text:
            return f"status {response.status_code}, but the body does not contain {self.body_contains!r}"
        return ""

    def _result(self, samples: Sequence[_Sample]) -> Result:
        p95 = percentile([sample.seconds for sample in samples], 95)
        faults = Counter(sample.fault for sample in samples if sample.fault)
        failed = faults.total()
        metrics = {
            "samples": float(len(samples)),
            "failed_samples": float(failed),
            "p95_seconds": round(p95, 4),
            "max_seconds": round(max(sample.seconds for sample in samples), 4),
        }
        if faults:
            reason = faults.most_common(1)[0][0]
            of_all = f" ({failed} of {len(samples)} requests)" if len(samples) > 1 else ""
            message = f"{self.method} {shown(self.url)}: {reason}{of_all}"
            finding = Finding(
                check_id="http.check",
                severity=Severity.CRITICAL,
                object=shown(self.url),
                observed=failed,
                threshold=1,
                unit="requests",
                recommendation=reason,
            )
            return Result(outcome=Outcome.FAILED, message=message, findings=[finding], metrics=metrics)
        message = f"{self.method} {shown(self.url)}: {self.expected_status} as expected, p95 {p95:.3f} s"
        return Result(outcome=Outcome.OK, message=message, findings=self._slowness(p95), metrics=metrics)

    def _slowness(self, p95: float) -> list[Finding]:
        limit = self.critical_after if p95 >= self.critical_after.total_seconds() else self.warning_after
        if p95 < limit.total_seconds():
            return []
        severity = Severity.CRITICAL if limit is self.critical_after else Severity.WARNING
        advice = f"it answers more slowly than {format_duration(limit)}: look into its load and dependencies"
        return [
            Finding(
                check_id="http.response-time",
                severity=severity,
                object=shown(self.url),
                observed=round(p95, 3),
                threshold=limit.total_seconds(),
                unit="seconds",
                recommendation=advice,
            )
        ]
