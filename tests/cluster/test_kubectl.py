"""What people see and do with kubectl: names, columns, explanations, waiting, applying, deleting."""

import json
from collections.abc import Iterator
from typing import Any, Final

import pytest
import yaml

from cluster.kubectl import Kubectl, Object
from cluster.manifests import resource, script, task
from cluster.space import PATIENCE, Space
from cluster.waiting import until
from lab.access import ClusterAccess
from upkeep.api.crd import POINTER
from upkeep.cluster.resources import TASKS

KINDS: Final = {"mt": "maintenancetasks", "mw": "maintenancewindows", "bp": "backuppolicies"}
COLUMNS: Final = {
    "mt": ["NAME", "PHASE", "SCHEDULE", "NEXT", "LAST RUN", "RESULT", "CRITICAL", "WARNINGS", "AGE"],
    "mw": ["NAME", "PHASE", "SCHEDULE", "DURATION", "NEXT", "ENDS", "RESULT", "AGE"],
    "bp": ["NAME", "PHASE", "NEXT", "LAST BACKUP", "CHECKED", "VERIFIED", "RESULT", "AGE"],
}
DEEP: Final = (
    "mt.spec.steps.postgresVacuum.tables",
    "mt.spec.job.env.secretKeyRef.key",
    "mt.spec.exclusions.from",
    "mt.status.lastRun.findings.recommendation",
    "mw.spec.maintenanceMode.page.message",
    "mw.spec.plan.tasks.dependsOn",
    "mw.status.occurrence.targets.state",
    "bp.spec.source.postgres.secretRef.name",
    "bp.spec.verify.integrity.readDataSubset",
    "bp.spec.verify.restoreTest.queries.maxAge",
    "bp.status.lastVerified.restoreSeconds",
)
NAME: Final = "example"


def _schema(kubectl: Kubectl, plural: str) -> Object:
    """The schema of a kind, as the API server serves it."""
    found = json.loads(kubectl.run("get", "customresourcedefinition", f"{plural}.upkeep.dev", "--output=json"))
    (version,) = found["spec"]["versions"]
    schema: Object = version["schema"]["openAPIV3Schema"]
    return schema


def _fields(schema: Object, path: str) -> Iterator[tuple[str, Object]]:
    """Every field below a schema, with its path as `kubectl explain` wants it."""
    for name, field in schema.get("properties", {}).items():
        yield f"{path}.{name}", field
        yield from _fields(field, f"{path}.{name}")
    if isinstance(items := schema.get("items"), dict):
        yield from _fields(items, path)


def _words(text: str) -> str:
    return " ".join(text.split())


@pytest.fixture(scope="module")
def examples(space: Space, access: ClusterAccess) -> Space:
    """One resource of each kind, all of the same name."""
    backup = {
        "source": {"postgres": {"host": "db", "database": "shop", "secretRef": {"name": "db"}}},
        "repository": {"passwordSecretRef": {"name": "backups"}, "volume": {"claimName": "backups"}},
        "schedules": [{"name": "daily", "schedule": "0 1 * * *"}],
    }
    space.make(
        task(NAME, schedule="0 3 * * *", job=script(access.shop_image, "true")),
        resource("MaintenanceWindow", NAME, {"schedule": "0 2 * * SUN", "duration": "2h"}),
        resource("BackupPolicy", NAME, backup),
    )
    space.ended_run(NAME)
    return space


@pytest.mark.usefixtures("definitions")
@pytest.mark.parametrize("short", KINDS)
def test_every_field_has_an_explanation(kubectl: Kubectl, short: str) -> None:
    schema = _schema(kubectl, KINDS[short])
    own = {f"{short}.{name}" for name in ("apiVersion", "kind", "metadata")}
    told = {path: field.get("description", "").strip() for path, field in _fields(schema, short)}
    elsewhere = {path: f"{short}.{match[1]}" for path, text in told.items() if (match := POINTER.search(text))}

    below = tuple(f"{path}." for path in elsewhere)
    unexplained = [path for path, text in told.items() if path not in own and not path.startswith(below) and not text]

    assert schema["description"]
    assert unexplained == []
    assert all(told[place] and place not in elsewhere for place in elsewhere.values())


@pytest.mark.usefixtures("definitions")
@pytest.mark.parametrize("path", DEEP)
def test_explain_prints_what_stands_in_the_definition(kubectl: Kubectl, path: str) -> None:
    short = path.partition(".")[0]
    field = dict(_fields(_schema(kubectl, KINDS[short]), short))[path]

    printed = kubectl.run("explain", path)

    assert _words(field["description"]) in _words(printed)


@pytest.mark.parametrize("short", KINDS)
def test_get_shows_what_matters_in_columns(kubectl: Kubectl, examples: Space, short: str) -> None:
    lines = kubectl.run("get", short, f"--namespace={examples.name}").splitlines()

    header = [part.strip() for part in lines[0].split("   ") if part.strip()]
    assert header == COLUMNS[short]
    assert any(line.startswith(f"{NAME} ") and "Scheduled" in line for line in lines[1:])


def test_get_shows_how_the_last_run_ended_and_when_the_next_one_is(kubectl: Kubectl, examples: Space) -> None:
    (row,) = kubectl.run("get", "mt", NAME, f"--namespace={examples.name}", "--no-headers").splitlines()

    cells = [cell.strip() for cell in row.split("  ") if cell.strip()]
    assert cells[1:3] == ["Scheduled", "0 3 * * *"]
    assert cells[3] == examples.status(TASKS, NAME)["nextScheduleTime"]
    assert cells[5:8] == ["ok", "0", "0"]


def test_describe_shows_conditions_and_events(kubectl: Kubectl, examples: Space) -> None:
    until(lambda: len(examples.events_of(NAME)), lambda count: count >= 2, what="both Events", seconds=PATIENCE)

    text = kubectl.run("describe", "mt", NAME, f"--namespace={examples.name}")

    for part in ("LastRunSucceeded", "Next Schedule Time", "RunStarted", "run-now 'first'", "RunSucceeded"):
        assert part in text


def test_the_category_lists_all_three_kinds(kubectl: Kubectl, examples: Space) -> None:
    names = kubectl.run("get", "upkeep", f"--namespace={examples.name}", "--output=name").splitlines()

    assert {
        f"maintenancetask.upkeep.dev/{NAME}",
        f"maintenancewindow.upkeep.dev/{NAME}",
        f"backuppolicy.upkeep.dev/{NAME}",
    } <= set(names)


def test_scripts_can_wait_for_the_condition_ready(kubectl: Kubectl, examples: Space) -> None:
    three = [f"{short}/{NAME}" for short in KINDS]

    waited = kubectl.run("wait", "--for=condition=Ready", *three, f"--namespace={examples.name}", "--timeout=20s")

    assert waited.count("condition met") == 3


def test_scripts_can_wait_for_the_end_of_a_run(kubectl: Kubectl, space: Space, access: ClusterAccess) -> None:
    space.make(task("awaited", job=script(access.shop_image, "sleep 1")))

    kubectl.run(
        *("wait", "--for=condition=LastRunSucceeded", "mt/awaited"), f"--namespace={space.name}", "--timeout=30s"
    )

    assert space.status(TASKS, "awaited")["lastRun"]["outcome"] == "ok"


@pytest.mark.parametrize("options", [(), ("--server-side",)], ids=["client-side", "server-side"])
def test_applying_the_same_again_changes_nothing(kubectl: Kubectl, space: Space, options: tuple[str, ...]) -> None:
    name = f"applied{len(options)}"
    spec = {"schedule": "0 3 * * *", "steps": [{"name": "answers", "httpCheck": {"url": "http://localhost/"}}]}
    text = yaml.safe_dump(resource("MaintenanceTask", name, spec))
    apply = ("apply", f"--namespace={space.name}", "-f", "-", *options)
    kubectl.run(*apply, stdin=text)
    space.condition(name, "Ready", "True")
    before = space.get(TASKS, name)

    said = kubectl.run(*apply, stdin=text)

    after = space.get(TASKS, name)
    assert said.split()[1] == ("serverside-applied" if options else "unchanged")
    assert after == before
    assert after["metadata"]["generation"] == 1


def test_a_change_of_the_spec_is_seen_in_observed_generation(kubectl: Kubectl, space: Space) -> None:
    space.make(task("edited", _check(), run_now="", schedule="0 3 * * *"))
    space.condition("edited", "Ready", "True")

    kubectl.run(
        *("patch", "mt", "edited", f"--namespace={space.name}", "--type=merge"), '--patch={"spec":{"suspend":true}}'
    )

    status = until(
        lambda: space.status(TASKS, "edited"),
        lambda seen: seen["observedGeneration"] == 2,
        what="the change is observed",
        seconds=PATIENCE,
    )
    assert status["phase"] == "Suspended"
    assert "nextScheduleTime" not in status


def test_a_status_cannot_be_written_along_with_the_resource(kubectl: Kubectl, space: Space) -> None:
    space.make(task("honest", _check(), run_now=""))
    space.condition("honest", "Ready", "True")
    before = space.get(TASKS, "honest")
    patch = ("patch", "mt", "honest", f"--namespace={space.name}", "--type=merge", '--patch={"status":{"phase":"X"}}')

    kubectl.run(*patch)

    assert space.get(TASKS, "honest") == before


def test_a_status_that_somebody_forged_is_put_right(kubectl: Kubectl, space: Space) -> None:
    space.make(task("forged", _check(), run_now=""))
    space.condition("forged", "Ready", "True")
    patch = ("patch", "mt", "forged", f"--namespace={space.name}", "--type=merge", '--patch={"status":{"phase":"X"}}')

    kubectl.run(*patch, "--subresource=status")

    until(lambda: space.status(TASKS, "forged")["phase"], lambda p: p == "Idle", what="put right", seconds=PATIENCE)
    assert space.get(TASKS, "forged")["metadata"]["generation"] == 1


def _check() -> dict[str, Any]:
    return {"name": "answers", "httpCheck": {"url": "http://localhost/"}}
