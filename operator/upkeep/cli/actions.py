"""`upkeep actions`: what a step can do, with parameters, privileges, locks and findings, for this version of Upkeep.

The same text as `docs/actions`; it asks no cluster.
"""

import argparse
import sys
from collections.abc import Sequence
from difflib import get_close_matches
from typing import Final

from rich.console import Console
from rich.markdown import Markdown
from rich.table import Table

from upkeep.api.manual import Manual, manuals
from upkeep.api.manualpages import entry

_WIDTH: Final = 100
"""Columns of the list where it is not printed on a terminal."""


def main(arguments: Sequence[str]) -> int:
    """Print the list, or the manual of the actions that are named; the exit code is 1 where one does not exist."""
    parser = argparse.ArgumentParser(prog="upkeep actions", description="What a step of a MaintenanceTask can do.")
    parser.add_argument(
        "names", nargs="*", metavar="action", help="an action, or a group such as postgres; all: a list"
    )
    names = parser.parse_args(arguments).names
    every = manuals()
    terminal = sys.stdout.isatty()
    console = Console(file=sys.stdout, highlight=False, width=None if terminal else _WIDTH)
    if not names:
        console.print(_list(every))
        return 0
    for name in names:
        chosen = [one for one in every if name.lower() in {one.name.lower(), one.group}]
        if not chosen:
            sys.stderr.write(_unknown(name, every))
            return 1
        for one in chosen:
            if terminal:
                console.print(Markdown(entry(one)))
            else:
                sys.stdout.write(f"{entry(one)}\n")
    return 0


def _list(every: Sequence[Manual]) -> Table:
    table = Table(box=None, pad_edge=False)
    for heading in ("ACTION", "CHANGES", "WHAT IT DOES"):
        table.add_column(heading, no_wrap=heading != "WHAT IT DOES")
    for one in every:
        table.add_row(one.name, "no" if one.check else "yes", one.summary)
    return table


def _unknown(name: str, every: Sequence[Manual]) -> str:
    near = get_close_matches(name.lower(), [one.name.lower() for one in every], n=2, cutoff=0.8)
    meant = [one.name for one in every if one.name.lower() in near]
    hint = f"did you mean {' or '.join(meant)}?" if meant else "see `kubectl upkeep actions` for all"
    return f"there is no action {name!r}: {hint}\n"
