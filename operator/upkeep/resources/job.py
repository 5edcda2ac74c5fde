"""The Job of a run. Its Pod passes the `restricted` Pod Security Standard, whatever it runs.

Credentials arrive as files from Secrets that are mounted as optional: a missing Secret then fails the run at once
with a message that names it, instead of leaving a Pod that never starts.
"""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any, Final

from upkeep.api.container import CustomJob, EnvironmentVariable, Volume
from upkeep.domain.decision import Occasion
from upkeep.domain.identity import (
    SCHEDULE_ANNOTATION,
    SCHEDULED_TIME_ANNOTATION,
    TOKEN_ANNOTATION,
    TRIGGER_ANNOTATION,
    WINDOW_UID_LABEL,
    Identity,
)
from upkeep.domain.instants import write_instant
from upkeep.domain.order import (
    CONTAINER,
    CREDENTIALS_DIRECTORY,
    ORDER_VARIABLE,
    OUTPUT_DIRECTORY,
    OUTPUT_VARIABLE,
    PREPARATION,
    SCRATCH_DIRECTORY,
    TERMINATION_MESSAGE_PATH,
    RunOrder,
)
from upkeep.domain.work import Work
from upkeep.resources.metadata import owner_labels, owner_reference

Manifest = dict[str, Any]

RUNNER_USER: Final = 65532
REPORT_GRACE: Final = timedelta(seconds=60)
"""How much longer the Job lives than the run may take, so that a run that timed out can still say so."""
_EVICTED_IS_OVER: Final[Manifest] = {
    "rules": [{"action": "FailJob", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}]
}
"""What the Job would do anyway without retries, but like this it says why."""
_DNS_OPTIONS: Final = ({"name": "timeout", "value": "1"}, {"name": "attempts", "value": "3"})
"""A question to DNS that gets lost is asked again after a second; by default, after more than a connection may take."""
_STOP_SECONDS: Final = 30
_OUTPUT: Final = "output"


def job(*, owner: Identity, name: str, occasion: Occasion, work: Work, image: str) -> Manifest:
    """The Job of a run.

    Args:
        owner: the resource that it belongs to and is removed with.
        name: as `run_name` makes it.
        occasion: what it is for; kept in annotations, so that it can be read back.
        work: what runs.
        image: the operator's image, for work in steps.
    """
    labels = owner_labels(owner) | ({WINDOW_UID_LABEL: occasion.window_uid} if occasion.window_uid else {})
    if isinstance(work.content, RunOrder):
        deadline, pod = work.timeout + REPORT_GRACE, _runner_pod(work, work.content, image)
    else:
        deadline, pod = work.timeout, _custom_pod(work, work.content)
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": name,
            "namespace": owner.namespace,
            "labels": labels,
            "annotations": _occasion_annotations(occasion),
            "ownerReferences": [owner_reference(owner)],
        },
        "spec": {
            "backoffLimit": work.retries,
            "activeDeadlineSeconds": max(1, int(deadline.total_seconds())),
            "podReplacementPolicy": "Failed",
            **({} if work.retries else {"podFailurePolicy": _EVICTED_IS_OVER}),
            "template": {"metadata": {"labels": labels}, "spec": pod},
        },
    }


def _occasion_annotations(occasion: Occasion) -> dict[str, str]:
    annotations = {
        TRIGGER_ANNOTATION: str(occasion.trigger),
        SCHEDULED_TIME_ANNOTATION: write_instant(occasion.scheduled) if occasion.scheduled else "",
        SCHEDULE_ANNOTATION: occasion.schedule,
        TOKEN_ANNOTATION: occasion.token,
    }
    return {name: value for name, value in annotations.items() if value}


def _runner_pod(work: Work, order: RunOrder, image: str) -> Manifest:
    volumes: list[Manifest] = [{"name": "scratch", "emptyDir": {"sizeLimit": work.scratch}}]
    mounts: list[Manifest] = [{"name": "scratch", "mountPath": SCRATCH_DIRECTORY}]
    for number, (connection, secret) in enumerate(work.secrets.items()):
        volumes.append(
            {
                "name": f"credentials-{number}",
                "secret": {"secretName": secret, "optional": True, "defaultMode": 0o440},
            }
        )
        mounts.append(
            {
                "name": f"credentials-{number}",
                "mountPath": f"{CREDENTIALS_DIRECTORY}/{connection}",
                "readOnly": True,
            }
        )
    for number, (path, claim) in enumerate(work.claims.items()):
        volumes.append({"name": f"claim-{number}", "persistentVolumeClaim": {"claimName": claim}})
        only_reads = work.only_reads and path not in work.written
        mounts.append({"name": f"claim-{number}", "mountPath": path} | ({"readOnly": True} if only_reads else {}))
    for number, (path, claim) in enumerate(work.sources.items()):
        # Read-only as a volume: mounted in another way, the kubelet would give all of its files to the Pod's group.
        reference = {"claimName": claim, "readOnly": True}
        volumes.append({"name": f"source-{number}", "persistentVolumeClaim": reference})
        mounts.append({"name": f"source-{number}", "mountPath": path, "readOnly": True})
    if work.preparation:
        volumes.append({"name": _OUTPUT, "emptyDir": {"sizeLimit": work.scratch}})
        mounts.append({"name": _OUTPUT, "mountPath": OUTPUT_DIRECTORY})
    container = {
        "name": CONTAINER,
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "args": ["run"],
        "env": [
            {"name": ORDER_VARIABLE, "value": _unexpanded(order.encode())},
            {"name": "TMPDIR", "value": SCRATCH_DIRECTORY},
            {"name": "HOME", "value": SCRATCH_DIRECTORY},
        ],
        "resources": {"requests": {"cpu": "50m", "memory": "64Mi"}, "limits": {"memory": work.memory}},
        "securityContext": _container_security() | {"readOnlyRootFilesystem": True},
        "terminationMessagePath": TERMINATION_MESSAGE_PATH,
        "volumeMounts": mounts,
    }
    security = {"runAsUser": work.user or RUNNER_USER, "runAsGroup": RUNNER_USER, "fsGroup": RUNNER_USER}
    spec = _pod(container, volumes, security=security, service_account=work.service_account)
    spec["dnsConfig"] = {"options": list(_DNS_OPTIONS)}
    return _prepared(spec, work.preparation) if work.preparation else spec


def _prepared(spec: Manifest, preparation: CustomJob) -> Manifest:
    """The Pod with a container that runs before its own, and leaves files for it."""
    volumes = [each.model_copy(update={"name": f"own-{number}"}) for number, each in enumerate(preparation.volumes)]
    preparation = preparation.model_copy(update={"volumes": volumes})
    container = _custom_container(preparation, PREPARATION)
    container["env"] = [*container.get("env", ()), {"name": OUTPUT_VARIABLE, "value": OUTPUT_DIRECTORY}]
    container["volumeMounts"] = [
        *container.get("volumeMounts", ()),
        {"name": _OUTPUT, "mountPath": OUTPUT_DIRECTORY},
    ]
    return {
        **spec,
        "initContainers": [container],
        "volumes": [*spec["volumes"], *map(_volume, volumes)],
        **_pull_secrets(preparation),
    }


def _custom_pod(work: Work, job_spec: CustomJob) -> Manifest:
    user = {"runAsUser": job_spec.run_as_user, "fsGroup": job_spec.run_as_user} if job_spec.run_as_user else {}
    spec = _pod(
        _custom_container(job_spec, CONTAINER),
        [_volume(volume) for volume in job_spec.volumes],
        security=user,
        service_account=work.service_account,
    )
    return {**spec, **_pull_secrets(job_spec)}


def _pull_secrets(job_spec: CustomJob) -> Manifest:
    names = [{"name": reference.name} for reference in job_spec.image_pull_secrets]
    return {"imagePullSecrets": names} if names else {}


def _custom_container(job_spec: CustomJob, name: str) -> Manifest:
    resources = job_spec.resources
    container: Manifest = {
        "name": name,
        "image": job_spec.image,
        "imagePullPolicy": job_spec.image_pull_policy,
        "command": list(job_spec.command),
        "args": list(job_spec.args),
        "workingDir": job_spec.working_dir,
        "env": [_variable(variable) for variable in job_spec.env],
        "resources": {
            "requests": dict(resources.requests) or {"cpu": "100m", "memory": "128Mi"},
            "limits": dict(resources.limits) or {"memory": "512Mi"},
        },
        "securityContext": _container_security(),
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": [
            {"name": volume.name, "mountPath": volume.mount_path, "readOnly": volume.read_only}
            for volume in job_spec.volumes
        ],
    }
    return {key: value for key, value in container.items() if value not in (None, [])}


def _pod(
    container: Manifest, volumes: Sequence[Manifest], *, security: Manifest, service_account: str | None
) -> Manifest:
    spec: Manifest = {
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": _STOP_SECONDS,
        "automountServiceAccountToken": service_account is not None,
        "enableServiceLinks": False,
        "securityContext": {
            "runAsNonRoot": True,
            "seccompProfile": {"type": "RuntimeDefault"},
            "fsGroupChangePolicy": "OnRootMismatch",
        }
        | security,
        "containers": [container],
        "volumes": list(volumes),
    }
    return spec | ({"serviceAccountName": service_account} if service_account else {})


def _container_security() -> Manifest:
    return {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}


def _unexpanded(text: str) -> str:
    """The text as a Pod's environment keeps it: `$(NAME)` would be expanded, so every dollar sign is doubled."""
    return text.replace("$", "$$")


def _variable(variable: EnvironmentVariable) -> Manifest:
    if variable.secret_key_ref:
        reference = {"secretKeyRef": {"name": variable.secret_key_ref.name, "key": variable.secret_key_ref.key}}
        return {"name": variable.name, "valueFrom": reference}
    if variable.config_map_key_ref:
        key = variable.config_map_key_ref
        return {"name": variable.name, "valueFrom": {"configMapKeyRef": {"name": key.name, "key": key.key}}}
    return {"name": variable.name, "value": variable.value}


def _volume(volume: Volume) -> Manifest:
    match volume.chosen():
        case "configMap" if volume.config_map:
            source: Manifest = {"configMap": {"name": volume.config_map.name, "defaultMode": 0o555}}
        case "secret" if volume.secret:
            source = {"secret": {"secretName": volume.secret.name, "defaultMode": 0o440}}
        case "persistentVolumeClaim" if volume.persistent_volume_claim:
            source = {"persistentVolumeClaim": {"claimName": volume.persistent_volume_claim.claim_name}}
        case _:
            limit = volume.empty_dir.size_limit if volume.empty_dir else None
            source = {"emptyDir": {"sizeLimit": limit} if limit else {}}
    return {"name": volume.name, **source}
