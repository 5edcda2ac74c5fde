"""One replica of the operator, as a process that tests start, kill and listen to.

It exists so that a test says what happens to the process and nothing about how processes are run. It must never leave
one behind: whoever opened a household closes it, and everybody in it dies.
"""

import asyncio
import contextlib
import itertools
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Final, Self

ROOT: Final = Path(__file__).parents[2]
NAMESPACE: Final = "upkeep-system"
NO_SETTINGS: Final[Mapping[str, str]] = MappingProxyType({})
NO_AUTHORITIES: Final = {"SSL_CERT_FILE": os.devnull}
"""The fake speaks plain HTTP, and reading the system's certificates takes nine tenths of the time of a start."""
IMAGE: Final = "localhost/upkeep:dev"
PATIENCE: Final = 60.0
"""Seconds until a process that should have started or ended counts as stuck."""


class Nursery:
    """Starts processes by fork, see `replicas.nursery`; a context manager."""

    def __enter__(self) -> Self:
        """Import everything once."""
        self._numbers = itertools.count(1)
        self._births: dict[int, Future[int]] = {}
        self._deaths: dict[int, Future[int]] = {}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "replicas.nursery"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": "operator:tests"},
        )
        self._reader = threading.Thread(target=self._read, name="nursery")
        self._reader.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End, with all that was started here."""
        assert self._process.stdin
        self._process.stdin.close()
        self._process.wait(PATIENCE)
        self._reader.join(PATIENCE)

    async def start(self, argv: Sequence[str], *, environment: Mapping[str, str], log: Path) -> "Process":
        """Start `upkeep ARGV…` with exactly this environment and its output in a file."""
        number = next(self._numbers)
        birth, death = self._births[number], self._deaths[number] = Future[int](), Future[int]()
        request = {"id": number, "argv": [*argv], "environment": {**environment}, "log": str(log)}
        assert self._process.stdin
        self._process.stdin.write(json.dumps(request).encode() + b"\n")
        self._process.stdin.flush()
        pid = await asyncio.wait_for(asyncio.wrap_future(birth), PATIENCE)
        return Process(pid, death, log)

    def _read(self) -> None:
        assert self._process.stdout
        with self._process.stdout as answers:
            for line in answers:
                answer = json.loads(line)
                kind = self._births if "pid" in answer else self._deaths
                kind.pop(answer["id"]).set_result(answer.get("pid", answer.get("code")))


class Process:
    """A process that was started here."""

    def __init__(self, pid: int, death: "Future[int]", log: Path) -> None:
        self.pid = pid
        self._death = death
        self._log = log

    @property
    def log(self) -> str:
        """All that it has said so far."""
        return self._log.read_text(encoding="utf-8", errors="replace") if self._log.exists() else ""

    @property
    def ended(self) -> bool:
        """Whether it is gone."""
        return self._death.done()

    def send(self, number: signal.Signals) -> None:
        """Send it a signal, unless it is gone."""
        if not self.ended:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def kill(self) -> None:
        """Kill it without any warning."""
        self.send(signal.SIGKILL)

    async def end(self, *, within: float = PATIENCE) -> int:
        """Wait for its end; the exit code, negative for a signal.

        Raises:
            TimeoutError: it goes on.
        """
        return await asyncio.wait_for(asyncio.shield(asyncio.wrap_future(self._death)), within)


class Household:
    """The processes of one test, against one API server; they all end with it."""

    def __init__(self, nursery: Nursery, directory: Path, kubeconfig: Path) -> None:
        self._nursery = nursery
        self._directory = directory
        self._kubeconfig = kubeconfig
        self._numbers = itertools.count(1)
        self._processes: list[Process] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Kill whoever is left."""
        await self.die()

    async def die(self) -> None:
        """Kill whoever is left, and wait until all are gone."""
        for process in self._processes:
            process.kill()
        for process in self._processes:
            await process.end()

    async def operator(
        self, name: str = "upkeep-0", *, port: int = 0, settings: Mapping[str, str] = NO_SETTINGS
    ) -> Process:
        """Start an operator.

        Args:
            name: of its Pod: who comes back under the same name is the same candidate for the Lease.
            port: of its probes and metrics, 0 for any.
            settings: further settings, by the names of their variables.
        """
        return await self.run("operator", settings={**operator_settings(name, port), **settings})

    async def run(self, *argv: str, settings: Mapping[str, str] = NO_SETTINGS) -> Process:
        """Start any command of `upkeep`."""
        environment = {"KUBECONFIG": str(self._kubeconfig), "HOME": str(self._directory), **NO_AUTHORITIES, **settings}
        log = self._directory / f"process-{next(self._numbers)}.log"
        process = await self._nursery.start(argv, environment=environment, log=log)
        self._processes.append(process)
        return process

    @property
    def log(self) -> str:
        """What all of them said, one after the other."""
        return "".join(f"--- process {n}\n{each.log}" for n, each in enumerate(self._processes, 1))


def operator_settings(name: str, port: int) -> dict[str, str]:
    """The settings that an operator needs, by the names of their variables."""
    return {
        "UPKEEP_IMAGE": IMAGE,
        "UPKEEP_NAMESPACE": NAMESPACE,
        "UPKEEP_POD_NAME": name,
        "UPKEEP_PORT": str(port),
        "UPKEEP_LOG_FORMAT": "text",
    }
