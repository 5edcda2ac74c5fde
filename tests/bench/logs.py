"""How long steps take for logs of many gigabytes, and how much memory: `python -m bench.logs`.

The logs are written whole, line by line different from each other; each step is a process of its own, as in a Pod.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from bench.usage import peak
from lab.home import Home
from upkeep.actions.connections import Connection
from upkeep.actions.registry import find
from upkeep.domain.order import OrderedStep, RunOrder
from upkeep.runner.run import execute

if TYPE_CHECKING:
    from collections.abc import Iterator

GIGABYTE = 10**9
MEGABYTE = 10**6
BLOCK = 64 * MEGABYTE
WEEKS = timedelta(weeks=6)
STEPS: dict[str, dict[str, Any]] = {
    "logsSize": {},
    "logsErrorReport": {},
    "logsPerformanceReport": {"pattern": "took=(?P<value>[0-9.]+)"},
    "logsFailedLogins": {"formats": ["SSH"]},
    "logsRotate": {},
    "logsRetention": {"archiveAfter": "1h", "dryRun": False},
}
"""What is measured, in this order: rotated is what was read, archived is what was written plain a long time ago."""


def bench(
    gigabytes: Annotated[float, typer.Option(min=0.1, max=1000, help="How much log is written.")] = 10,
    step: Annotated[str, typer.Option(hidden=True, help="Run this one step and print its figures.")] = "",
    volumes: Annotated[str, typer.Option(hidden=True, help="Where the volume is.")] = "",
) -> None:
    """Print seconds, throughput and peak memory of each step for one file of logs."""
    if step:
        sys.stdout.write(json.dumps(asyncio.run(figures(step, Path(volumes)))))
        return
    parent = Home.from_environment().root
    parent.mkdir(parents=True, exist_ok=True)
    table = Table("step", "s", "MB/s", "peak memory, MiB", "said", title=f"{gigabytes:g} GB of logs", box=None)
    with tempfile.TemporaryDirectory(dir=parent, prefix="bench-logs-") as directory:
        volume = Path(directory, "volumes", "logs")
        volume.mkdir(parents=True)
        _fill(volume / "app.log", int(gigabytes * GIGABYTE))
        for name in STEPS:
            if name == "logsRetention":
                _grow_old(volume)
            argv = [sys.executable, "-m", "bench.logs", f"--step={name}", f"--volumes={directory}"]
            seen = json.loads(subprocess.run(argv, check=True, stdout=subprocess.PIPE).stdout)
            speed = gigabytes * GIGABYTE / MEGABYTE / seen["seconds"]
            row = [name, f"{seen['seconds']:.1f}", f"{speed:.0f}", f"{seen['memory']:.0f}", seen["said"]]
            sys.stderr.write("  ".join(row) + "\n")
            table.add_row(*row)
    Console(width=None if sys.stdout.isatty() else 160).print(table)


async def figures(name: str, volumes: Path) -> dict[str, Any]:
    """Run one step as the runner does; its seconds, the peak of its process's memory in MiB, and what it said."""
    action = find(name).model_validate({"connection": "logs", **STEPS[name]})
    order = RunOrder(
        owner="MaintenanceTask/bench/logs",
        timeout=timedelta(hours=12),
        steps=[OrderedStep(name="step", action_name=name, action=action)],
        connections=[Connection.model_validate({"name": "logs", "volume": {"claimName": "logs"}})],
    )
    begun = time.monotonic()
    nothing = volumes / "nothing"
    report = await execute(order, credentials=nothing, scratch=nothing, volumes=volumes / "volumes")
    seconds = time.monotonic() - begun
    return {"seconds": seconds, "memory": peak(), "said": f"{report.outcome}: {report.steps[0].message}"}


def _fill(path: Path, size: int) -> None:
    """Write the file: the same block again and again, whose lines differ."""
    lines = _lines()
    block = b"".join(next(lines) for _ in range(BLOCK // 120))
    with path.open("wb") as file:
        for _ in range(size // len(block) + 1):
            file.write(block[: max(0, size - file.tell())])


def _lines() -> Iterator[bytes]:
    """Requests, errors of more kinds than are counted one by one, and refused log-ins."""
    now = datetime.now(UTC)
    kinds = cycle("abcdefghijklmnopqrstuvwxyz")
    for number in range(10**9):
        at = f"{now - timedelta(milliseconds=number):%Y-%m-%dT%H:%M:%S.%fZ}"
        took = f"took={(number * 7919 % 100_003) / 1000:.3f}"
        if number % 50 == 0:
            kind = f"{next(kinds)}{next(kinds)} {'abcdefghijklm'[number % 13]}{'nopqrstuvwxyz'[number // 7 % 13]}"
            yield f"{at} ERROR [worker-{number % 64}] order {number} of {kind}-{next(kinds)} is lost: {took}\n".encode()
        elif number % 100 == 1:
            user, source = f"user{number % 9973}", f"10.{number % 250}.{number // 250 % 250}.7"
            yield f"{at} sshd[{number}]: Failed password for {user} from {source} port {number % 60000}\n".encode()
        else:
            yield f'{at} INFO [worker-{number % 64}] "GET /orders/{number}?page={number % 10}" 200 {took} s\n'.encode()


def _grow_old(volume: Path) -> None:
    """Let what the rotation left, unpacked again, be written weeks ago."""
    (packed,) = volume.glob("app.log-*.gz")
    plain = packed.with_suffix("")
    with plain.open("wb") as file:
        subprocess.run(["gzip", "--decompress", "--stdout", packed], check=True, stdout=file)
    packed.unlink()
    then = (datetime.now(UTC) - WEEKS).timestamp()
    os.utime(plain, (then, then))


if __name__ == "__main__":
    typer.run(bench)
