"""Tells the person who waits what is being done and how far it is.

A bar on a terminal, plain lines anywhere else (CI logs). It must never decide anything: what is done does not depend
on how it is shown.
"""

from __future__ import annotations

import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Self

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Column

if TYPE_CHECKING:
    from collections.abc import Iterator

QUIET_SECONDS = 10.0
"""Without a terminal, a step that is still going says so this often."""

DETAIL_WIDTH = 40


class Step:
    """One thing that is being done; `total` is None where nobody can know how much there is."""

    def __init__(self, *, title: str, total: int | None, progress: Progress | None) -> None:
        self.title = title
        self.total = total
        self.done = 0
        self._progress = progress
        self._started = time.monotonic()
        self._spoken = self._started
        self._bar = progress.add_task(escape(title), total=total, detail="") if progress else None

    @property
    def seconds(self) -> float:
        """Since the step began."""
        return time.monotonic() - self._started

    def advance(self, *, by: int = 1, detail: str = "") -> None:
        """Count what was done and name what is in hand."""
        self.done += by
        if self._progress is not None and self._bar is not None:
            self._progress.update(self._bar, advance=by, detail=escape(detail[:DETAIL_WIDTH]))
        elif time.monotonic() - self._spoken >= QUIET_SECONDS:
            self._spoken = time.monotonic()
            far = f"{self.done}/{self.total} " if self.total else ""
            print(f"    {far}{detail} ({self.seconds:.0f} s)", flush=True)

    def finish(self, *, failed: bool) -> None:
        """Leave one line that says how long it took."""
        if self._progress is not None and self._bar is not None:
            self._progress.remove_task(self._bar)
            mark = "[red]✗[/]" if failed else "[green]✓[/]"
            self._progress.console.print(f"{mark} {escape(self.title)} [dim]{self.seconds:.1f} s[/]", highlight=False)
        else:
            print(f"  {'failed' if failed else 'done'}: {self.title} ({self.seconds:.1f} s)", flush=True)


class Report:
    """Steps under a heading. Steps may be open at the same time, also in several threads."""

    def __init__(self, *, console: Console | None = None) -> None:
        self._console = console or Console(file=sys.stdout)
        self._progress: Progress | None = None
        if self._console.is_terminal:
            self._progress = Progress(
                SpinnerColumn(),
                TextColumn("{task.description}"),
                BarColumn(bar_width=16),
                MofNCompleteColumn(table_column=Column(min_width=9, justify="right")),
                TimeElapsedColumn(table_column=Column(min_width=7)),
                TextColumn("[dim]{task.fields[detail]}", table_column=Column(no_wrap=True, overflow="ellipsis")),
                console=self._console,
                transient=True,
            )

    def __enter__(self) -> Self:
        if self._progress:
            self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._progress:
            self._progress.stop()

    def say(self, text: str) -> None:
        """One line that stays."""
        if self._progress:
            self._progress.console.print(text, highlight=False, markup=False)
        else:
            print(text, flush=True)

    @contextmanager
    def step(self, title: str, *, total: int | None = None) -> Iterator[Step]:
        """Show `title` as being done until the block ends, well or badly."""
        if self._progress is None:
            print(f"  {title} …", flush=True)
        step = Step(title=title, total=total, progress=self._progress)
        failed = True
        try:
            yield step
            failed = False
        finally:
            step.finish(failed=failed)
