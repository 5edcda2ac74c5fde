"""Which tasks a plan has: those that it names, and those that its selectors choose.

Before a window opens, its selectors are looked at again and again, so that one that chooses nothing is said in time.
When it opens, what they choose is written down, and only then the first task starts: a task that comes to match later
does not join, and one that does not match any more, or is gone, stays in the plan.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from upkeep.api.window import Plan, PlannedTask, PlannedTaskStatus, TaskState
from upkeep.api.window.plan import MAX_TASKS
from upkeep.domain.window.snapshot import WindowSnapshot

NOTHING_SELECTED: Final = "NothingSelected"
_NOTHING: Final = " (selector)"
"""Ends the name of what stands in a plan for a selector that chose nothing; no task can be called like that."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """The tasks of a plan.

    Attributes:
        plan: as it is written.
        chosen: by the name of each part of the plan that has a selector: what it chose, by name.
        fresh: parts of which it is not written down yet what they chose.
    """

    plan: Plan
    chosen: Mapping[str, tuple[str, ...]]
    fresh: frozenset[str]

    @property
    def expanded(self) -> Plan:
        """The plan with one part for each task, and with the names of tasks in dependsOn."""
        parts = [
            part.model_copy(update={"name": task, "depends_on": self._needs(task, part)})
            for task, part in self._owners().items()
        ]
        return self.plan.model_copy(update={"tasks": parts[:MAX_TASKS]})

    @property
    def excess(self) -> int:
        """How many more tasks there are than an opening may have."""
        return max(0, len(self._owners()) - MAX_TASKS)

    @property
    def empty(self) -> Sequence[PlannedTask]:
        """The parts of the plan that chose nothing."""
        return [part for part in self.plan.tasks if part.selector is not None and not self.chosen[part.name]]

    def written(self, tasks: Sequence[PlannedTaskStatus]) -> tuple[PlannedTaskStatus, ...]:
        """The tasks with the parts of the plan that chose them."""
        by = {task: self._selectors_of(task) for task in self._owners()}
        return tuple(task.model_copy(update={"selected_by": by.get(task.name, ())}) for task in tasks)

    def is_news(self, before: Sequence[PlannedTaskStatus]) -> bool:
        """Whether something was chosen that the status does not tell yet."""
        known = [(task.name, tuple(task.selected_by)) for task in before]
        return bool(self.fresh) and known != [(task.name, tuple(task.selected_by)) for task in self.waiting(before)]

    def waiting(self, before: Sequence[PlannedTaskStatus]) -> tuple[PlannedTaskStatus, ...]:
        """The tasks as they stand in the status before any new one starts."""
        known = {task.name: task for task in before}
        parts = self.expanded.tasks
        fresh = (known.get(part.name) or PlannedTaskStatus(name=part.name, state=TaskState.WAITING) for part in parts)
        return self.written(list(fresh))

    def message(self) -> str:
        """What was chosen, for people."""
        owners = self._owners()
        told = [f"{self.excess} more than the most of {MAX_TASKS} are left out"] if self.excess else []
        for part in self.plan.tasks:
            if part.name not in self.fresh or not self.chosen[part.name]:
                continue
            elsewhere = {task: owners[task].name for task in self.chosen[part.name] if owners[task] is not part}
            told.append(f"{part.name}: {', '.join(self.chosen[part.name])}")
            told += [f"{task} runs once, as part of {name}" for task, name in elsewhere.items()]
        return "; ".join(told)

    def _of(self, part: PlannedTask) -> tuple[str, ...]:
        return (part.name,) if part.selector is None else self.chosen[part.name] or (f"{part.name}{_NOTHING}",)

    def _owners(self) -> dict[str, PlannedTask]:
        """The part of the plan as which each task runs: the first that has it."""
        owners: dict[str, PlannedTask] = {}
        for part in self.plan.tasks:
            for task in self._of(part):
                owners.setdefault(task, part)
        return owners

    def _needs(self, task: str, part: PlannedTask) -> list[str]:
        """What a task waits for; never for itself, where a part that it depends on has chosen it too."""
        parts = {each.name: each for each in self.plan.tasks}
        needed = (other for name in part.depends_on for other in self._of(parts[name]))
        return [other for other in dict.fromkeys(needed) if other != task]

    def _selectors_of(self, task: str) -> tuple[str, ...]:
        return tuple(part.name for part in self.plan.tasks if part.selector is not None and task in self._of(part))


def selected(snapshot: WindowSnapshot, plan: Plan, before: Sequence[PlannedTaskStatus]) -> Selection:
    """The tasks of a plan; `before` are those of the opening that is under way, as the status has them."""
    chosen: dict[str, tuple[str, ...]] = {}
    fresh = set()
    for part in plan.tasks:
        if part.selector is None:
            continue
        bound = [task.name for task in before if part.name in task.selected_by]
        if bound:
            chosen[part.name] = tuple(name for name in bound if not is_nothing(name))
            continue
        fresh.add(part.name)
        labels = {name: task["metadata"].get("labels") or {} for name, task in snapshot.tasks.items()}
        chosen[part.name] = tuple(sorted(name for name in labels if part.selector.matches(labels[name])))
    return Selection(plan=plan, chosen=chosen, fresh=frozenset(fresh))


def is_nothing(name: str) -> bool:
    """Whether what stands in a plan is no task, but a selector that chose none."""
    return name.endswith(_NOTHING)
