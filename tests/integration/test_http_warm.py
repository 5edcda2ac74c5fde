"""Pages are requested before users ask: all of them, not too many at once, not too fast."""

import asyncio
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from integration.bench import Bench, eventually
from integration.certificate import Certificate
from lab.port import free_port
from upkeep.actions.contract import Outcome, Severity
from upkeep.actions.http.warm import HttpWarm


class Shop:
    """A server that remembers who asked for what, and how many were in it at the same time."""

    def __init__(self, *, seconds: float = 0.0) -> None:
        self.url = ""
        self.requests: list[str] = []
        self.begun: list[float] = []
        self.most = 0
        self._inside = 0
        self.seconds = seconds

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := (await reader.readuntil(b"\r\n\r\n")).decode():
                self.begun.append(time.monotonic())
                self.requests.append(head)
                self._inside += 1
                self.most = max(self.most, self._inside)
                await asyncio.sleep(self.seconds)
                self._inside -= 1
                status = 404 if " /missing" in head else 200
                writer.write(f"HTTP/1.1 {status} X\r\nContent-Length: 5\r\n\r\nhello".encode())
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    @property
    def paths(self) -> list[str]:
        return [request.split(" ")[1] for request in self.requests]


@asynccontextmanager
async def open_shop(*, seconds: float = 0.0, encryption: ssl.SSLContext | None = None) -> AsyncIterator[Shop]:
    shop = Shop(seconds=seconds)
    server = await asyncio.start_server(shop.handle, "127.0.0.1", 0, ssl=encryption)
    scheme = "https" if encryption else "http"
    shop.url = f"{scheme}://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield shop
    finally:
        server.close()


def warm(*paths: str, **changes: float) -> HttpWarm:
    wanted = {"connection": "shop", "paths": paths, "requestsPerSecond": 1000, **changes}
    return HttpWarm.model_validate(wanted)


async def test_every_path_is_requested_once(bench: Bench) -> None:
    async with open_shop() as shop:
        bench.connect_http(shop.url)
        report = await bench.report(warm("/", "/products?page=1", "/größe", '/";DROP', concurrency=1))
    assert (report.outcome, report.findings) == (Outcome.OK, []), report.steps
    assert shop.paths == ["/", "/products?page=1", "/gr%C3%B6%C3%9Fe", "/%22;DROP"]
    assert report.steps[0].metrics == {"requests": 4, "failed_requests": 0, "bytes": 20}


async def test_no_more_than_allowed_run_at_the_same_time(bench: Bench) -> None:
    async with open_shop(seconds=0.05) as shop:
        bench.connect_http(shop.url)
        await bench.step(warm(*(f"/{number}" for number in range(12)), concurrency=3))
    assert len(shop.paths) == 12
    assert shop.most == 3


async def test_no_more_than_allowed_begin_in_a_second(bench: Bench) -> None:
    async with open_shop() as shop:
        bench.connect_http(shop.url)
        begun = time.monotonic()
        await bench.step(warm(*(f"/{number}" for number in range(6)), requestsPerSecond=20))
    assert shop.begun[-1] - begun >= 5 / 20


async def test_a_path_that_fails_is_a_finding_and_a_failure(bench: Bench) -> None:
    async with open_shop() as shop:
        bench.connect_http(shop.url)
        report = await bench.report(warm("/", "/missing?token=hidden"))
        tolerated = await bench.step(warm("/", "/missing", maxFailedPercent=50))
    (finding,) = report.findings
    assert (report.outcome, tolerated.outcome) == (Outcome.FAILED, Outcome.OK)
    assert (finding.severity, finding.object, finding.observed) == (Severity.WARNING, "/missing", 404)
    assert report.steps[0].message == "1 of 2 paths requested; /missing: status 404"
    assert "hidden" not in report.encode()


async def test_a_server_that_is_down_says_what_to_do(bench: Bench) -> None:
    bench.connect_http(f"http://127.0.0.1:{free_port()}")
    step = await bench.step(warm("/"))
    assert step.outcome is Outcome.FAILED
    assert "nothing listens there: check host and port" in step.message


async def test_an_answer_that_does_not_come_is_given_up(bench: Bench) -> None:
    async with open_shop(seconds=30) as shop:
        bench.connect_http(shop.url)
        step = await bench.step(HttpWarm.model_validate({"connection": "shop", "paths": ["/"], "timeout": "1s"}))
    assert step.outcome is Outcome.FAILED
    assert "no complete answer within 1 s" in step.message


async def test_credentials_of_the_secret_are_sent_and_never_told(bench: Bench) -> None:
    async with open_shop() as shop:
        bench.connect_http(shop.url, token="canary-token")  # noqa: S106 - the point of this test
        with_token = await bench.report(warm("/missing"))
        bench.connections.clear()
        (bench.credentials / "shop" / "token").unlink()
        bench.connect_http(shop.url, username="upkeep", password="canary")  # noqa: S106 - the point of this test
        await bench.report(warm("/"))
    assert "Authorization: Bearer canary-token" in shop.requests[0]
    assert "Authorization: Basic dXBrZWVwOmNhbmFyeQ==" in shop.requests[1]
    assert "canary" not in with_token.encode()


async def test_an_authority_of_the_secret_is_trusted(bench: Bench, tmp_path: Path) -> None:
    made = Certificate.make(tmp_path)
    encryption = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    encryption.load_cert_chain(made.certificate, made.key)
    async with open_shop(encryption=encryption) as shop:
        bench.connect_http(shop.url, ca_crt=made.certificate.read_text())
        trusted = await bench.step(warm("/"))
        bench.connections.clear()
        bench.connect_http(shop.url)
        (bench.credentials / "shop" / "ca.crt").unlink()
        unknown = await bench.step(warm("/"))
    assert trusted.outcome is Outcome.OK, trusted.message
    assert "CERTIFICATE_VERIFY_FAILED" in unknown.message


async def test_a_missing_secret_is_named(bench: Bench) -> None:
    bench.connect_http("http://127.0.0.1:1", token="gone")  # noqa: S106 - of a Secret that is not there
    (bench.credentials / "shop" / "token").unlink()
    step = await bench.step(warm("/"))
    assert step.message == "Secret 'shop-secret' of connection 'shop' does not exist in this namespace: create it"


async def test_a_stopped_step_ends_its_requests(bench: Bench) -> None:
    async with open_shop(seconds=30) as shop:
        bench.connect_http(shop.url)
        running = asyncio.create_task(bench.step(warm("/1", "/2", "/3", concurrency=2)))
        await eventually(lambda: len(shop.requests) == 2)
        running.cancel()
        step = await running
    assert (step.outcome, "SIGTERM" in step.message) == (Outcome.FAILED, True)
    assert len(shop.requests) == 2
