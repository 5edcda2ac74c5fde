"""Looking at the security of a namespace of a real cluster: what is found, what is not, and with which rights."""

import json
from typing import Final

import pytest

from cluster.account import Accounts, granted_by_the_chart
from cluster.conftest import Give, RunSample, See
from cluster.kubectl import Kubectl, Object
from cluster.manifests import idle_pod, task
from cluster.server import SERVICE_ACCOUNTS
from cluster.space import Space
from upkeep.actions.contract import Result
from upkeep.actions.kubernetes.accessreview import KubernetesAccessReview, Scope
from upkeep.actions.kubernetes.exposurereview import KubernetesExposureReview
from upkeep.actions.kubernetes.plainsecrets import KubernetesPlainSecrets
from upkeep.actions.kubernetes.view import Look
from upkeep.actions.text import readable

HOSTILE: Final = '"; DROP \u202e\x07 ü --x ' + "l" * 200
SECRET: Final = "Zk9#vT2qLw8!xR4m"  # noqa: S105 - made up, and looked for afterwards
GROUP: Final = "rbac.authorization.k8s.io"
LOOKS: Final[dict[str, tuple[Look, bool]]] = {
    "access": (KubernetesAccessReview(), True),
    "exposure": (KubernetesExposureReview(), False),
    "secrets": (KubernetesPlainSecrets(), False),
}
"""Actions, and whether their role is bound in the whole cluster."""


def _found(result: Result, where: str = "") -> dict[str, tuple[str, str]]:
    """By object: check without its prefix, and severity; of those in whose name `where` is."""
    return {
        each.object: (each.check_id.rpartition(".")[2], each.severity.value)
        for each in result.findings
        if where in each.object
    }


def test_the_sample_looks_at_all_three_with_the_roles_of_the_chart(
    place: Space, kubectl: Kubectl, run_sample: RunSample
) -> None:
    # given a namespace with something to find for each step
    where = f"--namespace={place.name}"
    kubectl.run("create", "configmap", "app", f"--from-literal=DB_PASSWORD={SECRET}", where)
    kubectl.run("create", "service", "nodeport", "open", "--tcp=80", where)
    kubectl.run("create", "rolebinding", "all", "--clusterrole=edit", f"--serviceaccount={place.name}:default", where)

    # when the sample runs
    run = run_sample("security-review")

    # then each step tells what it found
    assert run["outcome"] == "ok", run
    assert [step["outcome"] for step in run["steps"]] == ["ok", "ok", "ok"]
    found = {(each["checkId"], each["object"]) for each in run["findings"]}
    account = f"ServiceAccount/{place.name}/default"
    assert {
        ("kubernetes.exposure.ingress-open", "MaintenanceTask/security-review"),
        ("kubernetes.access.rights", f"RoleBinding/{place.name}/all {account}"),
        ("kubernetes.exposure.node-port", "Service/open"),
        ("kubernetes.plain-secret", "ConfigMap/app/DB_PASSWORD"),
    } <= found
    assert SECRET not in json.dumps(run)


@pytest.mark.parametrize(
    ("account", "words"),
    [
        ("powerless", "the ServiceAccount may not list pods in namespace {}, networkpolicies.networking.k8s.io"),
        (None, "this Pod has no access to the Kubernetes API: name a ServiceAccount in spec.serviceAccountName"),
    ],
)
def test_without_rights_a_step_is_unknown_and_says_what_to_do(space: Space, account: str | None, words: str) -> None:
    named = {"serviceAccountName": account} if account else {}
    if account:
        metadata = {"name": account, "namespace": space.name}
        space.server.create({"apiVersion": "v1", "kind": SERVICE_ACCOUNTS.kind, "metadata": metadata})
    called = f"looks-as-{account}".lower()
    space.make(task(called, {"name": "look", "kubernetesExposureReview": {}}, **named))

    run = space.ended_run(called, seconds=60)["lastRun"]

    assert run["outcome"] == "unknown"
    assert words.format(space.name) in run["message"]


@pytest.mark.parametrize("name", LOOKS)
def test_the_role_of_the_chart_is_enough_and_one_right_less_is_not(accounts: Accounts, name: str) -> None:
    action, everywhere = LOOKS[name]
    account = accounts.make("looks")
    rights = granted_by_the_chart(action)
    assert {verb for _, _, verb in rights} == {"list"}

    said = account.refusal(action, "may not list")
    assert f"bind it to the ClusterRole {action.role} by a {'Cluster' if everywhere else ''}RoleBinding" in said
    with accounts.granted(account, rights, everywhere=everywhere):
        assert account.report(action).outcome == "ok"
    accounts.need_each_right(action, everywhere=everywhere)


def test_what_can_be_reached_is_found(give: Give, see: See) -> None:
    # given Pods of all kinds, of which a policy guards one
    for name, spec in {
        "open": idle_pod(),
        "guarded": idle_pod(),
        "node-wide": idle_pod(hostNetwork=True),
        "on-port": idle_pod(container={"ports": [{"containerPort": 80, "hostPort": 18080}]}),
    }.items():
        give("v1", "Pod", name, labels={"app": name}, spec=spec)
    networking = "networking.k8s.io/v1"
    guard = {"podSelector": {"matchLabels": {"app": "guarded"}}, "policyTypes": ["Ingress", "Egress"]}
    give(networking, "NetworkPolicy", "guard", spec=guard)
    # and a policy that lets everybody in
    wide = [{"from": [{"ipBlock": {"cidr": "0.0.0.0/0"}}]}, {"from": [{"podSelector": {}}]}]
    give(
        networking, "NetworkPolicy", "wide", spec={"podSelector": {"matchLabels": {"app": "guarded"}}, "ingress": wide}
    )
    # and Services and Ingresses, good and bad
    ports = [{"port": 80}]
    give("v1", "Service", "inside", spec={"ports": ports})
    give("v1", "Service", "balanced", spec={"type": "LoadBalancer", "ports": ports})
    give(
        "v1",
        "Service",
        "narrow",
        spec={"type": "LoadBalancer", "ports": ports, "loadBalancerSourceRanges": ["10.0.0.0/8"]},
    )
    give("v1", "Service", "on-nodes", spec={"type": "NodePort", "ports": ports})
    give("v1", "Service", "foreign", spec={"ports": ports, "externalIPs": ["192.0.2.7"]})
    backend = {"service": {"name": "inside", "port": {"number": 80}}}
    rule = {"http": {"paths": [{"path": "/", "pathType": "Prefix", "backend": backend}]}}
    rules = [{"host": "a.example.com", **rule}, {"host": "b.example.com", **rule}]
    secured = {"hosts": ["*.example.com"], "secretName": "tls"}
    give(networking, "Ingress", "bare", spec={"ingressClassName": "none", "rules": rules})
    give(networking, "Ingress", "secured", spec={"ingressClassName": "none", "rules": rules, "tls": [secured]})

    result = see(KubernetesExposureReview())

    assert (result.outcome, result.message.partition(": ")[2]) == ("ok", "11 findings")
    assert sorted((each.object, each.check_id.rpartition(".")[2], each.severity.value) for each in result.findings) == [
        ("Ingress/bare", "ingress-tls", "warning"),
        ("NetworkPolicy/wide ingress[0]", "ingress-policy", "warning"),
        ("Pod/node-wide", "host-network", "warning"),
        ("Pod/on-port", "egress-open", "info"),
        ("Pod/on-port", "host-port", "warning"),
        ("Pod/on-port", "ingress-open", "warning"),
        ("Pod/open", "egress-open", "info"),
        ("Pod/open", "ingress-open", "warning"),
        ("Service/balanced", "load-balancer", "warning"),
        ("Service/foreign", "external-ip", "warning"),
        ("Service/on-nodes", "node-port", "warning"),
    ]


def test_what_is_closed_or_meant_to_be_open_is_not_found(give: Give, see: See) -> None:
    # given a namespace that denies all but what it needs
    everything = {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    give("networking.k8s.io/v1", "NetworkPolicy", "deny-all", spec=everything)
    give("v1", "Pod", "quiet", spec=idle_pod())
    assert see(KubernetesExposureReview()).findings == []

    # when something is opened that is meant to be
    give("v1", "Service", "shop", spec={"type": "LoadBalancer", "ports": [{"port": 443}]})

    assert list(_found(see(KubernetesExposureReview()))) == ["Service/shop"]
    allowed = see(KubernetesExposureReview(allowed=["Service/sh*"]))
    assert (allowed.findings, allowed.metrics["allowed"]) == ([], 1)


def test_secrets_in_plain_sight_are_found_and_never_shown(give: Give, see: See) -> None:
    def pods(**variables: str) -> Object:
        env = [{"name": name, "value": value} for name, value in variables.items()]
        return {"metadata": {"labels": {"app": "x"}}, "spec": idle_pod(container={"env": env}, restartPolicy="Never")}

    selector = {"selector": {"matchLabels": {"app": "x"}}}
    always = {"restartPolicy": "Always"}
    key = "AKIA" + "QYLPMN5HHHFPZAM2"
    url = f"postgres://app:{SECRET}@db:5432/shop".replace("#", "%23")
    # given secrets in workloads of every kind
    web = pods(DB_PASSWORD=SECRET, DATABASE_URL=url, LOG_LEVEL="debug", PASSWORD_FILE="/run/db")  # noqa: S106 - a path
    web["spec"] |= always
    other = pods(API_TOKEN="short1", TOKEN_TTL="3600")  # noqa: S106 - made up
    other["spec"] |= always
    give("apps/v1", "Deployment", "web", spec={"replicas": 0, "template": web, **selector})
    give("apps/v1", "StatefulSet", "state", spec={"replicas": 0, "serviceName": "x", "template": other, **selector})
    daemon = pods(AWS=key)
    daemon["spec"] |= always | {"nodeSelector": {"no": "node"}}
    give("apps/v1", "DaemonSet", "daemon", spec={"template": daemon, **selector})
    give("batch/v1", "Job", "once", spec={"suspend": True, "template": pods(GITHUB="ghp_" + "a1B2" * 9)})
    nightly = {
        "schedule": "0 0 * * *",
        "suspend": True,
        "jobTemplate": {"spec": {"template": pods(S3_SECRET_KEY=SECRET)}},
    }
    give("batch/v1", "CronJob", "nightly", spec=nightly)
    hostile = '"; DROP --' + "x" * 200 + "_PASSWORD"
    give("v1", "Pod", "bare", spec=pods(**{hostile: SECRET})["spec"])
    # and in ConfigMaps
    properties = f"db.user=app\ndb.password={SECRET}\ncolour=red\n"
    give("v1", "ConfigMap", "app", data={"application.properties": properties, "theme": "dark"})
    # and none where a Secret is referred to
    reference = {"name": "REDIS_PASSWORD", "valueFrom": {"secretKeyRef": {"name": "redis", "key": "password"}}}
    give("v1", "Pod", "good", spec=idle_pod(container={"env": [reference]}))

    result = see(KubernetesPlainSecrets())

    assert {(each.object, each.severity.value) for each in result.findings} == {
        ("Deployment/web/DB_PASSWORD (container main)", "critical"),
        ("Deployment/web/DATABASE_URL (container main)", "critical"),
        ("StatefulSet/state/API_TOKEN (container main)", "warning"),
        ("DaemonSet/daemon/AWS (container main)", "critical"),
        ("Job/once/GITHUB (container main)", "critical"),
        ("CronJob/nightly/S3_SECRET_KEY (container main)", "critical"),
        (f"Pod/bare/{hostile} (container main)", "critical"),
        ("ConfigMap/app/application.properties (db.password)", "critical"),
    }
    shown = f"{result}"
    assert not [secret for secret in (SECRET, key, "a1B2", "short1") if secret in shown]
    patterns = ["*/*/*PASSWORD*", "Deployment/web/*", "ConfigMap/app/*", "Job/*", "CronJob/*", "DaemonSet/*"]
    allowed = see(KubernetesPlainSecrets(allowed=patterns))
    assert list(_found(allowed)) == ["StatefulSet/state/API_TOKEN (container main)"]


def test_rights_that_deserve_a_look_are_found(give: Give, see: See, place: Space, accounts: Accounts) -> None:
    def grant(name: str, subject: Object, *rules: tuple[str, str, str]) -> None:
        listed = [{"apiGroups": [group], "resources": [what], "verbs": [verb]} for group, what, verb in rules]
        give(f"{GROUP}/v1", "Role", name, rules=listed)
        reference = {"apiGroup": GROUP, "kind": "Role", "name": name}
        give(f"{GROUP}/v1", "RoleBinding", name, roleRef=reference, subjects=[subject])

    def account(name: str) -> Object:
        return {"kind": "ServiceAccount", "name": name, "namespace": place.name}

    def person(kind: str, name: str) -> Object:
        return {"apiGroup": GROUP, "kind": kind, "name": name}

    # given what deserves a look
    read = ("", "configmaps", "get")
    grant("reads-secrets", person("User", HOSTILE), ("", "secrets", "list"))
    grant("may-all", person("Group", "shop-admins"), ("*", "*", "*"))
    grant("escalates", person("User", "eve"), (GROUP, "roles", "escalate"))
    grant("default-reads", account("default"), read)
    grant("default-commands", account("default"), ("", "pods/exec", "get"))
    grant("all-read", person("Group", "system:authenticated"), read)
    grant("ghost", account("ghost"), read)
    # and what does not
    good = accounts.make("good")
    grant("good", account("good"), read)
    named = [{"apiGroups": [""], "resources": ["secrets"], "resourceNames": ["own"], "verbs": ["get"]}]
    give(f"{GROUP}/v1", "Role", "own", rules=named)
    own = {"apiGroup": GROUP, "kind": "Role", "name": "own"}
    give(f"{GROUP}/v1", "RoleBinding", "own", roleRef=own, subjects=[account("good")])
    # and Pods, of which one has a token that it has no use for
    accounts.make("idle")
    give("v1", "Pod", "idle", spec=idle_pod(serviceAccountName="idle"))
    give("v1", "Pod", "useful", spec=idle_pod(serviceAccountName="good"))

    result = see(KubernetesAccessReview())

    assert result.outcome == "ok"
    where = place.name
    assert _found(result, where) == {
        f"RoleBinding/{where}/reads-secrets User/{readable(HOSTILE)}": ("rights", "warning"),
        f"RoleBinding/{where}/may-all Group/shop-admins": ("rights", "critical"),
        f"RoleBinding/{where}/escalates User/eve": ("rights", "critical"),
        f"RoleBinding/{where}/default-reads ServiceAccount/{where}/default": ("default-account", "warning"),
        f"RoleBinding/{where}/default-commands ServiceAccount/{where}/default": ("rights", "critical"),
        f"RoleBinding/{where}/all-read Group/system:authenticated": ("everybody", "warning"),
        f"RoleBinding/{where}/ghost ServiceAccount/{where}/ghost": ("dangling", "warning"),
        f"ServiceAccount/{where}/idle": ("token", "info"),
    }
    # and less where it is allowed, by subject or by role
    meant = KubernetesAccessReview(
        allowed_subjects=["User/*", "ServiceAccount/*/default", "Group/system:*", "ServiceAccount/*/ghost"],
        allowed_roles=["Role/may-all"],
    )
    assert list(_found(see(meant), where)) == [f"ServiceAccount/{where}/idle"]
    # and a list of all others, if wanted
    listed = {each.object: each.recommendation for each in see(KubernetesAccessReview(inventory=True)).findings}
    assert listed[f"ServiceAccount/{where}/{good.name}"].startswith(
        f"it has Role/good (RoleBinding/{where}/good), Role/own (RoleBinding/{where}/own): see that"
    )


def test_cluster_wide_rights_count_for_those_of_the_namespace(see: See, accounts: Accounts, place: Space) -> None:
    # given a ServiceAccount that may run commands in the Pods of every namespace
    powerful = accounts.make("powerful")
    with accounts.granted(powerful, [("", "pods/exec", "create")], everywhere=True):
        near = _found(see(KubernetesAccessReview()), place.name)
        far = see(KubernetesAccessReview(scope=Scope.CLUSTER))

    name = f"ClusterRoleBinding/{place.name}-powerful ServiceAccount/{place.name}/powerful"
    assert near == {name: ("rights", "critical")}
    assert _found(far)[name] == ("rights", "critical")
    # and what Kubernetes brings with it, for its own parts, is no finding
    parts = ("Group/system:masters", "User/system:kube-", "ServiceAccount/kube-system/")
    assert [each.object for each in far.findings if any(part in each.object for part in parts)] == []
