"""`upkeep upcoming`: what lies ahead of windows, in any range of time, of the cluster or of a file.

It asks the same questions as the operator and writes nothing. With a file nothing is asked of a cluster, so that a
calendar can be looked at before it is applied.
"""

import argparse
import asyncio
import json
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any, Final

import yaml
from pydantic import ValidationError
from rich.console import Console
from rich.table import Table

from upkeep.actions.fields import parse_duration
from upkeep.api.window import WindowKind, WindowStatus
from upkeep.cli.namespace import add_namespace
from upkeep.cluster.client import Client, Object
from upkeep.cluster.errors import ApiError, ForbiddenError
from upkeep.cluster.resources import WINDOWS
from upkeep.domain.freeze import Freeze, freezes_of, speaks_for
from upkeep.domain.instants import read_instant, write_instant
from upkeep.domain.openings import read_spec
from upkeep.domain.preview import Foreseen, cancellations, preview
from upkeep.domain.recollection import recall
from upkeep.domain.schedule import ScheduleError
from upkeep.domain.spec import explain
from upkeep.domain.zone import zone_named

_MOST: Final = 1000
"""Occurrences of one window that are shown."""
_WIDTH: Final = 200
"""Columns of a table that is not printed on a terminal."""


class _Loader(yaml.SafeLoader):
    """Reads instants and days as text, as kubectl does."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


class QuestionError(Exception):
    """What was asked for is not there, or makes no sense; the message says what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """An occurrence of a window."""

    namespace: str
    window: str
    kind: WindowKind
    zone: str
    foreseen: Foreseen

    def written(self) -> dict[str, str]:
        """For machines."""
        named = {"namespace": self.namespace, "window": self.window, "kind": str(self.kind)}
        return named | self.foreseen.written().model_dump(mode="json", by_alias=True)

    def cells(self) -> tuple[str, ...]:
        """For people: times in the zone of the window."""
        place, opening = zone_named(self.zone), self.foreseen.opening
        start, end = opening.start.astimezone(place), opening.end.astimezone(place)
        until = f"{end:%H:%M}" if end.date() == start.date() else f"{end:%a %Y-%m-%d %H:%M}"
        return (
            f"{self.namespace}/{self.window}",
            str(self.kind),
            f"{start:%a %Y-%m-%d %H:%M %Z}",
            until,
            str(self.foreseen.state),
            self.foreseen.reason,
        )


def main(arguments: Sequence[str]) -> int:
    """Show it; the exit code is 1 where something could not be read."""
    now = datetime.now(UTC).replace(microsecond=0)
    chosen = _parser(now).parse_args(arguments)
    if chosen.until <= chosen.since:
        sys.stderr.write("--to is not after --from\n")
        return 2
    try:
        found = _read(chosen.file, chosen.namespace) if chosen.file else asyncio.run(_fetched(chosen))
        windows = _chosen(found, chosen)
    except (ApiError, QuestionError) as problem:
        sys.stderr.write(f"{problem}\n")
        return 1
    freezes = [item for item in found if (item.get("spec") or {}).get("kind") == WindowKind.FREEZE]
    rows: list[Row] = []
    unreadable = 0
    for window in windows:
        try:
            rows += rows_of(window, freezes, chosen.since, chosen.until)
        except QuestionError as problem:
            unreadable += 1
            sys.stderr.write(f"{problem}\n")
    rows.sort(key=lambda row: (row.foreseen.opening.start, row.namespace, row.window))
    _print(rows, chosen.output)
    return 1 if unreadable else 0


def rows_of(window: Object, freezes: Iterable[Object], since: datetime, until: datetime) -> list[Row]:
    """The occurrences of a window that start in [since, until), at most a thousand.

    Raises:
        QuestionError: its spec cannot be read.
    """
    metadata = window["metadata"]
    name, namespace = metadata["name"], metadata["namespace"]
    try:
        spec = read_spec(window)
        around: tuple[Freeze, ...] = freezes_of(freeze for freeze in freezes if speaks_for(freeze, namespace))
        off = cancellations(recall(WindowStatus, window.get("status")).status.cancelled)
        found = list(islice(preview(spec, since, until, freezes=around, cancelled=off), _MOST + 1))
    except (ValidationError, ScheduleError) as problem:
        reason = explain(problem) if isinstance(problem, ValidationError) else problem
        msg = f"{namespace}/{name}: {reason}"
        raise QuestionError(msg) from problem
    if len(found) > _MOST:
        sys.stderr.write(f"{namespace}/{name}: only the first {_MOST} are shown: choose an earlier --to\n")
    return [
        Row(namespace=namespace, window=name, kind=spec.kind, zone=spec.time_zone, foreseen=foreseen)
        for foreseen in found[:_MOST]
    ]


def _parser(now: datetime) -> argparse.ArgumentParser:
    def moment(text: str) -> datetime:
        try:
            return _moment(text, now)
        except (ValueError, OverflowError) as problem:
            msg = f"{text!r}: write a day 2026-12-01, an instant 2026-12-01T02:00:00Z, or a time from now such as 90d"
            raise argparse.ArgumentTypeError(msg) from problem

    parser = argparse.ArgumentParser(
        prog="upkeep upcoming", description="Show when windows open, and when not and why."
    )
    parser.add_argument("window", nargs="?", help="name of a MaintenanceWindow; left out: all")
    parser.add_argument("-f", "--file", help="a file with windows and freezes instead of the cluster; - for the input")
    add_namespace(parser, "namespace of the windows")
    parser.add_argument("-A", "--all-namespaces", action="store_true", help="the windows of all namespaces")
    when = "a day, an instant, or a time from now such as 90d"
    parser.add_argument("--from", dest="since", type=moment, default=now, help=f"{when}; left out: now")
    parser.add_argument("--to", dest="until", type=moment, default=moment("30d"), help=f"{when}; left out: 30d")
    parser.add_argument("-o", "--output", choices=("table", "json", "yaml"), default="table")
    return parser


def _moment(text: str, now: datetime) -> datetime:
    if len(text) == len("2026-12-01") and text[4] == "-":
        return datetime.fromisoformat(text).replace(tzinfo=UTC)
    if text[:1].isdigit() and text[-1:].isalpha() and "T" not in text:
        return now + parse_duration(text)
    return read_instant(text)


def _read(path: str, namespace: str) -> list[Object]:
    """The windows of a file; those that have no namespace are in the one that was named."""
    try:
        text = sys.stdin.read() if path == "-" else Path(path).read_text(encoding="utf-8")
        documents = [each for each in yaml.load_all(text, Loader=_Loader) if isinstance(each, dict)]
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as problem:
        msg = f"{path}: {problem}"
        raise QuestionError(msg) from problem
    listed = [item for each in documents for item in (each.get("items") or [each])]
    created = write_instant(datetime.now(UTC))
    return [
        {**item, "metadata": {"namespace": namespace, "creationTimestamp": created, **item["metadata"]}}
        for item in listed
        if item.get("kind") == WINDOWS.kind and isinstance(item.get("metadata"), dict) and "name" in item["metadata"]
    ]


async def _fetched(chosen: argparse.Namespace) -> list[Object]:
    """All windows that the user may see: freezes may be in any namespace."""
    async with await Client.connect() as client:
        try:
            return await _listed(client, None)
        except ForbiddenError:
            if chosen.all_namespaces:
                raise
            sys.stderr.write("freezes of other namespaces are left out: you may not list windows there\n")
            return await _listed(client, chosen.namespace)


async def _listed(client: Client, namespace: str | None) -> list[Object]:
    return [item async for page in client.list_pages(WINDOWS, namespace) for item in page["items"]]


def _chosen(found: Sequence[Object], chosen: argparse.Namespace) -> list[Object]:
    everywhere = chosen.all_namespaces or (chosen.file and not chosen.window)
    windows = [item for item in found if everywhere or item["metadata"]["namespace"] == chosen.namespace]
    if chosen.window is None:
        return windows
    named = [item for item in windows if item["metadata"]["name"] == chosen.window]
    if not named:
        place = chosen.file or f"namespace {chosen.namespace}"
        msg = f"there is no MaintenanceWindow {chosen.window!r} in {place}: see `kubectl get mw -A`"
        raise QuestionError(msg)
    return named


def _print(rows: Sequence[Row], form: str) -> None:
    written: list[dict[str, Any]] = [dict(row.written()) for row in rows]
    if form == "json":
        sys.stdout.write(f"{json.dumps(written, indent=2)}\n")
    elif form == "yaml":
        sys.stdout.write(yaml.safe_dump(written, sort_keys=False))
    elif not rows:
        sys.stderr.write("nothing lies ahead in that time\n")
    else:
        table = Table("WINDOW", "KIND", "START", "END", "STATE", "REASON", box=None, pad_edge=False)
        for row in rows:
            table.add_row(*row.cells())
        console = Console(file=sys.stdout, highlight=False, markup=False)
        if not console.is_terminal:
            console.width = _WIDTH
        console.print(table)
