"""Upkeep in the cluster: installed by its chart as a user would, and what its replicas are doing."""

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from cluster.kubectl import Object
from cluster.server import NAMESPACES, Server
from cluster.waiting import until
from lab import runtime, tools
from lab.access import ClusterAccess
from lab.archive import fingerprint
from lab.home import TREE, Home
from upkeep.cluster.resources import CONFIG_MAPS, DEPLOYMENTS, LEASES, PODS
from upkeep.controller.operator import LEASE_NAME

NAMESPACE: Final = "upkeep-system"
ACCOUNT: Final = f"system:serviceaccount:{NAMESPACE}:upkeep"
CHANNELS: Final = "upkeep-channels"
"""Secret with the channels to people; it need not be there."""
ALERTMANAGERS: Final = "upkeep-alertmanagers"
"""ConfigMap with the one Alertmanager `main`, behind a Service that need not be there."""
ALERTMANAGER_URL: Final = f"http://alertmanager.{NAMESPACE}:9093"
_RELEASE: Final = "upkeep"
_CHART: Final = TREE / "charts" / "upkeep"
_MADE_FROM: Final = "upkeep.dev/made-from"
_SELECTOR: Final = "app.kubernetes.io/name=upkeep,app.kubernetes.io/component=operator"
_BUSY: Final = "another operation (install/upgrade/rollback) is in progress"
_PATIENCE: Final = 60.0
_LONGEST: Final = timedelta(minutes=4)
"""So long a helm of the tests may take; then it is killed."""


@dataclass(frozen=True, slots=True)
class Installation:
    """The operator that serves the whole cluster."""

    server: Server
    access: ClusterAccess

    def present(self) -> bool:
        """Whether it is there."""
        return self.server.find(DEPLOYMENTS, NAMESPACE, _RELEASE) is not None

    def bring(self) -> None:
        """Install or upgrade it, unless just this chart runs with just this image; return when a replica leads."""
        made_from = self._made_from()
        running = self.server.find(DEPLOYMENTS, NAMESPACE, _RELEASE)
        template = running["spec"]["template"]["metadata"].get("annotations", {}) if running else {}
        if template.get(_MADE_FROM) != made_from:
            self._configure_alertmanager()
            repository, _, tag = self.access.image.rpartition(":")
            values = {
                "image": {"repository": repository, "tag": tag},
                "podAnnotations": {_MADE_FROM: made_from},
                "channels": {"secretName": CHANNELS},
                "alertmanagers": {"configMapName": ALERTMANAGERS},
            }
            install = ("upgrade", "--install", _RELEASE, str(_CHART), "--create-namespace", "--values=-")
            self._helm(*install, "--wait", "--timeout=3m", values=values)
        self.settled()

    def remove(self) -> None:
        """Uninstall it; the definitions stay, as Helm leaves them."""
        self._helm("uninstall", _RELEASE, "--ignore-not-found", "--wait")

    def pods(self) -> list[Object]:
        """The Pods of its replicas, without those that are being deleted."""
        found = self.server.list(PODS, NAMESPACE, selector=_SELECTOR)
        return [pod for pod in found if "deletionTimestamp" not in pod["metadata"]]

    def lease(self) -> Object:
        """The spec of the Lease; empty before the first replica has taken it."""
        lease = self.server.find(LEASES, NAMESPACE, LEASE_NAME)
        spec: Object = lease["spec"] if lease else {}
        return spec

    def settled(self) -> Object:
        """The leader's Pod, once all replicas are ready and one of them leads."""
        wanted = self.server.get(DEPLOYMENTS, NAMESPACE, _RELEASE)["spec"]["replicas"]
        pods = until(
            lambda: {pod["metadata"]["name"]: pod for pod in self.pods()},
            lambda pods: (
                len(pods) == wanted
                and all(_ready(pod) for pod in pods.values())
                and self.lease().get("holderIdentity") in pods
            ),
            what=f"{wanted} replicas are ready and one leads",
            seconds=_PATIENCE,
            every=0.2,
        )
        return pods[self.lease()["holderIdentity"]]

    def logs(self) -> str:
        """All that its replicas have logged, those before a restart among it."""
        parts = []
        for pod in self.pods():
            path = PODS.path(NAMESPACE, pod["metadata"]["name"], "log")
            parts.append(self.server.text(path))
            if pod["status"]["containerStatuses"][0]["restartCount"]:
                parts.append(self.server.text(path, previous="true"))
        return "".join(parts)

    def requests(self, since: str) -> Iterator[Object]:
        """What the operator asked of the API server since an instant, from the audit log of the home-built cluster."""
        assert self.access.audit_log is not None
        with self.access.audit_log.open() as lines:
            for line in lines:
                request = json.loads(line)
                if request["user"]["username"] == ACCOUNT and request["requestReceivedTimestamp"] >= since:
                    yield request

    def _configure_alertmanager(self) -> None:
        """Name an Alertmanager for as long as the namespace is there; the operator reads of it when it starts."""
        if self.server.find(NAMESPACES, None, NAMESPACE) is None:
            self.server.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
        if self.server.find(CONFIG_MAPS, NAMESPACE, ALERTMANAGERS) is None:
            metadata = {"name": ALERTMANAGERS, "namespace": NAMESPACE}
            data = {"alertmanagers.yaml": f"main: {{url: '{ALERTMANAGER_URL}'}}\n"}
            self.server.create({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data})

    def _made_from(self) -> str:
        """What the cluster would run now: this chart, and the image as it was last loaded."""
        loaded = runtime.label(Home.from_environment(), self.access.image) if self.access.home_built else None
        return fingerprint([_CHART], words=[loaded or self.access.image])[:32]

    def _helm(self, *arguments: str, values: Object | None = None) -> None:
        def attempt() -> "subprocess.CompletedProcess[str]":
            done = self._attempt(*arguments, values=values)
            if _BUSY in done.stderr and self._abandoned():
                self._attempt("rollback", _RELEASE)
            return done

        # Somebody else may be installing just now.
        done = until(attempt, lambda end: _BUSY not in end.stderr, what="helm's turn", seconds=240, every=2)
        assert done.returncode == 0, f"helm {arguments[0]}: {done.stderr}"

    def _abandoned(self) -> bool:
        """Whether what helm says is in progress has been so for longer than any of it may take: its helm was killed."""
        revisions = json.loads(self._attempt("history", _RELEASE, "--max=1", "--output=json").stdout or "[]")
        ages = [datetime.now(UTC) - datetime.fromisoformat(each["updated"]) for each in revisions]
        return bool(ages) and ages[-1] > _LONGEST

    def _attempt(self, *arguments: str, values: Object | None = None) -> "subprocess.CompletedProcess[str]":
        context = (f"--kube-context={self.access.context}", f"--namespace={NAMESPACE}")
        environment = {**tools.environment(Home.from_environment()), "KUBECONFIG": str(self.access.kubeconfig)}
        return subprocess.run(
            [tools.helm(), *arguments, *context],
            env=environment,
            input=json.dumps(values) if values else None,
            capture_output=True,
            text=True,
            timeout=_LONGEST.total_seconds(),
            check=False,
        )


def kill(pod: Object) -> None:
    """SIGKILL the operator's process of a Pod, on this machine, where the home-built cluster's only node is.

    The pidfd is opened before it is checked whose process it is, so that no other can be hit.
    """
    uid = pod["metadata"]["uid"]
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or not _is_operator(entry, uid):
            continue
        handle = os.pidfd_open(int(entry.name))
        try:
            if _is_operator(entry, uid):
                signal.pidfd_send_signal(handle, signal.SIGKILL)
                return
        finally:
            os.close(handle)
    msg = f"no process of Pod {pod['metadata']['name']} runs on this machine"
    raise AssertionError(msg)


def _is_operator(entry: Path, pod_uid: str) -> bool:
    try:
        words = (entry / "cmdline").read_bytes().split(b"\0")
        return words[:4] == [b"python", b"-m", b"upkeep", b"operator"] and pod_uid in (entry / "cgroup").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False


def _ready(pod: Object) -> bool:
    found = {condition["type"]: condition["status"] for condition in pod["status"].get("conditions", ())}
    return found.get("Ready") == "True"
