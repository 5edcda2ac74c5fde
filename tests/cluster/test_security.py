"""What runs for Upkeep has no privileges, and what it is trusted with is seen by nobody else.

The values of all Secrets are random strings, and everything that others can read is searched for them.
"""

import json

import pytest

from cluster.exposure import Exposure
from cluster.installation import NAMESPACE, Installation
from cluster.manifests import script, task
from cluster.server import NAMESPACES, SECRETS
from cluster.space import Space
from lab.access import ClusterAccess
from upkeep.cluster.resources import BACKUPS, PODS, TASKS, WINDOWS
from upkeep.resources.page import COMPONENT, COMPONENT_LABEL


def test_everything_went_as_it_was_meant_to(exposed: Exposure) -> None:
    outcomes = {name: exposed.space.status(TASKS, name)["lastRun"]["outcome"] for name in ("well", "badly", "own")}
    backups = {name: exposed.space.status(BACKUPS, name)["lastRun"]["outcome"] for name in ("good", "bad")}
    window = exposed.space.status(WINDOWS, "tonight")["lastRun"]

    assert outcomes == {"well": "changed", "badly": "failed", "own": "ok"}
    assert backups == {"good": "ok", "bad": "failed"}
    assert window["outcome"] == "ok", window
    assert "wrong password" in exposed.space.status(BACKUPS, "bad")["lastRun"]["message"]


def test_no_secret_value_stands_in_any_object(exposed: Exposure) -> None:
    texts = {place: json.dumps(item, ensure_ascii=False) for place, item in exposed.objects.items()}

    kinds = {place.split()[0] for place in texts}
    assert {"Job", "Pod", "Event", "ConfigMap", "MaintenanceTask", "MaintenanceWindow", "BackupPolicy"} <= kinds
    assert exposed.telltales.found_in(texts) == []


def test_a_secret_value_would_have_been_found(exposed: Exposure) -> None:
    texts = {item["metadata"]["name"]: json.dumps(item) for item in exposed.space.all(SECRETS)}
    plain = {"a message": f"role {exposed.telltales.value('db')} does not exist"}

    assert exposed.telltales.found_in(texts) == [f"{name} in {name}" for name in sorted(texts)]
    assert exposed.telltales.found_in(plain) == ["db in a message"]


def test_no_secret_value_stands_in_the_log_of_a_run(exposed: Exposure) -> None:
    space = exposed.space
    logs = {
        pod["metadata"]["name"]: space.server.text(PODS.path(space.name, pod["metadata"]["name"], "log"))
        for pod in exposed.made("Pod")
        if space.server.find(PODS, space.name, pod["metadata"]["name"])
    }

    assert any("password authentication failed" in log for log in logs.values())
    assert any("snapshot" in log for log in logs.values())
    assert exposed.telltales.found_in(logs) == []


def test_no_secret_value_stands_in_what_the_operator_says(exposed: Exposure, upkeep: Installation) -> None:
    metrics = f"/api/v1/namespaces/{NAMESPACE}/services/upkeep-metrics:http/proxy/metrics"
    texts = {"its log": upkeep.logs(), "its metrics": upkeep.server.text(metrics)}

    assert exposed.space.name in texts["its metrics"]
    assert exposed.telltales.found_in(texts) == []


@pytest.mark.home_built
def test_no_secret_value_stands_in_a_command_line(exposed: Exposure) -> None:
    texts = {line: line for line in exposed.command_lines}

    assert any(line.startswith("restic ") or "/restic " in line for line in texts)
    assert exposed.telltales.found_in(texts) == []


def test_pods_of_runs_and_pages_are_admitted_where_only_restricted_ones_are(exposed: Exposure) -> None:
    namespace = exposed.space.server.get(NAMESPACES, None, exposed.space.name)
    refused = [place for place, item in exposed.objects.items() if item.get("reason") == "FailedCreate"]

    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    assert {pod["metadata"]["labels"].get(COMPONENT_LABEL, "run") for pod in exposed.made("Pod")} == {"run", COMPONENT}
    assert refused == []


def test_no_pod_of_a_run_or_page_has_a_token_for_the_api(exposed: Exposure) -> None:
    for pod in exposed.made("Pod"):
        assert pod["spec"]["automountServiceAccountToken"] is False
        assert [volume["name"] for volume in pod["spec"].get("volumes", ()) if "projected" in volume] == []
        for container in pod["spec"]["containers"]:
            assert container["securityContext"]["allowPrivilegeEscalation"] is False
            assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}


def test_a_pod_has_a_token_where_its_task_names_an_account(space: Space, access: ClusterAccess) -> None:
    space.make(task("trusted", serviceAccountName="default", job=script(access.shop_image, "true")))

    status = space.ended_run("trusted")

    (pod,) = space.pods_of(status["lastRun"]["job"])
    assert pod["spec"]["automountServiceAccountToken"] is True
    assert len([volume for volume in pod["spec"]["volumes"] if "projected" in volume]) == 1
