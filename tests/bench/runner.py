"""How soon the process of a Job asks its first question, and how much memory a check takes.

It runs what a Pod runs, against real servers of its own, with compiled bytecode and variables as in the image.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from integration.bench import Bench
from integration.postgres import running_postgres
from integration.redisserver import running_redis
from lab.home import TREE
from upkeep.actions import registry
from upkeep.domain.order import ORDER_VARIABLE
from upkeep.domain.report import RunReport

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from upkeep.actions.contract import Action

ROUNDS = 15
MOST_SECONDS = 0.5
"""From the start of the process to its first query."""
MOST_MEBIBYTES = 60
"""Resident, of a check at its peak."""

CLOCK = {"postgresQuery": {"connection": "db", "sql": "SELECT extract(epoch FROM clock_timestamp())", "minimum": 0}}
"""The server's clock is this machine's; the connection's own settings go before, so that it tells a little too much."""

CHECKS: Mapping[str, Mapping[str, object]] = {
    "postgresQuery": {"connection": "db", "sql": "SELECT 1", "equals": "1"},
    "postgresDeadTuples": {"connection": "db"},
    "postgresBloat": {"connection": "db"},
    "postgresLocks": {"connection": "db"},
    "redisPing": {"connection": "cache"},
    "redisMemory": {"connection": "cache"},
    "httpCheck": {"samples": 5},
}
"""One a driver at least; the database has 1,000 tables."""

PROGRAM = """
import sys, time
from upkeep.runner.start import loaded
from pathlib import Path
credentials, scratch, termination = map(Path, sys.argv[1:])
code = loaded()(credentials=credentials, scratch=scratch, termination=termination)
peak = next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM"))
(scratch / "peak").write_text(f"{peak} {time.process_time()}")
sys.exit(code)
"""
"""What `upkeep run` does, with other directories, and with its peak of memory written down."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What one process took: resident memory at its peak, and seconds of a core until its end."""

    begun: float
    mebibytes: float
    processing: float
    report: RunReport


@dataclass(frozen=True, slots=True, kw_only=True)
class Runner:
    """The process of a Job."""

    bench: Bench
    bytecode: Path

    def run(self, action: Action) -> Run:
        """Run one step to its end."""
        termination = self.bench.scratch / "termination-log"
        environment = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(TREE / "operator"),
            "PYTHONPYCACHEPREFIX": str(self.bytecode),
            "PYDANTIC_DISABLE_PLUGINS": "__all__",
            ORDER_VARIABLE: self.bench.order(action).encode(),
        }
        words = [sys.executable, "-c", PROGRAM, *map(str, (self.bench.credentials, self.bench.scratch, termination))]
        begun = time.time()
        subprocess.run(words, env=environment, stdout=subprocess.DEVNULL, check=False)
        report = RunReport.decode(termination.read_text())
        assert report is not None
        assert report.outcome.good, report.message
        peak, processing = map(float, (self.bench.scratch / "peak").read_text().split())
        return Run(begun=begun, mebibytes=peak / 1024, processing=processing, report=report)


def main() -> None:
    """Measure, and print a table."""
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="upkeep-bench-")))
        bench = Bench(directory)
        server = stack.enter_context(running_postgres())
        database = stack.enter_context(server.database("shop"))
        database.as_owner(
            "DO $$ BEGIN FOR n IN 1..1000 LOOP EXECUTE format('CREATE TABLE t%s (id int)', n); END LOOP; END $$"
        )
        bench.connect_postgres(server, database=database.name, user="watcher")
        bench.connect_redis(stack.enter_context(running_redis()))
        runner = Runner(bench=bench, bytecode=directory / "bytecode")
        url = stack.enter_context(_serving())
        actions = {name: _action(name, {**parameters, **_address(name, url)}) for name, parameters in CHECKS.items()}
        clock = next(_action(name, parameters) for name, parameters in CLOCK.items())
        for action in (*actions.values(), clock):
            runner.run(action)  # compiles
        runs = [runner.run(clock) for _ in range(ROUNDS)]
        memory = {name: runner.run(action).mebibytes for name, action in actions.items()}
    Console(width=None if sys.stdout.isatty() else 100).print(_table(runs, memory))


class _Shop(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, *_: object) -> None:
        return


@contextmanager
def _serving() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Shop) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


def _action(name: str, parameters: Mapping[str, object]) -> Action:
    return registry.find(name).model_validate(parameters)


def _address(name: str, url: str) -> dict[str, object]:
    return {"url": url} if name == "httpCheck" else {}


def _seconds(run: Run) -> float:
    return run.report.steps[0].metrics["value"] - run.begun


def _table(runs: Sequence[Run], memory: Mapping[str, float]) -> Table:
    seconds = sorted(map(_seconds, runs))
    processing = statistics.median(run.processing for run in runs)
    table = Table(title="The runner's budgets", title_justify="left")
    for heading in ("", "measured", "at most", ""):
        table.add_column(heading, justify="right" if heading else "left")
    figures = {
        f"start of the process to its query, s, median of {len(seconds)}": (statistics.median(seconds), MOST_SECONDS),
        "the same, fastest": (seconds[0], MOST_SECONDS),
        "the same, slowest": (seconds[-1], MOST_SECONDS),
        "processor time of the whole run, s, median": (processing, MOST_SECONDS),
        **{f"memory of {name}, MiB": (peak, MOST_MEBIBYTES) for name, peak in memory.items()},
    }
    for text, (measured, limit) in figures.items():
        table.add_row(text, f"{measured:.3g}", f"{limit:g}", "kept" if measured <= limit else "NOT KEPT")
    return table


if __name__ == "__main__":
    main()
