"""Percentiles, as all actions understand them: by nearest rank, so that the answer is a value that was measured."""

from collections.abc import Sequence
from math import ceil


def percentile(values: Sequence[float], percent: float) -> float:
    """The smallest value that `percent` percent of all values do not exceed; there is at least one value."""
    return sorted(values)[max(0, ceil(percent / 100 * len(values)) - 1)]
