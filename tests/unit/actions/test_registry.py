"""Adding an action is adding one file: its key says where the file is, its text says what users need to know."""

import ast
import inspect
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from upkeep.actions.contract import Action
from upkeep.actions.registry import actions, find, step_actions
from upkeep.actions.thresholds import Graded
from upkeep.api.manual import manual

_DRIVERS = ("psycopg", "redis", "httpx", "kubernetes", "aiohttp", "cryptography")
_EXPRESSIBLE = frozenset(
    {"type", "title", "description", "default", "enum", "const", "properties", "required", "items", "$ref", "anyOf"}
    | {"minimum", "maximum", "minLength", "maxLength", "minItems", "maxItems", "pattern", "additionalProperties"}
    | {"maxProperties", "patternProperties", "propertyNames"}
)

every_action = pytest.mark.parametrize("action", actions().values(), ids=actions().keys())
every_step_action = pytest.mark.parametrize("action", step_actions().values(), ids=step_actions().keys())


def test_the_actions_are_there() -> None:
    assert set(actions()) >= {
        "alertTest",
        "alertsFiring",
        "backupIntegrity",
        "backupPostgres",
        "backupPrune",
        "backupRestoreTest",
        "certificateConsistency",
        "certificateExpiry",
        "dependencyAudit",
        "firestoreExport",
        "firestoreImport",
        "httpCheck",
        "kubernetesAccessReview",
        "kubernetesExposureReview",
        "kubernetesImageVulnerabilities",
        "kubernetesNodeResources",
        "kubernetesPlainSecrets",
        "kubernetesRestart",
        "httpHeaders",
        "httpWarm",
        "logsCleanTemp",
        "logsErrorReport",
        "logsFailedLogins",
        "logsPerformanceReport",
        "logsRetention",
        "logsRotate",
        "logsSize",
        "postgresBloat",
        "postgresDeadTuples",
        "postgresVacuum",
        "prometheusQuery",
        "redisConfig",
        "redisHitRatio",
        "redisInfo",
        "redisMemory",
        "redisPing",
        "redisPurge",
        "redisRewriteAof",
        "redisSlowlog",
        "redisStaleKeys",
        "rotateCredential",
        "secretScan",
        "tcpCheck",
    }


def test_users_cannot_write_what_only_policies_compose() -> None:
    assert not {"backupPostgres", "backupIntegrity", "backupPrune", "backupRestoreTest"} & set(step_actions())


@every_action
def test_each_is_found_by_its_key(action: type[Action]) -> None:
    assert find(action.action_name) is action


@pytest.mark.parametrize("name", ["", "noSuch", "postgresNothing", "os.path", "postgres", "PostgresVacuum", "../etc"])
def test_what_is_no_key_is_answered_with_those_that_are(name: str) -> None:
    with pytest.raises(ValueError, match=rf"there is no action '{re.escape(name)}': use one of alertTest, "):
        find(name)


def test_no_driver_is_loaded_before_an_action_runs() -> None:
    program = (
        "import sys; from upkeep.actions.registry import actions; actions(); "
        f"print([driver for driver in {_DRIVERS!r} if driver in sys.modules])"
    )
    environment = {"PYTHONPATH": ":".join(sys.path)}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@every_action
def test_each_says_what_it_locks_and_which_privileges_it_needs(action: type[Action]) -> None:
    text = action.__doc__ or ""
    assert "Locks: " in text
    assert "Privileges: " in text


@every_step_action
def test_each_says_where_its_thresholds_come_from(action: type[Action]) -> None:
    if issubclass(action, Graded):
        assert manual(action).sources


@every_step_action
def test_each_finding_is_explained(action: type[Action]) -> None:
    # given the checks that its module names; of those that are put together, what they begin with
    whole, begun = _check_ids(Path(inspect.getfile(action)).read_text())

    # then the manual has each of them, and no other
    assert whole <= set(action.finds)
    assert all(any(explained.startswith(start) for explained in action.finds) for start in begun)
    assert all(explained in whole or explained.startswith(tuple(begun)) for explained in action.finds)


@every_action
def test_each_parameter_is_explained(action: type[Action]) -> None:
    for place, node in _fields(action.model_json_schema(by_alias=True)):
        assert node.get("description"), place


@every_step_action
def test_each_parameter_can_be_expressed_in_a_crd(action: type[Action]) -> None:
    # given the parameters' schema, with its definitions
    schema = action.model_json_schema(by_alias=True)
    for place, node in _fields(schema):
        # then it uses only what a structural schema can say, no union but `X | None`, and every list has a limit
        assert {key for key in node if not key.startswith("x-kubernetes-")} <= _EXPRESSIBLE, place
        choices = [choice for choice in node.get("anyOf", ()) if choice.get("type") != "null"]
        assert len(choices) <= 1, place
        assert node.get("type") != "array" or "maxItems" in node, place


def _check_ids(source: str) -> tuple[set[str], set[str]]:
    calls = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)]
    values = [word.value for call in calls for word in call.keywords if word.arg == "check_id"]
    begun = [value.values[0] for value in values if isinstance(value, ast.JoinedStr)]
    return _texts(values), _texts(begun)


def _texts(nodes: Sequence[ast.expr]) -> set[str]:
    return {node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)}


def _fields(schema: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    models = {schema["title"]: schema, **schema.get("$defs", {})}
    for title, model in models.items():
        for name, field in model.get("properties", {}).items():
            yield f"{title}.{name}", field
