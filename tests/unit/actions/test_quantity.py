"""Amounts as Kubernetes writes them."""

import pytest

from upkeep.actions.kubernetes.quantity import amount


@pytest.mark.parametrize(
    ("text", "number"),
    [
        *(("1", 1.0), ("0.5", 0.5), (".5", 0.5), ("2.", 2.0), ("2e3", 2e3), ("-1", -1.0)),
        *(("100m", 0.1), ("12345678n", 0.012345678), ("250u", 0.00025), ("1k", 1e3), ("1M", 1e6)),
        *(("1Ki", 1024.0), ("1Gi", 2.0**30), ("1.5Gi", 1.5 * 2**30)),
    ],
)
def test_amounts(text: str, number: float) -> None:
    assert amount(text) == pytest.approx(number)


@pytest.mark.parametrize("text", ["", "m", "1Q", "one", "1 Gi", "0x10", None, "1GiB", "NaN", "inf"])
def test_what_is_none(text: object) -> None:
    assert amount(text) is None
