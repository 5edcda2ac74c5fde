"""A route of Upkeep's own beside a target, as it is created: owned by its window, so that it cannot outlive it."""

from datetime import datetime
from typing import Any

from upkeep.domain.identity import Identity
from upkeep.domain.maintenance import MODE_LABEL, Companion
from upkeep.resources.metadata import owner_labels, owner_reference


def companion_object(window: Identity, companion: Companion, until: datetime) -> dict[str, Any]:
    """The object to create.

    None of the target's labels is on it: by some of them a deployment tool would take it for its own and remove it.
    """
    return {
        "apiVersion": companion.api_version,
        "kind": companion.kind,
        "metadata": {
            "name": companion.name(window),
            "namespace": window.namespace,
            "labels": {**owner_labels(window), MODE_LABEL: companion.purpose},
            "annotations": companion.annotated(window, until),
            "ownerReferences": [owner_reference(window)],
        },
        "spec": companion.spec,
    }
