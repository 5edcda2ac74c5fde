"""Specs and statuses that nobody should have written: any JSON at all, and good ones with something wrong in them."""

import copy
from typing import Any

from hypothesis import strategies as st

Path = tuple[str | int, ...]

TEXTS = (
    "",
    "x",
    "0 2 * * *",
    "* * * * *",
    "61 * * * *",
    "0 0 31 2 *",
    "@daily",
    "90m",
    "0s",
    "99999999999999999999999999999w",
    "2026-03-02T01:00:00Z",
    "0001-01-01T00:00:00+14:00",
    "9999-12-31T23:59:59-12:00",
    "2026-03-02",
    "02-30",
    "2026-13-01T00:00:00Z",
    "Europe/Berlin",
    "localtime",
    "../../etc/passwd",
    "verify",
    "\x00",
    "\ud7ff$(HOME)",
)
NAMES = (
    "schedule", "runAt", "startAt", "timeZone", "jitter", "exclusions", "from", "to", "windows", "steps", "name", "job",
    "image", "duration", "plan", "tasks", "dependsOn", "maintenanceMode", "targets", "verify", "integrity", "schedules",
    "restoreTest", "queries", "requires", "verifiedBackups", "lastVerified", "retention", "prune", "lastPrune",
    "source", "repository", "connections", "redis", "postgres", "suspend", "timeout", "history", "lastRun",
    "occurrence", "coldCopy", "s3", "storageClass", "keepFor",
)  # fmt: skip

leaves = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(allow_nan=False),
    st.sampled_from(TEXTS),
    st.text(max_size=8),
)
values = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(st.sampled_from(NAMES) | st.text(max_size=5), inner, max_size=4)
    ),
    max_leaves=12,
)


def spoilt(good: Any, wrong: st.SearchStrategy[Any] = values) -> st.SearchStrategy[Any]:  # noqa: ANN401 - any JSON value
    """The good value with one to three of its parts replaced."""
    places = st.lists(st.tuples(st.sampled_from(_paths(good)), wrong), min_size=1, max_size=3)
    return places.map(lambda changes: _replaced(good, changes))


def _paths(value: Any, here: Path = ()) -> list[Path]:  # noqa: ANN401 - any JSON value
    inner: list[tuple[str | int, Any]] = []
    if isinstance(value, dict):
        inner = list(value.items())
    elif isinstance(value, list):
        inner = list(enumerate(value))
    return [*([here] if here else []), *(path for key, child in inner for path in _paths(child, (*here, key)))]


def _replaced(good: Any, changes: list[tuple[Path, Any]]) -> Any:  # noqa: ANN401 - any JSON value
    result = copy.deepcopy(good)
    for path, wrong in sorted(changes, key=lambda change: len(change[0]), reverse=True):
        place = result
        for part in path[:-1]:
            place = place[part]
        place[path[-1]] = wrong
    return result
