"""What the chart renders, as Helm and a real API server see it."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any, Final

import pytest

from cluster.kubectl import Kubectl, Object, moved, parse, pod_of
from lab import tools
from lab.home import Home

ROOT: Final = Path(__file__).parents[2]
CHART: Final = ROOT / "charts" / "upkeep"
INSTALL: Final = ROOT / "manifests" / "install"
DIGEST: Final = "sha256:" + "0123456789abcdef" * 4


def _helm(*arguments: str, values: dict[str, Any] | None = None) -> "subprocess.CompletedProcess[str]":
    command: list[str | Path] = [tools.helm(), *arguments, "--values=-"]
    environment = tools.environment(Home.from_environment())
    return subprocess.run(
        command,
        env=environment,
        input=json.dumps(values or {}),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def rendered(values: dict[str, Any] | None = None, *, namespace: str = "upkeep-system", hooks: bool = False) -> str:
    options = () if hooks else ("--no-hooks",)
    done = _helm("template", "upkeep", str(CHART), f"--namespace={namespace}", *options, values=values)
    assert done.returncode == 0, done.stderr
    return done.stdout


def _of(objects: list[Object], *kinds: str) -> list[Object]:
    return [found for found in objects if found["kind"] in kinds]


def _container(objects: list[Object]) -> Object:
    (deployment,) = _of(objects, "Deployment")
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    found: Object = container
    return found


def _environment(objects: list[Object]) -> dict[str, str]:
    return {variable["name"]: variable.get("value", "") for variable in _container(objects)["env"]}


def test_helm_finds_nothing_to_criticise() -> None:
    done = _helm("lint", str(CHART), "--strict")

    assert done.returncode == 0, done.stdout
    assert "[WARNING]" not in done.stdout


def test_the_kustomize_install_is_what_the_chart_renders() -> None:
    expected = rendered({"crds": {"install": False}})

    assert (INSTALL / "upkeep.yaml").read_text() == expected, "run `make generate`"


def test_kustomize_gives_jobs_and_pages_the_image_of_the_operator(kubectl: Kubectl, tmp_path: Path) -> None:
    copy = shutil.copytree(INSTALL, tmp_path / "install")
    text = (copy / "kustomization.yaml").read_text()
    changed = text.replace("- name: localhost/upkeep\n", "- name: localhost/upkeep\n    newTag: other\n")
    (copy / "kustomization.yaml").write_text(changed)

    objects = parse(kubectl.run("kustomize", str(copy)))

    assert _container(objects)["image"] == "localhost/upkeep:other"
    assert _environment(objects)["UPKEEP_IMAGE"] == "localhost/upkeep:other"


@pytest.mark.parametrize(
    ("image", "reference"),
    [
        ({"repository": "registry.example.com/upkeep"}, "registry.example.com/upkeep:0.1.0"),
        ({"repository": "registry.example.com/upkeep", "tag": "main"}, "registry.example.com/upkeep:main"),
        ({"repository": "registry.example.com/upkeep", "digest": DIGEST}, f"registry.example.com/upkeep@{DIGEST}"),
        (
            {"repository": "registry.example.com/upkeep", "tag": "main", "digest": DIGEST},
            f"registry.example.com/upkeep:main@{DIGEST}",
        ),
    ],
)
def test_the_image_is_named_by_tag_or_pinned_by_digest(image: dict[str, str], reference: str) -> None:
    objects = parse(rendered({"image": image}))

    assert _container(objects)["image"] == reference
    assert _environment(objects)["UPKEEP_IMAGE"] == reference


def test_jobs_may_have_an_image_of_their_own() -> None:
    objects = parse(rendered({"jobs": {"image": f"registry.example.com/upkeep@{DIGEST}"}}))

    assert _environment(objects)["UPKEEP_IMAGE"] == f"registry.example.com/upkeep@{DIGEST}"
    assert _container(objects)["image"] == "localhost/upkeep:0.1.0"


def test_channels_are_mounted_where_the_operator_looks_and_need_not_be_there() -> None:
    objects = parse(rendered({"channels": {"secretName": "people"}}))

    (deployment,) = _of(objects, "Deployment")
    pod = deployment["spec"]["template"]["spec"]
    (mount,) = [each for each in _container(objects)["volumeMounts"] if each["name"] == "channels"]
    (volume,) = [each for each in pod["volumes"] if each["name"] == "channels"]
    assert _environment(objects)["UPKEEP_CHANNELS_FILE"] == f"{mount['mountPath']}/channels.yaml"
    assert mount["readOnly"]
    assert volume["secret"] == {"secretName": "people", "optional": True}
    assert "UPKEEP_CHANNELS_FILE" not in _environment(parse(rendered()))


def test_with_watched_namespaces_there_are_rights_in_these_and_nowhere_else() -> None:
    everywhere = {found["metadata"]["name"]: found["rules"] for found in _of(parse(rendered()), "ClusterRole")}

    bound_by_nobody = {"rbac": {"userRoles": False}, "actions": {"roles": {"create": False}}}
    objects = parse(rendered({"watchNamespaces": ["shop", "blog"], **bound_by_nobody}))

    roles = {found["metadata"]["namespace"]: found["rules"] for found in _of(objects, "Role")}
    assert _of(objects, "ClusterRole", "ClusterRoleBinding") == []
    assert roles.keys() == {"shop", "blog", "upkeep-system"}
    assert roles["shop"] == roles["blog"] == everywhere["upkeep"]
    assert {found["metadata"]["namespace"] for found in _of(objects, "RoleBinding")} == roles.keys()
    assert _environment(objects)["UPKEEP_WATCH_NAMESPACES"] == "shop,blog"


def test_the_status_page_may_list_windows_where_it_shows_them_and_nothing_else() -> None:
    watched = {"watchNamespaces": ["shop", "blog"], "rbac": {"userRoles": False}}
    allowed = [{"apiGroups": ["upkeep.dev"], "resources": ["maintenancewindows"], "verbs": ["list"]}]

    def roles(values: dict[str, Any]) -> dict[str, Any]:
        objects = parse(rendered(values))
        found = [
            item for item in _of(objects, "Role", "ClusterRole") if item["metadata"]["name"] == "upkeep-status-page"
        ]
        return {item["metadata"].get("namespace", "*"): item["rules"] for item in found}

    assert roles({}) == {}
    assert roles({"statusPage": {"enabled": True}}) == {"*": allowed}
    assert roles({"statusPage": {"enabled": True}, **watched}) == {"shop": allowed, "blog": allowed}
    assert roles({"statusPage": {"enabled": True, "namespaces": ["shop"]}, **watched}) == {"shop": allowed}


def test_the_dashboard_asks_for_the_metrics_by_their_prefix() -> None:
    objects = parse(rendered({"dashboards": {"enabled": True}, "metrics": {"prefix": "rinawarp"}}))

    (found,) = [item for item in _of(objects, "ConfigMap") if item["metadata"]["name"] == "upkeep-dashboards"]
    (dashboard,) = found["data"].values()
    assert found["metadata"]["labels"]["grafana_dashboard"] == "1"
    assert json.loads(dashboard)["panels"]
    assert "rinawarp_window_open" in dashboard
    assert "upkeep_" not in dashboard


def test_uninstalling_keeps_the_definitions_and_all_that_is_made_of_them() -> None:
    definitions = _of(parse(rendered()), "CustomResourceDefinition")

    assert len(definitions) == 3
    assert {found["metadata"]["annotations"]["helm.sh/resource-policy"] for found in definitions} == {"keep"}


def test_somebody_else_may_bring_the_definitions() -> None:
    assert _of(parse(rendered({"crds": {"install": False}})), "CustomResourceDefinition") == []


def test_somebody_else_may_bring_the_roles_of_actions() -> None:
    def roles(**values: object) -> set[str]:
        found = _of(parse(rendered({"actions": {"roles": values}})), "ClusterRole")
        return {each["metadata"]["name"] for each in found if "-action-" in each["metadata"]["name"]}

    assert "upkeep-action-access-review" in roles(create=True)
    assert roles(create=False) == set()


def test_an_existing_account_is_used_and_not_made() -> None:
    objects = parse(rendered({"serviceAccount": {"create": False, "name": "mine"}}))

    subjects = [found["subjects"][0]["name"] for found in _of(objects, "ClusterRoleBinding", "RoleBinding")]
    (deployment,) = _of(objects, "Deployment")
    assert _of(objects, "ServiceAccount") == []
    assert subjects == ["mine", "mine"]
    assert deployment["spec"]["template"]["spec"]["serviceAccountName"] == "mine"


def test_everything_optional_together_is_accepted_by_the_server(kubectl: Kubectl, empty_namespace: str) -> None:
    values = {
        "imagePullSecrets": ["registry"],
        "watchNamespaces": [empty_namespace],
        "priorityClassName": "system-cluster-critical",
        "podLabels": {"team": "platform"},
        "podAnnotations": {"example.com/why": "because"},
        "metrics": {"prefix": "rinawarp", "service": {"annotations": {"prometheus.io/scrape": "true"}}},
        "log": {"level": "debug", "format": "text"},
        "nodeSelector": {"kubernetes.io/os": "linux"},
        "tolerations": [{"key": "dedicated", "operator": "Exists"}],
        "affinity": {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": []}},
        "topologySpreadConstraints": [
            {
                "maxSkew": 1,
                "topologyKey": "topology.kubernetes.io/zone",
                "whenUnsatisfiable": "ScheduleAnyway",
                "labelSelector": {"matchLabels": {"app.kubernetes.io/name": "upkeep"}},
            }
        ],
        "serviceAccount": {"annotations": {"example.com/role": "upkeep"}},
        "channels": {"secretName": "people"},
        "statusPage": {"enabled": True, "name": "The $(Shop)", "selector": "audience in (customers, partners)"},
        "dashboards": {"enabled": True},
        "fullnameOverride": "maintenance",
    }
    objects = parse(rendered(values, namespace=empty_namespace))

    done = kubectl.dry_run(objects, "--server-side", "--force-conflicts")

    assert done.returncode == 0, done.stderr
    assert done.stderr == ""


def test_what_it_installs_is_accepted_and_its_pods_are_restricted(kubectl: Kubectl, empty_namespace: str) -> None:
    values = {"statusPage": {"enabled": True}}
    objects = [moved(found, empty_namespace) for found in parse(rendered(values, namespace=empty_namespace))]
    deployments = _of(objects, "Deployment")

    objects += [_without_account(pod_of(deployment, empty_namespace)) for deployment in deployments]
    assert len(deployments) == 2
    done = kubectl.dry_run(objects, "--server-side", "--force-conflicts")

    assert done.returncode == 0, done.stderr
    assert done.stderr == ""


def _without_account(pod: Object) -> Object:
    """The Pod under the account that every namespace has, since a dry run leaves the operator's own unmade."""
    return {**pod, "spec": {**pod["spec"], "serviceAccountName": "default"}}


@pytest.mark.parametrize(
    ("values", "complaint"),
    [
        ({"replica": 3}, "replica"),
        ({"replicas": 0}, "replicas"),
        ({"image": {"repositry": "x"}}, "repositry"),
        ({"image": {"digest": "sha256:short"}}, "digest"),
        ({"log": {"level": "loud"}}, "level"),
        ({"metrics": {"prefix": "9lives"}}, "prefix"),
        ({"watchNamespaces": ["Shop"]}, "watchNamespaces"),
        ({"watchNamespaces": "shop"}, "watchNamespaces"),
        ({"serviceAccount": {"create": False}}, "serviceAccount"),
        ({"statusPage": {"enabled": True, "namespaces": ["*"]}}, "namespaces"),
        ({"resources": {"limits": {"memory": "lots"}}}, "memory"),
    ],
    ids=str,
)
def test_a_wrong_value_is_refused_by_name(values: dict[str, Any], complaint: str) -> None:
    done = _helm("template", "upkeep", str(CHART), values=values)

    assert done.returncode != 0
    assert complaint in done.stderr
