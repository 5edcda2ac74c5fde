"""The MaintenanceWindow that serves a request by hand: as one that a person would write, owned by its target."""

import hashlib
from datetime import timedelta
from typing import Any, Final

from upkeep.actions.fields import format_duration
from upkeep.api import API_VERSION
from upkeep.api.window import Urgency
from upkeep.domain.byhand import REQUEST_ANNOTATION
from upkeep.domain.identity import MAX_LABEL, Identity
from upkeep.resources.metadata import owner_labels

_DIGEST_LENGTH: Final = 8
_MIDDLE: Final = "-by-hand-"


def by_hand_name(target_name: str, target_uid: str) -> str:
    """The name of the one window that an Ingress or a route can have by hand, at most 63 characters.

    An Ingress and a route of the same name have windows of different names, because their UIDs differ.
    """
    digest = hashlib.sha256(target_uid.encode()).hexdigest()[:_DIGEST_LENGTH]
    room = MAX_LABEL - len(_MIDDLE) - _DIGEST_LENGTH
    return f"{target_name[:room].rstrip('-.')}{_MIDDLE}{digest}"


def by_hand_window(target: Identity, *, api_version: str, request: str, duration: timedelta) -> dict[str, Any]:
    """An emergency window for one Ingress or route: it opens at once, and goes when the target does.

    Args:
        target: its owner and only target.
        api_version: of the target.
        request: the value of the annotation that asked for it.
        duration: for how long.
    """
    return {
        "apiVersion": API_VERSION,
        "kind": "MaintenanceWindow",
        "metadata": {
            "name": by_hand_name(target.name, target.uid),
            "namespace": target.namespace,
            "labels": owner_labels(target),
            "annotations": {REQUEST_ANNOTATION: request},
            "ownerReferences": [
                {
                    "apiVersion": api_version,
                    "kind": target.kind,
                    "name": target.name,
                    "uid": target.uid,
                    "controller": False,
                    "blockOwnerDeletion": False,
                }
            ],
        },
        "spec": {
            "urgency": str(Urgency.EMERGENCY),
            "duration": format_duration(duration),
            "maintenanceMode": {"targets": [{"kind": target.kind, "name": target.name}]},
        },
    }
