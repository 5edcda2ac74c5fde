"""What a maintenance page consists of in the cluster: its content, the Pods that serve it, and a Service in front.

All of it is owned by the window and named after it, so that a second look finds what the first one made. The content
is mounted as a directory: a window that is extended changes the ConfigMap and no Pod. Nothing here may need a
privilege: the Pods run in the namespaces of users and pass the `restricted` Pod Security Standard.
"""

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from upkeep.domain.branding import KEYS
from upkeep.domain.identity import MANAGED_BY, MANAGED_BY_LABEL, MAX_LABEL, OWNER_UID_LABEL, Identity
from upkeep.domain.instants import write_instant
from upkeep.resources.metadata import owner_labels, owner_reference

if TYPE_CHECKING:  # the page server takes its paths and ports from here and must start without pydantic
    from upkeep.api.window import Page

PAGE_PORT: Final = 80
"""Port of the Service, named `http`."""
CONTAINER_PORT: Final = 8080
"""Port of the page in its Pods."""
HEALTH_PORT: Final = 8081
"""Port of `/healthz` in its Pods; the page itself answers 503 to everything, also to probes."""
CONTENT_DIRECTORY: Final = "/etc/upkeep/page"
CONTENT_FILE: Final = "page.json"
BRAND_DIRECTORY: Final = "/etc/upkeep/brand"
"""Where the page finds name, logo and colour, each as a file, as far as they are there."""

COMPONENT_LABEL: Final = "app.kubernetes.io/component"
COMPONENT: Final = "maintenance-page"
"""By this label network policies of users can let their ingress controller through to every page."""
PAGES: Final = f"{MANAGED_BY_LABEL}={MANAGED_BY},{COMPONENT_LABEL}={COMPONENT}"
"""The label selector of all that pages consist of."""

_DIGEST_LENGTH: Final = 8
_NOBODY: Final = 65532
"""The user of distroless images, and of ours."""

Manifest = dict[str, Any]


def page_name(window_name: str, window_uid: str) -> str:
    """The name of a window's page: one per window, at most 63 characters, good as a Service's name."""
    digest = hashlib.sha256(window_uid.encode()).hexdigest()[:_DIGEST_LENGTH]
    room = MAX_LABEL - len("upkeep-page--") - _DIGEST_LENGTH
    slug = re.sub(r"[^a-z0-9-]+", "-", window_name.lower())[:room].strip("-")
    return f"upkeep-page-{slug}-{digest}"


def page_objects(*, window: Identity, page: "Page", until: datetime, image: str, replicas: int = 2) -> list[Manifest]:
    """ConfigMap, Service and Deployment of a window's page, in the order in which to create them.

    Args:
        window: the owner.
        page: what it says, and whose it is.
        until: when the window ends; time zone aware.
        image: the operator's image, which contains the page server.
        replicas: number of Pods; two survive the loss of a node.
    """
    return [_config_map(window, page, until), _service(window), _deployment(window, page, image, replicas)]


def page_ready(endpoint_slices: Iterable[Mapping[str, Any]]) -> bool:
    """Whether somebody answers: at least one endpoint of the Service's slices is ready.

    A condition that is missing counts as ready, as the EndpointSlice API demands.
    """
    return any(
        endpoint.get("addresses") and (endpoint.get("conditions") or {}).get("ready") is not False
        for endpoint_slice in endpoint_slices
        for endpoint in endpoint_slice.get("endpoints") or ()
    )


def _metadata(window: Identity) -> Manifest:
    return {
        "name": page_name(window.name, window.uid),
        "namespace": window.namespace,
        "labels": owner_labels(window) | _selector(window),
        "ownerReferences": [owner_reference(window)],
    }


def _selector(window: Identity) -> dict[str, str]:
    return {COMPONENT_LABEL: COMPONENT, OWNER_UID_LABEL: window.uid}


def _config_map(window: Identity, page: "Page", until: datetime) -> Manifest:
    content = {
        "title": page.title,
        "message": page.message,
        "language": page.language,
        "translations": [translation.model_dump(by_alias=True) for translation in page.translations],
        "until": write_instant(until),
        "window": window.name,
    }
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": _metadata(window),
        "data": {CONTENT_FILE: json.dumps(content, ensure_ascii=False, indent=2) + "\n"},
    }


def _service(window: Identity) -> Manifest:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": _metadata(window),
        "spec": {
            "type": "ClusterIP",
            "selector": _selector(window),
            "ports": [
                {"name": "http", "port": PAGE_PORT, "targetPort": "http", "protocol": "TCP", "appProtocol": "http"}
            ],
        },
    }


def _deployment(window: Identity, page: "Page", image: str, replicas: int) -> Manifest:
    metadata = _metadata(window)
    mounted = {"content": (CONTENT_DIRECTORY, {"name": metadata["name"]})}
    if page.branding:
        # Not there, or only in part: it is a page all the same, and takes it in as soon as it is.
        entries = [{"key": key, "path": key} for key in KEYS]
        mounted["brand"] = (
            BRAND_DIRECTORY,
            {"name": page.branding.config_map_name, "items": entries, "optional": True},
        )
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": metadata,
        "spec": {
            "replicas": replicas,
            "revisionHistoryLimit": 0,
            "selector": {"matchLabels": _selector(window)},
            "template": {
                "metadata": {"labels": metadata["labels"]},
                "spec": {
                    "automountServiceAccountToken": False,
                    "enableServiceLinks": False,
                    "terminationGracePeriodSeconds": 5,
                    "securityContext": {
                        "runAsNonRoot": True,
                        "runAsUser": _NOBODY,
                        "runAsGroup": _NOBODY,
                        "seccompProfile": {"type": "RuntimeDefault"},
                    },
                    "topologySpreadConstraints": [
                        {
                            "maxSkew": 1,
                            "topologyKey": "kubernetes.io/hostname",
                            "whenUnsatisfiable": "ScheduleAnyway",
                            "labelSelector": {"matchLabels": _selector(window)},
                        }
                    ],
                    "containers": [_container(image, {name: place for name, (place, _) in mounted.items()})],
                    "volumes": [{"name": name, "configMap": source} for name, (_, source) in mounted.items()],
                },
            },
        },
    }


def _container(image: str, mounts: Mapping[str, str]) -> Manifest:
    return {
        "name": "page",
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "args": ["page"],
        "ports": [
            {"name": "http", "containerPort": CONTAINER_PORT, "protocol": "TCP"},
            {"name": "health", "containerPort": HEALTH_PORT, "protocol": "TCP"},
        ],
        "readinessProbe": {"httpGet": {"path": "/healthz", "port": "health"}, "periodSeconds": 2, "timeoutSeconds": 2},
        "resources": {
            "requests": {"cpu": "10m", "memory": "32Mi"},
            "limits": {"memory": "128Mi"},
        },
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [{"name": name, "mountPath": path, "readOnly": True} for name, path in mounts.items()],
    }
