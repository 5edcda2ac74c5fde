"""Which other objects a custom resource names, read from what is really there.

A resource may have been written past validation, or before a field had its present shape. Whatever it looks like, it
must never stop the watches or a decision about another resource; what is wrong with it, the decision about it says.
"""

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from pydantic import ValidationError

from upkeep.actions.backup.restore import BackupRestore
from upkeep.actions.backup.restorefiles import BackupRestoreFiles
from upkeep.api.selector import LabelSelector
from upkeep.api.window import Request, Strategy, Target, TaskState, Watch, WindowKind
from upkeep.cluster.resources import BACKUPS, TARGETS, TASKS, WINDOWS, Resource
from upkeep.domain.binding import located
from upkeep.domain.instants import read_instant, write_instant
from upkeep.domain.maintenance import DEFAULT_KIND
from upkeep.domain.proof import VERIFIED
from upkeep.domain.window import TargetRef

NAMES_WINDOW: Final = "names-window"
"""Term of a task or policy for each window that it names, as `namespace/name`."""
FREEZES: Final = "freezes"
"""Term of a freeze for each namespace in which it forbids, `*` for all."""
SELECTS_TASKS: Final = "selects-tasks"
"""Term of a window with a plan that chooses tasks by their labels: its namespace."""

REQUIRES_BACKUP: Final = "requires-backup"
"""Term of a window for each BackupPolicy of which it requires a verified backup, as `namespace/name`."""

RESTORES_BACKUP: Final = "restores-backup"
"""Term of a task for each BackupPolicy whose backups it restores, as `namespace/name`."""

_LEAD: Final = timedelta(minutes=2)
"""How long before an opening it may be asked for: the first decision about it comes up to a minute before."""


def windows_of(resource: Mapping[str, Any]) -> list[str]:
    """Names of the MaintenanceWindows that a task or policy is bound to, as they stand there."""
    return [name for name in _items(_mapping(resource.get("spec")).get("windows")) if isinstance(name, str)]


def named_windows(resource: Mapping[str, Any]) -> dict[str, tuple[str, str]]:
    """Namespace and name of each MaintenanceWindow that a task or policy is bound to, by how it is named there."""
    namespace = resource["metadata"]["namespace"]
    return {reference: located(reference, namespace) for reference in windows_of(resource)}


def frozen_namespaces(window: Mapping[str, Any]) -> list[str]:
    """The namespaces in which a window forbids, `*` for all; none where it is no freeze."""
    spec = _mapping(window.get("spec"))
    if spec.get("kind") != WindowKind.FREEZE:
        return []
    shared = (name for name in _items(spec.get("sharedWith")) if isinstance(name, str))
    return list(dict.fromkeys((window["metadata"]["namespace"], *shared)))


def terms_of(resource: Resource, body: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """By what an object is found: which windows or policies it names, where it freezes."""
    if resource in {TASKS, BACKUPS}:
        yield from ((NAMES_WINDOW, f"{namespace}/{name}") for namespace, name in named_windows(body).values())
        namespace = body["metadata"]["namespace"]
        yield from ((RESTORES_BACKUP, f"{namespace}/{name}") for name in restored_policies(body))
    elif resource == WINDOWS:
        yield from ((FREEZES, namespace) for namespace in frozen_namespaces(body))
        if any("selector" in entry for entry in _plan(body)):
            yield SELECTS_TASKS, body["metadata"]["namespace"]
        namespace = body["metadata"]["namespace"]
        yield from ((REQUIRES_BACKUP, f"{namespace}/{name}") for name in required_policies(body))


def progress_of(window: Mapping[str, Any]) -> tuple[object, ...]:
    """All of a window's status that may let begin what waits for it."""
    status, occurrence = _mapping(window.get("status")), occurrence_of(window)
    known = (status.get("observedGeneration"), status.get("lastScheduleTime"), occurrence.get("startTime"))
    return (*known, "openedAt" in occurrence, "openedAt" in occurrence or "closedAt" in occurrence)


def planned_tasks(resource: Mapping[str, Any]) -> list[str]:
    """Names of the MaintenanceTasks in a window's plan: those that stand there, and what its selectors have chosen."""
    named = _names([entry for entry in _plan(resource) if "selector" not in entry])
    return list(dict.fromkeys((*named, *_names(_bound(resource)))))


def task_selectors(resource: Mapping[str, Any]) -> list[LabelSelector]:
    """By which labels a window's plan is still to choose tasks: once it is open, what was chosen stays."""
    done = {name for task in _bound(resource) for name in _items(task.get("selectedBy")) if isinstance(name, str)}
    wanted = []
    for entry in _plan(resource):
        if entry.get("name") in done:
            continue
        try:
            wanted.append(LabelSelector.model_validate(entry["selector"]))
        except (KeyError, ValidationError):
            continue  # a task by its name; or the decision says what is wrong with it
    return wanted


def required_policies(window: Mapping[str, Any]) -> list[str]:
    """Names of the BackupPolicies of which a window requires a verified backup."""
    requires = _mapping(_mapping(window.get("spec")).get("requires"))
    return list(_names(requires.get("verifiedBackups")))


def restored_policies(task: Mapping[str, Any]) -> list[str]:
    """Names of the BackupPolicies whose backups the steps of a task, or of its way back, restore."""
    spec = _mapping(task.get("spec"))
    steps = (*_items(spec.get("steps")), *_items(_mapping(spec.get("rollback")).get("steps")))
    actions = (BackupRestore.action_name, BackupRestoreFiles.action_name)
    named = (_mapping(_mapping(step).get(action)).get("policy") for step in steps for action in actions)
    return list(dict.fromkeys(name for name in named if name and isinstance(name, str)))


def proof_of(policy: Mapping[str, Any]) -> tuple[object, ...]:
    """All of a policy's status that may let open what requires a verified backup, or run what restores one."""
    status = _mapping(policy.get("status"))
    conditions = [_mapping(condition) for condition in _items(status.get("conditions"))]
    verdict = next((each.get("status") for each in conditions if each.get("type") == VERIFIED), None)
    verified = _mapping(status.get("lastVerified"))
    return (verified.get("time"), verified.get("snapshot"), verified.get("snapshotTime"), verdict)


def targets_of(resource: Mapping[str, Any]) -> list[TargetRef]:
    """What a window's spec names for its maintenance mode, or its status still remembers; each once."""
    listed = (*_targets(resource), *_items(occurrence_of(resource).get("targets")))
    found = (_named_target(_mapping(item)) for item in listed)
    return list(dict.fromkeys(ref for ref in found if ref is not None))


def selectors_of(resource: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Kinds and label selectors, as in a list's parameter, by which a window chooses what to put on a page."""
    chosen = []
    for target in _targets(resource):
        try:
            read = Target.model_validate(target)
        except ValidationError:
            continue
        if read.selector is not None:
            chosen.append((read.kind, read.selector.query))
    return list(dict.fromkeys(chosen))


def companion_kinds(resource: Mapping[str, Any]) -> frozenset[str]:
    """Kinds of which a window may have routes of its own beside its targets; none where it makes no such routes."""
    mode, occurrence = _mapping(_mapping(resource.get("spec")).get("maintenanceMode")), occurrence_of(resource)
    made = mode.get("bypass") or mode.get("strategy") == Strategy.OVERLAY
    if not made and not occurrence.get("companions"):
        return frozenset()
    return frozenset({kind for kind, _ in (*targets_of(resource), *selectors_of(resource))})


def asks_for_classes(resource: Mapping[str, Any]) -> bool:
    """Whether it matters to a window by what the Ingresses of its namespace are served."""
    mode = _mapping(_mapping(resource.get("spec")).get("maintenanceMode"))
    kinds = {_mapping(target).get("kind", DEFAULT_KIND) for target in _targets(resource)}
    return mode.get("strategy") == Strategy.OVERLAY and DEFAULT_KIND in kinds


def branding_of(resource: Mapping[str, Any]) -> str | None:
    """Name of the ConfigMap with the branding of a window's page."""
    page = _mapping(_mapping(_mapping(resource.get("spec")).get("maintenanceMode")).get("page"))
    name = _mapping(page.get("branding")).get("configMapName")
    return name if name and isinstance(name, str) else None


def backend_of(resource: Mapping[str, Any]) -> str | None:
    """Name of the Service to which a window sends users instead of to a page."""
    backend = _mapping(_mapping(_mapping(resource.get("spec")).get("maintenanceMode")).get("backend"))
    name = backend.get("service")
    return name if name and isinstance(name, str) else None


def occurrence_of(resource: Mapping[str, Any]) -> Mapping[str, Any]:
    """The opening that a window's status tells of."""
    return _mapping(_mapping(resource.get("status")).get("occurrence"))


def alerts_before(resource: Mapping[str, Any], now: datetime) -> object:
    """What a window requires of alerts, as it is written, while that matters: before an opening; else None."""
    occurrence, status = occurrence_of(resource), _mapping(resource.get("status"))
    following = status.get("nextScheduleTime")
    if "openedAt" in occurrence and "closedAt" not in occurrence:
        return None
    # Instants in a status are all written alike, so that their order is that of their texts.
    far = isinstance(following, str) and following > write_instant(now + _LEAD)
    far = far and Request.START_NOW.annotation not in _mapping(_mapping(resource.get("metadata")).get("annotations"))
    if far and ("closedAt" in occurrence or not occurrence):
        return None
    return _mapping(_mapping(resource.get("spec")).get("requires")).get("noFiringAlerts")


def alerts_after(resource: Mapping[str, Any], now: datetime) -> object:
    """What a window demands of alerts after its end, as long as it is watched; else None."""
    occurrence, watch = occurrence_of(resource), _mapping(_mapping(resource.get("spec")).get("watch"))
    if "noFiringAlerts" not in watch or not {"openedAt", "closedAt"} <= occurrence.keys():
        return None
    try:
        read = Watch.model_validate(watch)
        over = read_instant(occurrence["closedAt"]) + read.duration
    except (AttributeError, OverflowError, TypeError, ValueError):
        return None  # the decision says what is wrong with it
    return read.no_firing_alerts if now < over else None


def jobs_under_way(resource: Mapping[str, Any]) -> list[str]:
    """Names of the Jobs that a status takes to be running."""
    status = _mapping(resource.get("status"))
    last = _mapping(status.get("lastRun"))
    named = [*_items(status.get("active")), None if "completionTime" in last else last.get("job")]
    occurrence = occurrence_of(resource)
    planned = [_mapping(task) for task in _items(occurrence.get("tasks"))]
    named += [each.get("job") for each in planned if each.get("state") == TaskState.RUNNING]
    rollbacks = [_mapping(task.get("rollback")) for task in planned]
    named += [each.get("job") for each in rollbacks if each.get("state") == TaskState.RUNNING]
    named += [occurrence.get("verificationJob"), _mapping(occurrence.get("watch")).get("job")]
    return list(dict.fromkeys(name for name in named if name and isinstance(name, str)))


def _plan(resource: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    plan = _mapping(_mapping(resource.get("spec")).get("plan"))
    return [entry for entry in _items(plan.get("tasks")) if isinstance(entry, Mapping)]


def _bound(resource: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The tasks of an opening that is under way, as the status has them."""
    occurrence = occurrence_of(resource)
    return [] if "closedAt" in occurrence else list(map(_mapping, _items(occurrence.get("tasks"))))


def _targets(resource: Mapping[str, Any]) -> list[Any]:
    return _items(_mapping(_mapping(resource.get("spec")).get("maintenanceMode")).get("targets"))


def _named_target(target: Mapping[str, Any]) -> TargetRef | None:
    kind, name = target.get("kind", DEFAULT_KIND), target.get("name")
    return (
        TargetRef(kind, name) if isinstance(kind, str) and kind in TARGETS and name and isinstance(name, str) else None
    )


def _names(items: object) -> Iterator[str]:
    return (item["name"] for item in _items(items) if isinstance(item, Mapping) and isinstance(item.get("name"), str))


def _items(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
