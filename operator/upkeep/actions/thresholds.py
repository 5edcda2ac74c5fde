"""Two thresholds of a check, the order that they must have, told to the API server and to the model from one place."""

from collections.abc import Sequence
from datetime import timedelta
from typing import ClassVar, Final, Self

from pydantic import model_validator

from upkeep.actions.fields import Model, Rule

_PLAIN: Final = "'^([0-9]+h)?([0-9]+m)?([0-9]+s)?$'"
"""What the API server's expression language takes for a duration too; other spellings are compared by the model."""


class Graded(Model):
    """Parameters with a threshold for a warning and one for critical; a base beside `Action`, without fields.

    The rule of the API server is made from the fields and their defaults. They are numbers, or both durations.
    """

    graded_by: ClassVar[tuple[str, str]] = ("", "")
    """Names of the two fields: warning, critical."""
    rising: ClassVar[bool] = True
    """Whether more is worse; False where less is."""

    @classmethod
    def rules(cls) -> Sequence[Rule]:
        """Critical is not milder than warning."""
        low, high = (_value(cls, name) for name in cls._mildest_first())
        rule = f"{low} <= {high}"
        if cls.model_fields[cls.graded_by[0]].annotation is timedelta:
            rule = f"!{low}.matches({_PLAIN}) || !{high}.matches({_PLAIN}) || duration({low}) <= duration({high})"
        return (*super().rules(), {"rule": rule, "message": cls._demand()})

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        low, high = (getattr(self, name) for name in self._mildest_first())
        if low > high:
            raise ValueError(self._demand())
        return self

    @classmethod
    def _mildest_first(cls) -> tuple[str, str]:
        """The two fields, the one with the lower value first."""
        warning, critical = cls.graded_by
        return (warning, critical) if cls.rising else (critical, warning)

    @classmethod
    def _demand(cls) -> str:
        warning, critical = (cls.model_fields[name].alias for name in cls.graded_by)
        return f"{critical} must not be {'below' if cls.rising else 'above'} {warning}"


def _value(model: type[Model], name: str) -> str:
    """A field in the API server's expression language, with its default where it is left out."""
    field = model.model_fields[name]
    default = float(field.default) if field.annotation is float else field.default
    return f"(has(self.{field.alias}) ? self.{field.alias} : {default!r})"
