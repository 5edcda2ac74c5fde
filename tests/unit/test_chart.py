"""What the chart installs: rights, Pod security and settings, read from what it renders (manifests/install).

That the rendered file is what the chart renders today is checked where Helm is, in tests/cluster/test_chart.py.
"""

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from upkeep.actions.kubernetes.view import Look
from upkeep.actions.registry import actions
from upkeep.api.window import Request
from upkeep.controller.operator import LEASE_NAME
from upkeep.domain.window.approval import Endorsement
from upkeep.domain.window.checklist import TICK_PREFIX
from upkeep.domain.window.requests import REQUESTED_BY

ROOT: Final = Path(__file__).parents[2]
CHART: Final = ROOT / "charts" / "upkeep"
INSTALL: Final = ROOT / "manifests" / "install"
RENDERED: Final = INSTALL / "upkeep.yaml"

Object = dict[str, Any]
Rule = tuple[str, str, str]

IN_WATCHED_NAMESPACES: Final = {
    "upkeep.dev": {
        "maintenancetasks": {"list", "watch"},
        "maintenancewindows": {"get", "list", "watch", "create", "patch", "delete"},
        "backuppolicies": {"list", "watch"},
        "maintenancetasks/status": {"patch"},
        "maintenancewindows/status": {"patch"},
        "backuppolicies/status": {"patch"},
    },
    "batch": {"jobs": {"get", "list", "watch", "create", "patch", "delete"}},
    "": {
        "pods": {"list", "watch"},
        "services": {"get", "create", "patch", "delete"},
        "configmaps": {"get", "create", "patch", "delete"},
        "events": {"create"},
    },
    "networking.k8s.io": {
        "ingresses": {"get", "list", "watch", "create", "patch", "delete"},
        "ingressclasses": {"list"},
    },
    "gateway.networking.k8s.io": {"httproutes": {"get", "list", "watch", "create", "patch", "delete"}},
    "traefik.io": {"ingressroutes": {"get", "list", "watch", "create", "patch", "delete"}},
    "apps": {"deployments": {"get", "create", "patch", "delete"}},
    "discovery.k8s.io": {"endpointslices": {"list"}},
}
IN_OWN_NAMESPACE: Final = {"coordination.k8s.io": {"leases": {"get", "create", "update"}}}


@pytest.fixture(scope="module")
def objects() -> list[Object]:
    return [found for found in yaml.safe_load_all(RENDERED.read_text()) if found]


@pytest.fixture(scope="module")
def deployment(objects: list[Object]) -> Object:
    return _one(objects, "Deployment", "upkeep")


@pytest.fixture(scope="module")
def container(deployment: Object) -> Object:
    (only,) = deployment["spec"]["template"]["spec"]["containers"]
    found: Object = only
    return found


@pytest.mark.parametrize("folder", [CHART / "files" / "crds", INSTALL / "crds"], ids=["chart", "kustomize"])
def test_what_installs_the_definitions_has_those_that_the_models_generate(folder: Path) -> None:
    generated = {path.name: path.read_text() for path in (ROOT / "crds").iterdir()}
    carried = {path.name: path.read_text() for path in folder.iterdir()}

    assert carried == generated


def test_kustomize_installs_every_file_that_is_there() -> None:
    listed = yaml.safe_load((INSTALL / "kustomization.yaml").read_text())["resources"]
    there = [str(path.relative_to(INSTALL)) for path in INSTALL.rglob("*.yaml") if path.name != "kustomization.yaml"]

    assert sorted(listed) == sorted(there)


def test_the_operator_may_do_exactly_this(objects: list[Object]) -> None:
    everywhere = _one(objects, "ClusterRole", "upkeep")
    at_home = _one(objects, "Role", "upkeep-leader")

    assert set(_granted(everywhere)) == set(_flat(IN_WATCHED_NAMESPACES))
    assert set(_granted(at_home)) == set(_flat(IN_OWN_NAMESPACE))
    assert at_home["metadata"]["namespace"] == "upkeep-system"


def test_the_operator_touches_no_lease_but_its_own(objects: list[Object]) -> None:
    by_verb = {verb: rule for rule in _one(objects, "Role", "upkeep-leader")["rules"] for verb in rule["verbs"]}

    assert by_verb["get"]["resourceNames"] == by_verb["update"]["resourceNames"] == [LEASE_NAME]


def test_no_role_reads_secrets_or_grants_what_it_has_not(objects: list[Object]) -> None:
    roles = [found for found in objects if found["kind"] in {"Role", "ClusterRole"}]

    assert roles
    for role in roles:
        for group, resource, verb in _granted(role):
            assert "*" not in {group, resource, verb}
            assert resource.split("/")[0] != "secrets"
            assert resource not in {"pods/exec", "pods/attach", "pods/portforward"}
            assert verb not in {"escalate", "bind", "impersonate"}


def test_roles_are_bound_to_the_operators_account_and_to_nobody_else(objects: list[Object]) -> None:
    bindings = [found for found in objects if found["kind"] in {"RoleBinding", "ClusterRoleBinding"}]
    account = {"kind": "ServiceAccount", "name": "upkeep", "namespace": "upkeep-system"}

    assert {found["roleRef"]["name"] for found in bindings} == {"upkeep", "upkeep-leader"}
    assert [found["subjects"] for found in bindings] == [[account]] * 2


def test_everybody_who_may_view_may_view_maintenance(objects: list[Object]) -> None:
    role = _one(objects, "ClusterRole", "upkeep-view")

    assert role["metadata"]["labels"]["rbac.authorization.k8s.io/aggregate-to-view"] == "true"
    assert {verb for _, _, verb in _granted(role)} == {"get", "list", "watch"}


def test_who_may_edit_workloads_may_not_therefore_edit_tasks(objects: list[Object]) -> None:
    role = _one(objects, "ClusterRole", "upkeep-edit")

    assert [label for label in role["metadata"]["labels"] if "aggregate-to" in label] == []
    assert {group for group, _, _ in _granted(role)} == {"upkeep.dev"}


def test_each_action_that_touches_the_cluster_has_its_role_and_says_so(objects: list[Object]) -> None:
    roles = {found["metadata"]["name"] for found in objects if found["metadata"]["name"].startswith("upkeep-action-")}
    told = {name: set(re.findall(r"upkeep-action-[a-z-]+", action.__doc__ or "")) for name, action in actions().items()}

    assert {role for named in told.values() for role in named} == roles
    assert all(action.role in told[name] for name, action in actions().items() if issubclass(action, Look))


def test_what_only_looks_may_only_list(objects: list[Object]) -> None:
    for action in actions().values():
        if issubclass(action, Look):
            assert {verb for _, _, verb in _granted(_one(objects, "ClusterRole", action.role))} == {"list"}


@pytest.mark.parametrize(("role", "verb"), [("upkeep-approver", "approve"), ("upkeep-ticker", "tick")])
def test_who_may_approve_or_tick_may_do_nothing_else(objects: list[Object], role: str, verb: str) -> None:
    granted = set(_granted(_one(objects, "ClusterRole", role)))

    assert granted == {("upkeep.dev", "maintenancewindows", each) for each in ("get", "list", "watch", "patch", verb)}


def test_the_policy_guards_the_annotations_that_the_operator_reads(objects: list[Object]) -> None:
    policy = _one(objects, "ValidatingAdmissionPolicy", "upkeep-approval")
    binding = _one(objects, "ValidatingAdmissionPolicyBinding", "upkeep-approval")
    variables = {variable["name"]: variable["expression"] for variable in policy["spec"]["variables"]}
    endorsement = Endorsement(by="alice", occurrence="2026-12-06T02:00:00Z", generation="1")

    assert ast.literal_eval(variables["parts"]) == list(endorsement.annotations)
    assert f"key.startsWith('{TICK_PREFIX}')" in variables["ticks"]
    assert ast.literal_eval(variables["requests"]) == [request.annotation for request in Request]
    assert REQUESTED_BY in variables["asks"]
    assert policy["spec"]["failurePolicy"] == "Fail"
    assert binding["spec"] == {"policyName": policy["metadata"]["name"], "validationActions": ["Deny"]}


def test_two_replicas_of_which_a_drain_takes_one_at_a_time(objects: list[Object], deployment: Object) -> None:
    budget = _one(objects, "PodDisruptionBudget", "upkeep")

    assert deployment["spec"]["replicas"] == 2
    assert budget["spec"]["maxUnavailable"] == 1
    assert budget["spec"]["selector"] == deployment["spec"]["selector"]


def test_replicas_prefer_different_nodes_but_do_not_insist(deployment: Object) -> None:
    (spread,) = deployment["spec"]["template"]["spec"]["topologySpreadConstraints"]

    assert spread["topologyKey"] == "kubernetes.io/hostname"
    assert spread["whenUnsatisfiable"] == "ScheduleAnyway"


def test_the_pod_is_restricted(deployment: Object, container: Object) -> None:
    pod = deployment["spec"]["template"]["spec"]

    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert {"memory"} == set(container["resources"]["limits"])


def test_the_operator_is_told_who_and_where_it_is(container: Object) -> None:
    environment = {variable["name"]: variable.get("value", variable.get("valueFrom")) for variable in container["env"]}

    assert container["args"] == ["operator"]
    assert environment == {
        "UPKEEP_IMAGE": container["image"],
        "UPKEEP_NAMESPACE": {"fieldRef": {"fieldPath": "metadata.namespace"}},
        "UPKEEP_POD_NAME": {"fieldRef": {"fieldPath": "metadata.name"}},
        "UPKEEP_WATCH_NAMESPACES": "",
        "UPKEEP_APPROVAL_POLICY": "true",
        "UPKEEP_METRICS_PREFIX": "upkeep",
        "UPKEEP_LOG_LEVEL": "info",
        "UPKEEP_LOG_FORMAT": "json",
    }


def test_probes_and_metrics_are_at_the_one_port(objects: list[Object], container: Object) -> None:
    service = _one(objects, "Service", "upkeep-metrics")

    assert container["ports"] == [{"name": "http", "containerPort": 8080}]
    assert {name: container[name]["httpGet"] for name in ("startupProbe", "livenessProbe", "readinessProbe")} == {
        "startupProbe": {"path": "/healthz", "port": "http"},
        "livenessProbe": {"path": "/healthz", "port": "http"},
        "readinessProbe": {"path": "/readyz", "port": "http"},
    }
    assert service["spec"]["ports"] == [{"name": "http", "port": 8080, "targetPort": "http"}]


def test_the_schema_knows_every_value_and_refuses_every_other_name() -> None:
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    schema = json.loads((CHART / "values.schema.json").read_text())

    assert set(_unknown(values, schema)) == set()
    assert schema["properties"].keys() - values.keys() == {"global"}


def _unknown(values: Object, schema: Object, path: str = "") -> Iterator[str]:
    properties = schema.get("properties", {})
    if properties and schema.get("additionalProperties") is not False:
        yield f"{path} lets any name through"
    for name, value in values.items():
        if properties and name not in properties:
            yield f"{path}.{name} is not in the schema"
        elif isinstance(value, dict):
            yield from _unknown(value, properties.get(name, {}), f"{path}.{name}")


def _one(objects: list[Object], kind: str, name: str) -> Object:
    (found,) = [found for found in objects if found["kind"] == kind and found["metadata"]["name"] == name]
    return found


def _granted(role: Object) -> Iterator[Rule]:
    for rule in role["rules"]:
        for group in rule["apiGroups"]:
            for resource in rule["resources"]:
                for verb in rule["verbs"]:
                    yield group, resource, verb


def _flat(rights: dict[str, dict[str, set[str]]]) -> Iterator[Rule]:
    for group, resources in rights.items():
        for resource, verbs in resources.items():
            for verb in verbs:
                yield group, resource, verb
