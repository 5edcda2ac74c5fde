"""What the schema of a CRD says of a field is what its model says: the API server and the operator never disagree."""

import ast
import re
from collections.abc import Iterator
from typing import Annotated, Any, Final, NamedTuple, get_args

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from upkeep.actions.fields import Model
from upkeep.api.crd import KINDS, custom_resource_definition
from upkeep.domain.schedule import Schedule, ScheduleError

Schema = dict[str, Any]

TEXTS: Final = (
    "a", "A", "0", "-", ".", "/", "_", "%", "*", ":", " ", "\n", "ä", "٣", "$", "",
    "ab", "a-b", "a.b", "-a", "a-", "a/b", "a b", "a\n", "..", "/a", "/a:b", "a_b", "A1", "1a", "a=b",
    "5%", "05%", "100%", "101%", "0%", "1", "12", "1.5", "1Gi", "1.5Gi", "100m", "1g", "1ki", "1E", "01",
    "30s", "90m", "1h30m", "2d", "1w", "30", "1m1h", "1.5h", "-1s", " 1s", "1s\n", "9999999999s",
    "http://a", "https://a.b/c?d#e", "ftp://a", "http://", "http://a b", "http://user@a", "HTTP://a",
    "Europe/Berlin", "Etc/GMT+1", "True", "true", "Unknown", "Always", "always", "Forbid", "table", "public.orders",
    "allkeys-lru", "disable", "verify-full", "volatile-ttl", "GET", "get", "Stop", "stop",
    'severity="page"', "severity=page",
)  # fmt: skip
"""Texts of all sorts, each of them right for some field and wrong for another."""


class Node(NamedTuple):
    """A field as its CRD shows it, and the type by which its model reads it."""

    path: str
    schema: Schema
    annotation: Any


def models() -> dict[str, type[Model]]:
    found: dict[str, type[Model]] = {}
    pending: list[Any] = [model for kind in KINDS for model in (kind.spec, kind.status)]
    while pending:
        each = pending.pop()
        if isinstance(each, type) and issubclass(each, Model):
            if each.__name__ not in found:
                found[each.__name__] = each
                pending += [field.annotation for field in each.model_fields.values()]
                pending += [part for field in each.model_fields.values() for part in field.metadata]
        else:
            pending += get_args(each)
    return found


MODELS: Final = models()


def leaves() -> Iterator[Node]:
    """Every field that holds one value or a list or map of values, with how the CRD and how the model reads it."""
    for kind in KINDS:
        (version,) = custom_resource_definition(kind)["spec"]["versions"]
        schema = version["schema"]["openAPIV3Schema"]
        for part, model in (("spec", kind.spec), ("status", kind.status)):
            yield from _leaves(schema["properties"][part], model, f"{kind.short}.{part}")


def _leaves(schema: Schema, model: type[Model], path: str) -> Iterator[Node]:
    for field in model.model_fields.values():
        name = str(field.alias)
        annotated = Annotated[field.annotation, *field.metadata] if field.metadata else field.annotation
        yield from _leaf(schema["properties"][name], annotated, f"{path}.{name}")


def _leaf(schema: Schema, annotation: Any, path: str) -> Iterator[Node]:  # noqa: ANN401 - any type
    inner = next((each for each in MODELS.values() if each in {annotation, *_parts(annotation)}), None)
    if inner is None:
        yield Node(path, schema, annotation)
    elif schema["type"] == "array":
        yield from _leaves(schema["items"], inner, f"{path}[]")
    else:
        yield from _leaves(schema, inner, path)


def _parts(annotation: Any) -> Iterator[Any]:  # noqa: ANN401 - any type
    for part in get_args(annotation):
        if not isinstance(part, str):
            yield part
            yield from _parts(part)


FIELDS: Final = [*leaves()]
SCHEDULE: Final = "self.matches(r'"
TEXTUAL: Final = [node for node in FIELDS if SCHEDULE in str(node.schema) or node.schema.get("format") == "date-time"]
"""Schedules and instants, of which the model keeps the text."""
DISTINCT: Final = list(
    {
        str(({**node.schema, "description": ""}, node.annotation)): node for node in FIELDS if node not in TEXTUAL
    }.values()
)
"""One of each sort of the others."""


def accepted(schema: Schema, value: Any) -> bool:  # noqa: ANN401 - any JSON value
    """Whether the API server takes a value, by its type, its limits and its rules."""
    match schema["type"]:
        case "array":
            size = schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", len(value))
            return size and all(accepted(schema["items"], item) for item in value)
        case "object":
            size = len(value) <= schema.get("maxProperties", len(value))
            return size and all(accepted(schema["additionalProperties"], item) for item in value.values())
        case "string":
            size = schema.get("minLength", 0) <= len(value) <= schema.get("maxLength", len(value))
            return (
                size
                and value in choices(schema, [value])
                and all(re2(pattern).search(value) for pattern in patterns(schema))
            )
        case "integer" | "number":
            return bool(schema.get("minimum", value) <= value <= schema.get("maximum", value))
    return isinstance(value, bool)


def choices(schema: Schema, otherwise: list[Any]) -> list[Any]:
    """The only values, from an enumeration or a rule that lists them."""
    rules = [rule["rule"] for rule in schema.get("x-kubernetes-validations", ())]
    listed = [rule.removeprefix("self in ") for rule in rules if rule.startswith("self in [")]
    found: list[Any] = ast.literal_eval(listed[0]) if listed else schema.get("enum", otherwise)
    return found


def patterns(schema: Schema) -> list[str]:
    """The pattern of a text, and that of its rule."""
    rules = [rule["rule"] for rule in schema.get("x-kubernetes-validations", ())]
    found = [re.fullmatch(r"self\.matches\(r?'(.*)'\)", rule, re.DOTALL) for rule in rules]
    return [*([schema["pattern"]] if "pattern" in schema else ()), *(match[1] for match in found if match)]


def re2(pattern: str) -> re.Pattern[str]:
    """RE2 knows no Unicode classes, and its $ is the very end of a text."""
    return re.compile(re.sub(r"(?<!\\)\$$", r"\\Z", pattern), re.ASCII)


def read(annotation: Any, value: Any) -> bool:  # noqa: ANN401 - any type, any JSON value
    """Whether the model takes a value."""
    try:
        TypeAdapter(annotation).validate_python(value)
    except ValidationError:
        return False
    return True


def boundaries(schema: Schema) -> list[Any]:
    """Values at, just inside and just outside of the limits."""
    match schema["type"]:
        case "array":
            inner = next(each for each in boundaries(schema["items"]) if accepted(schema["items"], each))
            sizes = {0, 1, schema.get("minItems", 1) - 1, schema.get("maxItems", 1), schema.get("maxItems", 1) + 1}
            return [[inner] * size for size in sizes if size >= 0] + [[each] for each in boundaries(schema["items"])]
        case "object":
            values = boundaries(schema["additionalProperties"])
            good = next(each for each in values if accepted(schema["additionalProperties"], each))
            most = schema.get("maxProperties", 1)
            return [{f"k{n}": good for n in range(size)} for size in (0, most, most + 1)] + [{"k": v} for v in values]
        case "string":
            lengths = [schema.get("minLength", 1) + by for by in (-1, 0)] + [
                schema.get("maxLength", 1) + by for by in (0, 1)
            ]
            long = [text * length for length in lengths for text in ("a", "1", "/")]
            return [*TEXTS, *choices(schema, []), *long]
        case "integer" | "number":
            ends = [schema.get(end, 0) for end in ("minimum", "maximum")]
            return [end + by for end in ends for by in (-1, 0, 1)]
    return [True, False]


@pytest.mark.parametrize("node", DISTINCT, ids=lambda node: node.path)
def test_the_api_server_and_the_model_accept_and_refuse_the_same(node: Node) -> None:
    for value in boundaries(node.schema):
        assert accepted(node.schema, value) is read(node.annotation, value), repr(value)[:100]


@settings(max_examples=200, deadline=None)
@given(node=st.sampled_from(DISTINCT), text=st.text("aZ09-._/:%+ wdhms\n\u0661", max_size=12) | st.text(max_size=8))
@example(node=DISTINCT[0], text="a\n")
def test_they_agree_on_whatever_text_is_written(node: Node, text: str) -> None:
    if node.schema["type"] == "string":
        assert accepted(node.schema, text) is read(node.annotation, text)


CRON: Final = next(node for node in FIELDS if node.path == "mt.spec.schedule")
GOOD: Final = (
    "*/5 * * * *", "0 2 * * *", "0 2 * * SUN", "0 2 * * sun#1", "30 1,13 1-7 * 1-5", "0 0 L * *", "0 0 * * 5L",
    "0 0 1 JAN,apr,Jul *", "0 0 1 */3 *", "59 23 31 12 7", "00 02 01 01 0", "0  2   * *  *", "0-10/5,30 * * * *",
    "0 0 * JAN-MAR MON-FRI", "5/15 * * * *", "0 0 1,L * *", "0 0 * * MON#5", "0 0 * * FRIL",
)  # fmt: skip
WRONG: Final = (
    "", "daily", "@daily", "@every 5m", "* * * *", "* * * * * *", "60 * * * *", "0 24 * * *", "0 0 0 * *",
    "0 0 32 * *", "0 0 * 13 *", "0 0 * 0 *", "0 0 * * 8", "0 0 * * SUN#6", "0 0 * * SUN#0", "0 0 ? * *", "a * * * *",
    "0 0 * FOO *", "0 0 * * SUNDAY", "TZ=UTC 0 0 * * *", "CRON_TZ=UTC 0 0 * * *", "-1 * * * *", "1, * * * *",
    "*/ * * * *", "1- * * * *", "0 0 * * #1", "\u0661 * * * *", "0 0 1W * *", "0 0 * * SUN #1",
)  # fmt: skip
BEYOND: Final = ("0 0 30 2 *", "0 0 31 4,6 *", "*/0 * * * *", "30-10 * * * *", "0 22-6 * * *", "0 0 * * FRI-MON")
"""What a pattern cannot see."""


def followed(expression: str) -> bool:
    try:
        Schedule.cron(expression)
    except ScheduleError:
        return False
    return True


@pytest.mark.parametrize("expression", GOOD)
def test_a_good_schedule_is_accepted_by_the_api_server_the_model_and_the_clock(expression: str) -> None:
    assert accepted(CRON.schema, expression)
    assert read(CRON.annotation, expression)
    assert followed(expression)


@pytest.mark.parametrize("expression", WRONG)
def test_a_wrong_schedule_is_refused_at_once_and_never_followed(expression: str) -> None:
    assert not accepted(CRON.schema, expression)
    assert not followed(expression)


@pytest.mark.parametrize("expression", BEYOND)
def test_what_a_pattern_cannot_see_the_clock_refuses(expression: str) -> None:
    assert accepted(CRON.schema, expression)
    assert not followed(expression)


@st.composite
def items(draw: st.DrawFn, values: tuple[str, ...], *special: str) -> str:
    """One item of a field of a schedule as people write it: ranges forwards, and steps of one or more."""
    if special and draw(st.integers(0, 3)) == 0:
        return draw(st.sampled_from(special))
    low, high = sorted((draw(st.integers(0, len(values) - 1)), draw(st.integers(0, len(values) - 1))))
    plain = draw(st.sampled_from(["*", values[low], f"{values[low]}-{values[high]}"]))
    return plain + draw(st.sampled_from(["", "", "/1", "/2", "/05", "/15"]))


DAYS: Final = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")
MONTHS: Final = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
fields = st.tuples(
    *(
        st.lists(item, min_size=1, max_size=3).map(",".join)
        for item in (
            items(tuple(str(number) for number in range(60))),
            items(tuple(f"{number:02}" for number in range(24))),
            items(tuple(str(number) for number in range(1, 32)), "L"),
            items(MONTHS) | items(tuple(str(number) for number in range(1, 13))),
            items(DAYS, "SUN#1", "MON#5", "FRIL", "3L", "7#2") | items(tuple(str(number) for number in range(8))),
        )
    )
)


@settings(max_examples=200, deadline=None)
@given(fields.map(" ".join).filter(lambda text: len(text) <= CRON.schema["maxLength"]))
def test_whatever_people_can_write_is_accepted_and_followed_where_there_is_such_a_day(expression: str) -> None:
    assert accepted(CRON.schema, expression)
    try:
        Schedule.cron(expression)
    except ScheduleError as refusal:
        if "no such day exists" not in str(refusal):
            raise


LEADING_ZEROS: Final = re.compile(r"(?<![0-9])0[0-9]")
"""The clock takes any number of them, the API server as many as people write."""


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.text("0123456789*/,-#LSUNJA", min_size=1, max_size=5), min_size=5, max_size=5)
    .map(" ".join)
    .filter(lambda text: not LEADING_ZEROS.search(text))
)
def test_what_the_clock_follows_the_api_server_accepts(expression: str) -> None:
    if followed(expression):
        assert accepted(CRON.schema, expression)


@pytest.mark.parametrize("expression", ["0 0 1 1 00", "000 0 * * *"])
def test_zeros_that_nobody_writes_are_refused_by_the_api_server_alone(expression: str) -> None:
    assert not accepted(CRON.schema, expression)


INSTANT: Final = next(node for node in FIELDS if node.path == "mt.spec.runAt")


@pytest.mark.parametrize("text", ["2026-12-01T02:00:00Z", "2026-12-01T02:00:00+01:00", "2026-12-01T02:00:00.5Z"])
def test_an_instant_is_read_as_kubernetes_writes_it(text: str) -> None:
    assert read(INSTANT.annotation, text)


@pytest.mark.parametrize(
    "text", ["", "soon", "2026-12-01", "2026-12-01T02:00:00", "2026-13-01T02:00:00Z", "1764554400"]
)
def test_what_is_no_instant_or_has_no_zone_is_refused(text: str) -> None:
    assert not read(INSTANT.annotation, text)
