"""A headless Chromium, driven over its DevTools protocol, that talks to nobody but the page under test.

The protocol is used directly: it can do what command-line flags cannot (emulate a phone, a time zone, let hours pass)
and needs no driver to download. Reference: https://chromedevtools.github.io/devtools-protocol/.
"""

import asyncio
import base64
import itertools
import re
import shutil
import subprocess
import threading
from collections import deque
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import IO, Any

import aiohttp

_NAMES = ("chromium", "chromium-browser", "google-chrome")
_QUIET = (
    "--headless",
    "--no-sandbox",  # the tests may run as root, where Chromium has no sandbox
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-sync",
    "--disable-quic",
    "--no-first-run",
    "--no-default-browser-check",
    "--hide-scrollbars",
)
_PATIENCE = 30.0
"""Seconds until an answer that does not come is a failure."""


class ChromiumError(Exception):
    """Chromium is missing, did not start, or refused a command."""


@contextmanager
def chromium(profile: Path) -> Iterator[str]:
    """Runs a browser with an empty profile; yields the address of its DevTools socket."""
    path = next((found for name in _NAMES if (found := shutil.which(name))), None)
    if path is None:
        msg = f"the browser tests need one of {', '.join(_NAMES)} in PATH; on Debian: apt-get install chromium"
        raise ChromiumError(msg)
    with subprocess.Popen(
        [path, *_QUIET, "--remote-debugging-port=0", f"--user-data-dir={profile}", "about:blank"],
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stderr is not None
            yield _address(process.stderr)
        finally:
            process.terminate()


def _address(said: IO[str]) -> str:
    for line in said:
        if found := re.search(r"DevTools listening on (ws://\S+)", line):
            threading.Thread(target=lambda: deque(said, maxlen=0), daemon=True).start()
            return found[1]
    msg = "Chromium ended before it listened"
    raise ChromiumError(msg)


class Tab:
    """One page: commands, and the events that came meanwhile."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._numbers = itertools.count(1)
        self._answers: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._news = asyncio.Condition()
        self.session: str | None = None
        self.events: list[tuple[str, dict[str, Any]]] = []

    async def listen(self) -> None:
        """Reads what the browser says, until it is closed."""
        async for message in self._socket:
            said = message.json()
            if "id" in said:
                self._answers.pop(said["id"]).set_result(said)
                continue
            async with self._news:
                self.events.append((said["method"], said["params"]))
                self._news.notify_all()

    async def call(self, method: str, **parameters: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON
        """Sends a command and returns its result."""
        number = next(self._numbers)
        self._answers[number] = asyncio.get_running_loop().create_future()
        command = {"id": number, "method": method, "params": parameters}
        await self._socket.send_json(command | ({"sessionId": self.session} if self.session else {}))
        answer = await asyncio.wait_for(self._answers[number], _PATIENCE)
        if "error" in answer:
            msg = f"{method}: {answer['error']['message']}"
            raise ChromiumError(msg)
        result: dict[str, Any] = answer["result"]
        return result

    async def event(self, method: str, *, after: int = 0) -> dict[str, Any]:
        """The first event of this name, from the position `after` of `events` on; waits for it."""

        def found() -> dict[str, Any] | None:
            return next((parameters for name, parameters in self.events[after:] if name == method), None)

        async with self._news:
            await asyncio.wait_for(self._news.wait_for(lambda: found() is not None), _PATIENCE)
        return found() or {}

    async def open(self, url: str) -> None:
        """Goes to a page and waits until it is there."""
        before = len(self.events)
        await self.call("Page.navigate", url=url)
        await self.event("Page.loadEventFired", after=before)

    async def read(self, expression: str) -> Any:  # noqa: ANN401 - whatever the expression is
        """The value of a JavaScript expression in the page."""
        answer = await self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        return answer["result"].get("value")

    async def pass_time(self, *, seconds: int) -> None:
        """Lets the page live through so many seconds at once, waiting for its requests."""
        before = len(self.events)
        await self.call("Emulation.setVirtualTimePolicy", policy="pauseIfNetworkFetchesPending", budget=seconds * 1000)
        await self.event("Emulation.virtualTimeBudgetExpired", after=before)

    async def picture(self) -> bytes:
        """What is to be seen, as PNG."""
        return base64.b64decode((await self.call("Page.captureScreenshot", format="png"))["data"])

    def requests(self) -> list[str]:
        """The URLs of all requests so far."""
        return [found["request"]["url"] for name, found in self.events if name == "Network.requestWillBeSent"]

    def complaints(self) -> list[str]:
        """What the console shows in red or yellow: violated policies, script errors, failed requests."""
        logged = [found["entry"] for name, found in self.events if name == "Log.entryAdded"]
        thrown = [found["exceptionDetails"]["text"] for name, found in self.events if name == "Runtime.exceptionThrown"]
        return thrown + [entry["text"] for entry in logged if entry["level"] in {"error", "warning"}]


@asynccontextmanager
async def tab(devtools: str) -> AsyncIterator[Tab]:
    """A new tab with an identity of its own (no cookies, no cache), closed at the end."""
    async with aiohttp.ClientSession() as client, client.ws_connect(devtools, max_msg_size=0) as socket:
        page = Tab(socket)
        listener = asyncio.create_task(page.listen())
        try:
            context = (await page.call("Target.createBrowserContext", disposeOnDetach=True))["browserContextId"]
            target = await page.call("Target.createTarget", url="about:blank", browserContextId=context)
            attached = await page.call("Target.attachToTarget", targetId=target["targetId"], flatten=True)
            page.session = attached["sessionId"]
            for domain in ("Page", "Runtime", "Log", "Network"):
                await page.call(f"{domain}.enable")
            yield page
        finally:
            await socket.close()
            await listener
