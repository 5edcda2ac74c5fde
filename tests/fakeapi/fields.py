"""metadata.managedFields: who set which field, as far as clients look at it.

It exists because Upkeep drops its own entry once it has put an Ingress back, and a test has to see the entry come
and go. Lists are atomic here (the real server knows the keys of some); it must never be used for decisions of the
store itself.

The FieldsV1 format: `{"f:spec": {".": {}, "f:replicas": {}}}`, where `.` stands for the map itself and `{}` is
short for `{".": {}}`.
"""

import json
from dataclasses import dataclass
from typing import Any

from fakeapi.objects import Json

_SELF = "."
_SYSTEM = frozenset(
    {
        "name",
        "namespace",
        "uid",
        "resourceVersion",
        "generation",
        "creationTimestamp",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "managedFields",
        "selfLink",
    }
)


@dataclass(frozen=True, slots=True)
class Writer:
    """Who writes, as managedFields record it.

    Attributes:
        manager: field manager.
        claims: for server-side apply, all that the applied configuration owns, in the FieldsV1 format; None for
            every other write, which owns what it changes.
    """

    manager: str
    claims: Json | None = None

    @property
    def operation(self) -> str:
        """The operation that managedFields name."""
        return "Update" if self.claims is None else "Apply"


def track(
    live: Json | None, new: Json, entries: list[Json], writer: Writer, *, subresource: str, now: str
) -> list[Json]:
    """Return managedFields after a write.

    Args:
        live: the object before the write, None for a creation.
        new: the object after the write.
        entries: managedFields before the write.
        writer: who writes.
        subresource: `status`, or empty.
        now: RFC 3339 time for entries that change.
    """
    touched, removed = _difference(_content(live) if live else {}, _content(new))
    kept: list[Json] = []
    previous: Json = {}
    for entry in entries:
        owned = entry.get("fieldsV1", {})
        operation = entry.get("operation")
        if (entry.get("manager"), entry.get("subresource", ""), operation) == (
            writer.manager,
            subresource,
            writer.operation,
        ):
            previous = entry
            continue
        left = _without(owned, removed)
        # What somebody applied stays theirs, too, until they apply something else.
        left = _without(left, touched) if operation == "Update" else left
        if left:
            kept.append(entry if left == owned else {**entry, "fieldsV1": left})
    mine = writer.claims or _union(_without(previous.get("fieldsV1", {}), removed), touched)
    if mine and mine == previous.get("fieldsV1"):
        kept.append(previous)
    elif mine:
        kept.append(_entry(writer, new["apiVersion"], mine, subresource=subresource, now=now))
    return sorted(kept, key=lambda e: (e.get("operation", ""), e.get("time", ""), e.get("manager", "")))


def _entry(writer: Writer, api_version: str, owned: Json, *, subresource: str, now: str) -> Json:
    entry = {
        "manager": writer.manager,
        "operation": writer.operation,
        "apiVersion": api_version,
        "time": now,
        "fieldsType": "FieldsV1",
        "fieldsV1": owned,
    }
    return {**entry, "subresource": subresource} if subresource else entry


def applied(config: Json) -> Json:
    """Return what server-side apply of a configuration owns, in the FieldsV1 format."""
    return _difference({}, _content(config))[0]


def _content(obj: Json) -> Json:
    metadata = {key: value for key, value in obj["metadata"].items() if key not in _SYSTEM}
    body = {key: value for key, value in obj.items() if key not in {"apiVersion", "kind", "metadata"}}
    return {"metadata": metadata, **body} if metadata else body


def _owned(key: str, value: object) -> Json:
    if isinstance(value, dict):
        return {_SELF: {}, **{f"f:{name}": _owned(name, item) for name, item in value.items()}} if value else {}
    if key == "finalizers" and isinstance(value, list):
        return {_SELF: {}, **{f"v:{json.dumps(item)}": {} for item in value}}
    if key == "ownerReferences" and isinstance(value, list):
        uids = (json.dumps({"uid": item.get("uid")}, separators=(",", ":")) for item in value)
        return {_SELF: {}, **{f"k:{uid}": {} for uid in uids}}
    return {}


def _difference(old: Json, new: Json) -> tuple[Json, Json]:
    """Return what was added or changed, and what is gone."""
    touched: Json = {}
    removed: Json = {}
    for key, value in new.items():
        path = f"f:{key}"
        if key not in old:
            touched[path] = _owned(key, value)
            if key == "metadata":
                touched[path].pop(_SELF, None)
        elif old[key] != value:
            before = old[key]
            if isinstance(before, dict) and isinstance(value, dict):
                inner, gone = _difference(before, value)
                if inner:
                    touched[path] = inner
                if gone:
                    removed[path] = gone
            else:
                touched[path], removed[path] = _owned(key, value), _owned(key, before)
    removed.update({f"f:{key}": _owned(key, value) for key, value in old.items() if key not in new})
    return touched, removed


def _long(node: Any) -> Json:  # noqa: ANN401 -- FieldsV1 nodes come from clients and may be anything
    return node if isinstance(node, dict) and node else {_SELF: {}}


def _short(node: Json) -> Json:
    return {} if node == {_SELF: {}} else node


def _without(owned: Json, paths: Json) -> Json:
    """Return owned fields less those in paths; empty when nothing is left."""
    if not paths:
        return owned
    left: Json = {}
    for key, node in owned.items():
        if key not in paths:
            left[key] = node
        elif key != _SELF:
            inner = _without(_long(node), _long(paths[key]))
            if inner:
                left[key] = _short(inner)
    return left


def _union(one: Json, other: Json) -> Json:
    if not one:
        return other
    both = dict(one)
    for key, node in other.items():
        both[key] = _short(_union(_long(both[key]), _long(node))) if key in both and key != _SELF else node
    return both
