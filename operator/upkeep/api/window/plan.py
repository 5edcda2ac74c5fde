"""The plan of a window: which tasks run in it, and in which order."""

from collections.abc import Sequence
from enum import StrEnum
from typing import Annotated, Final, Self

from pydantic import Field, model_validator

from upkeep.actions.fields import Duration, Model, ObjectName, Rule
from upkeep.api.selector import LabelSelector
from upkeep.api.status import MAX_STEPS
from upkeep.api.steps import BY_NAME, UNIQUE

MAX_TASKS: Final = MAX_STEPS
"""How many tasks one opening may have, those together that the plan names and that its selectors choose."""


class PlanFailure(StrEnum):
    """What a failed task means for the rest of the plan."""

    ABORT = "Abort"
    CONTINUE = "Continue"
    ROLLBACK = "Rollback"


class Overrun(StrEnum):
    """What becomes of tasks that still run when the window ends."""

    FINISH = "Finish"
    STOP = "Stop"


class PlannedTask(Model):
    """A MaintenanceTask of the same namespace, or all that have certain labels, as a part of the plan."""

    name: ObjectName
    """Name of the MaintenanceTask. With a selector: what this part of the plan is called, for dependsOn."""
    selector: LabelSelector | None = None
    """Labels of the MaintenanceTasks. They are looked for once, when the window opens; all else that is said here is
    said of each of them. A task that another part of the plan has already chosen runs once, as the first of them."""
    depends_on: Annotated[list[ObjectName], Field(max_length=32)] = Field(default_factory=list)
    """Parts of this plan, by name, of which every task must have ended well before this one starts."""
    priority: Annotated[int, Field(ge=-1000, le=1000)] = 0
    """Of the tasks that could start, that of the highest priority starts first; equal ones as they are written."""
    estimate: Duration | None = None
    """How long it takes. When less time is left in the window, it is left out instead of started. Left out: what the
    runbook of the task says."""

    def __str__(self) -> str:
        if self.selector is None:
            return self.name
        labels = f"tasks with the labels {self.selector.query!r}" if self.selector.keys else "tasks at all"
        return f"{self.name} ({labels})"


class Plan(Model):
    """The tasks of a window and their order."""

    tasks: Annotated[list[PlannedTask], Field(min_length=1, max_length=64, json_schema_extra=BY_NAME), UNIQUE]
    """What runs, in this order as far as dependsOn and maxConcurrency let it."""
    max_concurrency: Annotated[int, Field(ge=1, le=16)] = 1
    """How many tasks may run at the same time."""
    on_failure: PlanFailure = PlanFailure.ABORT
    """Abort: after a failed task nothing more starts. Continue: only what depends on it is left out. Rollback: nothing
    more starts, and the rollbacks of the tasks that ran are executed, the last task first."""
    max_errors: Annotated[int, Field(ge=0, le=64)] = 0
    """So many failed tasks are put up with before Abort or Rollback sets in."""

    @classmethod
    def rules(cls) -> Sequence[Rule]:
        """What the plan alone can show to be wrong."""
        return (_KNOWN_DEPENDENCIES, _ERRORS_COUNT)

    @model_validator(mode="after")
    def _holds_together(self) -> Self:
        names = {task.name for task in self.tasks}
        if any(task.name in task.depends_on or not names.issuperset(task.depends_on) for task in self.tasks):
            raise ValueError(_KNOWN_DEPENDENCIES["message"])
        if self.on_failure is PlanFailure.CONTINUE and self.max_errors:
            raise ValueError(_ERRORS_COUNT["message"])
        return self


_KNOWN_DEPENDENCIES: Final[Rule] = {
    # The names are gathered once: for each pair of tasks anew, a large plan is over the API server's cost limit.
    "rule": "[self.tasks.map(task, task.name)].all(names, self.tasks.all(task, !has(task.dependsOn) || "
    "(!(task.name in task.dependsOn) && task.dependsOn.all(name, name in names))))",
    "message": "dependsOn must name other tasks of the same plan",
}
_ERRORS_COUNT: Final[Rule] = {
    "rule": "self.onFailure != 'Continue' || self.maxErrors == 0",
    "message": "maxErrors is for onFailure Abort or Rollback: Continue puts up with any number of failed tasks",
}
