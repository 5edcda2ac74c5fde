"""Whom a window is for: its kind, the namespaces that it is shared with, and all that makes no sense in a freeze."""

from collections.abc import Sequence
from datetime import timedelta
from enum import StrEnum
from typing import Annotated, Any, Final

from pydantic import Field
from pydantic.fields import FieldInfo

from upkeep.actions.fields import Model, Rule, format_duration, parse_duration

EVERY_NAMESPACE: Final = "*"
MAX_SHARED: Final = 64

OF_A_FREEZE: Final = (
    "kind",
    "schedule",
    "start_at",
    "duration",
    "time_zone",
    "exclusions",
    "suspend",
    "shared_with",
    "reason",
    "allow_emergency",
)
"""The fields that a freeze has."""
_ONLY_OF_A_FREEZE: Final = ("reason", "allow_emergency")


class WindowKind(StrEnum):
    """What a window does to the time that it covers."""

    MAINTENANCE = "Maintenance"
    FREEZE = "Freeze"


_IMMUTABLE: Final[Rule] = {
    "rule": "self == oldSelf",
    "message": "kind cannot be changed: delete the window and create another one",
}
Kind = Annotated[WindowKind, Field(json_schema_extra={"x-kubernetes-validations": [dict(_IMMUTABLE)]})]
"""It stays what it is: what a window has opened, only a window can close again."""

Namespace = Annotated[str, Field(min_length=1, max_length=63, pattern=r"^(\*|[a-z0-9]([-a-z0-9]*[a-z0-9])?)$")]
SharedWith = Annotated[list[Namespace], Field(max_length=MAX_SHARED)]


def freeze_rules(model: type[Model]) -> Sequence[Rule]:
    """What a freeze may not have, whatever a window has, and what only a freeze has, as CEL rules."""
    others = [_unset(name, model) for name in model.model_fields if name not in OF_A_FREEZE]
    own = [_unset(name, model) for name in _ONLY_OF_A_FREEZE]
    return (
        {"rule": f"self.kind != 'Freeze' || ({' && '.join(others)})", "message": _ONLY_FORBIDS},
        {"rule": f"self.kind == 'Freeze' || ({' && '.join(own)})", "message": _FOR_FREEZES},
    )


def check_freeze(spec: Model, kind: WindowKind) -> None:
    """The same rules, for a spec that was read.

    Raises:
        ValueError: it has what it may not have.
    """
    fields, freezes = type(spec).model_fields, kind is WindowKind.FREEZE
    refused = [name for name in fields if name not in OF_A_FREEZE] if freezes else _ONLY_OF_A_FREEZE
    if any(getattr(spec, name) != _default_of(fields[name]) for name in refused):
        raise ValueError(_ONLY_FORBIDS if freezes else _FOR_FREEZES)


def _unset(name: str, model: type[Model]) -> str:
    """The CEL expression for a field that is as if nobody had written it; the API server fills in its default."""
    field = model.model_fields[name]
    path, default = f"self.{field.alias or name}", _default_of(field)
    if default is None:
        return f"!has({path})"
    if isinstance(default, list | dict):
        return f"(!has({path}) || {path}.size() == 0)"
    if isinstance(default, timedelta):
        return f"{path} == '{format_duration(default)}'"
    if isinstance(default, bool | int):
        return f"{path} == {str(default).lower()}"
    if isinstance(default, str):
        return f"{path} == '{default}'" if default else f"(!has({path}) || {path} == '')"
    msg = f"{model.__name__}.{name}: no rule for the default {default!r}: give it None"
    raise TypeError(msg)


def _default_of(field: FieldInfo) -> Any:  # noqa: ANN401 - any default
    """What a field is where nobody has written it; a duration as one."""
    default = field.get_default(call_default_factory=True)
    return parse_duration(default) if field.annotation is timedelta else default


_ONLY_FORBIDS: Final = (
    "a Freeze only forbids: besides schedule or startAt and duration it may have timeZone, exclusions, suspend, "
    "sharedWith, reason and allowEmergency, and nothing else"
)
_FOR_FREEZES: Final = "reason and allowEmergency are for kind: Freeze"
