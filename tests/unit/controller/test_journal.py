"""Logs for machines: one JSON object a line, whatever is said."""

import json
import logging
import sys
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from upkeep.controller.journal import JsonFormatter


def line_of(message: str, *arguments: object, **extra: object) -> dict[str, Any]:
    record = logging.makeLogRecord(
        {"name": "upkeep.x", "levelname": "WARNING", "msg": message, "args": arguments} | extra
    )
    text = JsonFormatter().format(record)
    assert "\n" not in text
    found: dict[str, Any] = json.loads(text)
    return found


def test_a_line_says_when_how_bad_who_and_what() -> None:
    line = line_of("It will be tried again: %s", "refused", resource="maintenancetasks/shop/nightly", created=0.0)

    assert line == {
        "time": "1970-01-01T00:00:00.000+00:00",
        "level": "warning",
        "logger": "upkeep.x",
        "message": "It will be tried again: refused",
        "resource": "maintenancetasks/shop/nightly",
    }


def test_an_exception_is_told_whole_on_the_same_line() -> None:
    try:
        raise ValueError("what broke")  # noqa: EM101, TRY003, TRY301 - as a defect would
    except ValueError:
        line = line_of("An unexpected error.", exc_info=sys.exc_info())

    assert line["error"].startswith("Traceback")
    assert line["error"].endswith("ValueError: what broke")


def test_only_plain_values_become_fields() -> None:
    """Given that whole objects may hold what does not belong into a log."""
    line = line_of("Listed all.", objects=3, secret={"password": "x"}, names=["a"])

    assert line["objects"] == 3
    assert not {"secret", "names"} & line.keys()


@given(message=st.text(), value=st.text() | st.integers() | st.booleans())
def test_whatever_is_said_a_line_can_be_read(message: str, value: object) -> None:
    line = line_of("%s", message, thing=value)

    assert line["message"] == message
    assert line["thing"] == value
