"""Kubernetes objects as people write them: without what the API server or a controller puts in by itself."""

from collections.abc import Mapping
from typing import Any, Final

Object = Mapping[str, Any]

_METADATA: Final = frozenset(
    {
        "creationTimestamp",
        "deletionGracePeriodSeconds",
        "deletionTimestamp",
        "generation",
        "managedFields",
        "resourceVersion",
        "selfLink",
        "uid",
    }
)
_ANNOTATIONS: Final = (
    "kubectl.kubernetes.io/last-applied-configuration",
    "deployment.kubernetes.io/revision",
    "pv.kubernetes.io/",
    "volume.kubernetes.io/selected-node",
    "volume.beta.kubernetes.io/storage-provisioner",
    "volume.kubernetes.io/storage-provisioner",
    "control-plane.alpha.kubernetes.io/leader",
)
"""What begins so is set by a controller."""
_JOB_LABELS: Final = frozenset(
    {"controller-uid", "job-name", "batch.kubernetes.io/controller-uid", "batch.kubernetes.io/job-name"}
)
_TOKEN: Final = "kubernetes.io/service-account-token"  # noqa: S105 - the type of a Secret, not a secret


def remade(item: Object) -> bool:
    """Whether a controller makes it anew by itself, so that a copy of it would only be in the way."""
    metadata = item["metadata"]
    if any(owner.get("controller") for owner in metadata.get("ownerReferences") or ()):
        return True
    if item["kind"] == "Secret" and item.get("type") == _TOKEN:
        return True
    if item["kind"] == "Endpoints":
        return True
    return bool(item["kind"] == "ConfigMap" and metadata["name"] == "kube-root-ca.crt")


def clean(item: Object) -> dict[str, Any]:
    """The object as it can be applied to another cluster."""
    found = {key: value for key, value in item.items() if key != "status"}
    found["metadata"] = _metadata(item["metadata"])
    spec = dict(item.get("spec") or {})
    match item["kind"]:
        case "Service":
            found["spec"] = _service(spec)
        case "PersistentVolumeClaim":
            found["spec"] = {key: value for key, value in spec.items() if key != "volumeName"}
        case "Job":
            found["spec"] = _job(spec)
        case "ServiceAccount":
            found = {key: value for key, value in found.items() if key != "secrets"}
    return found


def _metadata(metadata: Object) -> dict[str, Any]:
    found = {key: value for key, value in metadata.items() if key not in _METADATA}
    annotations = {
        key: value for key, value in (metadata.get("annotations") or {}).items() if not key.startswith(_ANNOTATIONS)
    }
    found.pop("annotations", None)
    return found | ({"annotations": annotations} if annotations else {})


def _service(spec: dict[str, Any]) -> dict[str, Any]:
    """Its addresses are given by each cluster; only that it has none is the user's own choice."""
    if spec.get("clusterIP") == "None":
        return spec
    return {key: value for key, value in spec.items() if key not in {"clusterIP", "clusterIPs"}}


def _job(spec: dict[str, Any]) -> dict[str, Any]:
    """Its selector and labels are made of a uid that the next one will not have, unless the user chose them."""
    if spec.get("manualSelector"):
        return spec
    template = dict(spec.get("template") or {})
    metadata = dict(template.get("metadata") or {})
    labels = {key: value for key, value in (metadata.get("labels") or {}).items() if key not in _JOB_LABELS}
    metadata = {key: value for key, value in metadata.items() if key not in {"labels", "creationTimestamp"}}
    template["metadata"] = metadata | ({"labels": labels} if labels else {})
    return {key: value for key, value in spec.items() if key != "selector"} | {"template": template}
