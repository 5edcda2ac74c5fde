"""Whatever a database is called, its dump stands in a directory of its own inside the backup, and is found again."""

from pathlib import Path
from typing import Final

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from upkeep.actions.backup.archive import Record, write_record
from upkeep.actions.backup.layout import Kept, kept, meant, place, write_list
from upkeep.actions.contract import ActionError

NAMES: Final = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1).filter(
    lambda name: len(name.encode()) <= 63
)
"""What PostgreSQL takes as a name."""


@given(NAMES)
@example("..")
@example("/")
@example("\U0010ffff" * 15)
def test_a_name_is_one_directory_whatever_is_in_it(name: str) -> None:
    where = place(Path("/backup"), name)

    assert where.parent == Path("/backup/databases")
    assert where.name.isascii()
    assert where.name.isprintable()
    assert not where.name.startswith(".")
    assert len(where.name) <= 255


@given(NAMES, NAMES)
@example("a/b", "a%2Fb")
def test_two_names_are_two_directories(one: str, other: str) -> None:
    assert (place(Path(), one) == place(Path(), other)) == (one == other)


def test_what_was_kept_is_found_by_its_names(tmp_path: Path) -> None:
    names = ["..", "a/b", "shop"]
    for name in names:
        place(tmp_path, name).mkdir(parents=True)
        write_record(place(tmp_path, name), Record(database=name, encoding="UTF8"))
    write_list(tmp_path, names)

    assert {name: dump.record.database for name, dump in kept(tmp_path).items()} == {name: name for name in names}


def test_a_backup_of_one_database_has_its_dump_by_itself(tmp_path: Path) -> None:
    write_record(tmp_path, Record(database="shop", encoding="UTF8"))

    assert kept(tmp_path)["shop"].directory == tmp_path


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"databases": []}', '{"databases": "shop"}', '{"databases": [1]}'])
def test_a_list_that_says_nothing_is_damage(text: str, tmp_path: Path) -> None:
    (tmp_path / "databases.json").write_text(text)

    with pytest.raises(ActionError, match=r"databases\.json"):
        kept(tmp_path)


@pytest.mark.parametrize(
    ("there", "wanted", "alike", "found"),
    [
        (["shop"], None, {"other"}, "shop"),
        (["shop"], "shop", {"other"}, "shop"),
        (["shop"], "other", {"shop"}, None),
        (["a", "b"], "a", {"b"}, "a"),
        (["a", "b"], None, {"b", "c"}, "b"),
        (["a", "b"], None, {"c"}, None),
        (["a", "b"], None, {"a", "b"}, None),
    ],
)
def test_what_is_restored_is_never_guessed(there: list[str], wanted: str | None, alike: set[str], found: str) -> None:
    dumps = {name: Kept(directory=Path(name), record=Record(database=name, encoding="UTF8")) for name in there}

    if found:
        assert meant(dumps, wanted=wanted, alike=frozenset(alike), of="it") is dumps[found]
    else:
        with pytest.raises(ActionError, match=f"it has .*'{there[-1]}': say in sourceDatabase"):
            meant(dumps, wanted=wanted, alike=frozenset(alike), of="it")
