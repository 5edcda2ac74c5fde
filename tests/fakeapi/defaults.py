"""What the real server fills in where a client says nothing.

It exists because a controller that compares what it wants with what it reads trips over defaults. It must never
overwrite what a client said. Not filled in: what admission plugins add (service accounts, priorities, tolerations)
and the protection finalizer of PersistentVolumeClaims.
"""

import zlib
from collections.abc import Callable
from typing import Any

from fakeapi.objects import Json
from fakeapi.resources import NAMESPACES, ResourceType

_PROBE = {"timeoutSeconds": 1, "periodSeconds": 10, "successThreshold": 1, "failureThreshold": 3}
_MODE = 0o644


def defaulted(resource: ResourceType, obj: Json, live: Json | None = None) -> Json:
    """Return an object with the server's defaults.

    Args:
        resource: its kind.
        obj: a fresh object; what it holds is not changed.
        live: the stored version that it replaces, None for a creation.
    """
    fill = _FILLERS.get((resource.group, resource.kind))
    return obj if fill is None else fill(obj, live)


def _namespace(obj: Json, live: Json | None) -> Json:
    metadata = obj["metadata"]
    labels = {**metadata.get("labels", {}), "kubernetes.io/metadata.name": metadata["name"]}
    filled = {**obj, "metadata": {**metadata, "labels": labels}}
    return filled if live else {**filled, "spec": {"finalizers": ["kubernetes"]}, "status": {"phase": "Active"}}


def _pod(obj: Json, live: Json | None) -> Json:
    spec = {"enableServiceLinks": True, **_pod_spec(obj.get("spec") or {})}
    status = obj.get("status") or {"phase": "Pending", "qosClass": "BestEffort"}
    return {**obj, "spec": spec, "status": status} if live is None else {**obj, "spec": spec}


def _service(obj: Json, live: Json | None) -> Json:
    spec = obj.get("spec") or {}
    ports = [{"protocol": "TCP", "targetPort": port.get("port"), **port} for port in spec.get("ports") or []]
    given = (live or {}).get("spec", {})
    address = spec.get("clusterIP") or given.get("clusterIP") or _address(obj["metadata"]["uid"])
    filled = {
        "type": "ClusterIP",
        "sessionAffinity": "None",
        "clusterIP": address,
        "clusterIPs": [address],
        "ipFamilies": ["IPv4"],
        "ipFamilyPolicy": "SingleStack",
        "internalTrafficPolicy": "Cluster",
    }
    return _with_status(
        {**obj, "spec": {**filled, **spec, **({"ports": ports} if ports else {})}}, {"loadBalancer": {}}
    )


def _job(obj: Json, live: Json | None) -> Json:
    spec = obj.get("spec") or {}
    metadata = obj["metadata"]
    if live is not None:
        return obj
    owner = {
        "batch.kubernetes.io/controller-uid": metadata["uid"],
        "batch.kubernetes.io/job-name": metadata["name"],
        "controller-uid": metadata["uid"],
        "job-name": metadata["name"],
    }
    template = _template(spec.get("template") or {}, labels=owner)
    filled = {
        "parallelism": 1,
        "completions": 1,
        "backoffLimit": 6,
        "completionMode": "NonIndexed",
        "suspend": False,
        "manualSelector": False,
        "podReplacementPolicy": "TerminatingOrFailed",
        "selector": {"matchLabels": {"batch.kubernetes.io/controller-uid": metadata["uid"]}},
    }
    # The labels of the template become the Job's own where it has none, and never after that.
    labels = metadata.get("labels") or template["metadata"]["labels"]
    return _with_status(
        {
            **obj,
            "metadata": {**metadata, "labels": labels},
            "spec": {**filled, **spec, "template": template},
        },
        {},
    )


def _deployment(obj: Json, _: Json | None) -> Json:
    spec = obj.get("spec") or {}
    strategy = {"type": "RollingUpdate", **(spec.get("strategy") or {})}
    if strategy["type"] == "RollingUpdate":
        rolling = strategy.get("rollingUpdate") or {}
        strategy["rollingUpdate"] = {"maxUnavailable": "25%", "maxSurge": "25%", **rolling}
    filled = {"replicas": 1, "revisionHistoryLimit": 10, "progressDeadlineSeconds": 600}
    template = _template(spec.get("template") or {}, labels={})
    return _with_status({**obj, "spec": {**filled, **spec, "strategy": strategy, "template": template}}, {})


def _ingress(obj: Json, _: Json | None) -> Json:
    return _with_status(obj, {"loadBalancer": {}})


def _claim(obj: Json, live: Json | None) -> Json:
    filled = {**obj, "spec": {"volumeMode": "Filesystem", **(obj.get("spec") or {})}}
    return _with_status(filled, {"phase": "Pending"}) if live is None else filled


def _endpoint_slice(obj: Json, _: Json | None) -> Json:
    endpoints = [{"conditions": {}, **endpoint} for endpoint in obj.get("endpoints") or []]
    ports = [{"name": "", "protocol": "TCP", **port} for port in obj.get("ports") or []]
    return {**obj, "endpoints": endpoints or None, "ports": ports or None}


def _event(obj: Json, _: Json | None) -> Json:
    head = {key: obj[key] for key in ("apiVersion", "kind", "metadata")}
    times = {"firstTimestamp": None, "lastTimestamp": None, "eventTime": None}
    return {**head, "source": {}, **times, "reportingComponent": "", "reportingInstance": "", **obj}


_FILLERS: dict[tuple[str, str], Callable[[Json, Json | None], Json]] = {
    ("", NAMESPACES.kind): _namespace,
    ("", "Pod"): _pod,
    ("", "Service"): _service,
    ("", "PersistentVolumeClaim"): _claim,
    ("", "Event"): _event,
    ("batch", "Job"): _job,
    ("apps", "Deployment"): _deployment,
    ("networking.k8s.io", "Ingress"): _ingress,
    ("discovery.k8s.io", "EndpointSlice"): _endpoint_slice,
}


def _template(template: Json, *, labels: dict[str, str]) -> Json:
    metadata = template.get("metadata") or {}
    if labels:
        metadata = {**metadata, "labels": {**(metadata.get("labels") or {}), **labels}}
    return {"metadata": metadata, "spec": _pod_spec(template.get("spec") or {})}


def _pod_spec(spec: Json) -> Json:
    filled: Json = {
        "restartPolicy": "Always",
        "terminationGracePeriodSeconds": 30,
        "dnsPolicy": "ClusterFirst",
        "securityContext": {},
        "schedulerName": "default-scheduler",
        **spec,
    }
    for kind in ("containers", "initContainers"):
        if spec.get(kind):
            filled[kind] = [_container(container) for container in spec[kind]]
    if spec.get("volumes"):
        filled["volumes"] = [_volume(volume) for volume in spec["volumes"]]
    if spec.get("serviceAccountName"):
        filled["serviceAccount"] = spec["serviceAccountName"]
    return filled


def _container(container: Json) -> Json:
    image = container.get("image", "")
    tag = image.rpartition("/")[2].partition(":")[2]
    filled: Json = {
        "resources": {},
        "terminationMessagePath": "/dev/termination-log",
        "terminationMessagePolicy": "File",
        "imagePullPolicy": "Always" if tag in {"", "latest"} and "@" not in image else "IfNotPresent",
        **container,
    }
    if container.get("ports"):
        filled["ports"] = [{"protocol": "TCP", **port} for port in container["ports"]]
    if container.get("env"):
        filled["env"] = [_variable(variable) for variable in container["env"]]
    for probe in ("livenessProbe", "readinessProbe", "startupProbe"):
        if probe in container:
            filled[probe] = {**_PROBE, **container[probe]}
            if "httpGet" in container[probe]:
                filled[probe]["httpGet"] = {"path": "/", "scheme": "HTTP", **container[probe]["httpGet"]}
    return filled


def _variable(variable: Json) -> Json:
    source: Any = variable.get("valueFrom") or {}
    if "fieldRef" not in source:
        return variable
    return {**variable, "valueFrom": {**source, "fieldRef": {"apiVersion": "v1", **source["fieldRef"]}}}


def _volume(volume: Json) -> Json:
    if set(volume) <= {"name"}:
        return {**volume, "emptyDir": {}}
    filled = dict(volume)
    for kind in filled.keys() & {"configMap", "secret", "projected", "downwardAPI"}:
        filled[kind] = {"defaultMode": _MODE, **volume[kind]}
    if "hostPath" in filled:
        filled["hostPath"] = {"type": "", **volume["hostPath"]}
    if "projected" in filled:
        filled["projected"]["sources"] = [_projection(source) for source in volume["projected"].get("sources", [])]
    return filled


def _projection(source: Json) -> Json:
    if "serviceAccountToken" not in source:
        return source
    return {**source, "serviceAccountToken": {"expirationSeconds": 3600, **source["serviceAccountToken"]}}


def _with_status(obj: Json, status: Json) -> Json:
    return obj if "status" in obj else {**obj, "status": status}


def _address(uid: str) -> str:
    number = zlib.crc32(uid.encode()) % 65_000 + 1
    return f"10.96.{number >> 8}.{number & 255}"
