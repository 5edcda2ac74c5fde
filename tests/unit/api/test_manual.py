"""The manual of an action says everything that its file says, and is the same in the documents and on the terminal."""

from collections.abc import Mapping
from typing import ClassVar

import pytest

from upkeep.actions.contract import Action, Context, Result
from upkeep.actions.fields import Duration, Model, Rule
from upkeep.api.manual import Manual, manual, manuals
from upkeep.api.manualpages import entry, index, pages

EVERY = manuals()
every_manual = pytest.mark.parametrize("one", EVERY, ids=[one.name for one in EVERY])


class Part(Model):
    """One of them."""

    size: int
    """How large, a | b."""


class Sample(Action):
    """Does something
    to something.

    First it looks. Locks: none, e.g. no table.
    Privileges: `GRANT a TO
    upkeep`, from 17 on `GRANT b TO upkeep`. Runs at night. Source of the defaults: a book: page 3.
    """

    action_name: ClassVar[str] = "sampleDo"
    finds: ClassVar[Mapping[str, str]] = {"sample.one": "what | it is"}

    parts: list[Part]
    """What is done."""
    after: Duration
    """When."""
    often: bool = False
    """How often."""

    @classmethod
    def rules(cls) -> tuple[Rule, ...]:
        """One."""
        return ({"rule": "true", "message": "parts and often go together"},)

    async def run(self, context: Context) -> Result:
        """Never."""
        raise AssertionError(context)


def test_the_docstring_is_told_in_its_parts() -> None:
    told = manual(Sample)

    assert told.summary == "Does something to something."
    assert told.details == "First it looks."
    assert told.locks == "none, e.g. no table."
    assert told.privileges == "`GRANT a TO upkeep`, from 17 on `GRANT b TO upkeep`. Runs at night."
    assert told.grants == ["GRANT a TO upkeep", "GRANT b TO upkeep"]
    assert told.sources == ["Source of the defaults: a book: page 3."]


def test_parameters_are_told_with_path_type_default_and_whether_they_are_required() -> None:
    told = {each.path: each for each in manual(Sample).parameters}

    assert list(told) == ["parts", "parts[].size", "after", "often"]
    assert (told["parts"].type, told["parts"].required) == ("list of object", True)
    assert (told["often"].meaning, told["often"].required) == ("How often. Default: `false`.", False)


def test_demands_on_several_parameters_are_told_and_those_on_one_are_not() -> None:
    assert manual(Sample).rules == ["parts and often go together"]


def test_an_entry_is_a_table_that_no_text_can_break() -> None:
    text = entry(manual(Sample))

    assert "| `parts[].size` | integer | How large, a \\| b. **Required.** |" in text
    assert "| `sample.one` | what \\| it is |" in text


@every_manual
def test_every_entry_has_its_parts(one: Manual) -> None:
    text = entry(one)

    assert text.startswith(f"## {one.name}\n")
    assert one.summary.endswith(".")
    for heading in ("**Locks**: ", "**Privileges**: "):
        assert heading in text
    for source in one.sources:
        assert source.partition(": ")[2] in text


def test_every_action_is_on_a_page_and_the_index_leads_to_it() -> None:
    written = pages(EVERY)

    for one in EVERY:
        assert f"\n## {one.name}\n" in written[f"{one.group}.md"]
        assert f"({one.group}.md#{one.name.lower()})" in index(EVERY)
