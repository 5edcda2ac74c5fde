"""The table that the benchmark prints, and whether the figures are within the budgets."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.table import Table

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from bench.race import Figures

Rounds = dict[str, list["Figures"]]
"""Title of a contestant → its rounds."""

NOT_MEASURED = "-"


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """A ratio that Upkeep must keep."""

    text: str
    ratio: float
    limit: float

    @property
    def kept(self) -> bool:
        """Whether it does, by the figure that is printed."""
        return round(self.ratio, 2) <= self.limit


def median(rounds: Sequence[Figures], figure: Callable[[Figures], float | None]) -> float | None:
    """The median of a figure over the rounds in which it was measured; None where it never was."""
    found = [value for value in map(figure, rounds) if value is not None]
    return statistics.median(found) if found else None


def results(rounds: Mapping[str, Sequence[Figures]], count: int) -> Table:
    """The figures of all contestants, side by side."""
    table = Table(title=f"{count:,} schedules due in one minute", title_justify="left")
    table.add_column("")
    for title, measured in rounds.items():
        times = "once" if len(measured) == 1 else f"median of {len(measured)}"
        table.add_column(f"{title}\n({times})", justify="right")
    for label, figure, form in _ROWS:
        values = (median(measured, figure) for measured in rounds.values())
        table.add_row(label, *(NOT_MEASURED if value is None else format(value, form) for value in values))
    return table


def budgets(*, upkeep: Sequence[Figures], bare: Sequence[Figures], lifted: Sequence[Figures]) -> list[Budget]:
    """What Upkeep must keep against the others."""
    last, p50 = _sure(upkeep, lambda figures: figures.last), _sure(upkeep, lambda figures: figures.median)
    bare_last, lifted_last = (_sure(rounds, lambda figures: figures.last) for rounds in (bare, lifted))
    found = [
        Budget(text="last Job / the bare client's last", ratio=last / bare_last, limit=1.3),
        Budget(text="last Job / the lifted CronJob controller's last", ratio=last / lifted_last, limit=0.35),
        Budget(text="p50 / the bare client's last", ratio=p50 / bare_last, limit=0.7),
    ]
    requests = median(upkeep, lambda figures: figures.run_requests)
    if requests is not None:
        found.append(Budget(text="API requests a run", ratio=requests, limit=5))
    return found


def verdicts(found: Sequence[Budget]) -> Table:
    """The budgets, and whether they are kept."""
    table = Table(title="Upkeep's budgets", title_justify="left")
    for heading in ("", "measured", "at most", ""):
        table.add_column(heading, justify="right" if heading else "left")
    for budget in found:
        table.add_row(budget.text, f"{budget.ratio:.2f}", f"{budget.limit:g}", "kept" if budget.kept else "NOT KEPT")
    return table


def _sure(rounds: Sequence[Figures], figure: Callable[[Figures], float]) -> float:
    return statistics.median(map(figure, rounds))


_ROWS: Sequence[tuple[str, Callable[[Figures], float | None], str]] = (
    ("last Job created, s", lambda figures: figures.last, ".2f"),
    ("half of the Jobs created (p50), s", lambda figures: figures.median, ".2f"),
    ("API requests for the start of a run", lambda figures: figures.start_requests, ".2f"),
    ("API requests until its end is recorded", lambda figures: figures.run_requests, ".2f"),
    ("CPU seconds of the process for all starts", lambda figures: figures.cpu, ".2f"),
    ("resident memory afterwards, MiB", lambda figures: figures.memory or None, ".0f"),
    ("CPU taken by other processes meanwhile", lambda figures: figures.others, ".0%"),
)
