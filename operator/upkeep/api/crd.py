"""Generates the CustomResourceDefinitions from the models: `python -m upkeep.api.crd crds/`.

The generated files are committed; a check fails when they differ from the models. Kubernetes wants *structural*
schemas, so references are inlined, `X | None` becomes an optional X, and demands on the keys of a map are left to the
models. A demand that a structural schema cannot express is an error here, never dropped in silence.
"""

import json
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import yaml

from upkeep.actions.fields import Model
from upkeep.api import GROUP, VERSION
from upkeep.api.backup import BackupSpec, BackupStatus
from upkeep.api.generated import write_or_check
from upkeep.api.task import TaskSpec, TaskStatus
from upkeep.api.window import WindowSpec, WindowStatus

Schema = dict[str, Any]

_KEPT: Final = frozenset(
    {
        "type",
        "format",
        "description",
        "properties",
        "required",
        "items",
        "additionalProperties",
        "enum",
        "default",
        "minimum",
        "maximum",
        "minLength",
        "maxLength",
        "minItems",
        "maxItems",
        "minProperties",
        "maxProperties",
        "pattern",
    }
)
_DROPPED: Final = frozenset({"title", "$defs", "propertyNames"})
"""What the API server does not understand and need not know."""

POINTER: Final = re.compile(r"See (spec\.[\w.]+)\.$")
"""How the description ends of what is explained somewhere else, and where."""
_WORTH_A_POINTER: Final = 3
"""Fields from which on it is shorter to say where they are explained than to explain them again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A custom resource: its names, its models and the columns of `kubectl get`."""

    kind: str
    plural: str
    short: str
    description: str
    spec: type[Model]
    status: type[Model]
    columns: Sequence[tuple[str, str, str]]

    @property
    def crd_name(self) -> str:
        """Name of the CustomResourceDefinition."""
        return f"{self.plural}.{GROUP}"


KINDS: Final = (
    Kind(
        kind="MaintenanceTask",
        plural="maintenancetasks",
        short="mt",
        description="Maintenance work that Upkeep runs as a Job: by schedule, in windows, or on demand "
        "(annotation upkeep.dev/run-now: <token>).",
        spec=TaskSpec,
        status=TaskStatus,
        columns=(
            ("Phase", "string", ".status.phase"),
            ("Schedule", "string", ".spec.schedule"),
            ("Next", "string", ".status.nextScheduleTime"),
            ("Last run", "date", ".status.lastRun.startTime"),
            ("Result", "string", ".status.lastRun.outcome"),
            ("Critical", "integer", ".status.lastRun.criticalFindings"),
            ("Warnings", "integer", ".status.lastRun.warningFindings"),
            ("Age", "date", ".metadata.creationTimestamp"),
        ),
    ),
    Kind(
        kind="MaintenanceWindow",
        plural="maintenancewindows",
        short="mw",
        description="A time for maintenance: what runs in it, which Ingresses and routes show a maintenance page "
        "meanwhile, and how it is verified.",
        spec=WindowSpec,
        status=WindowStatus,
        columns=(
            ("Phase", "string", ".status.phase"),
            ("Schedule", "string", ".spec.schedule"),
            ("Duration", "string", ".spec.duration"),
            ("Next", "string", ".status.nextScheduleTime"),
            ("Ends", "string", ".status.occurrence.endTime"),
            ("Result", "string", ".status.lastRun.outcome"),
            ("Age", "date", ".metadata.creationTimestamp"),
        ),
    ),
    Kind(
        kind="BackupPolicy",
        plural="backuppolicies",
        short="bp",
        description="What is backed up, where to, when, and how it is proven. Deleting a policy never deletes its "
        "backups.",
        spec=BackupSpec,
        status=BackupStatus,
        columns=(
            ("Phase", "string", ".status.phase"),
            ("Next", "string", ".status.nextScheduleTime"),
            ("Last backup", "date", ".status.lastBackupTime"),
            ("Checked", "date", ".status.lastIntegrityCheckTime"),
            ("Verified", "date", ".status.lastVerified.time"),
            ("Result", "string", ".status.lastRun.outcome"),
            ("Age", "date", ".metadata.creationTimestamp"),
        ),
    ),
)


def custom_resource_definition(kind: Kind) -> Schema:
    """The CustomResourceDefinition of a kind, ready for `kubectl apply`."""
    schema: Schema = {
        "type": "object",
        "description": kind.description,
        "required": ["spec"],
        "properties": {
            "apiVersion": {"type": "string"},
            "kind": {"type": "string"},
            "metadata": {"type": "object"},
            "spec": _told_once(_told(structural_schema(kind.spec)), place="spec", told={}),
            "status": _without_defaults(structural_schema(kind.status)),
        },
    }
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": kind.crd_name, "labels": {"app.kubernetes.io/part-of": "upkeep"}},
        "spec": {
            "group": GROUP,
            "scope": "Namespaced",
            "names": {
                "kind": kind.kind,
                "listKind": f"{kind.kind}List",
                "plural": kind.plural,
                "singular": kind.kind.lower(),
                "shortNames": [kind.short],
                "categories": ["upkeep"],
            },
            "versions": [
                {
                    "name": VERSION,
                    "served": True,
                    "storage": True,
                    "subresources": {"status": {}},
                    "additionalPrinterColumns": [
                        {"name": name, "type": type_, "jsonPath": path} for name, type_, path in kind.columns
                    ],
                    "schema": {"openAPIV3Schema": schema},
                }
            ],
        },
    }


def structural_schema(model: type[Model]) -> Schema:
    """A structural OpenAPI schema: no references, no unions, a description on every field."""
    schema = model.model_json_schema(by_alias=True, mode="validation")
    return _structural(schema, schema.get("$defs", {}))


def _structural(node: Mapping[str, Any], definitions: Mapping[str, Any]) -> Schema:
    node = _resolved(node, definitions)
    result: Schema = {}
    for key, value in node.items():
        if key == "properties":
            result[key] = {name: _structural(child, definitions) for name, child in value.items()}
        elif key == "patternProperties":
            # Without it the API server would take the map for an object without fields, and empty it.
            (result["additionalProperties"],) = (_structural(child, definitions) for child in value.values())
        elif key in {"items", "additionalProperties"} and isinstance(value, Mapping):
            result[key] = _structural(value, definitions)
        elif key == "const":
            result["enum"] = [value]
        elif key == "additionalProperties" or (key == "default" and _without_nulls(value) in (None, {}, [], ())):
            continue
        elif key == "default":
            result[key] = _without_nulls(value)
        elif key == "description":
            result[key] = " ".join(str(value).split())
        elif key in _KEPT or key.startswith("x-kubernetes-"):
            result[key] = value
        elif key not in _DROPPED:
            msg = f"{key} cannot stand in a structural schema: say it by another limit or by a rule: {node}"
            raise ValueError(msg)
    return result


def _without_nulls(value: Any) -> Any:  # noqa: ANN401 - a default is any JSON value
    """The default without what is left out: a structural schema has no nulls."""
    if not isinstance(value, dict):
        return value
    return {key: _without_nulls(item) for key, item in value.items() if item is not None}


def _told(schema: Schema, *, listed: bool = False) -> Schema:
    """Defaults in words too, because `kubectl explain` does not show them; in the items of lists in words only.

    The API server would write them into the items, and those who compare lists as a whole (`kubectl apply`, Argo CD)
    would find them changed for ever. The models know them anyway.
    """
    told = {key: value for key, value in schema.items() if key != "default" or not listed}
    default = schema.get("default")
    if default not in (None, "") and not isinstance(default, dict):
        words = default if isinstance(default, str) else json.dumps(default)
        told["description"] = f"{schema.get('description', '')} Default: `{words}`.".strip()
    if "properties" in told:
        told["properties"] = {name: _told(child, listed=listed) for name, child in told["properties"].items()}
    if isinstance(told.get("items"), dict):
        told["items"] = _told(told["items"], listed=True)
    return told


def _told_once(schema: Schema, *, place: str, told: dict[str, str]) -> Schema:
    """Each object that comes back as it was (an action in several lists of steps) is explained where it comes first.

    A whole CRD has to fit into the annotation that `kubectl apply` keeps, 256 KiB.

    Args:
        schema: the object or field.
        place: its path, as `kubectl explain` takes it.
        told: by content, the place where an object was explained; grows.
    """
    once = dict(schema)
    if len(schema.get("properties", ())) >= _WORTH_A_POINTER:
        content = json.dumps({key: value for key, value in schema.items() if key != "description"}, sort_keys=True)
        if told.setdefault(content, place) != place:
            return {**_untold(schema), "description": _pointer(schema, told[content])}
    if "properties" in schema:
        once["properties"] = {
            name: _told_once(child, place=f"{place}.{name}", told=told) for name, child in schema["properties"].items()
        }
    if isinstance(schema.get("items"), dict):
        once["items"] = _told_once(schema["items"], place=place, told=told)
        pointer = POINTER.search(once["items"].get("description", ""))
        if pointer:
            # `kubectl explain` shows what stands at the list, not at its items.
            once["description"] = f"{schema.get('description', '')} {pointer[0]}".strip()
    return once


def _pointer(schema: Schema, place: str) -> str:
    """What it is in a sentence, and where the rest stands."""
    first, _, rest = str(schema.get("description", "")).partition(". ")
    return f"{first.rstrip('.')}. See {place}." if first or rest else f"See {place}."


def _untold(schema: Schema) -> Schema:
    """The schema without any description."""
    bare = {key: value for key, value in schema.items() if key != "description"}
    if "properties" in bare:
        bare["properties"] = {name: _untold(child) for name, child in bare["properties"].items()}
    if isinstance(bare.get("items"), dict):
        bare["items"] = _untold(bare["items"])
    return bare


def _without_defaults(schema: Schema) -> Schema:
    """A status holds what was written; the API server must not fill it up with what is empty."""
    bare = {key: value for key, value in schema.items() if key != "default"}
    if "properties" in bare:
        bare["properties"] = {name: _without_defaults(child) for name, child in bare["properties"].items()}
    if isinstance(bare.get("items"), dict):
        bare["items"] = _without_defaults(bare["items"])
    return bare


def _resolved(node: Mapping[str, Any], definitions: Mapping[str, Any]) -> Mapping[str, Any]:
    """The node with its reference inlined and its `| None` removed; what stands at the node wins."""
    outer = {key: value for key, value in node.items() if key not in {"$ref", "anyOf", "allOf"}}
    if "$ref" in node:
        inner = _resolved(definitions[node["$ref"].rsplit("/", 1)[-1]], definitions)
        return {**inner, **outer}
    choices = [choice for choice in node.get("anyOf", ()) if choice.get("type") != "null"]
    if len(choices) == 1:
        return {**_resolved(choices[0], definitions), **outer}
    if choices:
        msg = f"a union cannot become a structural schema: {node}"
        raise ValueError(msg)
    return outer


def render(kind: Kind) -> str:
    """The file of a kind, as it is committed."""
    text = yaml.safe_dump(custom_resource_definition(kind), sort_keys=False, width=120, allow_unicode=True)
    return f"# Generated from operator/upkeep/api by `make generate`. Edit the models, not this file.\n{text}"


def main(arguments: Sequence[str]) -> int:
    """Write one file a kind into each directory; with `--check`, only say which of them differ."""
    return write_or_check(arguments, {f"{kind.crd_name}.yaml": render(kind) for kind in KINDS})


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
