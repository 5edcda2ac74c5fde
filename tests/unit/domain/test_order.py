"""What a Pod is told to do: all of it, and nothing that another version would read differently."""

from datetime import UTC, datetime, timedelta
from typing import Any, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from upkeep.actions.contract import OnFailure, Previous
from upkeep.api.task import StepMemory, TaskSpec
from upkeep.domain.identity import Identity
from upkeep.domain.order import RunOrder
from upkeep.domain.work import task_work

OWNER: Final = Identity(kind="MaintenanceTask", namespace="shop", name="nightly", uid="uid")
ACTIONS: Final[list[dict[str, Any]]] = [
    {"httpCheck": {"url": "http://shop/healthz", "samples": 5, "warningAfter": "1m1s", "criticalAfter": "2m"}},
    {"postgresVacuum": {"connection": "db", "analyze": True, "tables": ["public.orders"]}},
    {"postgresBloat": {"connection": "db", "threshold": 2.5}},
    {"redisMemory": {"connection": "cache", "warningPercent": 70}},
]
CONNECTIONS: Final = [
    {"name": "db", "postgres": {"host": "db", "database": "shop", "secretRef": {"name": "db-login"}}},
    {"name": "cache", "redis": {"host": "cache", "tls": True}},
]

durations = st.sampled_from(["1s", "90m", "1h30m", "2d"])
steps = st.lists(
    st.builds(
        lambda action, options: action | options,
        st.sampled_from(ACTIONS),
        st.fixed_dictionaries({}, optional={"timeout": durations, "onFailure": st.sampled_from(["Stop", "Continue"])}),
    ),
    min_size=1,
    max_size=4,
).map(lambda found: [step | {"name": f"step-{number}"} for number, step in enumerate(found)])


def ordered(spec: dict[str, Any]) -> RunOrder:
    work = task_work(OWNER, TaskSpec.model_validate(spec), [])
    assert isinstance(work.content, RunOrder)
    return work.content


@settings(max_examples=60, deadline=None)
@given(steps=steps, timeout=durations)
def test_what_is_told_is_what_is_understood(steps: list[dict[str, Any]], timeout: str) -> None:
    order = ordered({"timeout": timeout, "steps": steps, "connections": CONNECTIONS})

    assert RunOrder.decode(order.encode()) == order


def test_it_tells_all_that_a_run_needs() -> None:
    step = ACTIONS[0] | {"name": "look", "timeout": "90m", "onFailure": "Continue"}

    order = RunOrder.decode(ordered({"timeout": "2h", "steps": [step], "connections": CONNECTIONS}).encode())

    assert order.owner == "MaintenanceTask/shop/nightly"
    assert order.timeout == timedelta(hours=2)
    (only,) = order.steps
    assert (only.name, only.action_name, only.on_failure) == ("look", "httpCheck", OnFailure.CONTINUE)
    assert only.timeout == timedelta(minutes=90)
    assert [connection.name for connection in order.connections] == ["db", "cache"]


def test_a_step_is_told_what_its_last_run_has_left() -> None:
    spec = TaskSpec.model_validate({"steps": [ACTIONS[0] | {"name": "look"}, ACTIONS[0] | {"name": "again"}]})
    left: dict[str, Any] = {
        "action": "httpCheck",
        "time": "2026-03-02T01:00:00Z",
        "values": {"p95": "0.2", "name": '$(X) "ä'},
    }
    others = [left | {"step": "look", "action": "tcpCheck"}, left | {"step": "again", "values": {}}]
    work = task_work(OWNER, spec, [StepMemory.model_validate(each) for each in (*others, left | {"step": "look"})])
    assert isinstance(work.content, RunOrder)

    order = RunOrder.decode(work.content.encode())

    time = datetime(2026, 3, 2, 1, tzinfo=UTC)
    assert [step.previous for step in order.steps] == [Previous(time=time, values=left["values"]), None]


def test_it_names_secrets_and_holds_none() -> None:
    """Given that whoever may read the Pod may read it: only the name of the Secret stands in it."""
    text = ordered({"steps": [ACTIONS[1] | {"name": "tidy"}], "connections": CONNECTIONS}).encode()

    assert "db-login" in text
    assert "assword" not in text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{}",
        "[]",
        '{"owner":"x","timeout":"1h","steps":[]}',
        '{"owner":"x","timeout":"1h","steps":[{"name":"a"}]}',
        '{"owner":"x","timeout":"1h","steps":[{"name":"a","action":{}}]}',
        '{"owner":"x","timeout":"1h","steps":[{"name":"a","actionName":7,"action":{}}]}',
        '{"owner":"x","timeout":"1h","steps":[{"name":"a","actionName":"redisForget","action":{}}]}',
        '{"owner":"x","timeout":"1h","steps":[{"name":"a","actionName":"httpCheck","action":{"uri":"http://x"}}]}',
        '{"owner":"x","timeout":"1h","mood":"good","steps":[]}',
    ],
)
def test_an_order_of_another_version_is_refused_as_such(text: str) -> None:
    with pytest.raises(ValidationError):
        RunOrder.decode(text)
