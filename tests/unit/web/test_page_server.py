"""The page over real HTTP: everybody gets a 503 that they understand, whatever they send."""

import asyncio
import json
import os
import re
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from upkeep.web.content import Content
from upkeep.web.page import Listening, serving

BROWSER = {"Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}
SOURCES = Path(__file__).parents[3] / "operator"

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes the content file, as the kubelet does: another file takes its place."""

    def write(**content: Any) -> Path:  # noqa: ANN401 - any JSON value may stand in the file
        path = tmp_path / "page.json"
        fresh = tmp_path / "fresh.json"
        fresh.write_text(json.dumps({"title": "Moving", "message": "Soon.", **content}))
        fresh.replace(path)
        return path

    return write


@asynccontextmanager
async def page(content: Path) -> AsyncIterator[tuple[aiohttp.ClientSession, Listening]]:
    async with (
        serving(content, port=0, health_port=0, host="127.0.0.1") as where,
        aiohttp.ClientSession(f"http://127.0.0.1:{where.port}") as session,
    ):
        yield session, where


async def spoken(where: Listening, request: bytes) -> bytes:
    """What comes back for bytes on the wire, up to the end of the headers."""
    reader, writer = await asyncio.open_connection("127.0.0.1", where.port)
    try:
        writer.write(request)
        return await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), timeout=10)
    finally:
        writer.close()
        await writer.wait_closed()


def in_an_hour() -> str:
    return (datetime.now(UTC) + timedelta(hours=1)).isoformat()


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND"])
@pytest.mark.parametrize("path", ["/", "/deep/path?query=1", "/healthz", "/favicon.ico", "//", "/%00%ff"])
async def test_every_method_on_every_path_is_503(write: Write, method: str, path: str) -> None:
    async with page(write()) as (session, _), session.request(method, path, allow_redirects=False) as answer:
        assert answer.status == 503
        assert (await answer.json())["error"] == "maintenance"


async def test_head_has_the_headers_of_get_and_no_body(write: Write) -> None:
    async with page(write()) as (session, _):
        async with session.get("/", headers=BROWSER) as answer:
            length = answer.headers["Content-Length"]
        async with session.head("/", headers=BROWSER) as answer:
            assert answer.status == 503
            assert answer.headers["Content-Length"] == length
            assert "Retry-After" in answer.headers
            assert await answer.read() == b""


async def test_the_answer_may_be_kept_by_nobody_and_says_when_to_come_back(write: Write) -> None:
    async with page(write(until=in_an_hour())) as (session, _), session.get("/") as answer:
        assert 3590 <= int(answer.headers["Retry-After"]) <= 3600
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.headers["Vary"] == "Accept, Accept-Language"


async def test_the_answer_is_safe_to_show(write: Write) -> None:
    async with page(write()) as (session, _), session.get("/", headers=BROWSER) as answer:
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Referrer-Policy"] == "no-referrer"
        assert answer.headers["X-Robots-Tag"] == "noindex"
        assert answer.headers["Content-Security-Policy"].startswith("default-src 'none';")
        assert answer.headers["Server"] == "upkeep"


@pytest.mark.parametrize(
    ("accept", "content_type"),
    [
        (BROWSER["Accept"], "text/html; charset=utf-8"),
        ("*/*", "application/json; charset=utf-8"),
        ("application/json", "application/json; charset=utf-8"),
        ("text/plain", "text/plain; charset=utf-8"),
    ],
)
async def test_everybody_gets_what_they_understand(write: Write, accept: str, content_type: str) -> None:
    async with page(write()) as (session, _), session.get("/", headers={"Accept": accept}) as answer:
        assert answer.headers["Content-Type"] == content_type
        assert "Moving" in await answer.text()


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_large_upload_gets_its_answer_and_not_a_broken_connection(
    write: Write,
    chunked: bool,  # noqa: FBT001 - pytest passes it
) -> None:
    size = 64 * 1024 * 1024

    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(size // 65536):
            yield b"x" * 65536

    headers = {} if chunked else {"Content-Length": str(size)}
    async with page(write()) as (session, _), session.post("/upload", data=pieces(), headers=headers) as answer:
        assert answer.status == 503
        assert (await answer.json())["title"] == "Moving"


async def test_a_client_that_asks_before_it_uploads_need_not_upload(write: Write) -> None:
    request = b"PUT /file HTTP/1.1\r\nHost: shop\r\nContent-Length: 1000000000\r\nExpect: 100-continue\r\n\r\n"
    async with page(write()) as (_, where):
        assert (await spoken(where, request)).startswith(b"HTTP/1.1 503 ")


async def test_a_compressed_body_is_not_unpacked(write: Write) -> None:
    request = (
        b"POST / HTTP/1.1\r\nHost: shop\r\nContent-Encoding: gzip\r\nContent-Length: 9\r\n\r\n"
        b"not gzip!"
        b"GET /next HTTP/1.1\r\nHost: shop\r\n\r\n"
    )
    async with page(write()) as (_, where):
        reader, writer = await asyncio.open_connection("127.0.0.1", where.port)
        writer.write(request)
        for _ in range(2):
            head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), timeout=10)
            assert head.startswith(b"HTTP/1.1 503 ")
            length = next(line for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:"))
            await reader.readexactly(int(length.split(b":")[1]))
        writer.close()
        await writer.wait_closed()


@pytest.mark.parametrize(
    "headers",
    [
        b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: eA==\r\n",
        b"Upgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n",
        b"Connection: close\r\n",
    ],
    ids=["websocket", "h2c", "close"],
)
async def test_a_protocol_upgrade_is_answered_with_503(write: Write, headers: bytes) -> None:
    async with page(write()) as (_, where):
        answer = await spoken(where, b"GET /socket HTTP/1.1\r\nHost: shop\r\n" + headers + b"\r\n")

    assert answer.startswith(b"HTTP/1.1 503 ")


async def test_an_old_client_is_answered_too(write: Write) -> None:
    async with page(write()) as (_, where):
        assert b" 503 " in await spoken(where, b"GET / HTTP/1.0\r\n\r\n")


async def test_a_client_with_many_cookies_sees_the_page_and_not_an_error(write: Write) -> None:
    cookies = "; ".join(f"session-{number}={'x' * 1000}" for number in range(30))
    async with page(write()) as (session, _):
        async with session.get("/", headers={"Cookie": cookies}) as answer:
            assert answer.status == 503
        async with session.get("/search?q=" + "x" * 30_000) as answer:
            assert answer.status == 503


async def test_one_connection_serves_many_requests(write: Write) -> None:
    async with page(write()) as (session, _):
        for _ in range(3):
            async with session.get("/") as answer:
                assert answer.headers.get("Connection", "").lower() != "close"


async def test_an_extended_window_shows_without_a_restart(write: Write) -> None:
    content = write(title="Moving")
    async with page(content) as (session, _):
        async with session.get("/") as answer:
            assert (await answer.json())["title"] == "Moving"
        write(title="Still moving", until=in_an_hour())
        async with session.get("/") as answer:
            assert (await answer.json())["title"] == "Still moving"
            assert int(answer.headers["Retry-After"]) > 3500


async def test_without_content_there_is_a_page_all_the_same(tmp_path: Path) -> None:
    async with page(tmp_path / "missing.json") as (session, _), session.get("/", headers=BROWSER) as answer:
        assert answer.status == 503
        assert answer.headers["Retry-After"] == "60"
        assert "Down for maintenance" in await answer.text()


async def test_content_that_is_no_json_is_a_page_all_the_same(tmp_path: Path) -> None:
    content = tmp_path / "page.json"
    content.write_bytes(b"\xff\xfe{")
    async with page(content) as (session, _), session.get("/", headers=BROWSER) as answer:
        assert answer.status == 503
        assert "Down for maintenance" in await answer.text()


def test_content_that_went_away_leaves_what_was_said_last(write: Write) -> None:
    path = write(title="Moving")
    content = Content(path)

    assert content.notice().title == "Moving"
    path.unlink()
    assert content.notice().title == "Moving"
    write(title="Back")
    assert content.notice().title == "Back"


def test_unreadable_content_is_said_once_and_not_with_every_request(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    content = Content(tmp_path)

    for _ in range(3):
        content.notice()

    assert len(caplog.records) == 1
    assert str(tmp_path) in caplog.text


async def test_health_has_a_port_of_its_own(write: Write) -> None:
    async with page(write()) as (session, where):
        async with session.get(f"http://127.0.0.1:{where.health_port}/healthz") as answer:
            assert answer.status == 200
        async with session.get(f"http://127.0.0.1:{where.health_port}/") as answer:
            assert answer.status == 404


SCRIPT = """
import asyncio, logging, pathlib, sys
from upkeep.web.page import serve
logging.basicConfig(level=logging.INFO, stream=sys.stdout, format="%(message)s")
asyncio.run(serve(pathlib.Path(sys.argv[1]), 0, 0))
print(",".join(name for name in ("kopf", "kubernetes", "pydantic", "psycopg", "typer") if name in sys.modules))
"""


def local_addresses() -> list[str]:
    """127.0.0.1, and ::1 where the machine has it."""
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        return ["127.0.0.1"]
    return ["127.0.0.1", "::1"]


@pytest.mark.parametrize("host", local_addresses())
async def test_a_process_serves_all_addresses_stops_at_sigterm_and_stays_small(write: Write, host: str) -> None:
    """Given a client that keeps its connection open, when the Pod is told to stop, then it does so at once."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-c", SCRIPT, str(write())),
        env={**os.environ, "PYTHONPATH": str(SOURCES)},
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    try:
        greeting = await asyncio.wait_for(process.stdout.readline(), timeout=60)
        port = re.findall(rb"page on port (\d+)", greeting)[0]
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(b"GET / HTTP/1.1\r\nHost: shop\r\n\r\n")
        assert (await reader.readline()).startswith(b"HTTP/1.1 503 ")
        process.send_signal(signal.SIGTERM)
        heavy = await asyncio.wait_for(process.stdout.read(), timeout=10)
        writer.close()
        assert await asyncio.wait_for(process.wait(), timeout=10) == 0
    finally:
        if process.returncode is None:
            process.kill()
    assert heavy.decode().strip() == "", "the page must start without what the operator is made of"
