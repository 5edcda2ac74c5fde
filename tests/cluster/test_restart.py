"""Restarting workloads of a real cluster: in order, with as few rights as possible, and not where it would do harm."""

import json
from collections.abc import Callable
from functools import partial
from typing import Any, Final

import pytest

from cluster.kubectl import Kubectl, Object, parse
from cluster.manifests import task, web_server
from cluster.space import Space
from cluster.waiting import until
from lab.access import ClusterAccess
from lab.home import TREE
from upkeep.actions.kubernetes.restart import RESTARTED_AT
from upkeep.actions.kubernetes.rollout import WorkloadKind, rollout
from upkeep.cluster.resources import DEPLOYMENTS, JOBS, PODS, Resource

SAMPLE: Final = TREE / "manifests" / "samples" / "task-restart.yaml"
RESTARTER: Final = "restarter"
KINDS: Final = {
    WorkloadKind.DEPLOYMENT: DEPLOYMENTS,
    WorkloadKind.STATEFUL_SET: Resource("apps", "v1", "statefulsets", "StatefulSet"),
    WorkloadKind.DAEMON_SET: Resource("apps", "v1", "daemonsets", "DaemonSet"),
}
WELL: Final = "/tmp/well"  # noqa: S108 - in a container
"""File that makes the Pods of a workload ready."""

Workload = Callable[..., Object]


@pytest.fixture(scope="module")
def make(space: Space, access: ClusterAccess, kubectl: Kubectl) -> Workload:
    """Brings a workload that is well, and returns it."""
    where = f"--namespace={space.name}"
    kubectl.run("create", "serviceaccount", RESTARTER, where)
    kubectl.run("create", "serviceaccount", "nobody", where)
    subject = f"--serviceaccount={space.name}:{RESTARTER}"
    kubectl.run("create", "rolebinding", RESTARTER, "--clusterrole=upkeep-action-restart", subject, where)

    def made(name: str, kind: WorkloadKind = WorkloadKind.DEPLOYMENT, **spec: Any) -> Object:  # noqa: ANN401 - fields of a spec
        service, pod = web_server(access.shop_image, name)
        (container,) = pod["spec"]["containers"]
        serve = f"touch {WELL}; exec python3 -m http.server 8000 --directory=/usr/share"
        container["command"] = ["/bin/sh", "-c", serve]
        container["readinessProbe"] = {"exec": {"command": ["test", "-e", WELL]}, "periodSeconds": 1}
        labels = {"app": name}
        whole = {
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": pod["spec"]},
            **({"serviceName": name} if kind is WorkloadKind.STATEFUL_SET else {}),
            **spec,
        }
        body = {"apiVersion": "apps/v1", "kind": str(kind), "metadata": {"name": name}, "spec": whole}
        kubectl.run("apply", where, "--filename=-", stdin=json.dumps(body))
        space.make(service)
        return well(space, name, kind)

    return made


def well(space: Space, name: str, kind: WorkloadKind = WorkloadKind.DEPLOYMENT) -> Object:
    """The workload, as soon as all its Pods are new and can be used."""
    return until(
        partial(space.get, KINDS[kind], name),
        lambda found: rollout(kind, found).complete,
        what=f"{kind} {name} is well",
        seconds=60,
        every=0.2,
    )


def pods(space: Space, name: str) -> set[str]:
    return {pod["metadata"]["uid"] for pod in space.all(PODS, selector=f"app={name}")}


def restarted(
    space: Space, name: str, *, called: str, account: str | None = RESTARTER, seconds: float = 60, **action: object
) -> Object:
    """The last run of a task that restarts a workload now."""
    named = {"serviceAccountName": account} if account else {}
    space.make(task(called, {"name": "restart", "kubernetesRestart": {"name": name, **action}}, **named))
    run: Object = space.ended_run(called, seconds=seconds)["lastRun"]
    return run


def restarts(workload: Object) -> str:
    """When it was last restarted; empty where it never was."""
    found: str = workload["spec"]["template"]["metadata"].get("annotations", {}).get(RESTARTED_AT, "")
    return found


def test_the_sample_replaces_every_pod_with_no_right_but_to_this_deployment(
    space: Space, make: Workload, kubectl: Kubectl
) -> None:
    make("shop-web", replicas=2)
    before = pods(space, "shop-web")
    sample = parse(SAMPLE.read_text().replace("namespace: shop\n", f"namespace: {space.name}\n"))
    kubectl.run("apply", "--filename=-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": sample}))
    space.run_now("restart-web", "now")

    run = space.ended_run("restart-web", token="now", seconds=90)["lastRun"]  # noqa: S106 - a token of run-now

    assert run["outcome"] == "changed", run
    assert "Deployment 'shop-web': 2 Pods are new and can be used" in run["steps"][0]["message"]
    assert restarts(well(space, "shop-web"))
    after = {pod["metadata"]["uid"] for pod in space.all(PODS, selector="app=shop-web") if _serves(pod)}
    assert len(after) == 2
    assert not after & before
    account = f"--as=system:serviceaccount:{space.name}:restart-web"
    for question in (("patch", "deployments.apps/other"), ("delete", "deployments.apps/shop-web"), ("list", "pods")):
        asked = kubectl.attempt("auth", "can-i", *question, account, f"--namespace={space.name}")
        assert asked.stdout.strip() == "no", question


@pytest.mark.parametrize("kind", [WorkloadKind.STATEFUL_SET, WorkloadKind.DAEMON_SET])
def test_other_kinds_are_restarted_by_the_role_of_the_chart(space: Space, make: Workload, kind: WorkloadKind) -> None:
    name = f"a-{kind.lower()}"
    make(name, kind)
    before = pods(space, name)

    run = restarted(space, name, called=f"restart-{name}", kind=kind)

    assert run["outcome"] == "changed", run
    assert not before & {pod["metadata"]["uid"] for pod in space.all(PODS, selector=f"app={name}") if _serves(pod)}


def test_what_is_not_well_is_left_alone_unless_it_is_to_be_recovered(
    space: Space, make: Workload, kubectl: Kubectl
) -> None:
    make("sick")
    where = f"--namespace={space.name}"
    kubectl.run("exec", "deployment/sick", where, "--", "rm", WELL)
    until(
        partial(space.get, DEPLOYMENTS, "sick"),
        lambda found: not found["status"].get("availableReplicas"),
        what="it is not well",
        seconds=30,
    )

    refused = restarted(space, "sick", called="careful")

    assert refused["outcome"] == "failed"
    assert "is not well, so it was left alone: 1 of 1 Pods are new, 0 can be used" in refused["message"]
    (finding,) = refused["findings"]
    assert (finding["checkId"], finding["severity"]) == ("kubernetes.degraded", "critical")
    assert restarts(space.get(DEPLOYMENTS, "sick")) == ""

    recovered = restarted(space, "sick", called="recovers", recover=True)

    assert recovered["outcome"] == "changed", recovered
    assert "it was not well before" in recovered["message"]
    assert [each["severity"] for each in recovered["findings"]] == ["warning"]


def test_what_does_not_come_back_is_said_and_left_to_people(space: Space, make: Workload, kubectl: Kubectl) -> None:
    make("broken")
    broken = {"spec": {"template": {"spec": {"containers": [{"name": "web", "image": "localhost/no-such-image:1"}]}}}}
    where = f"--namespace={space.name}"
    kubectl.run("patch", "deployment", "broken", where, "--type=strategic", f"--patch={json.dumps(broken)}")

    run = restarted(space, "broken", called="hopes", recover=True, timeout="3s")

    assert run["outcome"] == "failed"
    assert (
        "was restarted and does not come back, after 3s at most: 1 of 1 Pods are new, 1 can be used" in run["message"]
    )
    assert {each["checkId"] for each in run["findings"]} == {"kubernetes.rollout", "kubernetes.degraded"}


def test_a_paused_one_is_refused(space: Space, make: Workload) -> None:
    make("paused")
    space.change(DEPLOYMENTS, "paused", {"spec": {"paused": True}})

    run = restarted(space, "paused", called="unpaused")

    assert run["outcome"] == "failed"
    assert "is paused, so that nothing would be restarted: `kubectl rollout resume` it first" in run["message"]
    assert restarts(space.get(DEPLOYMENTS, "paused")) == ""


def test_one_without_pods_is_skipped(space: Space, make: Workload) -> None:
    make("empty", replicas=0)

    assert restarted(space, "empty", called="nothing-to-do")["outcome"] == "skipped"


@pytest.mark.parametrize(
    ("called", "account", "name", "words"),
    [
        ("powerless", "nobody", "any", 'cannot get resource "deployments"'),
        ("nameless", None, "any", "name a ServiceAccount in spec.serviceAccountName"),
        ("mistaken", RESTARTER, "not-there", '"not-there" not found'),
    ],
)
def test_what_cannot_be_done_says_what_to_do(
    space: Space,
    make: Workload,  # noqa: ARG001 - it brings the accounts
    called: str,
    account: str | None,
    name: str,
    words: str,
) -> None:
    run = restarted(space, name, called=called, account=account)

    assert run["outcome"] == "failed"
    assert words in run["message"]


def test_a_run_that_is_stopped_leaves_the_rollout_to_go_on(space: Space, make: Workload) -> None:
    make("slow", minReadySeconds=5)
    space.make(
        task("stopped", {"name": "restart", "kubernetesRestart": {"name": "slow"}}, serviceAccountName=RESTARTER)
    )
    until(partial(space.get, DEPLOYMENTS, "slow"), lambda found: bool(restarts(found)), what="it begins", seconds=60)

    (job,) = space.jobs_of(
        space.get(Resource("upkeep.dev", "v1alpha1", "maintenancetasks", "MaintenanceTask"), "stopped")
    )
    space.change(JOBS, job["metadata"]["name"], {"spec": {"activeDeadlineSeconds": 1}})

    run = space.ended_run("stopped", seconds=60)["lastRun"]
    assert run["outcome"] in {"failed", "unknown"}
    assert restarts(well(space, "slow"))


def _serves(pod: Object) -> bool:
    return "deletionTimestamp" not in pod["metadata"]
