"""Change control of a window: why it is made, who has to approve it, and what people tick off by hand."""

from collections.abc import Sequence
from enum import StrEnum
from typing import Annotated, Final, Self

from pydantic import Field, model_validator

from upkeep.actions.fields import LabelName, Model, Rule
from upkeep.api.scheduling import Timestamp
from upkeep.api.steps import BY_NAME, UNIQUE

MAX_ITEMS: Final = 20
"""Items of one part of a checklist."""

Text = Annotated[str, Field(max_length=2000)]
UserName = Annotated[str, Field(min_length=1, max_length=256)]


class Risk(StrEnum):
    """How much can go wrong."""

    LOW = "Low"
    MEDIUM = "Medium"
    HIGH = "High"


class Change(Model):
    """What an approver has to know; shown wherever the window asks for an approval."""

    reason: Annotated[str, Field(min_length=1, max_length=2000)]
    """Why this maintenance is done."""
    risk: Risk | None = None
    """How much can go wrong."""
    ticket: Annotated[str, Field(max_length=200)] = ""
    """Number or address of the change request."""
    rollback_plan: Text = ""
    """How to go back, in words."""


class Approval(Model):
    """Whether a named person has to approve each opening. Who may: those with the verb `approve` on the window."""

    required: bool = True
    """False: it opens without an approval."""
    approvers: Annotated[list[UserName], Field(max_length=32, json_schema_extra={"x-kubernetes-list-type": "set"})] = (
        Field(default_factory=list)
    )
    """User names, of whom one has to approve. They need the verb besides. Left out: whoever has the verb."""


class ChecklistItem(Model):
    """Something that a named person does by hand and ticks off."""

    name: LabelName
    """Its name, unique within the whole checklist."""
    description: Annotated[str, Field(max_length=1000)] = ""
    """What to do, and how to see that it is done."""
    required: bool = True
    """False: nothing waits for it."""


Items = Annotated[list[ChecklistItem], Field(max_length=MAX_ITEMS, json_schema_extra=BY_NAME), UNIQUE]


class Checklist(Model):
    """What people do by hand before, during and after each opening."""

    before: Items = Field(default_factory=list)
    """The window opens only when the required ones are ticked."""
    during: Items = Field(default_factory=list)
    """After the plan the window stays open until the required ones are ticked; then it is verified and closes."""
    after: Items = Field(default_factory=list)
    """Shown as open until they are ticked. Nothing waits for them."""

    @classmethod
    def rules(cls) -> Sequence[Rule]:
        """What the checklist alone can show to be wrong."""
        return (_NAMED_ONCE,)

    @property
    def items(self) -> Sequence[ChecklistItem]:
        """All of them."""
        return (*self.before, *self.during, *self.after)

    @model_validator(mode="after")
    def _named_once(self) -> Self:
        names = [item.name for item in self.items]
        if len(set(names)) < len(names):
            raise ValueError(_NAMED_ONCE["message"])
        return self


class Moment(StrEnum):
    """When an item of a checklist is due."""

    BEFORE = "Before"
    DURING = "During"
    AFTER = "After"


class ApprovalStatus(Model):
    """Where the approval of the next opening, or of the one under way, stands."""

    occurrence: Timestamp
    """The start of the opening that it is about."""
    approved_by: str | None = None
    """Who approved it; empty where nobody has, or the window was changed since."""
    approved_at: Timestamp | None = None
    """When Upkeep saw the approval."""
    generation: int | None = None
    """The generation of the spec that was approved."""


class ChecklistItemStatus(Model):
    """Where an item of the checklist stands."""

    name: str
    """Its name."""
    moment: Moment
    """Before, During or After."""
    required: bool
    """Whether something waits for it."""
    occurrence: Timestamp
    """The start of the opening that it is about."""
    ticked_by: str | None = None
    """Who ticked it off; empty while it is open."""
    ticked_at: Timestamp | None = None
    """When Upkeep saw the tick."""


ChecklistStatus = Annotated[Sequence[ChecklistItemStatus], Field(max_length=len(Moment) * MAX_ITEMS)]


_PAIRS: Final = (("before", "during"), ("before", "after"), ("during", "after"))
_NAMED_ONCE: Final[Rule] = {
    "rule": " && ".join(
        f"!(has(self.{one}) && has(self.{other}) && "
        f"self.{one}.exists(item, self.{other}.exists(twin, twin.name == item.name)))"
        for one, other in _PAIRS
    ),
    "message": "an item has the name of another one: rename it, because a tick names nothing but the item",
}
