"""What is stored again after a change of a database: by dumps, by the files of its server, and by what changed alone.

Each way has a repository of its own, and backs the same server up after each change.
"""

from __future__ import annotations

import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from bench.backup import FILL, NEWEST, POLICY, RANDOM, ROWS_PER_MEGABYTE, Stage, action, size
from integration.bench import Bench
from integration.postgres import complete_programs, running_postgres, startable_programs

if TYPE_CHECKING:
    from upkeep.actions.contract import Action

VERSION = "18"
CHANGES = {
    "nothing": "SELECT 1",
    "newest 1 % of rows, updated": NEWEST,
    "1 % side by side in the middle": "UPDATE orders SET note = md5(random()::text) "
    "WHERE id BETWEEN {rows} / 2 AND {rows} / 2 + {rows} / 100",
    "random 1 % of rows, updated": RANDOM,
}
"""The random one last: it leaves gaps everywhere, into which later changes go."""
WIDE_ROWS_PER_MEGABYTE = 1000
WIDE = """
CREATE TABLE orders AS
SELECT g AS id, (SELECT string_agg(md5((g * 31 + k)::text), '') FROM generate_series(1, 29) k) AS note
FROM generate_series(1, {rows}) g
"""

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def changes(
    megabytes: Annotated[int, typer.Option(min=1, max=100_000, help="Size of the table.")] = 300,
    wide: Annotated[bool, typer.Option("--wide", help="Rows of 1 kB, not of 150 bytes.")] = False,  # noqa: FBT002 - typer
) -> None:
    """Print what the first backup stores, and what is stored again after each change, in MB and of the first dump."""
    rows = megabytes * (WIDE_ROWS_PER_MEGABYTE if wide else ROWS_PER_MEGABYTE)
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="upkeep-bench-")))
        homes = stack.enter_context(complete_programs())
        server = stack.enter_context(running_postgres("summarize_wal=on", "max_wal_size=4GB", version=VERSION))
        server.execute("ALTER ROLE upkeep REPLICATION")
        database = stack.enter_context(server.database("shop"))
        database.execute(
            (WIDE if wide else FILL).format(rows=rows), "ALTER TABLE orders OWNER TO upkeep", "VACUUM ANALYZE orders"
        )
        surroundings = Bench(directory / "pod")
        surroundings.connect_postgres(server, database=database.name)
        surroundings.scratch.chmod(0o777)
        directory.chmod(0o755)
        programs = startable_programs(directory / "programs", *homes)
        stage = Stage(directory=directory, programs=programs, bench=surroundings, database=database)
        repositories = {name: stage.repository() for name in ("dump", "files", "files, incremental")}
        table = Table(
            title=f"Stored by backups of {megabytes} MB in {rows} rows: MB, and of the first dump", title_justify="left"
        )
        for heading in ("", *repositories):
            table.add_column(heading, justify="right" if heading else "left")
        first = _stored(stage, repositories)
        table.add_row("first backup", *(_told(each, first["dump"]) for each in first.values()))
        for what, change in CHANGES.items():
            database.execute(change.format(rows=rows), "VACUUM orders")
            added = _stored(stage, repositories)
            table.add_row(f"again after {what}", *(_told(each, first["dump"]) for each in added.values()))
        for name in ("files", "files, incremental"):
            _, report = stage.upkeep(action("backupPhysicalTest", repositories[name], policy=POLICY))
            seconds = report.steps[0].metrics["restore_seconds"]
            table.add_row(f"started again from {name}, s", "", f"{seconds:.1f}", "")
    Console(width=None if sys.stdout.isatty() else 120).print(table)


def _stored(stage: Stage, repositories: dict[str, Path]) -> dict[str, int]:
    """By how many bytes each repository grew."""
    added = {}
    for name, repository in repositories.items():
        before = size(repository)
        stage.upkeep(_backup(name, repository))
        added[name] = size(repository) - before
    return added


def _backup(name: str, repository: Path) -> Action:
    making = {"connection": "db", "schedule": "daily", "policy": POLICY}
    if name == "dump":
        return action("backupPostgres", repository, **making)
    return action("backupPhysical", repository, incremental=name != "files", **making)


def _told(added: int, whole: int) -> str:
    return f"{added / 1e6:.1f} ({added / whole:.1%})"


if __name__ == "__main__":
    app()
