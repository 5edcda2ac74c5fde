"""A page that protects its users, one that does not, and answers that are no page."""

import asyncio
from pathlib import Path

import httpx
import pytest

from integration.bench import Bench, eventually
from integration.test_http_check import always, response, self_signed, serving, slow
from lab.port import free_port
from upkeep.actions.contract import Outcome, Severity
from upkeep.actions.http.headers import HttpHeaders, faults_of

GOOD = {
    "Content-Security-Policy": "default-src 'self'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Permissions-Policy": "camera=(), geolocation=()",
}
NO_TLS = ["Strict-Transport-Security"]
"""What a page on loopback cannot have."""


def page(headers: dict[str, str], *more: str) -> bytes:
    lines = [*(f"{name}: {value}" for name, value in headers.items()), *more]
    return response(200, b"hello", headers="".join(f"{line}\r\n" for line in lines))


def headers(url: str, **changes: object) -> HttpHeaders:
    return HttpHeaders.model_validate({"url": url, "ignore": NO_TLS, **changes})


async def test_a_page_with_all_headers_has_the_best_grade_and_no_findings(bench: Bench) -> None:
    async with serving(always(page(GOOD))) as url:
        report = await bench.report(headers(url))
    assert (report.outcome, report.findings) == (Outcome.OK, [])
    assert report.steps[0].message.endswith("/health: grade A+, 100 of 100 points, 5 of 5 headers as they should be")
    assert report.steps[0].metrics == {"score": 100, "headers": 5, "headers_at_fault": 0}


async def test_a_page_without_any_has_one_finding_a_header_with_what_to_set(bench: Bench) -> None:
    async with serving(always(page({}))) as url:
        report = await bench.report(headers(url, ignore=[]))
    assert [(finding.check_id, finding.severity, finding.observed) for finding in report.findings] == [
        ("http.headers.content-security-policy", Severity.WARNING, 25),
        ("http.headers.strict-transport-security", Severity.WARNING, 20),
        ("http.headers.x-frame-options", Severity.WARNING, 20),
        ("http.headers.x-content-type-options", Severity.INFO, 5),
        ("http.headers.referrer-policy", Severity.INFO, 0),
        ("http.headers.permissions-policy", Severity.INFO, 0),
    ]
    assert report.findings[3].recommendation == "it is missing: set X-Content-Type-Options: nosniff"
    assert report.outcome is Outcome.OK
    assert "grade D, 30 of 100 points, 0 of 6 headers" in report.steps[0].message
    assert "hidden" not in report.encode()


@pytest.mark.parametrize(
    ("name", "value", "points", "said"),
    [
        ("Content-Security-Policy", "img-src 'self'; frame-ancestors 'none'", 20, "scripts come from anywhere"),
        ("Content-Security-Policy", "default-src *; frame-ancestors 'none'", 20, "scripts come from *"),
        ("Content-Security-Policy", "script-src 'self' 'unsafe-inline'; frame-ancestors 'none'", 20, "'unsafe-inline'"),
        ("Content-Security-Policy", "script-src 'self' 'unsafe-eval'; frame-ancestors 'none'", 10, "'unsafe-eval'"),
        ("Content-Security-Policy", "default-src 'self'; frame-ancestors *", 20, "lets anybody frame the page"),
        ("Content-Security-Policy", "default-src 'self'", 20, "it is missing: set X-Frame-Options"),
        ("X-Content-Type-Options", "sniff", 5, "browsers ignore 'sniff'"),
        ("Referrer-Policy", "no-referrer, unsafe-url", 5, "unsafe-url tells other sites where users come from"),
        ("Referrer-Policy", "größe", 5, "browsers ignore "),
        ("Permissions-Policy", "", 0, "it is missing: set Permissions-Policy"),
    ],
)
async def test_a_header_that_does_not_protect_is_a_finding(
    bench: Bench, name: str, value: str, points: int, said: str
) -> None:
    async with serving(always(page(GOOD | {name: value}))) as url:
        report = await bench.report(headers(url))
    (finding,) = report.findings
    assert finding.observed == points
    assert said in finding.recommendation


@pytest.mark.parametrize(
    "policy",
    [
        "script-src 'nonce-abc' 'unsafe-inline' https: 'strict-dynamic'; frame-ancestors 'self'",
        "script-src 'unsafe-inline', default-src 'self'; frame-ancestors 'none'",
        "DEFAULT-SRC 'SELF'; ; FRAME-ANCESTORS https://example.com",
    ],
)
async def test_a_policy_that_protects_in_another_way_is_good(bench: Bench, policy: str) -> None:
    async with serving(always(page(GOOD | {"Content-Security-Policy": policy}))) as url:
        step = await bench.step(headers(url))
    assert step.metrics["score"] == 100, step.message


async def test_a_policy_that_is_only_reported_protects_nobody(bench: Bench) -> None:
    given = GOOD | {"X-Frame-Options": "DENY"}
    given["Content-Security-Policy-Report-Only"] = given.pop("Content-Security-Policy")
    async with serving(always(page(given))) as url:
        report = await bench.report(headers(url))
    (finding,) = report.findings
    assert (finding.observed, "only reported" in finding.recommendation) == (25, True)


@pytest.mark.parametrize(
    ("lines", "points"),
    [
        (["X-Frame-Options: sameorigin"], 0),
        (["X-Frame-Options: DENY", "X-Frame-Options: DENY"], 0),
        (["X-Frame-Options: DENY", "X-Frame-Options: SAMEORIGIN"], 20),
        (["X-Frame-Options: ALLOW-FROM https://example.com"], 20),
    ],
)
async def test_frames_are_judged_as_browsers_do(bench: Bench, lines: list[str], points: int) -> None:
    async with serving(always(page(GOOD | {"Content-Security-Policy": "default-src 'self'"}, *lines))) as url:
        step = await bench.step(headers(url))
    assert step.metrics["score"] == 100 - points


@pytest.mark.parametrize(
    ("value", "points"),
    [
        ("max-age=63072000; includeSubDomains", 0),
        ('MAX-AGE="15768000"', 0),
        ("max-age=15767999", 10),
        ("max-age=0", 10),
        ("includeSubDomains", 20),
        ("max-age=soon", 20),
        ("max-age=٣", 20),
    ],
)
def test_strict_transport_security_is_judged_by_its_age(value: str, points: int) -> None:
    # given an answer over TLS, of which a server on loopback has no certificate that the system trusts
    given = [(name.encode(), text.encode()) for name, text in (GOOD | {"Strict-Transport-Security": value}).items()]
    answer = httpx.Response(200, headers=given, request=httpx.Request("GET", "https://shop/"))
    assert sum(fault.points for fault in faults_of(answer)) == points


async def test_a_value_cannot_write_into_the_message(bench: Bench) -> None:
    hostile = 'x"; DROP \x9b31m' + "y" * 500
    async with serving(always(page(GOOD | {"X-Content-Type-Options": hostile}))) as url:
        report = await bench.report(headers(url))
    (finding,) = report.findings
    assert "\x9b" not in finding.recommendation
    assert len(finding.recommendation) < 200


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (response(302, headers="Location: /login?token=hidden\r\n"), "a redirect to '/login': name the page"),
        (response(404), "status 404, whose headers say nothing of its pages"),
    ],
)
async def test_what_is_no_page_is_unknown_and_not_bad(bench: Bench, answer: bytes, said: str) -> None:
    async with serving(always(answer)) as url:
        report = await bench.report(headers(url))
    assert (report.outcome, report.findings) == (Outcome.UNKNOWN, [])
    assert said in report.steps[0].message
    assert "hidden" not in report.encode()


async def test_a_server_that_is_down_says_what_to_do(bench: Bench) -> None:
    step = await bench.step(headers(f"http://127.0.0.1:{free_port()}/"))
    assert step.outcome is Outcome.FAILED
    assert step.message.endswith("nothing listens there: check host and port, and that the server runs")


@pytest.mark.parametrize("url", [f"http://{'x' * 100}.invalid/", "http://größe..invalid/"])
async def test_a_name_that_cannot_be_is_said(bench: Bench, url: str) -> None:
    step = await bench.step(headers(url))
    assert step.outcome is Outcome.FAILED
    assert step.message.startswith(url)
    assert "unexpected" not in step.message


async def test_a_certificate_that_nobody_trusts_is_named(bench: Bench, tmp_path: Path) -> None:
    async with serving(always(page(GOOD)), encryption=self_signed(tmp_path)) as url:
        step = await bench.step(headers(url))
    assert step.outcome is Outcome.FAILED
    assert "renew the certificate, or check that url has a name in it" in step.message


async def test_an_answer_that_does_not_come_is_given_up(bench: Bench) -> None:
    async with serving(slow(60)) as url:
        step = await bench.step(headers(url, timeout="1s"))
    assert (step.outcome, "no answer within 1 s" in step.message) == (Outcome.FAILED, True)


async def test_a_stopped_step_ends_its_request(bench: Bench) -> None:
    begun = []

    async def never(number: int) -> bytes:
        begun.append(number)
        await asyncio.sleep(60)
        return b""

    async with serving(never) as url:
        running = asyncio.create_task(bench.step(headers(url)))
        await eventually(lambda: begun)
        running.cancel()
        step = await running
    assert (step.outcome, "SIGTERM" in step.message) == (Outcome.FAILED, True)
