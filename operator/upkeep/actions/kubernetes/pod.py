"""What is read off a Pod: whose it is, which containers it has, whether it has come to its end."""

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

Object = Mapping[str, Any]

_HASH: Final = "pod-template-hash"
_OWNER_KIND: Final = "upkeep.dev/owner-kind"
_OWNER_NAME: Final = "upkeep.dev/owner-name"
_MINUTES: Final = re.compile(r"-[0-9]{8,10}$")
"""What a CronJob appends to its name for the Job of a certain minute."""


def controller(pod: Object) -> tuple[str, str] | None:
    """Kind and name of what has made it; None for a Pod that somebody has made by hand."""
    for reference in pod["metadata"].get("ownerReferences") or ():
        if reference.get("controller"):
            return str(reference["kind"]), str(reference["name"])
    return None


def workload(pod: Object) -> str:
    """What people call it, as Kind/name: the Deployment behind a ReplicaSet, the CronJob or our task behind a Job."""
    kind, name = controller(pod) or ("Pod", str(pod["metadata"]["name"]))
    labels = pod["metadata"].get("labels") or {}
    template = labels.get(_HASH)
    if kind == "Job" and labels.get(_OWNER_KIND) and labels.get(_OWNER_NAME):
        return f"{labels[_OWNER_KIND]}/{labels[_OWNER_NAME]}"
    if kind == "ReplicaSet" and template and name.endswith(f"-{template}"):
        return f"Deployment/{name.removesuffix(f'-{template}')}"
    if kind == "Job" and _MINUTES.search(name):
        return f"CronJob/{_MINUTES.sub('', name)}"
    return f"{kind}/{name}"


def containers(spec: Object) -> Iterator[Object]:
    """All containers of a Pod's spec, those that only prepare it and those for debugging among them."""
    for field in ("initContainers", "containers", "ephemeralContainers"):
        yield from spec.get(field) or ()


def ended(pod: Object) -> bool:
    """Whether its containers have ended for good."""
    return (pod.get("status") or {}).get("phase") in {"Succeeded", "Failed"}
