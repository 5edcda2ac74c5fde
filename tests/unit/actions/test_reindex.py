"""Only what an interrupted rebuild has left is ever dropped, and servers that corrupt indexes are refused."""

import pytest

from upkeep.actions.postgres.reindex import Index, refusal, remains
from upkeep.actions.postgres.version import Version


def index(oid: int, name: str, **changes: object) -> Index:
    fields = {"schema": "public", "table_oid": 1, "file": oid, "valid": True, "shape": "(1)", "busy": False}
    return Index(oid=oid, name=name, **{**fields, **changes})  # type: ignore[arg-type]  # as the fields have them


def test_an_invalid_twin_is_left_over() -> None:
    original, new, old = index(1, "a"), index(2, "a_ccnew", valid=False), index(3, "a_ccold1", valid=False)
    assert remains([original, new, old]) == [new, old]


def test_a_long_name_was_shortened_by_the_server() -> None:
    original, new = index(1, "x" * 63), index(2, "x" * 57 + "_ccnew", valid=False)
    assert remains([original, new]) == [new]


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("a_ccnew", {"valid": True}),
        ("b_ccnew", {}),
        ("a_ccnew_more", {}),
        ("a_CCNEW", {}),
        ("other", {}),
        ("a_ccnew", {"table_oid": 2}),
        ("a_ccnew", {"shape": "(2)"}),
    ],
)
def test_what_only_looks_like_it_is_kept(name: str, changes: dict[str, object]) -> None:
    assert remains([index(1, "a"), index(2, name, **{"valid": False, **changes})]) == []


def test_an_invalid_index_without_a_twin_is_kept() -> None:
    assert remains([index(2, "a_ccnew", valid=False), index(3, "a_ccold", valid=False)]) == []


@pytest.mark.parametrize(
    ("version", "refused"),
    [(130020, False), (140000, True), (140003, True), (140004, False), (150018, False), (180000, False)],
)
def test_servers_that_corrupt_indexes_are_refused(version: int, *, refused: bool) -> None:
    assert bool(refusal(Version(version))) is refused
    assert "14.4" in refusal(Version(version)) or not refused
