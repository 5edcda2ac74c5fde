"""Writes the manual of the actions as Markdown, a page for each group: `python -m upkeep.api.manualpages docs/actions`.

`kubectl upkeep actions` prints the same text.
"""

import sys
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Final

from upkeep.api.generated import write_or_check
from upkeep.api.manual import Manual, manuals

_HEADER: Final = "<!-- Generated from operator/upkeep/actions by `make generate`. Edit the actions, not this file. -->"
_ABOUT: Final = (
    "What a step of a `MaintenanceTask` can do. A step has a name and exactly one of these; those that only look can "
    "also be checks of a `MaintenanceWindow`. Whatever is not here is done by a "
    "[container of your own](../../manifests/samples/task-custom-job.yaml)."
)
_CHECKS: Final = "Windows can use it as a check (`requires`, `verify`, `watch`)."


def entry(manual: Manual) -> str:
    """The manual of one action."""
    return "\n".join(_entry(manual)).rstrip() + "\n"


def index(entries: Sequence[Manual]) -> str:
    """A table of all actions, with links to their pages."""
    lines = [
        _HEADER,
        "",
        "# Actions",
        "",
        _ABOUT,
        "",
        "| action | what it does | changes something |",
        "|---|---|---|",
    ]
    for one in entries:
        changes = "no" if one.check else "**yes**"
        lines.append(f"| [{one.name}]({one.group}.md#{one.name.lower()}) | {_cell(one.summary)} | {changes} |")
    return "\n".join([*lines, ""])


def pages(entries: Sequence[Manual]) -> dict[str, str]:
    """Every page by its file name."""
    found = {"README.md": index(entries)}
    for group, members in groupby(sorted(entries, key=lambda one: (one.group, one.name)), key=lambda one: one.group):
        body = "\n".join(entry(one) for one in members)
        found[f"{group}.md"] = f"{_HEADER}\n\n# Actions: {group}\n\n{body}"
    return found


def _entry(one: Manual) -> Iterator[str]:
    yield from (f"## {one.name}", "", one.summary)
    if one.details:
        yield from ("", one.details)
    if one.check:
        yield from ("", _CHECKS)
    yield from ("", f"**Locks**: {one.locks}", "", f"**Privileges**: {one.privileges}")
    if one.grants:
        # What is needed only for some parameters or versions is told in the sentence before.
        yield from ("", f"```{_language(one)}", *(f"{grant}{_end(one)}" for grant in one.grants), "```")
    for source in one.sources:
        name, _, text = source.partition(": ")
        yield from ("", f"**{name}**: {text}")
    yield from ("", "| parameter | type | meaning |", "|---|---|---|")
    for each in one.parameters:
        required = " **Required.**" if each.required else ""
        yield f"| `{each.path}` | {_cell(each.type)} | {_cell(each.meaning)}{required} |"
    if one.rules:
        yield from ("", *(f"- {rule}" for rule in one.rules))
    if one.finds:
        yield from ("", "| finding | means |", "|---|---|")
        yield from (f"| `{check}` | {_cell(meaning)} |" for check, meaning in one.finds.items())
    yield ""


def _language(one: Manual) -> str:
    return "sql" if one.group == "postgres" else "text"


def _end(one: Manual) -> str:
    return ";" if one.group == "postgres" else ""


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def main(arguments: Sequence[str]) -> int:
    """Write every page into each directory; with `--check`, only say which of them differ."""
    return write_or_check(arguments, pages(manuals()))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
