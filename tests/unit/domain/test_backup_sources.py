"""What the Jobs of a policy get to read, by the kind of its source, and what they do."""

from typing import Any, Final

import pytest
from pydantic import ValidationError

from unit.domain.backupworld import SPEC
from upkeep.api.backup import BackupSpec
from upkeep.domain.backupwork import backup_work
from upkeep.domain.identity import Identity
from upkeep.domain.order import OUTPUT_DIRECTORY, RunOrder
from upkeep.domain.work import Work

OWNER: Final = Identity(kind="BackupPolicy", namespace="shop", name="everything", uid="u1")
REDIS: Final = {"host": "cache", "secretRef": {"name": "cache"}}
FILES: Final = {"claimName": "uploads", "paths": ["pictures"], "exclude": ["*.tmp"], "runAsUser": 1000}
OBJECTS: Final = {"kinds": [{"apiVersion": "v1", "kind": "ConfigMap"}], "serviceAccountName": "reader"}
COMMAND: Final = {"image": "localhost/tool", "command": ["export"], "runAsUser": 2000}
POSTGRES: Final = {"host": "db", "database": "shop", "secretRef": {"name": "db"}}
SEVERAL: Final = {"databases": ["shop", "tenant_*"], "excludeDatabases": ["tenant_old"], "jobs": 4}
PHYSICAL: Final = {**POSTGRES, "method": "Physical"}
INCREMENTAL: Final = {"name": "hourly", "schedule": "0 * * * *", "incremental": True}
TEST: Final = {"schedule": "0 5 * * *", "memory": "3Gi", "scratchSize": "4Gi"}


def spec(source: dict[str, Any], **test: object) -> BackupSpec:
    return BackupSpec.model_validate({**SPEC, "source": source, "verify": {"restoreTest": {**TEST, **test}}})


def work(source: dict[str, Any], schedule: str = "hourly", **test: object) -> Work:
    return backup_work(OWNER, spec(source, **test), schedule, verified=None)


def step(found: Work) -> tuple[str, dict[str, Any]]:
    assert isinstance(found.content, RunOrder)
    (only,) = found.content.steps
    return only.action_name, only.action.model_dump(by_alias=True)


@pytest.mark.parametrize(
    ("source", "action", "needs"),
    [
        ({"redis": REDIS}, "backupRedis", {"secrets": {"repository": "repository", "source": "cache"}}),
        ({"redis": {"host": "cache"}}, "backupRedis", {}),
        ({"files": FILES}, "backupFiles", {"sources": {"/var/run/upkeep/source": "uploads"}, "user": 1000}),
        ({"objects": OBJECTS}, "backupObjects", {"service_account": "reader"}),
        ({"command": COMMAND}, "backupFiles", {"user": 2000}),
    ],
)
def test_a_backup_gets_what_its_source_needs_and_nothing_else(
    source: dict[str, Any], action: str, needs: dict[str, Any]
) -> None:
    found = work(source)

    nothing: dict[str, Any] = {"sources": {}, "user": None, "service_account": None}
    expected = {**nothing, "secrets": {"repository": "repository"}, **needs}
    assert step(found)[0] == action
    assert {name: getattr(found, name) for name in expected} == expected
    assert (found.preparation is not None) == ("command" in source)


def test_files_are_read_where_they_are_mounted() -> None:
    _, files = step(work({"files": FILES}))
    _, left = step(work({"command": COMMAND}))

    assert (files["root"], files["paths"], files["exclude"]) == ("/var/run/upkeep/source", ["pictures"], ["*.tmp"])
    assert (left["root"], left["paths"]) == (OUTPUT_DIRECTORY, [])


@pytest.mark.parametrize(
    ("source", "action"),
    [
        ({"redis": REDIS}, "backupRedisTest"),
        ({"files": FILES}, "backupFilesTest"),
        ({"objects": OBJECTS}, "backupObjectsTest"),
        ({"command": COMMAND}, "backupFilesTest"),
    ],
)
@pytest.mark.parametrize("schedule", ["restore-test", "integrity", "prune"])
def test_what_proves_backups_gets_nothing_of_the_source(source: dict[str, Any], action: str, schedule: str) -> None:
    declared = {**SPEC, "source": source, "prune": {"schedule": "0 6 * * *"}}
    declared |= {"verify": {"restoreTest": TEST, "integrity": {"schedule": "0 4 * * *"}}}

    found = backup_work(OWNER, BackupSpec.model_validate(declared), schedule, verified=None)

    assert found.secrets == {"repository": "repository"}
    assert (found.sources, found.preparation, found.service_account) == ({}, None, None)
    assert found.user == next(iter(source.values())).get("runAsUser"), "files of the repository belong to one user"
    if schedule == "restore-test":
        assert step(found)[0] == action
        assert (found.memory, found.scratch, found.only_reads) == ("3Gi", "4Gi", True)


def test_what_is_expected_reaches_the_test() -> None:
    key = {"name": "carts", "pattern": "cart:*", "min": 5}
    file = {"name": "pictures", "path": "**/*.jpg", "min": 1, "maxAge": "1d"}

    assert step(work({"redis": REDIS}, "restore-test", keys=[key]))[1]["keys"] == [key]
    assert step(work({"command": COMMAND}, "restore-test", files=[file]))[1]["files"] == [file]


def test_all_databases_of_a_server_reach_what_dumps_and_what_proves_them() -> None:
    source, query = {"postgres": {**POSTGRES, **SEVERAL}}, {"name": "q", "query": "SELECT 1", "min": 1}

    backup, (_, test) = work(source), step(work(source, "restore-test", queries=[{**query, "database": "tenant_a"}]))

    assert SEVERAL.items() <= step(backup)[1].items()
    assert isinstance(backup.content, RunOrder)
    (connection,) = backup.content.connections
    assert connection.model_dump(by_alias=True, exclude_defaults=True) == {"name": "source", "postgres": POSTGRES}
    assert (test["database"], test["jobs"], test["queries"][0]["database"]) == ("shop", 4, "tenant_a")


def test_what_names_no_databases_backs_up_the_one_of_its_connection() -> None:
    _, backup = step(work({"postgres": POSTGRES}))

    assert (backup["databases"], backup["excludeDatabases"], backup["jobs"]) == ([], [], 1)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"excludeDatabases": ["a"]}, "excludeDatabases leaves some of `databases` out"),
        ({"databases": []}, "at least 1 item"),
        ({"databases": [""]}, "at least 1 character"),
        ({"databases": ["a" * 64]}, "at most 63 characters"),
        ({"databases": ["a"] * 65}, "at most 64 items"),
        ({"jobs": 0}, "greater than or equal to 1"),
        ({"jobs": 9}, "less than or equal to 8"),
    ],
)
def test_databases_that_cannot_be_chosen_are_refused(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        spec({"postgres": {**POSTGRES, **changes}})


@pytest.mark.parametrize(
    ("source", "test", "words"),
    [
        ({"redis": REDIS}, {"queries": [{"name": "q", "query": "SELECT 1", "min": 1}]}, "is for a source of postgres"),
        ({"files": FILES}, {"keys": [{"name": "k", "pattern": "*"}]}, "is for a source of redis: remove it"),
        ({"objects": OBJECTS}, {"files": [{"name": "f", "path": "*"}]}, "is for a source of files or command"),
    ],
)
def test_what_a_source_does_not_have_cannot_be_expected(
    source: dict[str, Any], test: dict[str, Any], words: str
) -> None:
    with pytest.raises(ValidationError, match=words):
        spec(source, **test)


def test_the_files_of_a_server_are_copied_and_proven_by_steps_of_their_own() -> None:
    schedules = [
        {"name": "weekly", "schedule": "0 0 * * SUN"},
        {"name": "hourly", "schedule": "0 * * * *", "incremental": True},
    ]
    declared = {**SPEC, "source": {"postgres": PHYSICAL}, "schedules": schedules, "verify": {"restoreTest": TEST}}
    found = {
        name: backup_work(OWNER, BackupSpec.model_validate(declared), name, verified=None)
        for name in ("weekly", "hourly", "restore-test")
    }

    steps = {name: step(work) for name, work in found.items()}
    assert [name for name, _ in steps.values()] == ["backupPhysical", "backupPhysical", "backupPhysicalTest"]
    assert [steps[name][1]["incremental"] for name in ("weekly", "hourly")] == [False, True]
    assert found["weekly"].secrets == {"repository": "repository", "source": "db"}
    assert found["restore-test"].secrets == {"repository": "repository"}


@pytest.mark.parametrize(
    ("source", "more", "words"),
    [
        ({"postgres": PHYSICAL}, {"verify": {"fullRestore": {"schedule": "0 5 1 * *"}}}, "verify.fullRestore compares"),
        ({"postgres": {**PHYSICAL, "method": "Logical"}}, {"schedules": [INCREMENTAL]}, "with method Physical"),
        ({"redis": REDIS}, {"schedules": [INCREMENTAL]}, "with method Physical"),
        ({"postgres": {**PHYSICAL, "databases": ["*"]}}, {}, "remove databases, excludeDatabases and jobs"),
        ({"postgres": {**PHYSICAL, "jobs": 2}}, {}, "remove databases, excludeDatabases and jobs"),
        ({"postgres": {**PHYSICAL, "method": "physical"}}, {}, "'Logical' or 'Physical'"),
    ],
)
def test_what_does_not_go_together_is_refused(source: dict[str, Any], more: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        BackupSpec.model_validate({**SPEC, "source": source, **more})
