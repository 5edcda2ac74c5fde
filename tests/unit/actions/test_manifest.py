"""Kubernetes objects are kept as people write them: what a cluster puts in by itself is left out, and nothing else."""

from typing import Any

import pytest

from upkeep.actions.backup.manifest import clean, remade

Object = dict[str, Any]


def item(kind: str, *, api_version: str = "v1", metadata: Object | None = None, **rest: object) -> Object:
    return {"apiVersion": api_version, "kind": kind, "metadata": {"name": "it", **(metadata or {})}, **rest}


def test_what_only_the_api_server_sets_is_left_out() -> None:
    stored = item(
        "ConfigMap",
        metadata={
            "uid": "u",
            "resourceVersion": "7",
            "creationTimestamp": "2026-01-01T00:00:00Z",
            "managedFields": [{}],
            "generation": 3,
            "labels": {"a": "b"},
            "annotations": {"kubectl.kubernetes.io/last-applied-configuration": "{}", "team": "shop"},
            "finalizers": ["example.com/keep"],
        },
        data={"status": "is a key here"},
        status={"phase": "any"},
    )

    assert clean(stored) == item(
        "ConfigMap",
        metadata={"labels": {"a": "b"}, "annotations": {"team": "shop"}, "finalizers": ["example.com/keep"]},
        data={"status": "is a key here"},
    )


def test_annotations_that_are_all_of_controllers_leave_none_behind() -> None:
    stored = item(
        "Deployment", metadata={"annotations": {"deployment.kubernetes.io/revision": "4"}}, spec={"replicas": 2}
    )

    assert clean(stored) == item("Deployment", spec={"replicas": 2})


@pytest.mark.parametrize(
    ("spec", "kept"),
    [
        ({"clusterIP": "10.0.0.1", "clusterIPs": ["10.0.0.1"], "ports": [1]}, {"ports": [1]}),
        ({"clusterIP": "None", "clusterIPs": ["None"]}, {"clusterIP": "None", "clusterIPs": ["None"]}),
    ],
)
def test_a_service_gets_its_address_from_each_cluster_unless_it_has_none(spec: Object, kept: Object) -> None:
    assert clean(item("Service", spec=spec))["spec"] == kept


def test_a_claim_is_not_bound_to_a_volume_that_another_cluster_does_not_have() -> None:
    claim = item("PersistentVolumeClaim", spec={"volumeName": "pv-1", "storageClassName": "fast"})

    assert clean(claim)["spec"] == {"storageClassName": "fast"}


def test_a_job_can_be_made_again() -> None:
    labels = {"controller-uid": "u", "batch.kubernetes.io/job-name": "it", "team": "shop"}
    job = item(
        "Job",
        spec={
            "selector": {"matchLabels": {"controller-uid": "u"}},
            "template": {"metadata": {"labels": labels, "creationTimestamp": None}, "spec": {"containers": []}},
        },
    )

    assert clean(job)["spec"] == {"template": {"metadata": {"labels": {"team": "shop"}}, "spec": {"containers": []}}}


def test_a_job_whose_selector_a_person_chose_keeps_it() -> None:
    spec = {"manualSelector": True, "selector": {"matchLabels": {"a": "b"}}, "template": {}}

    assert clean(item("Job", spec=spec))["spec"] == spec


@pytest.mark.parametrize(
    ("stored", "by_itself"),
    [
        (item("Pod", metadata={"ownerReferences": [{"kind": "ReplicaSet", "controller": True}]}), True),
        (item("ConfigMap", metadata={"ownerReferences": [{"kind": "Shop", "controller": False}]}), False),
        (item("Secret", type="kubernetes.io/service-account-token"), True),
        (item("Secret", type="Opaque"), False),
        (item("ConfigMap", metadata={"name": "kube-root-ca.crt"}), True),
        (item("ConfigMap"), False),
        (item("Endpoints"), True),
    ],
)
def test_what_a_controller_makes_anew_is_not_kept(stored: Object, by_itself: bool) -> None:  # noqa: FBT001 - a parameter of the test
    assert remade(stored) is by_itself
