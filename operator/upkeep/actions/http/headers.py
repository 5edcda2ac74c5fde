"""Grades the response headers by which a page asks browsers to protect its users."""

import asyncio
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, ClassVar, Final

from pydantic import Field

from upkeep.actions.contract import Action, ActionError, Context, Finding, Outcome, Result, Severity, UncheckableError
from upkeep.actions.fields import Duration
from upkeep.actions.http.session import CONNECT_SECONDS, PageURL, explained, shown, trust
from upkeep.actions.text import readable

if TYPE_CHECKING:
    from httpx import Response

_FULL_SCORE: Final = 100
_WARNING_POINTS: Final = 10
_SIX_MONTHS_SECONDS: Final = 15_768_000
_SHOWN_CHARACTERS: Final = 60
_GRADES: Final = ((100, "A+"), (90, "A"), (85, "A-"), (80, "B+"), (70, "B"), (65, "B-"), (60, "C+"), (50, "C"))
_LOW_GRADES: Final = ((45, "C-"), (40, "D+"), (30, "D"), (25, "D-"), (0, "F"))
_BROAD: Final = frozenset({"*", "http:", "https:", "data:"})
_PRIVATE: Final = frozenset({"no-referrer", "same-origin", "strict-origin", "strict-origin-when-cross-origin"})
_LEAKING: Final = frozenset({"no-referrer-when-downgrade", "origin", "origin-when-cross-origin", "unsafe-url"})

Policy = Mapping[str, Sequence[str]]
"""One Content-Security-Policy: directive → its sources, in lower case."""


class SecurityHeader(StrEnum):
    """The headers that are looked at."""

    HSTS = "Strict-Transport-Security"
    CSP = "Content-Security-Policy"
    FRAMES = "X-Frame-Options"
    TYPES = "X-Content-Type-Options"
    REFERRER = "Referrer-Policy"
    PERMISSIONS = "Permissions-Policy"


_ADVICE: Final = {
    SecurityHeader.HSTS: "max-age=63072000; includeSubDomains",
    SecurityHeader.CSP: "default-src 'self'; form-action 'self'; base-uri 'self'; object-src 'none'; "
    "frame-ancestors 'none'",
    SecurityHeader.FRAMES: "DENY, or frame-ancestors 'none' in the Content-Security-Policy",
    SecurityHeader.TYPES: "nosniff",
    SecurityHeader.REFERRER: "strict-origin-when-cross-origin, or no-referrer",
    SecurityHeader.PERMISSIONS: "camera=(), geolocation=(), microphone=()",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """What is wrong with a header, and how many points of a hundred it costs."""

    header: SecurityHeader
    points: int
    what: str


class HttpHeaders(Action):
    """Requests a page once and grades the headers of its answer that protect users, from A+ to F.

    Those are Strict-Transport-Security, Content-Security-Policy, X-Frame-Options (or frame-ancestors of the policy),
    X-Content-Type-Options, Referrer-Policy and Permissions-Policy.
    Redirects are not followed, and what is no page (a status that is not 2xx) is not judged: the outcome is unknown.
    Cookies, scripts and what stands in the page itself are not looked at. What costs 10 points or more is a warning.
    Locks: none. Privileges: none. Do not put passwords or tokens into the URL: it is readable in the resource.
    Source of points and grades: MDN HTTP Observatory, Tests and Scoring, without its bonuses; of the values to set and
    of Permissions-Policy, which has no points there: OWASP Secure Headers Project.
    """

    action_name: ClassVar[str] = "httpHeaders"
    check: ClassVar[bool] = True
    finds: ClassVar[Mapping[str, str]] = {
        "http.headers.*": "a header that is missing or weak; the check is named after it",
    }

    url: PageURL
    """Page to request, for example `https://shop.example.com/`, as users do; without user name and password."""
    ignore: Annotated[list[SecurityHeader], Field(max_length=len(SecurityHeader))] = Field(default_factory=list)
    """Headers that do not count, for example Strict-Transport-Security where the proxy in front of url sets it."""
    timeout: Duration = Field(default="10s", validate_default=True)
    """How long the request may take."""

    async def run(self, context: Context) -> Result:
        """Request and grade.

        Raises:
            ActionError: there is no answer.
            UncheckableError: the answer is not a page.
        """
        response = await self._answer(min(self.timeout.total_seconds(), context.remaining))
        if not response.is_success:
            msg = f"{shown(self.url)} answers with status {response.status_code}{_advice(response)}"
            raise UncheckableError(msg)
        faults = [fault for fault in faults_of(response) if fault.header not in self.ignore]
        score = _FULL_SCORE - sum(fault.points for fault in faults)
        grade = next(grade for least, grade in (*_GRADES, *_LOW_GRADES) if score >= least)
        counted = len(SecurityHeader) - len(set(self.ignore))
        return Result(
            outcome=Outcome.OK,
            message=f"{shown(self.url)}: grade {grade}, {score} of {_FULL_SCORE} points, "
            f"{counted - len(faults)} of {counted} headers as they should be",
            findings=[self._finding(fault) for fault in faults],
            metrics={"score": float(score), "headers": float(counted), "headers_at_fault": float(len(faults))},
        )

    async def _answer(self, limit: float) -> "Response":
        """Status and headers; the body is not read."""
        import httpx  # noqa: PLC0415 - a driver is loaded only when an action runs

        timeout = httpx.Timeout(limit, connect=min(limit, CONNECT_SECONDS))
        try:
            async with (
                asyncio.timeout(limit),
                httpx.AsyncClient(timeout=timeout, verify=trust(self.url), trust_env=False) as client,
                client.stream("GET", self.url, follow_redirects=False) as response,
            ):
                return response
        except (TimeoutError, httpx.TimeoutException) as error:
            reason = f"no answer within {limit:g} s: check host and port, the server, and the NetworkPolicies"
            msg = f"{shown(self.url)}: {reason}"
            raise ActionError(msg) from error
        except httpx.HTTPError as error:
            msg = f"{shown(self.url)}: {explained(error)}"
            raise ActionError(msg) from error
        except httpx.InvalidURL as error:
            msg = f"{shown(self.url)} cannot be read: {error}: correct url"
            raise ActionError(msg) from error

    def _finding(self, fault: Fault) -> Finding:
        return Finding(
            check_id=f"http.headers.{fault.header.lower()}",
            severity=Severity.WARNING if fault.points >= _WARNING_POINTS else Severity.INFO,
            object=shown(self.url),
            observed=fault.points,
            threshold=0,
            unit="points",
            recommendation=f"{fault.what}: set {fault.header}: {_ADVICE[fault.header]}",
        )


def faults_of(response: "Response") -> Iterator[Fault]:
    """What is wrong with the headers of an answer, one fault a header at most."""
    headers = {header: response.headers.get_list(header, split_commas=False) for header in SecurityHeader}
    policies = list(_policies(headers[SecurityHeader.CSP]))
    reporting = "content-security-policy-report-only" in response.headers
    judged = {
        SecurityHeader.HSTS: _transport(headers[SecurityHeader.HSTS], encrypted=response.url.scheme == "https"),
        SecurityHeader.CSP: _content(policies, reporting=reporting),
        SecurityHeader.FRAMES: _frames(headers[SecurityHeader.FRAMES], policies),
        SecurityHeader.TYPES: _types(headers[SecurityHeader.TYPES]),
        SecurityHeader.REFERRER: _referrer(headers[SecurityHeader.REFERRER]),
        SecurityHeader.PERMISSIONS: None if any(map(str.strip, headers[SecurityHeader.PERMISSIONS])) else (0, _MISSING),
    }
    for header, fault in judged.items():
        if fault is not None:
            yield Fault(header=header, points=fault[0], what=fault[1])


_MISSING: Final = "it is missing"
_Judgement = tuple[int, str] | None
"""Points that it costs and what is wrong; None where nothing is."""


def _transport(values: Sequence[str], *, encrypted: bool) -> _Judgement:
    if not encrypted:
        return 20, "the page is served without TLS, where browsers ignore it: serve it by https"
    if not values:
        return 20, _MISSING
    # RFC 6797: of several, browsers read the first
    directives = [directive.partition("=") for directive in values[0].lower().split(";")]
    ages = [value.strip().strip('"') for name, _, value in directives if name.strip() == "max-age"]
    if len(ages) != 1 or not re.fullmatch(r"[0-9]{1,15}", ages[0], re.ASCII):
        return 20, f"browsers cannot read {_quoted(values[0])}"
    if int(ages[0]) < _SIX_MONTHS_SECONDS:
        return 10, f"max-age={int(ages[0])} is less than six months"
    return None


def _policies(values: Sequence[str]) -> Iterator[Policy]:
    """Every policy of every header; browsers enforce all of them."""
    for text in ",".join(values).lower().split(","):
        policy: dict[str, Sequence[str]] = {}
        for directive in text.split(";"):
            name, *sources = directive.split() or [""]
            if name:
                policy.setdefault(name, sources)
        if policy:
            yield policy


def _content(policies: Sequence[Policy], *, reporting: bool) -> _Judgement:
    if not policies:
        return 25, "it is only reported, not enforced" if reporting else _MISSING
    # what one policy forbids, no other can allow
    return min((_scripts(policy) for policy in policies), key=lambda fault: fault[0] if fault else 0)


def _scripts(policy: Policy) -> _Judgement:
    sources = policy.get("script-src", policy.get("default-src"))
    if sources is None:
        return 20, "it lets scripts come from anywhere, without script-src or default-src"
    by_nonce = any(source.startswith(("'nonce-", "'sha256-", "'sha384-", "'sha512-")) for source in sources)
    broad = sorted(_BROAD.intersection(sources))
    if broad and not (by_nonce and "'strict-dynamic'" in sources):
        return 20, f"it lets scripts come from {', '.join(broad)}"
    if "'unsafe-inline'" in sources and not by_nonce:
        return 20, "it allows scripts within the page ('unsafe-inline')"
    if "'unsafe-eval'" in sources:
        return 10, "it allows scripts made of text ('unsafe-eval')"
    return None


def _frames(values: Sequence[str], policies: Sequence[Policy]) -> _Judgement:
    ancestors = [policy["frame-ancestors"] for policy in policies if "frame-ancestors" in policy]
    if any(not _BROAD.intersection(sources) for sources in ancestors):
        return None
    if ancestors:
        return 20, "frame-ancestors of the Content-Security-Policy, which goes before it, lets anybody frame the page"
    if not values:
        return 20, _MISSING
    words = {word.strip().upper() for value in values for word in value.split(",")}
    if words in ({"DENY"}, {"SAMEORIGIN"}):
        return None
    return 20, f"browsers ignore {_quoted(', '.join(values))}"


def _types(values: Sequence[str]) -> _Judgement:
    if not values:
        return 5, _MISSING
    if values[0].split(",")[0].strip().lower() == "nosniff":
        return None
    return 5, f"browsers ignore {_quoted(values[0])}"


def _referrer(values: Sequence[str]) -> _Judgement:
    if not values:
        return 0, _MISSING
    words = [word.strip().lower() for value in values for word in value.split(",")]
    known = [word for word in words if word in _PRIVATE | _LEAKING]
    if not known:
        return 5, f"browsers ignore {_quoted(', '.join(values))}"
    # of several, browsers take the last that they know
    return None if known[-1] in _PRIVATE else (5, f"{known[-1]} tells other sites where users come from")


def _advice(response: "Response") -> str:
    if response.has_redirect_location:
        target = _quoted(shown(response.headers["location"]))
        return f", a redirect to {target}: name the page that it leads to in url"
    return ", whose headers say nothing of its pages: name one in url that answers 200"


def _quoted(text: str) -> str:
    """A header's value, safe to show and short."""
    whole = readable(text)
    return repr(whole if len(whole) <= _SHOWN_CHARACTERS else f"{whole[: _SHOWN_CHARACTERS - 1]}…")
