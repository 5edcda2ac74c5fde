"""The simulated kubelet: takes the Pods of Jobs through their lives.

It exists because what a run found reaches the operator only by a container's termination message. It must never
touch a Job.
"""

from fakeapi.behaviours import Behaviour, Finish, ImagePullError
from fakeapi.fields import Writer
from fakeapi.objects import Json, Key, Record
from fakeapi.resources import PODS
from fakeapi.store import Store
from fakeapi.timers import Timers

MESSAGE_LIMIT = 4096
"""Bytes of a termination message that a kubelet keeps: the last ones."""

_KUBELET = Writer("kubelet")


class Kubelet:
    """Runs Pods by changing their status.

    Args:
        store: where the Pods are.
        timers: for what takes time.
    """

    def __init__(self, store: Store, timers: Timers) -> None:
        self._store = store
        self._timers = timers

    def run(self, pod: Record, job: Json, behaviour: Behaviour) -> None:
        """Start a Pod.

        Args:
            pod: the Pod, Pending.
            job: the Job that it belongs to.
            behaviour: how it fares.
        """
        key, uid = pod.key, pod.uid
        if isinstance(behaviour, ImagePullError):
            waiting = {"waiting": {"reason": behaviour.reason, "message": behaviour.message}}
            self._timers.after(0, lambda: self._set(key, uid, "Pending", waiting))
            return
        self._timers.after(behaviour.pending, lambda: self._start(key, uid, job, behaviour))

    def _start(self, key: Key, uid: str, job: Json, behaviour: Behaviour) -> None:
        started = self._store.now()
        if self._set(key, uid, "Running", {"running": {"startedAt": started}}) and isinstance(behaviour, Finish):
            self._timers.after(behaviour.running, lambda: self._finish(key, uid, job, behaviour, started))

    def _finish(self, key: Key, uid: str, job: Json, behaviour: Finish, started: str) -> None:
        exit_code, message = behaviour.outcome(job)
        terminated: Json = {
            "exitCode": exit_code,
            "reason": "Error" if exit_code else "Completed",
            "startedAt": started,
            "finishedAt": self._store.now(),
            "containerID": f"containerd://{uid}",
        }
        if message:
            terminated["message"] = message.encode()[-MESSAGE_LIMIT:].decode(errors="ignore")
        self._set(key, uid, "Failed" if exit_code else "Succeeded", {"terminated": terminated})

    def _set(self, key: Key, uid: str, phase: str, state: Json) -> bool:
        record = self._store.find(PODS, key)
        if record is None or record.uid != uid:
            return False
        status = _status(record.object, phase, state, now=self._store.now())
        wanted = {**record.object, "status": status}
        self._store.update(PODS, key, lambda _: wanted, writer=_KUBELET, subresource="status")
        return True


def _status(pod: Json, phase: str, state: Json, *, now: str) -> Json:
    ready = phase == "Running"
    conditions = {
        "PodScheduled": True,
        "PodReadyToStartContainers": ready,
        "Initialized": True,
        "ContainersReady": ready,
        "Ready": ready,
    }
    return {
        "phase": phase,
        "qosClass": pod.get("status", {}).get("qosClass", "BestEffort"),
        "startTime": pod.get("status", {}).get("startTime", now),
        "conditions": [
            {"type": kind, "status": str(holds), "lastProbeTime": None, "lastTransitionTime": now}
            for kind, holds in conditions.items()
        ],
        "containerStatuses": [
            _container_status(container, state, ready=ready, first=index == 0)
            for index, container in enumerate(pod["spec"].get("containers", []))
        ],
    }


def _container_status(container: Json, state: Json, *, ready: bool, first: bool) -> Json:
    if not first and "terminated" in state:
        # Only the first container has something to say.
        own = {key: value for key, value in state["terminated"].items() if key != "message"}
        state = {"terminated": {**own, "exitCode": 0, "reason": "Completed"}}
    return {
        "name": container["name"],
        "image": container.get("image", ""),
        "imageID": "",
        "ready": ready,
        "started": ready,
        "restartCount": 0,
        "state": state,
        "lastState": {},
    }
