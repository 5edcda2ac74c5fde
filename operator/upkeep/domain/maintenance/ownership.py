"""Giving up ownership after a restore.

An object keeps a list of who wrote which field. While Upkeep stands in it, Argo CD (with `managedFieldsManagers`)
ignores what Git says about those fields, also when they are back to what they were. The entry can only be removed by
a write of its own after the restore, because the restore itself makes one.
"""

from collections.abc import Mapping
from typing import Any, Final

from upkeep.domain.maintenance.patch import Patch, unchanged
from upkeep.domain.maintenance.record import UNDO_ANNOTATION

_RESET: Final[list[dict[str, Any]]] = [{}]
"""An empty list is ignored by the API server; a list with one empty entry clears the field (Kubernetes documentation,
Server-Side Apply, "Clearing managedFields")."""


def forget_ownership(item: Mapping[str, Any], manager: str = "upkeep") -> Patch | None:
    """What removes the entries of `manager`; None where there are none, or the object is in maintenance mode still."""
    metadata = item["metadata"]
    if UNDO_ANNOTATION in (metadata.get("annotations") or {}):
        return None
    entries = metadata.get("managedFields") or []
    ours = [index for index, entry in enumerate(entries) if entry.get("manager") == manager]
    if not ours:
        return None
    if len(ours) == len(entries):
        return [*unchanged(item), {"op": "replace", "path": "/metadata/managedFields", "value": _RESET}]
    patch = unchanged(item)
    for index in reversed(ours):
        pointer = f"/metadata/managedFields/{index}"
        patch += [
            {"op": "test", "path": f"{pointer}/manager", "value": manager},
            {"op": "remove", "path": pointer},
        ]
    return patch
