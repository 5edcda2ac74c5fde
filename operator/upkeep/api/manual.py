"""The manual of the actions, read from their models and docstrings: nothing in it is written a second time.

An action's docstring has parts that begin with `Locks:`, `Privileges:` and `Source of …:`, in any order, after
what it does. Each part ends where the next one begins.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from upkeep.actions.contract import Action
from upkeep.actions.registry import step_actions
from upkeep.api.crd import structural_schema

Schema = Mapping[str, Any]

_PARTS: Final = re.compile(r"(?:(?<=^)|(?<=[.!?] ))(Locks|Privileges|Source of (?:the )?[\w ]+): ")
_GRANT: Final = re.compile(r"`((?:GRANT|CREATE EXTENSION|ALTER|ACL SETUSER) [^`]+)`")


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """One parameter of an action, nested ones with their path.

    Attributes:
        path: as users write it, for example `settings[].name`.
        type: `string`, `integer`, `list of string`, or the values that it can have.
        meaning: what it does, with its default and limits.
        required: whether it must be there.
    """

    path: str
    type: str
    meaning: str
    required: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Manual:
    """What users need to know of an action.

    Attributes:
        name: its key in a step.
        group: what it works on: `postgres`, `redis`, `http`, ...
        check: whether it only looks, so that windows can use it.
        summary: one sentence.
        details: the rest of what it does; may be empty.
        locks: what it locks.
        privileges: what it needs.
        grants: the statements of `privileges`, to be copied.
        sources: where the defaults come from, with what is said to be the source of.
        finds: what it reports, by check.
        parameters: all of them, in their order.
        rules: what the API server demands besides.
    """

    name: str
    group: str
    check: bool
    summary: str
    details: str
    locks: str
    privileges: str
    grants: Sequence[str]
    sources: Sequence[str]
    finds: Mapping[str, str]
    parameters: Sequence[Parameter]
    rules: Sequence[str]


def manuals() -> Sequence[Manual]:
    """Of every action that users can write in a step, sorted by name."""
    return [manual(action) for action in step_actions().values()]


def manual(action: type[Action]) -> Manual:
    """What there is to know of one action."""
    rest = (action.__doc__ or "").strip().partition("\n\n")[2]
    before, *parts = _PARTS.split(_joined(rest))
    told = list(zip(parts[::2], (text.strip() for text in parts[1::2]), strict=True))
    named = dict(told)
    schema = structural_schema(action)
    return Manual(
        name=action.action_name,
        group=group(action),
        check=action.check,
        summary=summary(action),
        details=before.strip(),
        locks=named.get("Locks", ""),
        privileges=named.get("Privileges", ""),
        grants=_GRANT.findall(named.get("Privileges", "")),
        sources=[f"{name}: {text}" for name, text in told if name.startswith("Source")],
        finds=action.finds,
        parameters=list(_parameters(schema, prefix="")),
        rules=list(_rules(schema)),
    )


def group(action: type[Action]) -> str:
    """What it works on, which is the folder that it stands in: `postgres`, `redis`, `http`, ..."""
    return action.__module__.split(".")[-2]


def summary(action: type[Action]) -> str:
    """What it does, in a sentence."""
    return _joined((action.__doc__ or "").strip().partition("\n\n")[0])


def meaning(field: Schema) -> str:
    """What a field means, with its default and limits."""
    parts = [str(field.get("description", ""))]
    if field.get("default", "") != "":
        default = field["default"]
        parts.append(f"Default: `{default if isinstance(default, str) else json.dumps(default)}`.")
    if "minimum" in field or "maximum" in field:
        parts.append(f"From {field.get('minimum', '…')} to {field.get('maximum', '…')}.")
    return " ".join(part for part in parts if part)


def type_in_words(field: Schema) -> str:
    """The type of a field, as users would say it."""
    if "enum" in field:
        return " | ".join(f"`{value}`" for value in field["enum"])
    if field.get("type") == "array":
        return f"list of {type_in_words(field['items'])}"
    if isinstance(field.get("additionalProperties"), dict):
        return f"map of {type_in_words(field['additionalProperties'])}"
    return str(field.get("format") or field.get("type", "object"))


def _parameters(schema: Schema, *, prefix: str) -> Iterator[Parameter]:
    required = set(schema.get("required", ()))
    for name, field in schema.get("properties", {}).items():
        path = f"{prefix}{name}"
        yield Parameter(path=path, type=type_in_words(field), meaning=meaning(field), required=name in required)
        yield from _parameters(field.get("items", field), prefix=f"{path}[]." if "items" in field else f"{path}.")


def _rules(schema: Schema) -> Iterator[str]:
    """Of the parameters together; what one field alone has to be stands in its meaning."""
    if "properties" in schema:
        yield from (rule["message"] for rule in schema.get("x-kubernetes-validations", ()))
        for field in schema["properties"].values():
            yield from _rules(field.get("items", field))


def _joined(text: str) -> str:
    return " ".join(text.split())
