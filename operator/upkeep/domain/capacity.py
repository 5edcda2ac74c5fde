"""How a repository grows, and when it will be full, from its sizes after the runs of the last days.

A forecast is only made of what was measured on several days; where nobody knows how much room is left, none is made.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from upkeep.api.backup import MAX_MEASUREMENTS, Capacity, SizeMeasurement
from upkeep.domain.instants import read_instant, write_instant

_APART: Final = timedelta(hours=20)
"""Of measurements that are nearer to each other only the newer one is kept, so that they reach back some weeks."""
_FEWEST: Final = 3
_SHORTEST: Final = timedelta(days=2)
_FARTHEST: Final = timedelta(days=3650)
_DAY: Final = timedelta(days=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What a run measured at its end.

    Attributes:
        time: when it ended.
        bytes: size of the repository.
        free: room that was left; None where nobody knows.
    """

    time: datetime
    bytes: int
    free: int | None


def capacity(known: Capacity | None, measured: Sequence[Measured]) -> Capacity | None:
    """What is known of the room after these runs, from the earliest to the latest."""
    if not measured:
        return known
    kept = list(known.measurements) if known else []
    for each in measured:
        near = len(kept) > 1 and read_instant(kept[-1].time) - read_instant(kept[-2].time) < _APART
        kept = [*(kept[:-1] if near else kept), SizeMeasurement(time=write_instant(each.time), bytes=each.bytes)]
    kept, last = kept[-MAX_MEASUREMENTS:], measured[-1]
    growth = _growth(kept)
    return Capacity(
        free_bytes=last.free,
        growth_bytes_per_day=growth,
        full_time=_full(last, growth),
        measurements=kept,
    )


def _growth(measurements: Sequence[SizeMeasurement]) -> int | None:
    """Bytes a day, by the line with the least squares through them; None where they are too few or too near."""
    times = [read_instant(each.time) for each in measurements]
    if len(times) < _FEWEST or times[-1] - times[0] < _SHORTEST:
        return None
    days = [(time - times[0]) / _DAY for time in times]
    middle, size = sum(days) / len(days), sum(each.bytes for each in measurements) / len(days)
    spread = sum((day - middle) ** 2 for day in days)
    together = sum((day - middle) * (each.bytes - size) for day, each in zip(days, measurements, strict=True))
    return round(together / spread)


def _full(last: Measured, growth: int | None) -> str | None:
    if last.free is None or growth is None or growth <= 0:
        return None
    days = last.free / growth
    return write_instant(last.time + days * _DAY) if days < _FARTHEST / _DAY else None
