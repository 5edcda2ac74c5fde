"""Labels and owner references that everything made by Upkeep carries."""

from typing import Any

from upkeep.api import API_VERSION
from upkeep.domain.identity import (
    MANAGED_BY,
    MANAGED_BY_LABEL,
    MAX_LABEL,
    OWNER_KIND_LABEL,
    OWNER_NAME_LABEL,
    OWNER_UID_LABEL,
    Identity,
)


def owner_labels(owner: Identity) -> dict[str, str]:
    """Labels by which what Upkeep made is found, and to whom it belongs."""
    return {
        MANAGED_BY_LABEL: MANAGED_BY,
        OWNER_KIND_LABEL: owner.kind,
        OWNER_NAME_LABEL: owner.name[:MAX_LABEL].rstrip("-."),
        OWNER_UID_LABEL: owner.uid,
    }


def owner_reference(owner: Identity) -> dict[str, Any]:
    """Lets Kubernetes remove the object together with its owner, without blocking the owner's deletion."""
    return {
        "apiVersion": API_VERSION,
        "kind": owner.kind,
        "name": owner.name,
        "uid": owner.uid,
        "controller": True,
        "blockOwnerDeletion": False,
    }
