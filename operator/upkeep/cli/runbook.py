"""`upkeep runbook`: what a task is for, and what to do by hand, for whoever is woken up by it.

It reads the task, of the cluster or of a file, and writes nothing.
"""

import argparse
import asyncio
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import yaml
from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from upkeep.actions.fields import format_duration
from upkeep.api.runbook import Runbook
from upkeep.api.task import TaskStatus
from upkeep.cli.namespace import add_namespace
from upkeep.cluster.client import Client, Object
from upkeep.cluster.errors import ApiError, NotFoundError
from upkeep.cluster.resources import TASKS
from upkeep.domain.recollection import recall
from upkeep.domain.runbook import runbook_of

_WIDTH: Final = 100
"""Columns of what is not printed on a terminal, and at most on one: longer lines are hard to read."""


class RunbookError(Exception):
    """There is none; the message says what to do."""


def main(arguments: Sequence[str]) -> int:
    """Print it; the exit code is 1 where there is none."""
    parser = argparse.ArgumentParser(prog="upkeep runbook", description="Print the runbook of a MaintenanceTask.")
    parser.add_argument("task", help="name of the MaintenanceTask")
    add_namespace(parser, "its namespace")
    parser.add_argument("-f", "--file", help="a file with the task instead of the cluster; - for the input")
    chosen = parser.parse_args(arguments)
    try:
        task = _read(chosen.file, chosen.task) if chosen.file else asyncio.run(_fetched(chosen.namespace, chosen.task))
        show(task, Console(file=sys.stdout, highlight=False, width=_WIDTH if not sys.stdout.isatty() else None))
    except (ApiError, RunbookError) as problem:
        sys.stderr.write(f"{problem}\n")
        return 1
    return 0


def show(task: Object, console: Console) -> None:
    """Print the runbook of a task.

    Raises:
        RunbookError: it has none.
    """
    name = str(task["metadata"]["name"])
    runbook = runbook_of(task)
    if runbook is None:
        msg = f"MaintenanceTask {name!r} has no runbook: write one in spec.runbook"
        raise RunbookError(msg)
    console.print(Text(name, style="bold"))
    for heading, lines, numbered in _sections(task, runbook):
        console.print()
        console.print(Text(heading, style="bold cyan"))
        for number, line in enumerate(lines, 1):
            mark = f"{number}. " if numbered else ""
            console.print(Padding(Text(f"{mark}{_printable(line)}"), (0, 0, 0, 2), expand=False))


def _sections(task: Object, runbook: Runbook) -> Iterator[tuple[str, Sequence[str], bool]]:
    if last := _last(task):
        yield "Last run", [last], False
    texts = (
        ("Purpose", [runbook.purpose], False),
        ("Before", runbook.prerequisites, False),
        ("Takes", [format_duration(runbook.estimate)] if runbook.estimate else [], False),
        ("When it has failed", runbook.procedure, True),
        ("All is well when", [runbook.expected_outcome], False),
        ("Back", runbook.rollback, True),
        ("More", [runbook.url], False),
    )
    for heading, lines, numbered in texts:
        if written := [line for line in lines if line.strip()]:
            yield heading, written, numbered


def _last(task: Object) -> str:
    """How the last run ended; empty before the first."""
    status = recall(TaskStatus, task.get("status")).status
    last = status.last_run
    if last is None:
        return ""
    said = [last.completion_time or last.start_time or "", str(last.outcome or "running"), last.message]
    times = status.consecutive_failures
    return ", ".join(part for part in (*said, f"{times} failures in a row" if times > 1 else "") if part)


def _printable(text: str) -> str:
    """The text without what a terminal would obey."""
    return "".join(letter if letter.isprintable() or letter == "\n" else " " for letter in text).strip()


def _read(path: str, name: str) -> Object:
    try:
        text = sys.stdin.read() if path == "-" else Path(path).read_text(encoding="utf-8")
        documents = [each for each in yaml.safe_load_all(text) if isinstance(each, dict)]
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as problem:
        msg = f"{path}: {problem}"
        raise RunbookError(msg) from problem
    for each in (item for document in documents for item in (document.get("items") or [document])):
        metadata = each.get("metadata")
        if each.get("kind") == TASKS.kind and isinstance(metadata, dict) and metadata.get("name") == name:
            found: Object = each
            return found
    msg = f"there is no MaintenanceTask {name!r} in {path}"
    raise RunbookError(msg)


async def _fetched(namespace: str, name: str) -> Object:
    async with await Client.connect() as client:
        try:
            return await client.get(TASKS, namespace, name)
        except NotFoundError as problem:
            msg = f"there is no MaintenanceTask {name!r} in namespace {namespace}: see `kubectl get mt -A`"
            raise RunbookError(msg) from problem
