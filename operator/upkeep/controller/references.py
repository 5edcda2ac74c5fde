"""Which other objects a custom resource names, read from what is really there.

A resource may have been written past validation, or before a field had its present shape. Whatever it looks like, it
must never stop the watches or a decision about another resource; what is wrong with it, the decision about it says.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import ValidationError

from upkeep.api.window import Target, TaskState
from upkeep.cluster.resources import TARGETS
from upkeep.domain.maintenance import DEFAULT_KIND
from upkeep.domain.window import TargetRef


def windows_of(resource: Mapping[str, Any]) -> list[str]:
    """Names of the MaintenanceWindows that a task is bound to."""
    return [name for name in _items(_mapping(resource.get("spec")).get("windows")) if isinstance(name, str)]


def planned_tasks(resource: Mapping[str, Any]) -> list[str]:
    """Names of the MaintenanceTasks in a window's plan."""
    plan = _mapping(_mapping(resource.get("spec")).get("plan"))
    return list(_names(plan.get("tasks")))


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


def occurrence_of(resource: Mapping[str, Any]) -> Mapping[str, Any]:
    """The opening that a window's status tells of."""
    return _mapping(_mapping(resource.get("status")).get("occurrence"))


def jobs_under_way(resource: Mapping[str, Any]) -> list[str]:
    """Names of the Jobs that a status takes to be running."""
    status = _mapping(resource.get("status"))
    last = _mapping(status.get("lastRun"))
    named = [*_items(status.get("active")), None if "completionTime" in last else last.get("job")]
    planned = (_mapping(task) for task in _items(occurrence_of(resource).get("tasks")))
    named += [task.get("job") for task in planned if task.get("state") == TaskState.RUNNING]
    return list(dict.fromkeys(name for name in named if name and isinstance(name, str)))


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
