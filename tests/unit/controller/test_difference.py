"""What is written of a status: just what turns the old one into the new one."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unit.domain.cluster import merged
from upkeep.controller.apply import difference

values = st.recursive(
    st.text("ab", max_size=2) | st.integers(2, 4),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from("xyz"), inner, max_size=3),
    max_leaves=8,
)
statuses = st.dictionaries(st.sampled_from(["phase", "lastRun", "history", "conditions"]), values, max_size=4)


@given(old=statuses, new=statuses)
def test_a_patch_turns_the_old_status_into_the_new_one(old: dict[str, Any], new: dict[str, Any]) -> None:
    assert merged(old, difference(old, new)) == new


@given(status=statuses)
def test_of_the_same_status_nothing_is_written(status: dict[str, Any]) -> None:
    assert difference(status, status) == {}


@pytest.mark.parametrize(
    ("old", "new", "patch"),
    [
        ({}, {"phase": "Ready"}, {"phase": "Ready"}),
        ({"phase": "Ready"}, {}, {"phase": None}),
        (
            {"lastRun": {"job": "a", "message": "m"}},
            {"lastRun": {"job": "b"}},
            {"lastRun": {"job": "b", "message": None}},
        ),
        ({"lastRun": {"job": "a", "steps": [1]}}, {"lastRun": {"job": "a", "steps": [2]}}, {"lastRun": {"steps": [2]}}),
        ({"lastRun": "garbage"}, {"lastRun": {"job": "b"}}, {"lastRun": {"job": "b"}}),
    ],
)
def test_only_what_changed_is_written_and_what_is_gone_is_removed(
    old: dict[str, Any], new: dict[str, Any], patch: dict[str, Any]
) -> None:
    assert difference(old, new) == patch
