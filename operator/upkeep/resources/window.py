"""The MaintenanceWindow that serves a request by hand: as one that a person would write, owned by its Ingress."""

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


def by_hand_name(ingress_name: str, ingress_uid: str) -> str:
    """The name of the one window that an Ingress can have by hand, at most 63 characters."""
    digest = hashlib.sha256(ingress_uid.encode()).hexdigest()[:_DIGEST_LENGTH]
    room = MAX_LABEL - len(_MIDDLE) - _DIGEST_LENGTH
    return f"{ingress_name[:room].rstrip('-.')}{_MIDDLE}{digest}"


def by_hand_window(ingress: Identity, *, request: str, duration: timedelta) -> dict[str, Any]:
    """An emergency window for one Ingress: it opens at once, and goes when the Ingress does.

    Args:
        ingress: its owner and only target.
        request: the value of the annotation that asked for it.
        duration: for how long.
    """
    return {
        "apiVersion": API_VERSION,
        "kind": "MaintenanceWindow",
        "metadata": {
            "name": by_hand_name(ingress.name, ingress.uid),
            "namespace": ingress.namespace,
            "labels": owner_labels(ingress),
            "annotations": {REQUEST_ANNOTATION: request},
            "ownerReferences": [
                {
                    "apiVersion": "networking.k8s.io/v1",
                    "kind": ingress.kind,
                    "name": ingress.name,
                    "uid": ingress.uid,
                    "controller": False,
                    "blockOwnerDeletion": False,
                }
            ],
        },
        "spec": {
            "urgency": str(Urgency.EMERGENCY),
            "duration": format_duration(duration),
            "maintenanceMode": {"targets": [{"kind": ingress.kind, "name": ingress.name}]},
        },
    }
