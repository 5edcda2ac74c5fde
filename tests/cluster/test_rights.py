"""The operator uses what it was granted, and was granted what it uses; what could do harm it was never given."""

from collections.abc import Iterator
from typing import Final

import pytest

from cluster.exposure import Exposure
from cluster.installation import ACCOUNT, NAMESPACE, Installation
from cluster.kubectl import Kubectl, Object
from cluster.server import REPLICA_SETS, Server
from upkeep.cluster.resources import Resource

Right = tuple[str, str, str]
"""API group, resource with its subresource, verb."""

NOT_USED_HERE: Final[dict[Right, str]] = {
    ("coordination.k8s.io", "leases", "create"): "only the first replica of a cluster finds no Lease",
    ("batch", "jobs", "get"): "to tell whose a Job is whose name is taken: after a crash between Job and status",
    ("gateway.networking.k8s.io", "httproutes", "get"): "nothing here is served by a route; test_routes does that",
    ("gateway.networking.k8s.io", "httproutes", "patch"): "nothing here is served by a route; test_routes does that",
    ("networking.k8s.io", "ingresses", "create"): "a page over an Ingress: tests/cluster/test_overlay.py",
    ("networking.k8s.io", "ingresses", "delete"): "a page over an Ingress: tests/cluster/test_overlay.py",
    ("networking.k8s.io", "ingressclasses", "list"): "a page over an Ingress: tests/cluster/test_overlay.py",
    ("gateway.networking.k8s.io", "httproutes", "create"): "a route for testers: tests/cluster/test_bypass.py",
    ("gateway.networking.k8s.io", "httproutes", "delete"): "a route for testers: tests/cluster/test_bypass.py",
    ("traefik.io", "ingressroutes", "create"): "a route for testers: tests/cluster/test_bypass.py",
    ("traefik.io", "ingressroutes", "delete"): "a route for testers: tests/cluster/test_bypass.py",
    ("traefik.io", "ingressroutes", "get"): "nothing here is served by a route; test_routes does that",
    ("traefik.io", "ingressroutes", "patch"): "nothing here is served by a route; test_routes does that",
    ("gateway.networking.k8s.io", "httproutes", "watch"): "not where the cluster does not know the kind",
    ("traefik.io", "ingressroutes", "watch"): "not where the cluster does not know the kind",
    ("batch", "jobs", "patch"): "to stop what still runs when its window ends: tests/cluster/test_window_course.py",
    ("apps", "deployments", "patch"): "a page that is there already: after a crash between page and status",
    ("", "services", "patch"): "a page that is there already: after a crash between page and status",
    ("", "configmaps", "patch"): "a page that is there already: after a crash between page and status",
    ("upkeep.dev", "maintenancewindows", "get"): "before an Ingress is taken off the page of a window that is gone",
    ("upkeep.dev", "maintenancewindows", "create"): "maintenance by hand",
    ("upkeep.dev", "maintenancewindows", "delete"): "a window by hand, a day after its end or for the next one",
}
ROLES: Final = (
    Resource("rbac.authorization.k8s.io", "v1", "clusterrolebindings", "ClusterRoleBinding"),
    Resource("rbac.authorization.k8s.io", "v1", "rolebindings", "RoleBinding"),
)
_ROLE_PLURALS: Final = {"ClusterRole": "clusterroles", "Role": "roles"}


def _rules(server: Server) -> Iterator[Object]:
    """The rules of every role that is bound to the operator's account by name."""
    subject = {"kind": "ServiceAccount", "name": "upkeep", "namespace": NAMESPACE}
    for kind in ROLES:
        for binding in server.list(kind):
            if subject in binding.get("subjects", ()):
                reference = binding["roleRef"]
                role = Resource(kind.group, kind.version, _ROLE_PLURALS[reference["kind"]], reference["kind"])
                namespace = binding["metadata"].get("namespace") if reference["kind"] == "Role" else None
                yield from server.get(role, namespace, reference["name"])["rules"]


@pytest.fixture
def granted(server: Server, upkeep: Installation) -> set[Right]:  # noqa: ARG001 - it brings the roles
    return {
        (group, resource, verb)
        for rule in _rules(server)
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


@pytest.fixture
def requests(server: Server, upkeep: Installation, exposed: Exposure) -> list[Object]:
    """All that the running version of the operator has asked for, from its start to the end of all kinds of work."""
    exposed.page_taken_down()
    selector = "app.kubernetes.io/name=upkeep,app.kubernetes.io/component=operator"
    versions = server.list(REPLICA_SETS, NAMESPACE, selector=selector)
    newest = max(version["metadata"]["creationTimestamp"] for version in versions if version["spec"]["replicas"])
    return list(upkeep.requests(newest))


def _right(request: Object) -> Right | None:
    asked = request.get("objectRef")
    if asked is None:
        return None
    resource = "/".join(filter(None, (asked["resource"], asked.get("subresource"))))
    return asked.get("apiGroup", ""), resource, request["verb"]


@pytest.mark.home_built
def test_nothing_was_asked_for_that_is_not_granted(requests: list[Object], granted: set[Right]) -> None:
    refused = [
        (_right(request), request["requestURI"])
        for request in requests
        if request["annotations"].get("authorization.k8s.io/decision") != "allow"
    ]

    assert refused == []
    assert {_right(request) for request in requests} - {None} <= granted


@pytest.mark.home_built
def test_every_right_is_used_or_there_is_a_reason_to_have_it(requests: list[Object], granted: set[Right]) -> None:
    used = {_right(request) for request in requests}

    assert granted - used <= NOT_USED_HERE.keys()
    assert NOT_USED_HERE.keys() <= granted


def test_nothing_is_granted_by_a_wildcard(granted: set[Right]) -> None:
    assert [right for right in granted if any("*" in part for part in right)] == []


@pytest.mark.parametrize("verb", ["get", "list", "watch", "create", "update", "patch", "delete", "deletecollection"])
def test_secrets_are_out_of_reach(kubectl: Kubectl, upkeep: Installation, verb: str) -> None:  # noqa: ARG001 - bound
    for where in ("--all-namespaces", f"--namespace={NAMESPACE}"):
        answer = kubectl.attempt("auth", "can-i", verb, "secrets", where, f"--as={ACCOUNT}")

        assert answer.stdout.strip() == "no", answer.stderr


@pytest.mark.parametrize(
    ("verb", "resource"),
    [
        ("create", "pods/exec"),
        ("create", "pods/attach"),
        ("create", "pods/ephemeralcontainers"),
        ("create", "pods"),
        ("create", "serviceaccounts/token"),
        ("escalate", "clusterroles.rbac.authorization.k8s.io"),
        ("escalate", "roles.rbac.authorization.k8s.io"),
        ("bind", "clusterroles.rbac.authorization.k8s.io"),
        ("create", "rolebindings.rbac.authorization.k8s.io"),
        ("impersonate", "users"),
        ("impersonate", "groups"),
        ("impersonate", "serviceaccounts"),
        ("update", "nodes"),
        ("patch", "namespaces"),
        ("*", "*"),
    ],
)
def test_what_could_do_harm_is_not_granted(
    kubectl: Kubectl,
    upkeep: Installation,  # noqa: ARG001 - bound
    verb: str,
    resource: str,
) -> None:
    answer = kubectl.attempt("auth", "can-i", verb, resource, "--all-namespaces", f"--as={ACCOUNT}")

    assert answer.stdout.strip() == "no", answer.stderr


def test_what_it_does_need_is_granted(kubectl: Kubectl, upkeep: Installation) -> None:  # noqa: ARG001 - bound
    answer = kubectl.attempt("auth", "can-i", "create", "jobs.batch", "--all-namespaces", f"--as={ACCOUNT}")

    assert answer.stdout.strip() == "yes", answer.stderr
