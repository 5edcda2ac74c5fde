"""What the real server fills in where a client says nothing.

It exists because a controller that compares what it wants with what it reads trips over defaults. It must never
overwrite what a client said.
"""

from fakeapi.objects import Json
from fakeapi.resources import NAMESPACES, ResourceType


def defaulted(resource: ResourceType, obj: Json, live: Json | None = None) -> Json:
    """Return an object with the server's defaults.

    Args:
        resource: its kind.
        obj: a fresh object; its metadata may be changed in place.
        live: the stored version that it replaces, None for a creation.
    """
    if resource == NAMESPACES:
        metadata = obj["metadata"]
        metadata["labels"] = {**metadata.get("labels", {}), "kubernetes.io/metadata.name": metadata["name"]}
        return {"spec": {"finalizers": ["kubernetes"]}, "status": {"phase": "Active"}, **obj}
    del live
    return obj
