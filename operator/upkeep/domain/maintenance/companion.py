"""Routes of Upkeep's own beside a target: what they are called, how they are known again, when they are out of date.

A companion belongs to one window and one target. It is made before the target is changed, goes after the target is
back, and lives no longer than its window: Kubernetes removes it with the window that owns it. Nothing of the target is
kept in it that is not on the target as well, so that it can go at any time.
"""

import hashlib
import json
from collections.abc import Container, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

from upkeep.api.window.maintenance import MODE_LABEL
from upkeep.domain.identity import OWNER_NAME_LABEL, OWNER_UID_LABEL, Identity
from upkeep.domain.instants import read_optional, write_instant
from upkeep.domain.maintenance.patch import Patch, unchanged, with_entries
from upkeep.domain.maintenance.record import UNTIL_ANNOTATION, WINDOW_ANNOTATION

BYPASS: Final = "bypass"
"""The value of `MODE_LABEL` on a route by which testers reach the application."""
OVERLAY: Final = "overlay"
"""Likewise, on one by which users reach the page."""
PURPOSES: Final = frozenset({BYPASS, OVERLAY})
TARGET_ANNOTATION: Final = "upkeep.dev/companion-of"
"""Kind and name of the target that it stands beside."""
CONTENT_ANNOTATION: Final = "upkeep.dev/content"
"""Digest of the spec as it was meant: the API server fills in defaults, so that the spec itself cannot be compared."""
_DIGEST_LENGTH: Final = 8
_SLUG_LENGTH: Final = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class Companion:
    """A route as it should be.

    Attributes:
        kind: of the route; that of its target.
        api_version: likewise.
        target: name of the target.
        purpose: one of `PURPOSES`.
        spec: of the route.
        annotations: what its controller reads besides.
        part: which one of several with one purpose.
    """

    kind: str
    api_version: str
    target: str
    purpose: str
    spec: Mapping[str, Any]
    annotations: Mapping[str, str] = field(default_factory=dict)
    part: str = ""

    def name(self, window: Identity) -> str:
        """What it is called: the same for the same window and target."""
        seed = f"{window.uid}/{self.kind}/{self.target}/{self.purpose}{self.part}"
        digest = hashlib.sha256(seed.encode()).hexdigest()[:_DIGEST_LENGTH]
        slug = self.target[:_SLUG_LENGTH].strip("-.").replace(".", "-")
        return f"upkeep-{self.purpose}-{slug}-{digest}"

    def annotated(self, window: Identity, until: datetime) -> dict[str, str]:
        """Its annotations: what it is, whose, until when, and what it consists of."""
        content = json.dumps(self.spec, sort_keys=True, separators=(",", ":"))
        return {
            **self.annotations,
            TARGET_ANNOTATION: f"{self.kind}/{self.target}",
            WINDOW_ANNOTATION: window.name,
            UNTIL_ANNOTATION: write_instant(until),
            CONTENT_ANNOTATION: hashlib.sha256(content.encode()).hexdigest()[: 2 * _DIGEST_LENGTH],
        }

    def refreshed(self, known: Mapping[str, Any], window: Identity, until: datetime) -> Patch | None:
        """What brings the one that is there up to date; None where it is."""
        current: Mapping[str, str] = known["metadata"].get("annotations") or {}
        wanted = self.annotated(window, until)
        if wanted.items() <= current.items():
            return None
        spec = {"op": "add", "path": "/spec", "value": self.spec}
        return [*unchanged(known), spec, *with_entries("/metadata/annotations", current, wanted)]


def is_companion(item: Mapping[str, Any], *, of: str | None = None) -> bool:
    """Whether it is a route of Upkeep's own, of the window with the UID `of` where that is said.

    A label alone, which anybody may copy together with the rest of a manifest, does not make it one.
    """
    metadata = item["metadata"]
    labels: Mapping[str, str] = metadata.get("labels") or {}
    owner = labels.get(OWNER_UID_LABEL)
    owners = {reference.get("uid") for reference in metadata.get("ownerReferences") or ()}
    return labels.get(MODE_LABEL) in PURPOSES and owner is not None and owner in owners and of in {None, owner}


def companion_target(item: Mapping[str, Any]) -> str:
    """Kind and name of the target that a companion stands beside: `HTTPRoute/shop`."""
    return str((item["metadata"].get("annotations") or {}).get(TARGET_ANNOTATION, ""))


def companion_window(item: Mapping[str, Any]) -> tuple[str, str]:
    """Name and UID of the window that a companion belongs to."""
    labels = item["metadata"].get("labels") or {}
    annotations = item["metadata"].get("annotations") or {}
    return str(annotations.get(WINDOW_ANNOTATION) or labels.get(OWNER_NAME_LABEL)), str(labels.get(OWNER_UID_LABEL))


def outlived(item: Mapping[str, Any], *, now: datetime, live: Container[str], grace: timedelta) -> bool:
    """Whether the window of a companion is not among the UIDs of `live`, or should have removed it long ago."""
    _, uid = companion_window(item)
    try:
        until = read_optional((item["metadata"].get("annotations") or {}).get(UNTIL_ANNOTATION))
    except ValueError:
        until = None
    return uid not in live or until is None or until + grace < now
