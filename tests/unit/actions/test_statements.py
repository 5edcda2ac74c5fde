"""A statement is shown so that it can be recognised, but never with the values that it carries."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from upkeep.actions.postgres.statements import SHOWN_CHARACTERS, shown


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        ("SELECT 1", "SELECT ?"),
        ("select *\n  from   orders\twhere id = 42", "select * from orders where id = ?"),
        ("ALTER ROLE shop PASSWORD 'secret'", "ALTER ROLE shop PASSWORD ?"),
        ("ALTER ROLE shop PASSWORD 'sec''ret' VALID UNTIL 'x'", "ALTER ROLE shop PASSWORD ? VALID UNTIL ?"),
        (r"SELECT E'it\'s secret', 3.5", "SELECT ?, ?"),
        ("SELECT $$secret$$, $tag$sec$$ret$tag$", "SELECT ?, ?"),
        ("ALTER ROLE shop PASSWORD 'cut off in the mid", "ALTER ROLE shop PASSWORD ?"),
        ("SELECT $x$cut off in the mid", "SELECT ?"),
        ("SELECT 1 -- secret\n, 2 /* secret */", "SELECT ? , ?"),
        ("SELECT /* cut off", "SELECT"),
        ("SELECT $1 FROM orders2 WHERE a1 = $2", "SELECT $1 FROM orders2 WHERE a1 = $2"),
        ("""SELECT "it's" FROM "o--r" WHERE x = 'y'""", """SELECT "it's" FROM "o--r" WHERE x = ?"""),
        ("", ""),
    ],
)
def test_values_are_masked_and_names_are_kept(statement: str, expected: str) -> None:
    assert shown(statement) == expected


def test_a_long_statement_is_shortened() -> None:
    assert len(shown("SELECT " + "x, " * 1000)) == SHOWN_CHARACTERS


@given(st.text(alphabet="ab'\"$-/*\\ \n1", max_size=40))
def test_any_text_is_taken(statement: str) -> None:
    assert len(shown(statement)) <= SHOWN_CHARACTERS


@given(st.text(alphabet="abc '\"-/*$;\n", max_size=30), st.text(max_size=20))
def test_a_quoted_secret_never_comes_through(before: str, secret: str) -> None:
    # given a secret in a string of standard SQL, at the start of a statement
    quoted = f"PASSWORD '{(before + 'hunter2' + secret).replace(chr(39), chr(39) * 2)}'".replace("\\", "")
    assert "hunter2" not in shown(quoted, characters=1000)
