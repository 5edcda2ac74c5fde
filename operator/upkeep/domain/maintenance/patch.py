"""JSON Patch operations (RFC 6902) in which nothing is replaced or removed unseen."""

from collections.abc import Mapping
from typing import Any

Patch = list[dict[str, Any]]
"""Operations for the content type `application/json-patch+json`; the API server applies all of them or none."""


def escaped(key: str) -> str:
    """A key as one token of a JSON Pointer (RFC 6901)."""
    return key.replace("~", "~0").replace("/", "~1")


def unchanged(item: Mapping[str, Any]) -> Patch:
    """The operation that lets a patch through only while the object is the one that was read."""
    return [{"op": "test", "path": "/metadata/resourceVersion", "value": item["metadata"]["resourceVersion"]}]


def replaced(pointer: str, *, old: object, new: object) -> Patch:
    """`new` in the place of `old`, refused where something else stands there."""
    return [{"op": "test", "path": pointer, "value": old}, {"op": "replace", "path": pointer, "value": new}]


def removed(pointer: str, *, old: object) -> Patch:
    """Nothing in the place of `old`, refused where something else stands there."""
    return [{"op": "test", "path": pointer, "value": old}, {"op": "remove", "path": pointer}]


def with_entries(pointer: str, current: Mapping[str, str] | None, entries: Mapping[str, str]) -> Patch:
    """Sets `entries` in the map of labels or annotations at `pointer`; a map that is missing is added."""
    if not current:
        return [{"op": "add", "path": pointer, "value": dict(entries)}]
    patch: Patch = []
    for key, value in entries.items():
        place = f"{pointer}/{escaped(key)}"
        if key not in current:
            patch.append({"op": "add", "path": place, "value": value})
        elif current[key] != value:
            patch += replaced(place, old=current[key], new=value)
    return patch


def without_entries(pointer: str, current: Mapping[str, str] | None, keys: frozenset[str]) -> Patch:
    """Removes `keys` from the map at `pointer`, and the map itself where nothing else is in it.

    The API server never shows an empty map, so a map that was empty before is one that was not there.
    """
    present = {key: value for key, value in (current or {}).items() if key in keys}
    if not present:
        return []
    if len(present) == len(current or {}):
        return removed(pointer, old=present)
    return [op for key, value in present.items() for op in removed(f"{pointer}/{escaped(key)}", old=value)]
