"""Counts of many different things, and the distribution of many values, in memory that does not grow with them."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from heapq import nlargest
from math import ceil, log
from typing import Final

_GROWTH: Final = 1.02
_SMALLEST: Final = 1e-9


@dataclass(slots=True, kw_only=True)
class Counts:
    """How often each of many texts was seen; exact for as long as there are at most `capacity` of them.

    Beyond that the rarest are forgotten (Misra and Gries, "Finding repeated elements", 1982): what is counted is then
    too small by at most `missed`, and whatever was seen more often than that is still there.
    """

    capacity: int = 4096
    missed: int = 0
    _counts: dict[str, int] = field(default_factory=dict)

    def add(self, text: str, times: int = 1) -> None:
        """See a text."""
        if text in self._counts or len(self._counts) < self.capacity:
            self._counts[text] = self._counts.get(text, 0) + times
            return
        least = min(times, *self._counts.values())
        self.missed += least
        self._counts = {known: count - least for known, count in self._counts.items() if count > least}
        if times > least:
            self._counts[text] = times - least

    def most(self, number: int) -> Iterable[tuple[str, int]]:
        """The texts that were seen most often, with their counts."""
        return nlargest(number, self._counts.items(), key=lambda item: (item[1], item[0]))

    def __len__(self) -> int:
        """How many texts are remembered."""
        return len(self._counts)

    def __iter__(self) -> Iterator[str]:
        """The texts that are remembered."""
        return iter(self._counts)


@dataclass(slots=True, kw_only=True)
class Distribution:
    """Percentiles of numbers from 0 on, within one percent of the measured value.

    Each number is counted in a bucket whose bounds are two percent apart (Masson, Rim and Lee, "DDSketch", 2019).
    """

    count: int = 0
    largest: float = 0.0
    _buckets: dict[int, int] = field(default_factory=dict)

    def add(self, value: float) -> None:
        """See a number from 0 on."""
        self.count += 1
        self.largest = max(self.largest, value)
        bucket = ceil(log(max(value, _SMALLEST)) / log(_GROWTH))
        self._buckets[bucket] = self._buckets.get(bucket, 0) + 1

    def percentile(self, percent: float) -> float:
        """The number that `percent` percent of all do not exceed, by nearest rank; there is at least one number."""
        rank = max(1, ceil(percent / 100 * self.count))
        for bucket in sorted(self._buckets):
            rank -= self._buckets[bucket]
            if rank <= 0:
                middle = 2 * _GROWTH**bucket / (1 + _GROWTH)
                return 0.0 if middle <= _SMALLEST else min(middle, self.largest)
        return self.largest
