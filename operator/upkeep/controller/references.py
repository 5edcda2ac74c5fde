"""Which other objects a custom resource names, read from what is really there.

A resource may have been written past validation, or before a field had its present shape. Whatever it looks like, it
must never stop the watches or a decision about another resource; what is wrong with it, the decision about it says.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from upkeep.api.window import TaskState


def windows_of(resource: Mapping[str, Any]) -> list[str]:
    """Names of the MaintenanceWindows that a task is bound to."""
    return [name for name in _items(_mapping(resource.get("spec")).get("windows")) if isinstance(name, str)]


def planned_tasks(resource: Mapping[str, Any]) -> list[str]:
    """Names of the MaintenanceTasks in a window's plan."""
    plan = _mapping(_mapping(resource.get("spec")).get("plan"))
    return list(_names(plan.get("tasks")))


def targets_of(resource: Mapping[str, Any]) -> list[str]:
    """Names of the Ingresses that a window's spec names, or that its status still remembers; each once."""
    mode = _mapping(_mapping(resource.get("spec")).get("maintenanceMode"))
    remembered = occurrence_of(resource).get("targets")
    return list(dict.fromkeys((*_names(mode.get("targets")), *_names(remembered))))


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


def _names(items: object) -> Iterator[str]:
    return (item["name"] for item in _items(items) if isinstance(item, Mapping) and isinstance(item.get("name"), str))


def _items(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
