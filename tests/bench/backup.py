"""What a backup costs beside the bare tools: time, memory, and what is stored again after a change.

Both dump the same database into repositories on the same disk, in turns; what differs is Upkeep.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from bench.runner import PROGRAM
from integration.bench import Bench
from integration.postgres import PASSWORD, running_postgres, startable_programs
from lab.home import TREE
from upkeep.actions import registry
from upkeep.actions.backup.programs import ROOT_VARIABLE
from upkeep.domain.order import ORDER_VARIABLE
from upkeep.domain.report import RunReport

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from integration.postgres import Database
    from upkeep.actions.contract import Action

ROUNDS = 3
MOST_SECONDS, MOST_SHARE = 1.0, 0.02
"""How much longer than the bare tools a backup may take: so many seconds, and so much of their time."""
MOST_STORED_AGAIN = 0.025
"""After the newest 1 % of the rows have changed, of what the first backup stored."""
ROWS_PER_MEGABYTE = 5200
PATIENCE = 3600.0
POLICY = "shop/shop-db"

FILL = """
CREATE TABLE orders AS
SELECT g AS id, g % 9973 AS customer, timestamp '2026-01-01' + g * interval '1 second' AS placed_at,
       md5(g::text) AS token, md5((g * 7)::text) || md5((g * 11)::text) AS note
FROM generate_series(1, {rows}) g
"""
NEWEST = "UPDATE orders SET note = md5(random()::text) WHERE id > {rows} * 0.99"
RANDOM = "UPDATE orders SET note = md5(random()::text) WHERE hashint4(id) % 100 = 0"

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What programs took one after the other: seconds, and the resident memory of the largest one at its peak."""

    seconds: float
    mebibytes: float

    def __add__(self, other: Cost) -> Cost:
        return Cost(seconds=self.seconds + other.seconds, mebibytes=max(self.mebibytes, other.mebibytes))


@dataclass(slots=True, kw_only=True)
class Stage:
    """A database, and what surrounds a backup of it."""

    directory: Path
    programs: Path
    bench: Bench
    database: Database
    repositories: int = 0

    @property
    def environment(self) -> dict[str, str]:
        """What the bare tools find their ways by."""
        server = self.database.server
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(self.directory),
            "PGHOST": server.host,
            "PGPORT": str(server.port),
            "PGUSER": "upkeep",
            "PGPASSWORD": PASSWORD,
            "PGDATABASE": self.database.name,
            "RESTIC_PASSWORD_FILE": str(self.bench.repository_secret()),
            "RESTIC_CACHE_DIR": str(self.directory / "cache"),
        }

    def repository(self) -> Path:
        """A new one, without any backup."""
        self.repositories += 1
        path = self.directory / f"repository-{self.repositories}"
        self._took(["restic", "init", f"--repo={path}"], self.environment)
        return path

    def bare(self, repository: Path, *, form: str = "directory") -> Cost:
        """pg_dump and restic, by hand."""
        dump = self.directory / "dump"
        how = ["--format=directory", "--compress=0"] if form == "directory" else ["--format=custom"]
        cost = self._took(["pg_dump", *how, f"--file={dump}"], self.environment)
        cost += self._took(["restic", f"--repo={repository}", "backup", "dump"], self.environment)
        subprocess.run(["rm", "-r", str(dump)], check=True)
        return cost

    def upkeep(self, action: Action) -> tuple[Cost, RunReport]:
        """What a Pod does."""
        termination = self.bench.scratch / "termination-log"
        environment = {
            "PATH": os.environ["PATH"],
            ROOT_VARIABLE: str(self.programs),
            "PYTHONPATH": str(TREE / "operator"),
            "PYTHONPYCACHEPREFIX": str(self.directory / "bytecode"),
            ORDER_VARIABLE: self.bench.order(action, seconds=PATIENCE).encode(),
        }
        words = [sys.executable, "-c", PROGRAM, *map(str, (self.bench.credentials, self.bench.scratch, termination))]
        cost = self._took(words, environment)
        report = RunReport.decode(termination.read_text())
        assert report is not None
        assert report.outcome.good, report.message
        return cost, report

    def backup(self, repository: Path) -> Action:
        """The backup of a policy."""
        return action("backupPostgres", repository, connection="db", schedule="daily", policy=POLICY)

    def restore(self, repository: Path) -> Action:
        """Its restore test."""
        return action("backupRestoreTest", repository, policy=POLICY)

    def _took(self, words: Sequence[str], environment: Mapping[str, str]) -> Cost:
        begun = time.monotonic()
        process = subprocess.Popen(words, env=environment, cwd=self.directory, stdout=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        assert process.returncode == 0, words
        return Cost(seconds=time.monotonic() - begun, mebibytes=usage.ru_maxrss / 1024)


@app.command()
def bench(
    megabytes: Annotated[int, typer.Option(min=1, max=100_000, help="Size of the dump.")] = 1000,
    rounds: Annotated[int, typer.Option(min=1, max=20, help="Of each contestant.")] = ROUNDS,
) -> None:
    """Print what a backup costs beside pg_dump and restic by hand, and whether the budgets are kept."""
    rows = megabytes * ROWS_PER_MEGABYTE
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="upkeep-bench-")))
        server = stack.enter_context(running_postgres())
        database = stack.enter_context(server.database("shop"))
        database.execute(FILL.format(rows=rows), "ALTER TABLE orders OWNER TO upkeep", "VACUUM ANALYZE orders")
        surroundings = Bench(directory / "pod")
        surroundings.connect_postgres(server, database=database.name)
        surroundings.scratch.chmod(0o777)
        directory.chmod(0o755)
        programs = startable_programs(directory / "programs")
        stage = Stage(directory=directory, programs=programs, bench=surroundings, database=database)
        table = Table(title=f"A backup of {megabytes} MB, median of {rounds}", title_justify="left")
        for heading in ("", "bare tools", "Upkeep", "at most", ""):
            table.add_column(heading, justify="right" if heading else "left")
        _first(stage, table, rounds)
        _again(stage, table, rows)
    Console(width=None if sys.stdout.isatty() else 110).print(table)


def _first(stage: Stage, table: Table, rounds: int) -> None:
    stage.upkeep(stage.backup(stage.repository()))  # compiles
    bare, upkeep = [], []
    for _ in range(rounds):
        bare.append(stage.bare(stage.repository()))
        upkeep.append(stage.upkeep(stage.backup(stage.repository()))[0])
    by_hand, by_upkeep = (statistics.median(cost.seconds for cost in costs) for costs in (bare, upkeep))
    most = by_hand * (1 + MOST_SHARE) + MOST_SECONDS
    table.add_row("first backup, s", f"{by_hand:.2f}", f"{by_upkeep:.2f}", f"{most:.2f}", _kept(by_upkeep, most))
    peaks = [max(cost.mebibytes for cost in costs) for costs in (bare, upkeep)]
    table.add_row("memory of the largest process, MiB", *(f"{peak:.0f}" for peak in peaks), "", "")
    own = float((stage.bench.scratch / "peak").read_text().split()[0]) / 1024
    table.add_row("memory of Upkeep's own process, MiB", "", f"{own:.0f}", "", "")


def _again(stage: Stage, table: Table, rows: int) -> None:
    """What a second backup adds, by each way of dumping, after each kind of change."""
    dumped = {"bare": stage.repository(), "upkeep": stage.repository()}

    def stored() -> dict[str, int]:
        stage.bare(dumped["bare"], form="custom")
        stage.upkeep(stage.backup(dumped["upkeep"]))
        return {name: size(path) for name, path in dumped.items()}

    sizes = [stored()]
    for what, change, most in (("newest", NEWEST, MOST_STORED_AGAIN), ("random", RANDOM, None)):
        stage.database.execute(change.format(rows=rows), "VACUUM FULL orders" if most is None else "VACUUM orders")
        sizes.append(stored())
        by_hand, by_upkeep = ((sizes[-1][name] - sizes[-2][name]) / sizes[0][name] for name in dumped)
        limit = (f"{most:.1%}", _kept(by_upkeep, most)) if most else ("", "")
        text = f"stored again after {what} 1 % of rows (by hand: -Fc)"
        table.add_row(text, f"{by_hand:.1%}", f"{by_upkeep:.1%}", *limit)
    _, report = stage.upkeep(stage.restore(dumped["upkeep"]))
    seconds = report.steps[0].metrics["restore_seconds"]
    table.add_row("restored into a throw-away server, s", "", f"{seconds:.2f}", "", "")


def action(name: str, repository: Path, **parameters: object) -> Action:
    """A step on a repository."""
    where = {"path": str(repository), "passwordSecretRef": {"name": "repository"}}
    return registry.find(name).model_validate({**parameters, "repository": where})


def size(directory: Path) -> int:
    """Bytes of all files in it."""
    return sum(path.stat().st_size for path in directory.rglob("*") if path.is_file())


def _kept(measured: float, most: float) -> str:
    return "kept" if measured <= most else "NOT KEPT"


if __name__ == "__main__":
    app()
