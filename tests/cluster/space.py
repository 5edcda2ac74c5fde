"""A namespace of a test's own, in which no Pod is admitted that does not pass the level `restricted`."""

import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

from cluster.kubectl import Object
from cluster.server import NAMESPACES, Server
from cluster.waiting import until
from upkeep.cluster.resources import BACKUPS, EVENTS, JOBS, PODS, TASKS, Resource

MARK: Final = "upkeep.dev/test"
"""Label of every namespace of the tests."""
PATIENCE: Final = 20.0
"""Seconds after which a message counts as not said."""
_BACKUP_SECONDS: Final = 120.0
_RUN_NOW: Final = "upkeep.dev/run-now"


@dataclass(frozen=True, slots=True)
class Space:
    """The namespace, and what is asked of it again and again."""

    server: Server
    name: str

    def make(self, *bodies: Object) -> None:
        """Create objects in it."""
        for body in bodies:
            self.server.create({**body, "metadata": {**body["metadata"], "namespace": self.name}})

    def get(self, kind: Resource, name: str) -> Object:
        """An object that must be there."""
        return self.server.get(kind, self.name, name)

    def status(self, kind: Resource, name: str) -> dict[str, Any]:
        """Its status; empty before the first."""
        found: dict[str, Any] = self.get(kind, name).get("status") or {}
        return found

    def all(self, kind: Resource, *, selector: str = "") -> list[Object]:
        """The objects of a kind."""
        return self.server.list(kind, self.name, selector=selector)

    def change(self, kind: Resource, name: str, change: Object) -> Object:
        """Change an object by a merge patch."""
        return self.server.patch(kind, self.name, name, change)

    def remove(self, kind: Resource, name: str) -> None:
        """Delete an object, and in the background what it owns."""
        self.server.delete(kind, self.name, name, propagationPolicy="Background")

    def run_now(self, name: str, token: str, *, kind: Resource = TASKS) -> None:
        """What `kubectl annotate … upkeep.dev/run-now` does."""
        self.change(kind, name, {"metadata": {"annotations": {_RUN_NOW: token}}})

    def jobs_of(self, owner: Object) -> Sequence[Object]:
        """The Jobs of a resource."""
        return self.all(JOBS, selector=f"upkeep.dev/owner-uid={owner['metadata']['uid']}")

    def pods_of(self, job: str) -> Sequence[Object]:
        """The Pods of a Job."""
        return self.all(PODS, selector=f"batch.kubernetes.io/job-name={job}")

    def events_of(self, name: str) -> list[Object]:
        """The Events about a resource that Upkeep has written."""
        return [
            event
            for event in self.all(EVENTS)
            if event["involvedObject"]["name"] == name and event.get("reportingComponent") == "upkeep"
        ]

    def said(self, name: str, reason: str) -> str:
        """The messages of its Events of this reason, once there is one: an Event is written after the status."""
        found = until(
            lambda: [event["message"] for event in self.events_of(name) if event["reason"] == reason],
            bool,
            what=f"the Event {reason} of {name}",
            seconds=PATIENCE,
        )
        return " ".join(found)

    def ended_run(self, name: str, *, kind: Resource = TASKS, token: str = "", seconds: float = PATIENCE) -> Object:
        """The status once its last run has ended: the one that was asked for by `token`, else any."""
        return until(
            lambda: self.status(kind, name),
            lambda status: (
                status.get("lastManualRun", "") == (token or status.get("lastManualRun", ""))
                and not status.get("active")
                and "completionTime" in status.get("lastRun", {})
            ),
            what=f"the run of {name} has ended",
            seconds=seconds,
        )

    def policy_ran(self, policy: str, token: str) -> Object:
        """The status of a BackupPolicy after a run that was asked for by `token`, as a person asks for it."""
        self.run_now(policy, token, kind=BACKUPS)
        return self.ended_run(policy, kind=BACKUPS, token=token, seconds=_BACKUP_SECONDS)

    def ready(self, pod: str) -> None:
        """Wait until a Pod is ready."""
        until(
            lambda: conditions(self.get(PODS, pod).get("status") or {}),
            lambda known: known.get("Ready", {}).get("status") == "True",
            what=f"Pod {pod} is ready",
            seconds=60,
            every=0.2,
        )

    def condition(self, name: str, type_: str, status: str, *, kind: Resource = TASKS) -> Object:
        """The condition, as soon as it has this status."""
        found = until(
            lambda: conditions(self.status(kind, name)),
            lambda known: known.get(type_, {}).get("status") == status,
            what=f"{kind.kind} {name} has {type_}={status}",
            seconds=PATIENCE,
        )
        return found[type_]


def conditions(status: dict[str, Any]) -> dict[str, Object]:
    """The conditions of a status by their type."""
    return {condition["type"]: condition for condition in status.get("conditions", ())}


@contextmanager
def own_space(server: Server) -> Iterator[Space]:
    """A namespace that goes when the block ends, without waiting for its end."""
    name = f"test-{secrets.token_hex(4)}"
    labels = {"pod-security.kubernetes.io/enforce": "restricted", MARK: "true"}
    server.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}})
    try:
        # Pods are refused for as long as the namespace's ServiceAccount is not there yet.
        account = Resource("", "v1", "serviceaccounts", "ServiceAccount")
        until(lambda: server.find(account, name, "default"), bool, what=f"{name} is usable", seconds=PATIENCE)
        yield Space(server, name)
    finally:
        server.delete(NAMESPACES, None, name)
