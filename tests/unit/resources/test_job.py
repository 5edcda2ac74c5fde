"""The Job of a run: restricted whatever it runs, of one name for one occasion, and without a secret in its text."""

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from itertools import product
from typing import Any, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from upkeep.actions.http.session import CONNECT_SECONDS
from upkeep.api.container import CustomJob
from upkeep.api.status import Trigger
from upkeep.api.task import TaskSpec
from upkeep.domain.decision import Occasion
from upkeep.domain.identity import Identity
from upkeep.domain.order import (
    CREDENTIALS_DIRECTORY,
    ORDER_VARIABLE,
    OUTPUT_DIRECTORY,
    SCRATCH_DIRECTORY,
    VOLUMES_DIRECTORY,
    RunOrder,
)
from upkeep.domain.run import observe, run_name
from upkeep.domain.work import Work, task_work
from upkeep.resources.job import REPORT_GRACE, job

Manifest = dict[str, Any]

OWNER: Final = Identity(kind="MaintenanceTask", namespace="shop", name="nightly", uid="4f7d1f0e-uid")
IMAGE: Final = "registry.example.com/upkeep@sha256:0123"
NIGHT: Final = datetime(2026, 3, 2, 2, 30, tzinfo=UTC)
OCCASION: Final = Occasion(trigger=Trigger.SCHEDULE, scheduled=NIGHT)
STEPS: Final[Manifest] = {
    "connections": [
        {"name": "db", "postgres": {"host": "db", "database": "shop", "secretRef": {"name": "db-login"}}},
        {"name": "open-cache", "redis": {"host": "cache"}},
        {"name": "cache", "redis": {"host": "cache", "secretRef": {"name": "cache-login"}}},
    ],
    "steps": [{"name": "look", "httpCheck": {"url": "http://shop/healthz"}}],
}
CUSTOM: Final[Manifest] = {
    "job": {
        "image": "localhost/tool:1",
        "command": ["tool"],
        "args": ["--all", "$(LEVEL)"],
        "env": [
            {"name": "LEVEL", "value": "high"},
            {"name": "TOKEN", "secretKeyRef": {"name": "login", "key": "token"}},
            {"name": "MODE", "configMapKeyRef": {"name": "settings", "key": "mode"}},
        ],
        "volumes": [
            {"name": "script", "mountPath": "/script", "configMap": {"name": "script"}},
            {"name": "login", "mountPath": "/login", "secret": {"name": "login"}},
            {"name": "data", "mountPath": "/data", "readOnly": False, "persistentVolumeClaim": {"claimName": "data"}},
            {"name": "tmp", "mountPath": "/tmp", "readOnly": False, "emptyDir": {"sizeLimit": "1Gi"}},  # noqa: S108
        ],
    }
}


def built(spec: Manifest, *, owner: Identity = OWNER, occasion: Occasion = OCCASION, **more: Any) -> Manifest:  # noqa: ANN401
    work = task_work(owner, TaskSpec.model_validate(spec), [])
    return of(Work(**{name: getattr(work, name) for name in Work.__slots__} | more), owner=owner, occasion=occasion)


def of(work: Work, *, owner: Identity = OWNER, occasion: Occasion = OCCASION) -> Manifest:
    name = run_name(owner.name, owner.uid, occasion)
    return job(owner=owner, name=name, occasion=occasion, work=work, image=IMAGE)


def pod(manifest: Manifest) -> Manifest:
    spec: Manifest = manifest["spec"]["template"]["spec"]
    return spec


def container(manifest: Manifest) -> Manifest:
    (only,) = pod(manifest)["containers"]
    found: Manifest = only
    return found


def violations(spec: Manifest) -> list[str]:
    """What the `restricted` Pod Security Standard forbids (kubernetes.io/docs/concepts/security)."""
    security = spec.get("securityContext", {})
    volumes = {
        "configMap",
        "csi",
        "downwardAPI",
        "emptyDir",
        "ephemeral",
        "persistentVolumeClaim",
        "projected",
        "secret",
    }
    found = [field for field in ("hostNetwork", "hostPID", "hostIPC") if spec.get(field)]
    found += [name for volume in spec.get("volumes", ()) for name in volume.keys() - {"name"} if name not in volumes]
    found += [field for field in ("sysctls", "windowsOptions", "seLinuxOptions") if field in security]
    for each in (*spec["containers"], *spec.get("initContainers", ()), *spec.get("ephemeralContainers", ())):
        own = security | each.get("securityContext", {})
        rules = {
            "privileged": not own.get("privileged"),
            "procMount": "procMount" not in own,
            "allowPrivilegeEscalation": own.get("allowPrivilegeEscalation") is False,
            "capabilities": own.get("capabilities") == {"drop": ["ALL"]},
            "runAsNonRoot": own.get("runAsNonRoot") is True,
            "runAsUser": own.get("runAsUser") != 0,
            "seccompProfile": own.get("seccompProfile", {}).get("type") in {"RuntimeDefault", "Localhost"},
            "hostPort": not any("hostPort" in port for port in each.get("ports", ())),
        }
        found += [rule for rule, kept in rules.items() if not kept]
    return found


names = st.from_regex(r"[a-z0-9]([-a-z0-9]{0,30}[a-z0-9])?(\.[a-z0-9]([-a-z0-9]{0,60}[a-z0-9])?){0,3}", fullmatch=True)
quantities = st.sampled_from(["1", "100m", "64Mi", "2Gi"])
mounts = {"name": st.just("v"), "mountPath": st.sampled_from(["/a", "/proc/x", "/var/run"]), "readOnly": st.booleans()}
volumes = st.one_of(
    *(
        st.fixed_dictionaries({**mounts, source: content})
        for source, content in {
            "configMap": st.fixed_dictionaries({"name": names}),
            "secret": st.fixed_dictionaries({"name": names}),
            "persistentVolumeClaim": st.fixed_dictionaries({"claimName": names}),
            "emptyDir": st.fixed_dictionaries({}, optional={"sizeLimit": quantities}),
        }.items()
    )
)
custom_jobs = st.fixed_dictionaries(
    {"image": st.just("localhost/tool")},
    optional={
        "imagePullPolicy": st.sampled_from(["Always", "IfNotPresent", "Never"]),
        "imagePullSecrets": st.lists(st.fixed_dictionaries({"name": names}), max_size=2),
        "command": st.lists(st.text(max_size=5), max_size=2),
        "args": st.lists(st.text(max_size=5), max_size=2),
        "env": st.lists(st.fixed_dictionaries({"name": st.just("X"), "value": st.text(max_size=5)}), max_size=1),
        "volumes": st.lists(volumes, max_size=1),
        "workingDir": st.just("/srv"),
        "resources": st.fixed_dictionaries({}, optional={"limits": st.dictionaries(st.just("memory"), quantities)}),
        "runAsUser": st.integers(1, 2**31 - 1),
    },
)


@settings(max_examples=100, deadline=None)
@given(custom=custom_jobs, account=st.none() | names)
def test_a_container_of_the_users_own_is_restricted_whatever_they_write(custom: Manifest, account: str | None) -> None:
    spec = {"job": custom} | ({"serviceAccountName": account} if account else {})

    assert violations(pod(built(spec))) == []


@pytest.mark.parametrize("changes", [{}, {"claims": {"/repository": "backups"}}, {"service_account": "x"}])
def test_steps_are_restricted_too_and_can_write_nowhere_but_where_they_should(changes: Manifest) -> None:
    spec = pod(built(STEPS, **changes))

    assert violations(spec) == []
    assert spec["containers"][0]["securityContext"]["readOnlyRootFilesystem"] is True
    assert spec["securityContext"]["runAsUser"] == spec["securityContext"]["fsGroup"] == 65532


def test_a_volume_that_steps_use_is_mounted_under_its_name() -> None:
    logs = {"name": "logs", "volume": {"claimName": "shop-logs"}}
    spec = {"connections": [logs], "steps": [{"name": "size", "logsSize": {"connection": "logs"}}]}
    made = built(spec)
    (volume,) = [each for each in pod(made)["volumes"] if "persistentVolumeClaim" in each]
    (mount,) = [each for each in container(made)["volumeMounts"] if each["name"] == volume["name"]]
    assert volume["persistentVolumeClaim"] == {"claimName": "shop-logs"}
    assert mount["mountPath"] == f"{VOLUMES_DIRECTORY}/logs"


def test_these_rules_would_notice() -> None:
    spec = pod(built(CUSTOM))
    spec["hostPID"] = True
    spec["volumes"].append({"name": "host", "hostPath": {"path": "/"}})
    spec["containers"].append({"name": "side", "ports": [{"hostPort": 1}], "securityContext": {"runAsUser": 0}})

    assert violations(spec) == [
        "hostPID",
        "hostPath",
        "allowPrivilegeEscalation",
        "capabilities",
        "runAsUser",
        "hostPort",
    ]


@pytest.mark.parametrize("spec", [STEPS, CUSTOM])
@pytest.mark.parametrize("account", [None, "janitor"])
def test_only_who_names_a_service_account_may_speak_to_the_api(spec: Manifest, account: str | None) -> None:
    made = pod(built(spec | ({"serviceAccountName": account} if account else {})))

    assert made["automountServiceAccountToken"] is (account is not None)
    assert made.get("serviceAccountName") == account


@settings(max_examples=40, deadline=None)
@given(name=names, kind=st.sampled_from(["MaintenanceTask", "MaintenanceWindow", "BackupPolicy"]))
def test_it_belongs_to_its_owner_and_is_removed_with_it(name: str, kind: str) -> None:
    owner = Identity(kind=kind, namespace="shop", name=name, uid="4f7d1f0e-uid")

    metadata = built(CUSTOM, owner=owner)["metadata"]

    assert metadata["namespace"] == "shop"
    assert metadata["ownerReferences"] == [
        {
            "apiVersion": "upkeep.dev/v1alpha1",
            "kind": kind,
            "name": name,
            "uid": owner.uid,
            "controller": True,
            "blockOwnerDeletion": False,
        }
    ]
    for label in metadata["labels"].values():
        assert re.fullmatch(r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?", label)
    assert name.startswith(metadata["labels"]["upkeep.dev/owner-name"])
    assert metadata["labels"]["upkeep.dev/owner-uid"] == owner.uid


def expanded(value: str, variables: Mapping[str, str]) -> str:
    """What a container sees of the value of a variable: $(NAME) is replaced, $$ is one dollar (k8s.io/expansion)."""

    def replaced(match: re.Match[str]) -> str:
        return "$" if match[0] == "$$" else variables.get(match[1], match[0])

    return re.sub(r"\$\$|\$\(([^)]*)\)", replaced, value)


@settings(max_examples=150, deadline=None)
@given(text=st.text(alphabet="$()HOME{} x\\", min_size=1, max_size=12))
def test_no_variable_is_put_into_what_users_wrote_in_a_step(text: str) -> None:
    steps = [{"name": "look", "httpCheck": {"url": "http://shop", "bodyContains": text}}]
    manifest = built({"steps": steps})

    variables = {each["name"]: each["value"] for each in container(manifest)["env"]}
    order = RunOrder.decode(expanded(variables[ORDER_VARIABLE], {"HOME": "/root", "": "nothing"}))

    assert order.steps[0].action.model_dump(by_alias=True)["bodyContains"] == text


def test_secrets_of_connections_arrive_as_files_and_as_nothing_else() -> None:
    manifest = built(STEPS)

    mounted = {
        mount["mountPath"]: next(each for each in pod(manifest)["volumes"] if each["name"] == mount["name"])
        for mount in container(manifest)["volumeMounts"]
    }
    secrets = {path: volume["secret"] for path, volume in mounted.items() if "secret" in volume}

    assert secrets == {
        f"{CREDENTIALS_DIRECTORY}/db": {"secretName": "db-login", "optional": True, "defaultMode": 0o440},
        f"{CREDENTIALS_DIRECTORY}/cache": {"secretName": "cache-login", "optional": True, "defaultMode": 0o440},
    }
    assert all(mount["readOnly"] for mount in container(manifest)["volumeMounts"] if mount["mountPath"] in secrets)
    assert mounted[SCRATCH_DIRECTORY]["emptyDir"] == {"sizeLimit": "1Gi"}
    assert "secretKeyRef" not in json.dumps(manifest)
    assert "envFrom" not in json.dumps(manifest)


def test_a_volume_for_a_repository_is_mounted_where_the_work_expects_it() -> None:
    manifest = built(STEPS, claims={"/repository": "backups"}, scratch="10Gi", memory="1Gi")

    assert {"name": "claim-0", "persistentVolumeClaim": {"claimName": "backups"}} in pod(manifest)["volumes"]
    assert {"name": "claim-0", "mountPath": "/repository"} in container(manifest)["volumeMounts"]
    assert pod(manifest)["volumes"][0] == {"name": "scratch", "emptyDir": {"sizeLimit": "10Gi"}}
    assert container(manifest)["resources"]["limits"] == {"memory": "1Gi"}


def test_work_that_only_reads_cannot_write_to_its_volumes() -> None:
    manifest = built(STEPS, claims={"/repository": "backups"}, only_reads=True)

    assert {"name": "claim-0", "mountPath": "/repository", "readOnly": True} in container(manifest)["volumeMounts"]


def test_a_source_is_a_volume_that_nobody_may_change_not_even_the_kubelet_its_group() -> None:
    manifest = built(STEPS, sources={"/source": "uploads"}, user=1000)

    claim = {"claimName": "uploads", "readOnly": True}
    assert {"name": "source-0", "persistentVolumeClaim": claim} in pod(manifest)["volumes"]
    assert {"name": "source-0", "mountPath": "/source", "readOnly": True} in container(manifest)["volumeMounts"]
    assert pod(manifest)["securityContext"]["runAsUser"] == 1000
    assert pod(manifest)["securityContext"]["fsGroup"] == 65532


@settings(max_examples=50, deadline=None)
@given(custom=custom_jobs)
def test_a_container_that_runs_before_is_restricted_and_its_volumes_are_its_own(custom: Manifest) -> None:
    spec = pod(built(STEPS, preparation=CustomJob.model_validate(custom)))

    assert violations(spec) == []
    names = [volume["name"] for volume in spec["volumes"]]
    assert len(names) == len(set(names))
    (before,) = spec["initContainers"]
    assert {"name": "UPKEEP_OUTPUT", "value": OUTPUT_DIRECTORY} in before["env"]
    for each in (before, *spec["containers"]):
        assert {"name": "output", "mountPath": OUTPUT_DIRECTORY} in each["volumeMounts"]
        assert {mount["name"] for mount in each["volumeMounts"]} <= set(names)


def test_a_container_that_runs_before_sees_no_credentials() -> None:
    spec = pod(built(STEPS, preparation=CustomJob(image="localhost/tool")))

    assert [mount["name"] for mount in spec["initContainers"][0]["volumeMounts"]] == ["output"]


def test_a_container_of_the_users_own_is_as_they_wrote_it() -> None:
    manifest = built(CUSTOM)
    made = container(manifest)

    assert (made["image"], made["command"], made["args"]) == ("localhost/tool:1", ["tool"], ["--all", "$(LEVEL)"])
    assert made["env"] == [
        {"name": "LEVEL", "value": "high"},
        {"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "login", "key": "token"}}},
        {"name": "MODE", "valueFrom": {"configMapKeyRef": {"name": "settings", "key": "mode"}}},
    ]
    assert [each["readOnly"] for each in made["volumeMounts"]] == [True, True, False, False]
    assert pod(manifest)["volumes"] == [
        {"name": "script", "configMap": {"name": "script", "defaultMode": 0o555}},
        {"name": "login", "secret": {"secretName": "login", "defaultMode": 0o440}},
        {"name": "data", "persistentVolumeClaim": {"claimName": "data"}},
        {"name": "tmp", "emptyDir": {"sizeLimit": "1Gi"}},
    ]
    assert not {"workingDir", "imagePullPolicy"} & made.keys(), "what was left out is left to Kubernetes"


def test_without_limits_of_its_own_a_container_cannot_eat_up_a_node() -> None:
    assert container(built({"job": {"image": "x"}}))["resources"] == {
        "requests": {"cpu": "100m", "memory": "128Mi"},
        "limits": {"memory": "512Mi"},
    }


def test_a_run_is_stopped_at_its_timeout_and_steps_have_a_minute_to_say_so() -> None:
    custom, steps = built(CUSTOM | {"timeout": "90m", "retries": 2}), built(STEPS | {"timeout": "90m"})

    assert custom["spec"]["activeDeadlineSeconds"] == 5400
    assert custom["spec"]["backoffLimit"] == 2
    assert steps["spec"]["activeDeadlineSeconds"] == 5400 + REPORT_GRACE.total_seconds()
    assert of(Work(content=CustomJob(image="x"), timeout=timedelta(0)))["spec"]["activeDeadlineSeconds"] == 1
    assert pod(custom)["restartPolicy"] == "Never"


def test_a_job_without_retries_says_that_its_pod_was_evicted() -> None:
    (rule,) = built(CUSTOM)["spec"]["podFailurePolicy"]["rules"]
    assert rule["action"] == "FailJob"
    assert rule["onPodConditions"] == [{"type": "DisruptionTarget", "status": "True"}]
    assert "podFailurePolicy" not in built(CUSTOM | {"retries": 1})["spec"]


instants = st.datetimes(datetime(1970, 1, 1), datetime(9999, 12, 31), timezones=st.just(UTC))  # noqa: DTZ001 - as Hypothesis wants them
tokens = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20)
occasions = st.one_of(
    st.builds(Occasion, trigger=st.just(Trigger.SCHEDULE), scheduled=instants, schedule=st.just("") | names),
    st.builds(Occasion, trigger=st.just(Trigger.MANUAL), token=tokens, schedule=st.just("") | names),
    st.builds(
        Occasion, trigger=st.just(Trigger.WINDOW), scheduled=instants, window_uid=tokens, schedule=st.just("") | names
    ),
)


@settings(max_examples=300, deadline=None)
@given(name=names, occasion=occasions)
def test_every_name_is_one_that_pods_and_labels_can_carry(name: str, occasion: Occasion) -> None:
    made = run_name(name, "uid", occasion)

    assert len(made) <= 63
    assert re.fullmatch(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?", made)
    assert made == run_name(name, "uid", occasion)


def test_no_two_occasions_and_no_two_owners_share_a_name() -> None:
    """Given all that differ in one thing or more."""
    times = (NIGHT, NIGHT + timedelta(minutes=1), NIGHT + timedelta(days=1))
    schedules = ("", "daily", "weekly")
    variants = [
        (owner, uid, occasion)
        for owner, uid, schedule in product(("nightly", "daily"), ("uid-one", "uid-two"), schedules)
        for occasion in (
            *(Occasion(trigger=Trigger.SCHEDULE, scheduled=time, schedule=schedule) for time in times),
            *(Occasion(trigger=Trigger.MANUAL, token=token, schedule=schedule) for token in ("", "once", "again")),
            *(
                Occasion(trigger=Trigger.WINDOW, scheduled=time, schedule=schedule, window_uid=window)
                for time, window in product(times, ("window-one", "window-two"))
            ),
        )
    ]

    assert len({run_name(*variant) for variant in variants}) == len(variants) == 144


def test_owners_whose_long_names_begin_alike_do_not_share_a_name() -> None:
    begin = "a" * 60

    assert run_name(f"{begin}-one", "uid-one", OCCASION) != run_name(f"{begin}-two", "uid-two", OCCASION)


@settings(max_examples=60, deadline=None)
@given(occasion=occasions)
def test_what_it_is_for_can_be_read_back(occasion: Occasion) -> None:
    manifest = built(CUSTOM, occasion=occasion)
    manifest["metadata"] |= {"uid": "job-uid", "creationTimestamp": "2026-03-02T02:30:00Z"}

    whole = occasion.scheduled and occasion.scheduled.replace(microsecond=0)
    assert observe(manifest, []).occasion == Occasion(
        trigger=occasion.trigger,
        scheduled=whole,
        schedule=occasion.schedule,
        token=occasion.token,
        window_uid=occasion.window_uid,
    )


def test_a_question_to_dns_that_gets_lost_is_asked_again_within_the_time_for_a_connection() -> None:
    options = {each["name"]: int(each["value"]) for each in pod(built(STEPS))["dnsConfig"]["options"]}
    assert options["timeout"] < CONNECT_SECONDS
    assert options["attempts"] > 1
    assert "dnsConfig" not in pod(built(CUSTOM)), "a container of somebody else has its own ways"
