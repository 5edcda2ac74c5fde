"""Steps: a name and exactly one action, built from the registry so that a new action needs no line here."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Final

from pydantic import AfterValidator, Field, create_model

from upkeep.actions.connections import Connection
from upkeep.actions.contract import Action, OnFailure
from upkeep.actions.fields import Duration, LabelName, OneOf
from upkeep.actions.registry import check_actions, step_actions


class StepBase(OneOf):
    """A name and exactly one action."""

    name: LabelName
    """Name of the step, unique within its list."""
    on_failure: OnFailure = OnFailure.STOP
    """Stop: the steps after a failed one are skipped. Continue: they run all the same. The run has failed
    either way."""
    timeout: Duration | None = None
    """How long the step may take. Left out: as long as the whole run."""

    @classmethod
    def alternatives(cls) -> Sequence[str]:
        """The actions that a step can have."""
        return tuple(step_actions())

    @classmethod
    def demand(cls) -> str:
        """The message for a step without an action, with several, or with an unknown one."""
        return f"a step must have exactly one action; the actions are: {', '.join(cls.alternatives())}"

    @property
    def action_name(self) -> str:
        """The key of the one action that is set."""
        return self.chosen()

    @property
    def action(self) -> Action:
        """The one action that is set."""
        action: Action = getattr(self, self.action_name)
        return action


class CheckBase(StepBase):
    """A name and exactly one action that only looks: what changes something belongs into the plan."""

    @classmethod
    def alternatives(cls) -> Sequence[str]:
        """The actions that only look."""
        return tuple(check_actions())

    @classmethod
    def demand(cls) -> str:
        """The message for a check without an action, with several, or with one that is no check."""
        return (
            f"a check must have exactly one action that only looks: {', '.join(cls.alternatives())}; "
            "what changes something belongs into a task of the plan"
        )


if TYPE_CHECKING:
    Step = StepBase
    Check = CheckBase
else:

    def _step(name: str, base: type[StepBase], actions: Mapping[str, type[Action]]) -> type[StepBase]:
        fields = {
            key: (action | None, Field(default=None, alias=key, description=action.__doc__))
            for key, action in actions.items()
        }
        return create_model(name, __base__=base, __doc__=base.__doc__, **fields)

    Step = _step("Step", StepBase, step_actions())
    Check = _step("Check", CheckBase, check_actions())

BY_NAME: Final[dict[str, Any]] = {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]}
"""A list whose items are told apart by their names; goes together with `UNIQUE`."""


def _unique(items: list[Any]) -> list[Any]:
    names = [item.name for item in items]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        msg = f"the name {twice!r} is there twice: rename one of them"
        raise ValueError(msg)
    return items


UNIQUE: Final = AfterValidator(_unique)

Steps = Annotated[list[Step], Field(min_length=1, max_length=32, json_schema_extra=BY_NAME), UNIQUE]
Checks = Annotated[list[Check], Field(min_length=1, max_length=32, json_schema_extra=BY_NAME), UNIQUE]
Connections = Annotated[list[Connection], Field(max_length=16, json_schema_extra=BY_NAME), UNIQUE]
