"""A task that restores backups gets what it needs of their policy, in its own namespace, and can harm nothing by it."""

from typing import Any, Final

import pytest

from unit.domain.backupworld import SPEC
from unit.domain.cluster import Object, at, resource
from upkeep.domain.decision import Decision, StartRun
from upkeep.domain.identity import RUN_NOW_ANNOTATION, Identity
from upkeep.domain.order import RunOrder
from upkeep.domain.task import TaskSnapshot, decide
from upkeep.resources.job import job

VERIFIED: Final = {
    "time": "2026-03-01T05:00:00Z",
    "snapshot": "5d3fdd52",
    "snapshotTime": "2026-03-01T01:00:00Z",
    "restoreSeconds": 3,
    "ageSeconds": 14400,
}

PHYSICAL: Final = {"postgres": {**SPEC["source"]["postgres"], "method": "Physical"}}


def policy(name: str = "shop-db", *, status: Object | None = None, **spec: object) -> Object:
    made = resource("BackupPolicy", {**SPEC, "scratchSize": "20Gi", **spec}, created=at("00:00"), name=name)
    return {**made, "status": status} if status else made


def restoring(*steps: dict[str, Any]) -> Object:
    spec = {
        "connections": [
            {"name": "db", "postgres": {"host": "db", "database": "shop", "secretRef": {"name": "db-admin"}}}
        ],
        "steps": [
            {"name": f"step-{number}", "backupRestore": {"connection": "db", **step}}
            for number, step in enumerate(steps)
        ],
    }
    made = resource("MaintenanceTask", spec, created=at("00:00"), name="recover")
    made["metadata"]["annotations"] = {RUN_NOW_ANNOTATION: "now"}
    return made


def restoring_files(*policies: str, claim: str = "uploads", **step: object) -> Object:
    """A task that restores files of policies onto a volume, and looks at another one."""
    steps = [
        {"name": f"step-{number}", "backupRestoreFiles": {"connection": "files", "policy": name, **step}}
        for number, name in enumerate(policies)
    ]
    spec = {
        "connections": [
            {"name": "files", "volume": {"claimName": claim}},
            {"name": "logs", "volume": {"claimName": "logs"}},
        ],
        "steps": steps,
    }
    made = resource("MaintenanceTask", spec, created=at("00:00"), name="recover")
    made["metadata"]["annotations"] = {RUN_NOW_ANNOTATION: "now"}
    return made


def of_files(name: str = "shop-files", **source: object) -> Object:
    return policy(name, source={"files": {"claimName": "uploads", "paths": ["uploads", ".well-known"], **source}})


def decided(task: Object, *policies: Object) -> Decision:
    known = {each["metadata"]["name"]: each for each in policies}
    return decide(TaskSnapshot(resource=task, runs=[], now=at("02:00"), policies=known))


def started(decision: Decision) -> StartRun:
    (start,) = decision.actions
    assert isinstance(start, StartRun)
    return start


def test_the_pod_can_read_the_repository_of_the_policy_and_cannot_write_to_it() -> None:
    start = started(decided(restoring({"policy": "shop-db"}), policy(status={"lastVerified": VERIFIED})))

    manifest = job(
        owner=start.owner, name=start.name, occasion=start.occasion, work=start.work, image="localhost/upkeep"
    )

    pod = manifest["spec"]["template"]["spec"]
    secrets = {volume["name"]: volume["secret"]["secretName"] for volume in pod["volumes"] if "secret" in volume}
    (container,) = pod["containers"]
    mounts = {mount["mountPath"]: mount for mount in container["volumeMounts"]}
    assert secrets[mounts["/var/run/upkeep/credentials/db"]["name"]] == "db-admin"
    assert secrets[mounts["/var/run/upkeep/credentials/policy.0/repository"]["name"]] == "repository"
    assert mounts["/var/run/upkeep/repository/0"]["readOnly"] is True
    assert pod["volumes"][0] == {"name": "scratch", "emptyDir": {"sizeLimit": "20Gi"}}
    (order,) = (each["value"] for each in container["env"] if each["name"] == "UPKEEP_RUN_ORDER")
    (origin,) = RunOrder.decode(order).origins
    assert (origin.policy, origin.owner, origin.verified) == ("shop-db", "shop/shop-db", "5d3fdd52")
    assert origin.repository.path == "/var/run/upkeep/repository/0/repository"


def test_two_policies_do_not_get_in_each_others_way() -> None:
    steps = ({"policy": "shop-db"}, {"policy": "other"}, {"policy": "shop-db", "database": "again"})
    start = started(decided(restoring(*steps), policy(), policy("other", scratchSize="100Gi")))

    assert isinstance(start.work.content, RunOrder)
    origins = {origin.policy: origin for origin in start.work.content.origins}
    assert {name: origin.credentials for name, origin in origins.items()} == {
        "shop-db": "policy.0",
        "other": "policy.1",
    }
    assert len({origin.repository.path for origin in origins.values()}) == 2
    assert start.work.scratch == "100Gi"


@pytest.mark.parametrize(
    ("step", "policies", "reason", "words"),
    [
        ({"policy": "nowhere"}, [], "BackupPolicyNotFound", "BackupPolicy 'nowhere' does not exist in this namespace"),
        ({"policy": "shop-db"}, [policy(repository={})], "BackupPolicyInvalid", "cannot be read"),
        (
            {"policy": "shop-db"},
            [policy(source={"redis": {"host": "cache"}})],
            "NoDatabaseBackedUp",
            "restore it by backupRestoreFiles",
        ),
        ({"policy": "shop-db"}, [policy(source=PHYSICAL)], "NoDatabaseBackedUp", "(method Physical)"),
        (
            {"policy": "shop-db", "snapshot": "latestVerified"},
            [policy()],
            "BackupNotVerified",
            "upkeep.dev/run-now=restore-test/",
        ),
    ],
)
def test_what_cannot_be_restored_is_said_before_anything_is_started(
    step: dict[str, Any], policies: list[Object], reason: str, words: str
) -> None:
    decision = decided(restoring(step), *policies)

    assert decision.actions == ()
    (ready,) = (each for each in decision.status.conditions if each.type == "Ready")
    assert (ready.status, ready.reason) == ("False", reason)
    assert words in ready.message
    assert ready.message.startswith("step 'step-0': ")
    assert [event.reason for event in decision.events] == ["ManualRunRefused"]


def test_only_the_volume_that_files_are_restored_to_can_be_written_to() -> None:
    start = started(decided(restoring_files("shop-files"), of_files(runAsUser=1000)))

    manifest = job(
        owner=start.owner, name=start.name, occasion=start.occasion, work=start.work, image="localhost/upkeep"
    )

    pod = manifest["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    read_only = {mount["mountPath"]: mount.get("readOnly", False) for mount in container["volumeMounts"]}
    assert read_only["/var/run/upkeep/volumes/files"] is False
    assert read_only["/var/run/upkeep/volumes/logs"] is True
    assert read_only["/var/run/upkeep/repository/0"] is True
    # and it runs as the user of the policy, to whom the files and the repository belong
    assert pod["securityContext"]["runAsUser"] == 1000
    (order,) = (each["value"] for each in container["env"] if each["name"] == "UPKEEP_RUN_ORDER")
    (origin,) = RunOrder.decode(order).origins
    assert (origin.kind, origin.paths) == ("files", ["uploads", ".well-known"])


@pytest.mark.parametrize(
    ("task", "policies", "reason", "words"),
    [
        (restoring_files("shop-db"), [policy()], "NoFilesBackedUp", "restore it by backupRestore"),
        (restoring_files("nowhere"), [], "BackupPolicyNotFound", "'nowhere' does not exist"),
        (
            restoring_files("shop-files", snapshot="latestVerified"),
            [of_files()],
            "BackupNotVerified",
            "has passed a restore test yet",
        ),
        (
            restoring_files("shop-files", claim="backups"),
            [of_files()],
            "RestoreOntoRepository",
            "claim 'backups' has the backups themselves: restore them to another volume",
        ),
        (
            restoring_files("shop-files", "other"),
            [of_files(runAsUser=1000), of_files("other")],
            "SeveralUsers",
            "BackupPolicies 'shop-files' and 'other' run as different users (runAsUser), a Pod as one",
        ),
    ],
)
def test_what_files_cannot_be_restored_is_said_before_anything_is_started(
    task: Object, policies: list[Object], reason: str, words: str
) -> None:
    decision = decided(task, *policies)

    assert decision.actions == ()
    (ready,) = (each for each in decision.status.conditions if each.type == "Ready")
    assert (ready.status, ready.reason) == ("False", reason)
    assert words in ready.message


def test_a_task_without_restores_has_nothing_of_policies() -> None:
    task = resource(
        "MaintenanceTask", {"steps": [{"name": "a", "httpCheck": {"url": "http://shop"}}]}, created=at("00:00")
    )
    task["metadata"]["annotations"] = {RUN_NOW_ANNOTATION: "now"}

    work = started(decided(task, policy())).work

    assert (work.secrets, work.claims, work.memory) == ({}, {}, "256Mi")
    assert Identity.of(task).namespace == "shop"
