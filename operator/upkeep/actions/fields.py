"""Field types shared by action parameters and custom resources, with the schema that the CRDs show.

A type here carries its own parsing, its own error message and its own OpenAPI fragment, so that what
`kubectl apply` accepts and what the program reads can never differ.
"""

import re
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Annotated, Any, Final, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    WithJsonSchema,
    model_validator,
)
from pydantic.alias_generators import to_camel

_UNITS: Final = {"w": 604800, "d": 86400, "h": 3600, "m": 60, "s": 1}
_DIGITS: Final = (4, 5, 6, 8, 9)
"""The most digits before each unit."""
DURATION_PATTERN: Final = (
    "^" + "".join(f"([0-9]{{1,{digits}}}{unit})?" for unit, digits in zip(_UNITS, _DIGITS, strict=True)) + "$"
)
"""With so many digits a duration is at most about 800 years: no instant that it is added to leaves the calendar."""
_DURATION: Final = re.compile(DURATION_PATTERN, re.ASCII)


def parse_duration(value: object) -> timedelta:
    """Read a duration such as `90m`, `1h30m` or `2d`.

    Raises:
        ValueError: the text is not a duration; the message shows how to write one.
    """
    if isinstance(value, timedelta):
        return value
    match = _DURATION.fullmatch(value) if isinstance(value, str) and value else None
    if match is None:
        msg = f"{value!r} is not a duration: write for example 30s, 90m, 1h30m or 2d"
        raise ValueError(msg)
    return timedelta(seconds=sum(int(part[:-1]) * _UNITS[part[-1]] for part in match.groups() if part))


def format_duration(value: timedelta) -> str:
    """Write a duration the way users write it: `1h30m`, never `5400s`; zero is `0s`."""
    rest = int(value.total_seconds())
    parts = []
    for (unit, seconds), digits in zip(_UNITS.items(), _DIGITS, strict=True):
        number = min(rest // seconds, 10**digits - 1)
        rest -= number * seconds
        if number:
            parts.append(f"{number}{unit}")
    return "".join(parts) or "0s"


_DURATION_RULE: Final = {
    "rule": f"self.matches('{DURATION_PATTERN}')",
    "message": "must be a duration, for example 30s, 90m, 1h30m or 2d",
}
"""A rule and not a pattern, because the API server answers to a pattern with the pattern alone."""

Duration = Annotated[
    timedelta,
    BeforeValidator(parse_duration),
    PlainSerializer(format_duration, return_type=str),
    WithJsonSchema({"type": "string", "minLength": 2, "maxLength": 32, "x-kubernetes-validations": [_DURATION_RULE]}),
]

_SIZES: Final = {"": 1, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40}

Size = Annotated[str, Field(max_length=32, pattern=r"^[0-9]+([KMGT]i)?$")]
"""A number of bytes as Kubernetes writes it, for example `10Gi`."""


def bytes_of(size: str) -> int:
    """The number of bytes that a `Size` says."""
    number = size.rstrip("KMGTi")
    return int(number) * _SIZES[size[len(number) :]]


ObjectName = Annotated[
    str,
    Field(min_length=1, max_length=253, pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"),
]

LabelName = Annotated[str, Field(min_length=1, max_length=63, pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")]


Rule = Mapping[str, str]
"""A CEL rule of a CRD: `rule` and the `message` that users read when it does not hold."""


def _with_rules(schema: dict[str, Any], model: type["Model"]) -> None:
    rules = list(model.rules())
    if rules:
        schema["x-kubernetes-validations"] = rules


class Model(BaseModel):
    """Base of everything users write: camelCase outside, snake_case inside, unknown fields refused."""

    model_config = ConfigDict(
        alias_generator=to_camel,
        populate_by_name=True,
        extra="forbid",
        frozen=True,
        use_attribute_docstrings=True,
        json_schema_extra=_with_rules,
    )

    @classmethod
    def rules(cls) -> Sequence[Rule]:
        """CEL rules that the API server checks at `kubectl apply`."""
        return ()


def leave_out_descriptions() -> None:
    """Let models that are defined from now on have none: reading them from the source is a quarter of a run's start."""
    Model.model_config["use_attribute_docstrings"] = False


class OneOf(Model):
    """A model in which exactly one of some optional fields is set, checked by the CRD and here alike."""

    @classmethod
    def alternatives(cls) -> Sequence[str]:
        """The fields, as users write them, of which exactly one must be set."""
        return ()

    @classmethod
    def demand(cls) -> str:
        """The message for users who set none or several."""
        return f"exactly one of these must be set: {', '.join(cls.alternatives())}"

    @classmethod
    def rules(cls) -> Sequence[Rule]:
        """The rule that exactly one is set."""
        count = " + ".join(f"(has(self.{name}) ? 1 : 0)" for name in cls.alternatives())
        return ({"rule": f"{count} == 1", "message": cls.demand()},)

    def chosen(self) -> str:
        """The alternative that is set, as users write it."""
        return next(name for name in self.alternatives() if name in self._set_aliases())

    def _set_aliases(self) -> set[str]:
        fields = type(self).model_fields
        return {field.alias or name for name, field in fields.items() if getattr(self, name) is not None}

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        if len(self._set_aliases().intersection(self.alternatives())) != 1:
            raise ValueError(self.demand())
        return self
