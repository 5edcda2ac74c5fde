"""The plan of a window: which tasks run in it, and in which order."""

from collections.abc import Sequence
from enum import StrEnum
from typing import Annotated, Final, Self

from pydantic import Field, model_validator

from upkeep.actions.fields import Model, ObjectName, Rule
from upkeep.api.steps import BY_NAME, UNIQUE


class PlanFailure(StrEnum):
    """What a failed task means for the rest of the plan."""

    ABORT = "Abort"
    CONTINUE = "Continue"


class PlannedTask(Model):
    """A MaintenanceTask of the same namespace, as a part of the plan."""

    name: ObjectName
    """Name of the MaintenanceTask."""
    depends_on: Annotated[list[ObjectName], Field(max_length=32)] = Field(default_factory=list)
    """Tasks of this plan that must have ended well before this one starts."""


class Plan(Model):
    """The tasks of a window and their order."""

    tasks: Annotated[list[PlannedTask], Field(min_length=1, max_length=64, json_schema_extra=BY_NAME), UNIQUE]
    """What runs, in this order as far as dependsOn and maxConcurrency let it."""
    max_concurrency: Annotated[int, Field(ge=1, le=16)] = 1
    """How many tasks may run at the same time."""
    on_failure: PlanFailure = PlanFailure.ABORT
    """Abort: after a failed task nothing more starts. Continue: only what depends on it is left out."""

    @classmethod
    def rules(cls) -> Sequence[Rule]:
        """What the plan alone can show to be wrong."""
        return (_KNOWN_DEPENDENCIES,)

    @model_validator(mode="after")
    def _depends_on_its_own(self) -> Self:
        names = {task.name for task in self.tasks}
        if any(task.name in task.depends_on or not names.issuperset(task.depends_on) for task in self.tasks):
            raise ValueError(_KNOWN_DEPENDENCIES["message"])
        return self


_KNOWN_DEPENDENCIES: Final[Rule] = {
    # The names are gathered once: for each pair of tasks anew, a large plan is over the API server's cost limit.
    "rule": "[self.tasks.map(task, task.name)].all(names, self.tasks.all(task, !has(task.dependsOn) || "
    "(!(task.name in task.dependsOn) && task.dependsOn.all(name, name in names))))",
    "message": "dependsOn must name other tasks of the same plan",
}
