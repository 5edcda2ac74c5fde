"""Generates the reference for users from the models of the CRDs: `python -m upkeep.api.reference docs/reference`."""

import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from upkeep.actions.registry import step_actions
from upkeep.api import API_VERSION
from upkeep.api.crd import KINDS, Kind, structural_schema
from upkeep.api.generated import write_or_check
from upkeep.api.manual import group, meaning, summary, type_in_words

Schema = Mapping[str, Any]

_STEPS: Final = "steps[]."
"""What a list of steps or checks is called everywhere; what their actions are stands in the manual of the actions."""
_HEADER: Final = "<!-- Generated from operator/upkeep/api by `make generate`. Edit the models, not this file. -->"


def page(kind: Kind) -> str:
    """The reference of one kind as Markdown: every field of spec and status, its type, default and meaning."""
    lines = [
        _HEADER,
        "",
        f"# {kind.kind}",
        "",
        f"`{API_VERSION}`, short name `{kind.short}`. {kind.description}",
    ]
    for part, model in (("spec", kind.spec), ("status", kind.status)):
        lines += ["", f"## {part}", "", "| field | type | meaning |", "|---|---|---|"]
        lines += _rows(structural_schema(model), prefix="")
    rules = list(_rules(structural_schema(kind.spec)))
    if rules:
        lines += ["", "## Checked at `kubectl apply`", "", *(f"- {rule}" for rule in rules)]
    return "\n".join([*lines, ""])


def _rows(schema: Schema, *, prefix: str) -> Iterator[str]:
    required = set(schema.get("required", ()))
    for name, field in schema.get("properties", {}).items():
        path = f"{prefix}{name}"
        action = step_actions().get(name) if prefix.endswith(_STEPS) else None
        if action is not None:
            yield f"| `{path}` | [{name}](../actions/{group(action)}.md#{name.lower()}) | {summary(action)} |"
            continue
        demanded = " **Required.**" if name in required else ""
        yield f"| `{path}` | {_cell(type_in_words(field))} | {_cell(meaning(field))}{demanded} |"
        inner = field.get("items", field)
        suffix = "[]." if "items" in field else "."
        yield from _rows(inner, prefix=f"{path}{suffix}")


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _rules(schema: Schema, *, place: str = "spec") -> Iterator[str]:
    for rule in schema.get("x-kubernetes-validations", ()):
        yield f"`{place}`: {rule['message']}"
    for name, field in schema.get("properties", {}).items():
        if name not in step_actions():
            yield from _rules(field, place=f"{place}.{name}")
    if isinstance(schema.get("items"), dict):
        yield from _rules(schema["items"], place=f"{place}[]")


def main(arguments: Sequence[str]) -> int:
    """Write one page a kind into each directory; with `--check`, only say which of them differ."""
    return write_or_check(arguments, {f"{kind.kind.lower()}.md": page(kind) for kind in KINDS})


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
