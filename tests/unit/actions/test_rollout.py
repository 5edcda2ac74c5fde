"""How far the Pods of a workload are, as its status tells, and what is in the way of a restart."""

from typing import Any

import pytest

from upkeep.actions.kubernetes.rollout import Rollout, WorkloadKind, obstacle, rollout

Object = dict[str, Any]


def workload(status: Object, *, generation: int = 2, observed: int = 2, **spec: object) -> Object:
    known = {"observedGeneration": observed, **status}
    return {"metadata": {"generation": generation}, "spec": {"replicas": 2, **spec}, "status": known}


DEPLOYMENT = {"replicas": 2, "updatedReplicas": 2, "availableReplicas": 2}
STATEFUL_SET = {"readyReplicas": 2, "updatedReplicas": 2, "currentRevision": "b", "updateRevision": "b"}
DAEMON_SET = {"desiredNumberScheduled": 3, "updatedNumberScheduled": 3, "numberAvailable": 3}
WELL = [
    (WorkloadKind.DEPLOYMENT, DEPLOYMENT),
    (WorkloadKind.STATEFUL_SET, STATEFUL_SET),
    (WorkloadKind.DAEMON_SET, DAEMON_SET),
]


@pytest.mark.parametrize(("kind", "status"), WELL)
def test_all_pods_are_new_and_can_be_used(kind: WorkloadKind, status: Object) -> None:
    assert rollout(kind, workload(status)).complete


@pytest.mark.parametrize(("kind", "status"), WELL)
def test_what_the_controller_has_not_seen_yet_is_not_done(kind: WorkloadKind, status: Object) -> None:
    assert not rollout(kind, workload(status, generation=3)).complete


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        (WorkloadKind.DEPLOYMENT, DEPLOYMENT | {"updatedReplicas": 1}),
        (WorkloadKind.DEPLOYMENT, DEPLOYMENT | {"replicas": 3}),
        (WorkloadKind.DEPLOYMENT, DEPLOYMENT | {"availableReplicas": 1}),
        (WorkloadKind.DEPLOYMENT, {}),
        (WorkloadKind.STATEFUL_SET, STATEFUL_SET | {"updateRevision": "c"}),
        (WorkloadKind.STATEFUL_SET, STATEFUL_SET | {"readyReplicas": 1}),
        (WorkloadKind.DAEMON_SET, DAEMON_SET | {"updatedNumberScheduled": 2}),
        (WorkloadKind.DAEMON_SET, DAEMON_SET | {"numberAvailable": 2}),
    ],
)
def test_one_pod_that_is_old_or_cannot_be_used_is_enough(kind: WorkloadKind, status: Object) -> None:
    assert not rollout(kind, workload(status)).complete


def test_what_its_controller_complains_about_is_told() -> None:
    late = {"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded", "message": "timed out"}
    quota = {"type": "ReplicaFailure", "status": "True", "message": "exceeded quota"}

    given_up = rollout(WorkloadKind.DEPLOYMENT, workload({**DEPLOYMENT, "updatedReplicas": 1, "conditions": [late]}))
    refused = rollout(WorkloadKind.DEPLOYMENT, workload({**DEPLOYMENT, "conditions": [quota]}))

    assert (given_up.given_up, given_up.trouble) == (True, "timed out")
    assert (refused.given_up, refused.trouble) == (False, "exceeded quota")
    assert str(given_up) == "1 of 2 Pods are new, 2 can be used: timed out"


def test_a_deployment_that_says_no_number_has_one_pod() -> None:
    bare: Object = {"metadata": {"generation": 1}, "spec": {}, "status": {}}

    assert rollout(WorkloadKind.DEPLOYMENT, bare) == Rollout(desired=1, updated=0, ready=0, complete=False)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"metadata": {"deletionTimestamp": "2026-03-02T02:00:00Z"}}, "is being deleted"),
        ({"spec": {"paused": True}}, "kubectl rollout resume"),
        ({"spec": {"updateStrategy": {"type": "OnDelete"}}}, "use RollingUpdate"),
        ({"spec": {"updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 2}}}}, "number 2 on"),
    ],
)
def test_a_restart_that_nothing_would_come_of_is_refused(changes: Object, words: str) -> None:
    found: Object = {"metadata": {}, "spec": {}} | changes

    assert words in obstacle(found)
    assert obstacle({"metadata": {}, "spec": {"updateStrategy": {"type": "RollingUpdate"}}}) == ""
