"""The 95th percentile by nearest rank."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from upkeep.actions.percentile import percentile


@pytest.mark.parametrize(
    ("values", "expected"),
    [([3.0], 3.0), ([1.0, 2.0], 2.0), (list(map(float, range(1, 21))), 19.0), (list(map(float, range(1, 51))), 48.0)],
)
def test_known_values(values: list[float], expected: float) -> None:
    assert percentile(values, 95) == expected


@given(st.lists(st.floats(0, 100), min_size=1, max_size=50))
def test_at_least_95_percent_are_not_above_it(values: list[float]) -> None:
    found = percentile(values, 95)
    assert found in values
    assert sum(value <= found for value in values) >= 0.95 * len(values)
