"""An endpoint that answers as it should, one that does not, and one that is slow."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from integration.bench import Bench
from integration.certificate import Certificate
from lab.port import free_port
from upkeep.actions.contract import Outcome, Severity
from upkeep.actions.http.check import HttpCheck

Answer = Callable[[int], Awaitable[bytes]]


def response(status: int, body: bytes = b"", *, headers: str = "") -> bytes:
    return f"HTTP/1.1 {status} Status\r\nContent-Length: {len(body)}\r\n{headers}\r\n".encode() + body


@asynccontextmanager
async def serving(
    answer: Answer, *, closing: bool = False, encryption: ssl.SSLContext | None = None
) -> AsyncIterator[str]:
    """A server on loopback that answers each request by its number; gives its URL."""
    count = 0

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal count
        try:
            while await reader.readuntil(b"\r\n\r\n"):
                count += 1
                writer.write(await answer(count))
                await writer.drain()
                if closing:
                    break
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0, ssl=encryption)
    scheme = "https" if encryption else "http"
    try:
        yield f"{scheme}://127.0.0.1:{server.sockets[0].getsockname()[1]}/health?token=hidden"
    finally:
        server.close()


def self_signed(directory: Path) -> ssl.SSLContext:
    """A server's context with a certificate that nobody trusts."""
    made = Certificate.make(directory)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(made.certificate, made.key)
    return context


def always(data: bytes) -> Answer:
    async def answer(_number: int) -> bytes:
        await asyncio.sleep(0)
        return data

    return answer


def slow(seconds: float) -> Answer:
    async def answer(_number: int) -> bytes:
        await asyncio.sleep(seconds)
        return response(200, b"ok")

    return answer


async def test_an_answer_as_expected_is_ok(bench: Bench) -> None:
    async with serving(always(response(200, b"all is well"))) as url:
        report = await bench.report(HttpCheck(url=url, body_contains="well", samples=5))
    assert (report.outcome, report.findings) == (Outcome.OK, [])
    assert report.steps[0].metrics["samples"] == 5
    assert report.steps[0].message.startswith("GET http://127.0.0.1:")
    assert "/health: 200 as expected, p95 0." in report.steps[0].message


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (response(503, b"maintenance"), "status 503 instead of 200"),
        (response(302, headers="Location: /other\r\n"), "status 302 instead of 200"),
        (response(200, b"all is lost"), "status 200, but the body does not contain 'well'"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\ncut off", "peer closed connection"),
        (b"no HTTP at all\r\n\r\n", "illegal status line"),
    ],
)
async def test_another_answer_is_a_failure_and_a_critical_finding(bench: Bench, answer: bytes, reason: str) -> None:
    async with serving(always(answer), closing=True) as url:
        report = await bench.report(HttpCheck(url=url, body_contains="well"))
    assert report.outcome is Outcome.FAILED
    assert reason in report.steps[0].message
    assert [(finding.check_id, finding.severity) for finding in report.findings] == [("http.check", Severity.CRITICAL)]
    assert "hidden" not in report.encode()


async def test_another_status_can_be_the_expected_one(bench: Bench) -> None:
    async with serving(always(response(503))) as url:
        step = await bench.step(HttpCheck.model_validate({"url": url, "expectedStatus": 503, "method": "HEAD"}))
    assert step.outcome is Outcome.OK


async def test_one_bad_answer_of_many_is_a_failure(bench: Bench) -> None:
    async def sometimes(number: int) -> bytes:
        await asyncio.sleep(0)
        return response(500 if number == 7 else 200)

    async with serving(sometimes) as url:
        step = await bench.step(HttpCheck(url=url, samples=10))
    assert step.outcome is Outcome.FAILED
    assert step.message.endswith("/health: status 500 instead of 200 (1 of 10 requests)")


@pytest.mark.parametrize(
    ("seconds", "severity", "threshold"), [(1.1, Severity.WARNING, 1.0), (2.1, Severity.CRITICAL, 2.0)]
)
async def test_a_slow_answer_is_a_finding(bench: Bench, seconds: float, severity: Severity, threshold: float) -> None:
    async with serving(slow(seconds)) as url:
        report = await bench.report(HttpCheck(url=url))
    assert report.outcome is Outcome.OK
    (finding,) = report.findings
    assert (finding.check_id, finding.severity) == ("http.response-time", severity)
    assert (finding.threshold, finding.unit) == (threshold, "seconds")
    assert seconds <= finding.observed < seconds + 0.5


async def test_an_answer_that_never_ends_is_given_up(bench: Bench) -> None:
    async with serving(slow(60)) as url:
        step = await bench.step(HttpCheck.model_validate({"url": url, "timeout": "1s"}))
    assert step.outcome is Outcome.FAILED
    assert "within 1 s" in step.message
    assert step.seconds < 2


async def test_a_huge_body_is_not_read_to_its_end(bench: Bench) -> None:
    # given a body of 100 MiB of which only the first is sent
    first = b"HTTP/1.1 200 OK\r\nContent-Length: 104857600\r\n\r\n" + b"x" * (1024 * 1024 + 1)
    async with serving(always(first)) as url:
        step = await bench.step(HttpCheck(url=url))
    assert step.outcome is Outcome.OK, step.message


async def test_a_server_that_is_down_is_named(bench: Bench) -> None:
    step = await bench.step(HttpCheck(url=f"http://127.0.0.1:{free_port()}/"))
    assert step.outcome is Outcome.FAILED
    assert step.message.endswith("nothing listens there: check host and port, and that the server runs")


async def test_a_name_that_does_not_exist_is_named(bench: Bench) -> None:
    step = await bench.step(HttpCheck(url="http://no-such-host.invalid/"))
    assert "no such name in DNS" in step.message
    assert step.seconds < 5


async def test_a_certificate_that_nobody_trusts_is_refused(bench: Bench, tmp_path: Path) -> None:
    # given a server with a certificate that it signed itself
    async with serving(always(response(200)), encryption=self_signed(tmp_path)) as url:
        step = await bench.step(HttpCheck(url=url))
    assert step.outcome is Outcome.FAILED
    assert "renew the certificate, or check that url has a name in it" in step.message
