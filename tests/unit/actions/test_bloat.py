"""The size that a table should have."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from upkeep.actions.postgres.bloat import TableShape

SHAPE = TableShape(
    oid=1, bytes=8192, rows=1000, fillfactor=100, columns=2, known_columns=2, width=40, nullable=False, analyzed=True,
    block=8192,
)  # fmt: skip

shapes = st.builds(
    TableShape,
    oid=st.just(1),
    bytes=st.integers(0, 2**50),
    rows=st.integers(0, 10**10).map(float),
    fillfactor=st.integers(10, 100),
    columns=st.integers(1, 1600),
    known_columns=st.integers(0, 1600),
    width=st.floats(0, 8000),
    nullable=st.booleans(),
    analyzed=st.booleans(),
    block=st.sampled_from([4096, 8192, 32768]),
)


def test_a_table_is_as_large_as_the_page_layout_says() -> None:
    # given 1000 rows of 24 bytes header, 40 bytes data and 4 bytes line pointer on pages of 8168 usable bytes
    # then 120 rows fit on a page
    assert SHAPE.expected_bytes == 9 * 8192


def test_an_empty_table_has_one_page() -> None:
    assert replace(SHAPE, rows=0).expected_bytes == 8192


@given(shapes)
def test_it_is_whole_pages_and_at_least_one(shape: TableShape) -> None:
    assert shape.expected_bytes % shape.block == 0
    assert shape.expected_bytes >= shape.block


@given(shapes, st.integers(1, 10**6))
def test_more_rows_never_need_less(shape: TableShape, more: int) -> None:
    assert replace(shape, rows=shape.rows + more).expected_bytes >= shape.expected_bytes


@given(shapes)
def test_fuller_pages_and_no_nulls_never_need_more(shape: TableShape) -> None:
    assert replace(shape, fillfactor=100, nullable=False).expected_bytes <= shape.expected_bytes


def test_only_full_statistics_allow_an_estimate() -> None:
    assert SHAPE.estimable
    assert not replace(SHAPE, known_columns=1).estimable
    assert not replace(SHAPE, bytes=None).estimable
    assert not replace(SHAPE, rows=-1).estimable
    assert not replace(SHAPE, rows=0, analyzed=False).estimable
    assert replace(SHAPE, rows=0, known_columns=0).estimable
