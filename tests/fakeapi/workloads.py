"""The simulated Deployment and EndpointSlice controllers: Deployments become available, Services get endpoints.

It exists because nothing may be swapped to a page that has no ready endpoint. It makes no Pods and must never look
at anything but Deployments and Services.
"""

import zlib

from fakeapi.fields import Writer
from fakeapi.objects import Change, Json, Key, Record
from fakeapi.resources import DEPLOYMENTS, ENDPOINT_SLICES, SERVICES, ResourceType
from fakeapi.store import Store
from fakeapi.timers import Timers

_CONTROLLER = Writer("kube-controller-manager")


class WorkloadControllers:
    """Follows Deployments and Services.

    Args:
        store: where they are.
        timers: for what takes time.
        ready_after: seconds until a new or changed Deployment is available, None for never.
    """

    def __init__(self, store: Store, timers: Timers, *, ready_after: float | None) -> None:
        self._store = store
        self._timers = timers
        self._ready_after = ready_after
        self._available: dict[str, int] = {}
        store.observe(DEPLOYMENTS, self._on_deployment)
        store.observe(SERVICES, self._on_service)
        for record in store.select(DEPLOYMENTS):
            self._begin(record)
        for record in store.select(SERVICES):
            self._later(record.key)

    def _on_deployment(self, _: ResourceType, change: Change) -> None:
        before = change.previous.object if change.previous else {}
        if change.type == "DELETED":
            self._available.pop(change.record.uid, None)
            self._serve(change.record)
        elif before.get("spec") != change.record.object["spec"]:
            self._begin(change.record)

    def _on_service(self, _: ResourceType, change: Change) -> None:
        if change.type != "DELETED":
            self._later(change.record.key)

    def _later(self, service: Key) -> None:
        self._timers.after(0, lambda: self._slice(service))

    def _begin(self, deployment: Record) -> None:
        key, uid = deployment.key, deployment.uid
        self._timers.after(0, lambda: self._report(key, uid))
        if self._ready_after is not None:
            generation = deployment.object["metadata"]["generation"]
            self._timers.after(self._ready_after, lambda: self._become_available(key, uid, generation))

    def _become_available(self, key: Key, uid: str, generation: int) -> None:
        self._available[uid] = generation
        self._report(key, uid)
        record = self._store.find(DEPLOYMENTS, key)
        if record is not None and record.uid == uid:
            self._serve(record)

    def _report(self, key: Key, uid: str) -> None:
        record = self._store.find(DEPLOYMENTS, key)
        if record is None or record.uid != uid:
            return
        generation = self._available.get(uid)
        status = _deployment_status(record.object, available_generation=generation, now=self._store.now())
        self._store.update(
            DEPLOYMENTS,
            key,
            lambda live: {**live.object, "status": status},
            writer=_CONTROLLER,
            subresource="status",
        )

    def _serve(self, deployment: Record) -> None:
        for service in self._store.select(SERVICES, deployment.key[0]):
            if _selects(service.object, deployment.object):
                self._later(service.key)

    def _slice(self, key: Key) -> None:
        service = self._store.find(SERVICES, key)
        if service is None or not service.object["spec"].get("selector"):
            return
        backing = [
            deployment
            for deployment in self._store.select(DEPLOYMENTS, key[0])
            if deployment.uid in self._available and _selects(service.object, deployment.object)
        ]
        wanted = _endpoint_slice(service, backing)
        labels = {"kubernetes.io/service-name": key[1]}
        existing = self._store.select(
            ENDPOINT_SLICES, key[0], lambda obj: labels.items() <= obj["metadata"].get("labels", {}).items()
        )
        if not existing:
            self._store.create(ENDPOINT_SLICES, key[0], wanted, writer=_CONTROLLER)
            return
        change = {name: wanted[name] for name in ("addressType", "endpoints", "ports")}
        self._store.update(ENDPOINT_SLICES, existing[0].key, lambda live: {**live.object, **change}, writer=_CONTROLLER)


def _selects(service: Json, deployment: Json) -> bool:
    selector = service["spec"].get("selector") or {}
    labels = deployment["spec"]["template"].get("metadata", {}).get("labels") or {}
    return bool(selector) and selector.items() <= labels.items()


def _deployment_status(deployment: Json, *, available_generation: int | None, now: str) -> Json:
    replicas = deployment["spec"]["replicas"]
    generation = deployment["metadata"]["generation"]
    # A rollout keeps the old Pods until the new ones are ready: once available, always available.
    available = not replicas or available_generation is not None
    done = available_generation == generation
    conditions = [
        _condition(
            "Available",
            holds=available,
            reason="MinimumReplicasAvailable" if available else "MinimumReplicasUnavailable",
            message=f"Deployment {'has' if available else 'does not have'} minimum availability.",
            now=now,
        ),
        _condition(
            "Progressing",
            holds=True,
            reason="NewReplicaSetAvailable" if done else "ReplicaSetUpdated",
            message=f'ReplicaSet of "{deployment["metadata"]["name"]}" '
            f"{'has successfully progressed' if done else 'is progressing'}.",
            now=now,
        ),
    ]
    ready = replicas if available else 0
    counts = {
        "replicas": replicas,
        "updatedReplicas": replicas if done or not available else 0,
        "readyReplicas": ready,
        "availableReplicas": ready,
        "unavailableReplicas": replicas - ready,
    }
    status = {"observedGeneration": generation, "conditions": conditions}
    return {**status, **{name: count for name, count in counts.items() if count}}


def _condition(kind: str, *, holds: bool, reason: str, message: str, now: str) -> Json:
    return {
        "type": kind,
        "status": str(holds),
        "reason": reason,
        "message": message,
        "lastUpdateTime": now,
        "lastTransitionTime": now,
    }


def _endpoint_slice(service: Record, backing: list[Record]) -> Json:
    namespace, name = service.key
    owner = {
        "apiVersion": "v1",
        "kind": "Service",
        "name": name,
        "uid": service.uid,
        "controller": True,
        "blockOwnerDeletion": True,
    }
    labels = {
        **service.object["metadata"].get("labels", {}),
        "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io",
        "kubernetes.io/service-name": name,
    }
    endpoints = [endpoint for deployment in backing for endpoint in _endpoints(deployment)]
    ports = [
        {
            "name": port.get("name", ""),
            "port": _target(port["targetPort"], backing, otherwise=port["port"]),
            "protocol": port["protocol"],
        }
        for port in service.object["spec"].get("ports", [])
    ]
    return {
        "metadata": {
            "generateName": f"{name}-",
            "namespace": namespace,
            "labels": labels,
            "ownerReferences": [owner],
        },
        "addressType": "IPv4",
        "endpoints": endpoints or None,
        "ports": ports if endpoints else None,
    }


def _target(port: int | str, backing: list[Record], *, otherwise: int) -> int:
    """Return the number of a target port, which may be the name of a container's port."""
    if isinstance(port, int):
        return port
    named = (
        exposed["containerPort"]
        for deployment in backing
        for container in deployment.object["spec"]["template"]["spec"].get("containers", [])
        for exposed in container.get("ports", [])
        if exposed.get("name") == port
    )
    return next(named, otherwise)


def _endpoints(deployment: Record) -> list[Json]:
    third = zlib.crc32(deployment.uid.encode()) % 256
    return [
        {
            "addresses": [f"10.244.{third}.{number + 1}"],
            "conditions": {"ready": True, "serving": True, "terminating": False},
            "nodeName": "fake-node",
        }
        for number in range(deployment.object["spec"]["replicas"])
    ]
