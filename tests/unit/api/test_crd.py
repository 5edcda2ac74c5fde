"""The CustomResourceDefinitions: structural, explained everywhere, with rules that say what to do."""

import json
from collections.abc import Iterator, Sequence
from typing import Annotated, Any, Final

import pytest
from pydantic import Field

from upkeep.actions.fields import Model
from upkeep.api.crd import KINDS, POINTER, Kind, custom_resource_definition, structural_schema

Schema = dict[str, Any]

ALLOWED: Final = {
    "object": {"properties", "required", "additionalProperties", "minProperties", "maxProperties"},
    "array": {"items", "minItems", "maxItems", "x-kubernetes-list-type", "x-kubernetes-list-map-keys"},
    "string": {"minLength", "maxLength", "pattern", "enum", "format"},
    "integer": {"minimum", "maximum", "enum", "format"},
    "number": {"minimum", "maximum", "format"},
    "boolean": set[str](),
}
"""By type, what a structural schema may say (kubernetes.io/docs/tasks/extend-kubernetes/custom-resources)."""
ALWAYS: Final = {"type", "description", "default", "x-kubernetes-validations"}


def definition(kind: Kind) -> Schema:
    (version,) = custom_resource_definition(kind)["spec"]["versions"]
    schema: Schema = version["schema"]["openAPIV3Schema"]
    return schema


def nodes(schema: Schema, path: str) -> Iterator[tuple[str, Schema]]:
    yield path, schema
    for name, child in schema.get("properties", {}).items():
        yield from nodes(child, f"{path}.{name}")
    for inner in ("items", "additionalProperties"):
        if isinstance(schema.get(inner), dict):
            yield from nodes(schema[inner], f"{path}[]")


def pointers(schema: Schema) -> Sequence[tuple[str, str]]:
    """What is explained elsewhere: its path, and the place that it names."""
    found = ((path, POINTER.search(node.get("description", ""))) for path, node in nodes(schema, ""))
    return [(path, match[1]) for path, match in found if match]


SCHEMAS: Final = [pytest.param(definition(kind), id=kind.short) for kind in KINDS]


@pytest.mark.parametrize("schema", SCHEMAS)
def test_every_field_is_explained(schema: Schema) -> None:
    """All but the items of lists and values of maps, of which their field speaks, and what is explained elsewhere."""
    own = {".apiVersion", ".kind", ".metadata"}
    elsewhere = tuple(f"{path}{suffix}" for path, _ in pointers(schema) for suffix in (".", "["))
    silent = [
        path
        for path, node in nodes(schema, "")
        if not path.endswith("[]")
        and path not in own
        and not path.startswith(elsewhere)
        and len(node.get("description", "").partition("Default: ")[0]) < 5
    ]

    assert silent == []


@pytest.mark.parametrize("schema", SCHEMAS)
def test_what_is_explained_elsewhere_is_explained_there(schema: Schema) -> None:
    """Given that a CRD with every action explained in every list does not fit into what `kubectl apply` keeps."""
    places = {path.replace("[]", ""): node for path, node in nodes(schema, "") if "properties" in node}
    for path, place in pointers(schema):
        there = places[f".{place}"]
        here = places[path.replace("[]", "")]
        assert here["properties"].keys() == there["properties"].keys(), path
        assert all(field.get("description") for field in there["properties"].values()), path


@pytest.mark.parametrize("kind", KINDS, ids=[kind.short for kind in KINDS])
def test_it_fits_into_the_annotation_of_kubectl_apply(kind: Kind) -> None:
    size = len(json.dumps(custom_resource_definition(kind), separators=(",", ":")))

    assert size < 0.9 * 256 * 1024


@pytest.mark.parametrize("schema", SCHEMAS)
def test_there_is_nothing_in_it_that_a_structural_schema_does_not_allow(schema: Schema) -> None:
    for path, node in nodes(schema, ""):
        assert node["type"] in ALLOWED, path
        assert node.keys() <= ALWAYS | ALLOWED[node["type"]], path
        assert not {"properties", "additionalProperties"} <= node.keys(), path
        assert set(node.get("required", ())) <= node.get("properties", {}).keys(), path
        assert (node["type"] == "array") == ("items" in node), path
        assert "\n" not in node.get("description", ""), path


@pytest.mark.parametrize("schema", SCHEMAS)
def test_what_lists_are_told_apart_by_is_required_of_their_items(schema: Schema) -> None:
    for path, node in nodes(schema, ""):
        if node.get("x-kubernetes-list-type") == "map":
            assert set(node["x-kubernetes-list-map-keys"]) <= set(node["items"]["required"]), path


@pytest.mark.parametrize("schema", SCHEMAS)
def test_no_status_is_filled_up_and_no_item_of_a_list_either(schema: Schema) -> None:
    """What the API server writes into them would look like a change to whoever compares the whole."""
    filled = [path for path, node in nodes(schema, "") if "default" in node]

    assert filled
    assert [path for path in filled if path.startswith(".status") or "[]" in path] == []


@pytest.mark.parametrize("schema", SCHEMAS)
def test_each_default_is_told_in_words_too(schema: Schema) -> None:
    """Given that `kubectl explain` does not show defaults."""
    for path, node in nodes(schema, ""):
        if node.get("default", "") != "" and not isinstance(node["default"], dict):
            words = node["default"] if isinstance(node["default"], str) else json.dumps(node["default"])
            assert node["description"].endswith(f"Default: `{words}`."), path


@pytest.mark.parametrize(
    ("kind", "path", "part"),
    [
        ("mt", ".spec", "(has(self.steps) ? 1 : 0) + (has(self.job) ? 1 : 0) == 1"),
        ("mt", ".spec", "!(has(self.schedule) && has(self.runAt))"),
        ("mt", ".spec", "!has(self.jitter) || has(self.schedule)"),
        ("mt", ".spec.schedule", "self.matches("),
        ("mt", ".spec.timeout", "self.matches("),
        ("mt", ".spec.steps[]", "(has(self.httpCheck) ? 1 : 0)"),
        (
            "mt",
            ".spec.connections[]",
            " + ".join(
                f"(has(self.{kind}) ? 1 : 0)"
                for kind in ("postgres", "redis", "http", "tls", "prometheus", "volume", "firestore")
            )
            + " == 1",
        ),
        ("mt", ".spec.job.env[]", "(has(self.value) ? 1 : 0)"),
        ("mt", ".spec.job.volumes[]", "(has(self.emptyDir) ? 1 : 0)"),
        ("mw", ".spec.schedule", "self.matches("),
        ("mw", ".spec.duration", "self.matches("),
        ("bp", ".spec.source", "has(self.postgres)"),
        ("bp", ".spec.repository", "has(self.volume)"),
        ("bp", ".spec.repository.volume", "!self.path.contains('..')"),
        ("bp", ".spec.schedules[]", "self.name != 'integrity'"),
        ("bp", ".spec.schedules[]", "self.name != 'prune'"),
        ("bp", ".spec.schedules[].schedule", "self.matches("),
        ("bp", ".spec.schedules[].retention", "has(self.keepLast) || "),
        ("bp", ".spec", "has(self.prune) || "),
    ],
)
def test_the_api_server_checks_what_one_object_can_show_to_be_wrong(kind: str, path: str, part: str) -> None:
    schema = next(definition(each) for each in KINDS if each.short == kind)
    rules = dict(nodes(schema, ""))[path].get("x-kubernetes-validations", [])

    (rule,) = [rule for rule in rules if part in rule["rule"]]
    assert len(rule["message"]) > 20


@pytest.mark.parametrize("schema", SCHEMAS)
def test_every_rule_says_what_to_do_and_is_bounded_in_what_it_costs(schema: Schema) -> None:
    """The API server refuses a CRD whose rules could look at texts and lists of any length."""
    for path, node in nodes(schema, ""):
        for rule in node.get("x-kubernetes-validations", ()):
            assert rule.keys() == {"rule", "message"}, path
            assert rule["message"].strip(), path
            if node["type"] == "string":
                assert node.keys() & {"maxLength", "enum"}, path
        if path.startswith(".spec") and node["type"] == "array":
            assert "maxItems" in node, path


def test_a_map_with_demands_on_its_keys_keeps_its_values() -> None:
    """Given that the API server empties every object of which it knows neither fields nor values."""

    class Chosen(Model):
        labels: dict[Annotated[str, Field(pattern="^[a-z]+$")], Annotated[str, Field(max_length=63)]]

    assert structural_schema(Chosen)["properties"]["labels"] == {
        "type": "object",
        "additionalProperties": {"type": "string", "maxLength": 63},
    }


@pytest.mark.parametrize("limit", [{"gt": 0}, {"multiple_of": 5}])
def test_a_limit_that_a_structural_schema_cannot_say_is_not_dropped_in_silence(limit: dict[str, Any]) -> None:
    class Limited(Model):
        number: Annotated[int, Field(**limit)]

    with pytest.raises(ValueError, match="cannot stand in a structural schema: say it by another limit"):
        structural_schema(Limited)


@pytest.mark.parametrize("schema", SCHEMAS)
def test_no_object_is_emptied_by_the_api_server(schema: Schema) -> None:
    for path, node in nodes(schema, ""):
        if node["type"] == "object" and path != ".metadata":
            assert node.keys() & {"properties", "additionalProperties"}, path
