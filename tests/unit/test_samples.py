"""The samples that people learn from are what the program reads, and the bad examples are refused by it too."""

from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest
import yaml
from pydantic import ValidationError

from upkeep.actions.fields import Model
from upkeep.api.backup import BackupSpec
from upkeep.api.crd import KINDS
from upkeep.api.task import TaskSpec
from upkeep.api.window import WindowSpec
from upkeep.domain.schedule import Exclusion, Schedule

if TYPE_CHECKING:
    from upkeep.api.scheduling import ExclusionPeriod

ROOT: Final = Path(__file__).parents[2]
SAMPLES: Final = sorted((ROOT / "manifests" / "samples").glob("*.yaml"))
DEMO: Final = ROOT / "manifests" / "demo" / "shop" / "shop.yaml"
BAD: Final = ROOT / "tests" / "cluster" / "bad"
SPECS: Final[dict[str, type[Model]]] = {kind.kind: kind.spec for kind in KINDS}
ISSUED: Final = {"shop-tls", "shop-backup-s3", "shop-backup-cold", "shop-safe", "shop-firestore"}
"""Secrets that others make: who issues certificates, and who keeps the buckets and the accounts."""
UPLOADED: Final = {"shop-uploads", "data-shop-redis-0"}
"""Volumes that an application writes to, that of a StatefulSet by the name that this gives it."""
NOW: Final = datetime(2026, 12, 1, tzinfo=UTC)

Object = dict[str, Any]


@cache
def _objects(*paths: Path) -> list[Object]:
    return [found for path in paths for found in yaml.safe_load_all(path.read_text()) if found]


OURS: Final = [found for found in _objects(*SAMPLES) if found["kind"] in SPECS]


def _names(kind: str, *paths: Path) -> set[str]:
    return {found["metadata"]["name"] for found in _objects(*paths) if found["kind"] == kind}


def _name(found: Object) -> str:
    return f"{found['kind']}/{found['metadata']['name']}"


@pytest.fixture(params=OURS, ids=_name)
def sample(request: pytest.FixtureRequest) -> Object:
    found: Object = request.param
    return found


@pytest.fixture
def spec(sample: Object) -> Model:
    return SPECS[sample["kind"]].model_validate(sample["spec"])


def test_there_is_a_sample_of_every_kind() -> None:
    assert {found["kind"] for found in OURS} == set(SPECS)


def test_a_sample_lives_where_the_demo_does_or_brings_its_namespace(sample: Object) -> None:
    assert sample["apiVersion"] == "upkeep.dev/v1alpha1"
    assert sample["metadata"]["namespace"] in {"shop", *_names("Namespace", *SAMPLES)}


def test_every_file_begins_by_saying_what_it_is_for() -> None:
    assert [path.name for path in SAMPLES if not path.read_text().startswith("# ")] == []


def test_each_schedule_of_a_sample_comes_due(spec: Model) -> None:
    zone, exclusions = _zone_and_exclusions(spec)

    for expression in _expressions(spec):
        schedule = Schedule.cron(expression, zone=zone, exclusions=exclusions)
        following = schedule.next_after(NOW)
        assert following is not None
        assert following > NOW


@pytest.mark.parametrize(
    ("name", "due"),
    [
        ("every-5-minutes", "2026-12-01T00:05"),
        ("every-4-hours", "2026-12-01T04:00"),
        ("daily", "2026-12-01T01:00"),
        ("weekly", "2026-12-06T03:00"),
        ("monthly", "2026-12-01T02:00"),
        ("first-sunday", "2026-12-06T01:00"),
        ("first-week-of-quarter", "2027-01-01T02:00"),
        ("first-weekend-of-quarter", "2027-01-02T00:00"),
        ("quarterly", "2027-01-01T04:00"),
        ("twice-a-year", "2027-03-15T04:00"),
        ("yearly", "2027-01-02T04:00"),
        ("last-day-of-month", "2026-12-31T22:00"),
        ("in-new-york", "2026-12-01T07:30"),
        ("outside-freezes", "2026-12-01T19:00"),
    ],
)
def test_a_schedule_is_due_when_its_name_says(name: str, due: str) -> None:
    (found,) = [found for found in OURS if _name(found) == f"MaintenanceTask/{name}"]
    spec = TaskSpec.model_validate(found["spec"])
    assert spec.schedule

    following = Schedule.cron(spec.schedule, zone=spec.time_zone).next_after(NOW)

    assert following == datetime.fromisoformat(f"{due}Z")


def test_the_servers_and_secrets_that_samples_name_are_in_the_demo(sample: Object) -> None:
    services, secrets = _names("Service", DEMO), _names("Secret", DEMO) | ISSUED
    claims = _names("PersistentVolumeClaim", DEMO, *SAMPLES) | UPLOADED
    scripts = _names("ConfigMap", *SAMPLES)

    for key, value in _leaves(sample["spec"]):
        match key.split(".")[-2:]:
            case [_, "host"]:
                assert value in services, key
            case ["secretRef" | "passwordSecretRef" | "secretKeyRef", "name"]:
                assert value in secrets, key
            case [_, "claimName"]:
                assert value in claims, key
            case ["configMap", "name"]:
                assert value in scripts, key


def test_steps_use_connections_that_are_there(spec: Model) -> None:
    steps = spec.steps if isinstance(spec, TaskSpec) else None
    if isinstance(spec, WindowSpec):
        steps = [*(spec.verify.steps if spec.verify else ()), *((spec.requires and spec.requires.steps) or ())]
    known = {connection.name for connection in getattr(spec, "connections", [])}

    used = {name for step in steps or [] for name in step.action.connection_names()}

    assert used == known


def test_windows_plan_require_and_target_what_is_there(spec: Model) -> None:
    tasks, ingresses = _names("MaintenanceTask", *SAMPLES), _names("Ingress", DEMO)

    if isinstance(spec, WindowSpec):
        parts = spec.plan.tasks if spec.plan else []
        assert {part.name for part in parts if part.selector is None} <= tasks
        marks = [found["metadata"].get("labels", {}) for found in OURS if found["kind"] == "MaintenanceTask"]
        assert all(any(part.selector.matches(each) for each in marks) for part in parts if part.selector)
        required = spec.requires.verified_backups if spec.requires else None
        assert {backup.name for backup in required or ()} <= _names("BackupPolicy", *SAMPLES)
        mode = spec.maintenance_mode
        assert {target.name for target in (mode.targets if mode else ()) if target.name} <= ingresses


def test_tasks_and_policies_name_windows_that_are_there_and_shared_with_them(sample: Object) -> None:
    windows = {
        f"{found['metadata']['namespace']}/{found['metadata']['name']}": found
        for found in OURS
        if found["kind"] == "MaintenanceWindow"
    }

    for reference in sample["spec"].get("windows", ()):
        assert sample["metadata"]["namespace"] in windows[reference]["spec"]["sharedWith"]


REFUSED_BY_THE_MODELS: Final = {
    "two-actions-in-a-step",
    "query-without-threshold",
    "query-critical-milder",
    "unknown-action",
    "unknown-action-without-field-validation",
    "neither-steps-nor-job",
    "rollback-of-two-kinds",
    "job-and-steps",
    "job-as-root",
    "duration-of-task",
    "duration-of-window",
    "misspelt-field",
    "full-vacuum-without-downtime",
    "connection-of-two-kinds",
    "stale-keys-gone-at-once",
    "tls-connection-to-nothing",
    "redis-password-as-setting",
    "secret-of-another-namespace",
    "window-without-duration",
    "window-without-time",
    "window-schedule-and-start",
    "target-of-unknown-kind",
    "annotations-with-a-snippet",
    "annotations-without-their-strategy",
    "target-by-name-and-selector",
    "target-selected-by-our-own-label",
    "silence-of-everything",
    "requires-nothing",
    "backup-of-nothing",
    "backup-read-subset",
    "backup-excludes-from-nothing",
    "backup-schedule-named-restore-test",
    "backup-schedule-named-full-restore",
    "full-restore-of-a-redis",
    "backup-schedule-named-prune",
    "retention-of-nothing",
    "retention-without-prune",
    "restore-query-without-expectation",
    "restore-query-with-two-expectations",
    "restore-by-two-moments",
    "scale-to-nothing-said",
    "checklist-item-twice",
    "checklist-item-name",
    "change-of-unknown-risk",
    "announcements-to-nobody",
    "announcement-at-the-opening",
    "freeze-with-plan",
    "freeze-with-cutoff",
    "reason-without-freeze",
    "shared-with-no-namespace",
    "window-named-by-three-parts",
}


@pytest.mark.parametrize("name", sorted(REFUSED_BY_THE_MODELS))
def test_what_the_api_server_refuses_is_refused_without_it_too(name: str) -> None:
    (bad,) = _objects(BAD / f"{name}.yaml")

    with pytest.raises(ValidationError):
        SPECS[bad["kind"]].model_validate(bad["spec"])


@pytest.mark.parametrize("path", sorted(BAD.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_bad_example_is_of_a_kind_of_ours_and_says_what_to_expect(path: Path) -> None:
    (bad,) = _objects(path)

    assert bad["kind"] in SPECS
    assert "# expect: " in path.read_text()


def _zone_and_exclusions(spec: Model) -> tuple[str, list[Exclusion]]:
    zone: str = getattr(spec, "time_zone", "Etc/UTC")
    periods: list[ExclusionPeriod] = getattr(spec, "exclusions", [])
    return zone, [Exclusion.parse(period.start, period.end, period.reason) for period in periods]


def _expressions(spec: Model) -> list[str]:
    if isinstance(spec, BackupSpec):
        expressions = [backup.schedule for backup in spec.schedules]
        others = (spec.verify.integrity, spec.verify.restore_test, spec.prune)
        return expressions + [other.schedule for other in others if other]
    expression: str | None = getattr(spec, "schedule", None)
    return [expression] if expression else []


def _leaves(node: object, path: str = "spec") -> list[tuple[str, object]]:
    if isinstance(node, dict):
        return [leaf for key, child in node.items() for leaf in _leaves(child, f"{path}.{key}")]
    if isinstance(node, list):
        return [leaf for child in node for leaf in _leaves(child, path)]
    return [(path, node)]
