"""What a Job pod is told to do: the run order, passed as one environment variable.

It holds no secret: credentials arrive as mounted files, named by connection.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, Final

from pydantic import Field, SerializeAsAny, field_validator

from upkeep.actions.connections import Connection
from upkeep.actions.contract import Action, OnFailure, Previous
from upkeep.actions.fields import Duration, Model
from upkeep.actions.registry import find

if TYPE_CHECKING:
    from upkeep.actions.backup.origin import Origin
else:
    Origin = SerializeAsAny[Model]

ORDER_VARIABLE: Final = "UPKEEP_RUN_ORDER"
CREDENTIALS_DIRECTORY: Final = "/var/run/upkeep/credentials"
VOLUMES_DIRECTORY: Final = "/var/run/upkeep/volumes"
SCRATCH_DIRECTORY: Final = "/var/run/upkeep/scratch"
TERMINATION_MESSAGE_PATH: Final = "/dev/termination-log"
CONTAINER: Final = "run"
"""Name of the container that does the work; others in the same Pod were put there by somebody else."""
PREPARATION: Final = "prepare"
"""Name of the container that runs before it, where there is one."""
OUTPUT_DIRECTORY: Final = "/var/run/upkeep/output"
"""What that one leaves here is found here by the one that does the work."""
OUTPUT_VARIABLE: Final = "UPKEEP_OUTPUT"


class OrderedStep(Model):
    """One step of a run: a name, the key of its action and that action's parameters."""

    name: str
    action_name: str
    action: SerializeAsAny[Action]
    on_failure: OnFailure = OnFailure.STOP
    timeout: Duration | None = None
    previous: Previous | None = None

    @field_validator("action", mode="before")
    @classmethod
    def _of_its_kind(cls, value: object, info: Any) -> object:  # noqa: ANN401 - pydantic's ValidationInfo is generic
        if isinstance(value, Action):
            return value
        return find(info.data.get("action_name", "")).model_validate(value)


class RunOrder(Model):
    """All that a run needs to know besides its credentials."""

    owner: str
    """`Kind/namespace/name` of the resource that it runs for, for the log."""
    timeout: Duration
    """Time for all steps together."""
    steps: Annotated[Sequence[OrderedStep], Field(min_length=1)]
    connections: Sequence[Connection] = ()
    origins: Sequence[Origin] = Field(default_factory=list)

    @field_validator("origins", mode="before")
    @classmethod
    def _of_policies(cls, value: Sequence[object]) -> Sequence[object]:
        if not value:
            return value
        from upkeep.actions.backup.origin import Origin as Known  # noqa: PLC0415 - few runs restore, all start with this

        return [Known.model_validate(each) for each in value]

    def encode(self) -> str:
        """Compact JSON, the value of `ORDER_VARIABLE`."""
        return self.model_dump_json(by_alias=True, exclude_none=True)

    @classmethod
    def decode(cls, text: str) -> "RunOrder":
        """The order that `encode` wrote.

        Raises:
            pydantic.ValidationError: it was written by an incompatible version.
        """
        return cls.model_validate_json(text)
