"""Label and field selectors, compiled once per request.

It exists because a watch with a selector sees objects come and go that never did. It must never guess: what the
real server refuses to parse is refused here.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any

from fakeapi.errors import StatusError, bad_request
from fakeapi.resources import ResourceType

Labels = Mapping[str, str]
Match = Callable[[dict[str, Any]], bool]

_TOKEN = re.compile(r"\s*(!=|==|=|!|,|\(|\)|[^\s!=,()]+)")


def compile_selectors(resource: ResourceType, *, labels: str, fields: str) -> Match | None:
    """Return the test that an object must pass, or None where every object passes.

    Args:
        resource: the kind that is selected from; it decides which fields can be selected.
        labels: a labelSelector, as in the query.
        fields: a fieldSelector, as in the query.

    Raises:
        StatusError: 400 where a selector cannot be parsed or a field cannot be selected.
    """
    label_tests = _parse_labels(labels) if labels.strip() else []
    field_tests = _parse_fields(resource, fields) if fields.strip() else []
    if not label_tests and not field_tests:
        return None

    def match(obj: dict[str, Any]) -> bool:
        found = obj["metadata"].get("labels") or {}
        return all(test(found) for test in label_tests) and all(test(obj) for test in field_tests)

    return match


def _parse_labels(text: str) -> list[Callable[[Labels], bool]]:
    tokens = _TOKEN.findall(text)
    tests: list[Callable[[Labels], bool]] = []
    while tokens:
        tests.append(_requirement(tokens))
        if tokens and tokens.pop(0) != ",":
            raise _unparsable(found=text, expected="',' or 'end of string'")
    return tests


def _requirement(tokens: list[str]) -> Callable[[Labels], bool]:
    key = tokens.pop(0)
    if key == "!":
        absent = _word(tokens)
        return lambda labels: absent not in labels
    if key in {"(", ")", ",", "=", "==", "!="}:
        raise _unparsable(found=key, expected="!, identifier, or 'end of string'")
    if not tokens or tokens[0] == ",":
        return lambda labels: key in labels
    operator = tokens.pop(0)
    if operator in {"=", "=="}:
        value = _value(tokens)
        return lambda labels: labels.get(key) == value
    if operator == "!=":
        value = _value(tokens)
        return lambda labels: labels.get(key) != value
    if operator in {"in", "notin"}:
        values = _values(tokens)
        if operator == "in":
            return lambda labels: labels.get(key) in values
        return lambda labels: labels.get(key) not in values
    raise _unparsable(found=operator, expected="in, notin, =, ==, !=, gt, lt")


def _word(tokens: list[str]) -> str:
    if not tokens or tokens[0] in {"(", ")", ",", "=", "==", "!=", "!"}:
        raise _unparsable(found=tokens[0] if tokens else "", expected="identifier")
    return tokens.pop(0)


def _value(tokens: list[str]) -> str:
    return "" if not tokens or tokens[0] == "," else _word(tokens)


def _values(tokens: list[str]) -> frozenset[str]:
    if not tokens or tokens.pop(0) != "(":
        raise _unparsable(found="", expected="'('")
    values = {_value(tokens) if tokens and tokens[0] not in {",", ")"} else ""}
    while tokens and tokens[0] == ",":
        tokens.pop(0)
        values.add("" if not tokens or tokens[0] in {",", ")"} else _word(tokens))
    if not tokens or tokens.pop(0) != ")":
        raise _unparsable(found="", expected="',' or ')'")
    return frozenset(values)


def _parse_fields(resource: ResourceType, text: str) -> list[Match]:
    tests: list[Match] = []
    for part in filter(None, (piece.strip() for piece in text.split(","))):
        parsed = re.fullmatch(r"([^!=]+)(==|!=|=)(.*)", part)
        if parsed is None:
            message = f"invalid selector: '{text}'; can't understand '{part}'"
            raise bad_request(message)
        path, operator, value = parsed.groups()
        if path not in {"metadata.name", "metadata.namespace", *resource.selectable}:
            message = f"field label not supported: {path}"
            raise bad_request(message)
        tests.append(_field_test(tuple(path.split(".")), value, wanted=operator != "!="))
    return tests


def _field_test(path: tuple[str, ...], value: str, *, wanted: bool) -> Match:
    def test(obj: dict[str, Any]) -> bool:
        found: Any = obj
        for key in path:
            found = found.get(key) if isinstance(found, dict) else None
        return ((found or "") == value) is wanted

    return test


def _unparsable(*, found: str, expected: str) -> StatusError:
    return bad_request(f"unable to parse requirement: found '{found}', expected: {expected}")
