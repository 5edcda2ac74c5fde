"""How a resource is known to others: kind, namespace, name and UID."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

MANAGED_BY_LABEL: Final = "app.kubernetes.io/managed-by"
MANAGED_BY: Final = "upkeep"
OWNER_KIND_LABEL: Final = "upkeep.dev/owner-kind"
OWNER_NAME_LABEL: Final = "upkeep.dev/owner-name"
OWNER_UID_LABEL: Final = "upkeep.dev/owner-uid"
WINDOW_UID_LABEL: Final = "upkeep.dev/window-uid"
JOB_NAME_LABEL: Final = "batch.kubernetes.io/job-name"

SCHEDULED_TIME_ANNOTATION: Final = "upkeep.dev/scheduled-time"
TRIGGER_ANNOTATION: Final = "upkeep.dev/trigger"
SCHEDULE_ANNOTATION: Final = "upkeep.dev/schedule"
TOKEN_ANNOTATION: Final = "upkeep.dev/run-token"  # noqa: S105 - a name, not a secret
RUN_NOW_ANNOTATION: Final = "upkeep.dev/run-now"
BY_HAND_ANNOTATION: Final = "upkeep.dev/maintenance"

FINALIZER: Final = "upkeep.dev/maintenance-mode"

MAX_LABEL: Final = 63


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Kind, namespace, name and UID of a resource."""

    kind: str
    namespace: str
    name: str
    uid: str

    @classmethod
    def of(cls, resource: Mapping[str, Any]) -> "Identity":
        """The identity of an object as the API server shows it."""
        metadata = resource["metadata"]
        return cls(kind=resource["kind"], namespace=metadata["namespace"], name=metadata["name"], uid=metadata["uid"])

    def __str__(self) -> str:
        return f"{self.kind}/{self.namespace}/{self.name}"
