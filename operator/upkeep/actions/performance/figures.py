"""Figures of a run, the baseline that they are compared with, and how that is remembered in a few bytes.

A figure is known by a digest of what it measures. So nothing is compared with what was measured elsewhere, or by
another query under the same name.
"""

import hashlib
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

_DIGITS: Final = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One number that a run measured.

    Attributes:
        name: for people, for example `p95 of /products`.
        source: all that says what it measures; two figures with the same are comparable.
        value: the number, in `unit`.
        unit: `seconds`, or as the user calls it.
        rising: whether more is worse.
        slack: differences up to this do not count.
    """

    name: str
    source: str
    value: float
    unit: str
    rising: bool = True
    slack: float = 0.0

    @property
    def key(self) -> str:
        """What it is remembered by."""
        return key_of(self.source)

    def increase(self, before: float) -> float:
        """By how many percent it is worse than it was; negative: better. Infinite where there was nothing before."""
        worse = self.value - before if self.rising else before - self.value
        if abs(worse) <= self.slack:
            return 0.0
        return 100 * worse / abs(before) if before else math.copysign(math.inf, worse)


@dataclass(frozen=True, slots=True, kw_only=True)
class Baseline:
    """What figures are compared with.

    Attributes:
        time: when it was collected, in seconds since 1970; of one whose figures came one by one, the first of them.
        accepted: what the user called it; empty for one that nobody has.
        values: figure → number.
    """

    time: float
    accepted: str
    values: Mapping[str, float]

    @classmethod
    def read(cls, values: Mapping[str, str]) -> "Baseline | None":
        """What `write` wrote; None where it is something else."""
        try:
            time = float(values["time"])
            pairs = [word.split(":") for word in values["figures"].split()]
            figures = {key: float(number) for key, number in pairs}
            datetime.fromtimestamp(time, tz=UTC)
        except (KeyError, ValueError, OverflowError, OSError):
            return None
        readable = all(math.isfinite(number) for number in figures.values())
        return cls(time=time, accepted=values.get("accepted", ""), values=figures) if readable else None

    def write(self) -> dict[str, str]:
        """As it is remembered."""
        figures = " ".join(f"{key}:{value:.6g}" for key, value in self.values.items())
        return {"time": f"{self.time:.0f}", "accepted": self.accepted, "figures": figures}

    @property
    def label(self) -> str:
        """For people: `the baseline release-7 of 2026-11-01`."""
        day = datetime.fromtimestamp(self.time, tz=UTC).date().isoformat()
        return f"the baseline {self.accepted} of {day}" if self.accepted else f"the baseline of {day}"

    def with_others(self, figures: Sequence[Figure], wanted: Collection[str]) -> "Baseline":
        """With what it has not of these figures, and without what is not wanted any more, by their keys."""
        kept = {key: value for key, value in self.values.items() if key in wanted}
        values = {figure.key: figure.value for figure in figures} | kept
        return Baseline(time=self.time, accepted=self.accepted, values=values)


def key_of(source: str) -> str:
    """What a figure is remembered by that measures this."""
    return hashlib.sha256(source.encode()).hexdigest()[:_DIGITS]


def collected(figures: Sequence[Figure], *, accepted: str, time: float) -> Baseline:
    """A baseline of these figures."""
    return Baseline(time=time, accepted=accepted, values={figure.key: figure.value for figure in figures})
