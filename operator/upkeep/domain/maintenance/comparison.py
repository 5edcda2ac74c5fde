"""Whether two readings of an object say the same, apart from what the API server keeps about it."""

from collections.abc import Mapping
from typing import Any


def semantically_equal(before: Mapping[str, Any], after: Mapping[str, Any]) -> bool:
    """True when spec, labels and annotations are the same; status and what the server manages do not count.

    A map that is empty and one that is missing mean the same to Kubernetes, and here.
    """
    return _declared(before) == _declared(after)


def _declared(item: Mapping[str, Any]) -> tuple[object, ...]:
    metadata = item["metadata"]
    return item.get("spec") or {}, metadata.get("labels") or {}, metadata.get("annotations") or {}
