"""Versions of objects, changes between them and their wire form.

It exists so that one version is encoded once, however many lists and watches carry it. A stored dict is shared
by everything that ever saw it: it must never be changed in place.
"""

import json
from dataclasses import dataclass, field
from typing import Any, Literal

Json = dict[str, Any]
Key = tuple[str, str]
"""Namespace (empty for cluster-scoped kinds) and name."""
EventType = Literal["ADDED", "MODIFIED", "DELETED"]

_encode = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False, check_circular=False).encode


def encode(value: object) -> bytes:
    """Return compact JSON."""
    return _encode(value).encode()


class Record:
    """One version of one object.

    Attributes:
        object: the object; never changed in place.
        version: its resourceVersion.
    """

    __slots__ = ("_encoded", "object", "version")

    def __init__(self, obj: Json, version: int) -> None:
        self.object = obj
        self.version = version
        self._encoded: bytes | None = None

    @property
    def key(self) -> Key:
        """Where the object is stored."""
        metadata = self.object["metadata"]
        return metadata.get("namespace", ""), metadata["name"]

    @property
    def uid(self) -> str:
        """The object's identity across names."""
        uid: str = self.object["metadata"]["uid"]
        return uid

    def encoded(self) -> bytes:
        """Return the object as JSON, `apiVersion` and `kind` first."""
        if self._encoded is None:
            self._encoded = encode(self.object)
        return self._encoded

    def at(self, version: int) -> "Record":
        """Return the same state under another resourceVersion, as the last sight of an object carries."""
        metadata = {**self.object["metadata"], "resourceVersion": str(version)}
        return Record({**self.object, "metadata": metadata}, version)


@dataclass(frozen=True, slots=True)
class Change:
    """One committed write.

    Attributes:
        version: resourceVersion of the write.
        type: what a watch without selectors sees.
        record: the state after the write; for DELETED the last state, under the version of the deletion.
        previous: the state before the write, None for ADDED.
        lines: encoded watch events by type and by whether they show the previous state.
    """

    version: int
    type: EventType
    record: Record
    previous: Record | None
    lines: dict[tuple[EventType, bool], bytes] = field(default_factory=dict)

    def line(self, seen_as: EventType, *, show_previous: bool = False) -> bytes:
        """Return the watch event as one line of JSON.

        Args:
            seen_as: what the watch sees, after its selectors.
            show_previous: show the previous state under the new version: the last state that matched a selector.
        """
        known = self.lines.get((seen_as, show_previous))
        if known is None:
            shown = self.record
            if show_previous and self.previous is not None:
                shown = self.previous.at(self.version)
            known = b'{"type":"%s","object":%s}\n' % (seen_as.encode(), shown.encoded())
            self.lines[seen_as, show_previous] = known
        return known
