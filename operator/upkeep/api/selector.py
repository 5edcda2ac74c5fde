"""Choosing objects by their labels, as everywhere in Kubernetes."""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Annotated, Final, Self

from pydantic import Field, model_validator

from upkeep.actions.fields import Model, Rule

LabelKey = Annotated[
    str,
    Field(
        min_length=1,
        max_length=317,
        pattern=r"^([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$",
    ),
]
LabelValue = Annotated[str, Field(max_length=63, pattern=r"^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$")]


class Operator(StrEnum):
    """How a label is compared."""

    IN = "In"
    NOT_IN = "NotIn"
    EXISTS = "Exists"
    DOES_NOT_EXIST = "DoesNotExist"


class LabelRequirement(Model):
    """A demand on one label."""

    key: LabelKey
    """The label."""
    operator: Operator
    """In, NotIn, Exists or DoesNotExist."""
    values: Annotated[list[LabelValue], Field(max_length=16)] = Field(default_factory=list)
    """What it is compared with, for In and NotIn."""

    @classmethod
    def rules(cls) -> Sequence[Rule]:
        """Values belong to some operators only."""
        return (_VALUES,)

    @model_validator(mode="after")
    def _has_values(self) -> Self:
        if (self.operator in _COMPARING) != bool(self.values):
            raise ValueError(_VALUES["message"])
        return self

    @property
    def query(self) -> str:
        """As in the parameter `labelSelector` of a list."""
        listed = ",".join(self.values)
        return {
            Operator.IN: f"{self.key} in ({listed})",
            Operator.NOT_IN: f"{self.key} notin ({listed})",
            Operator.EXISTS: self.key,
            Operator.DOES_NOT_EXIST: f"!{self.key}",
        }[self.operator]

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Whether labels meet it; what has no such label is not in any values."""
        there, listed = self.key in labels, labels.get(self.key) in self.values
        return {
            Operator.IN: there and listed,
            Operator.NOT_IN: not (there and listed),
            Operator.EXISTS: there,
            Operator.DOES_NOT_EXIST: not there,
        }[self.operator]


class LabelSelector(Model):
    """Labels that an object must have; an empty selector chooses every object."""

    match_labels: Annotated[dict[LabelKey, LabelValue], Field(max_length=16)] = Field(default_factory=dict)
    """Labels with exactly these values."""
    match_expressions: Annotated[list[LabelRequirement], Field(max_length=16)] = Field(default_factory=list)
    """More demands; all of them must be met."""

    @property
    def keys(self) -> frozenset[str]:
        """The labels that it looks at."""
        return frozenset((*self.match_labels, *(each.key for each in self.match_expressions)))

    @property
    def query(self) -> str:
        """As in the parameter `labelSelector` of a list."""
        equal = (f"{key}={value}" for key, value in self.match_labels.items())
        return ",".join((*equal, *(each.query for each in self.match_expressions)))

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Whether an object with these labels is chosen."""
        equal = all(labels.get(key) == value for key, value in self.match_labels.items())
        return equal and all(each.matches(labels) for each in self.match_expressions)


_COMPARING: Final = frozenset({Operator.IN, Operator.NOT_IN})
_VALUES: Final[Rule] = {
    "rule": "(self.operator in ['In', 'NotIn']) == (has(self.values) && size(self.values) > 0)",
    "message": "In and NotIn need values; Exists and DoesNotExist must have none",
}
