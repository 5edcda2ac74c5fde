"""Which Pods a selector chooses, and whose a Pod is."""

from typing import Any

import pytest

from upkeep.actions.kubernetes.pod import workload
from upkeep.actions.kubernetes.selection import selects

LABELS = {"app": "web", "tier": "front"}


def demand(key: str, operator: str, *values: str) -> dict[str, Any]:
    return {"matchExpressions": [{"key": key, "operator": operator, "values": list(values)}]}


@pytest.mark.parametrize(
    ("selector", "chosen"),
    [
        ({}, True),
        ({"matchLabels": {"app": "web"}}, True),
        ({"matchLabels": {"app": "db"}}, False),
        ({"matchLabels": {"other": "web"}}, False),
        (demand("app", "In", "web", "db"), True),
        (demand("app", "In", "db"), False),
        (demand("app", "NotIn", "db"), True),
        (demand("other", "NotIn", "db"), True),
        (demand("app", "NotIn", "web"), False),
        (demand("app", "Exists"), True),
        (demand("other", "Exists"), False),
        (demand("other", "DoesNotExist"), True),
        (demand("app", "DoesNotExist"), False),
        ({"matchLabels": {"app": "web"}, **demand("tier", "In", "back")}, False),
    ],
)
def test_selectors(selector: dict[str, Any], *, chosen: bool) -> None:
    assert selects(selector, LABELS) is chosen


@pytest.mark.parametrize(
    ("owner", "labels", "expected"),
    [
        (None, {}, "Pod/one"),
        (("ReplicaSet", "web-5d4f"), {"pod-template-hash": "5d4f"}, "Deployment/web"),
        (("ReplicaSet", "web-5d4f"), {}, "ReplicaSet/web-5d4f"),
        (("StatefulSet", "db"), {}, "StatefulSet/db"),
        (("Job", "nightly-29123456"), {}, "CronJob/nightly"),
        (("Job", "once"), {}, "Job/once"),
        (
            ("Job", "review-29123456"),
            {"upkeep.dev/owner-kind": "MaintenanceTask", "upkeep.dev/owner-name": "review"},
            "MaintenanceTask/review",
        ),
        (("Node", "node-1"), {}, "Node/node-1"),
    ],
)
def test_whose_a_pod_is(owner: tuple[str, str] | None, labels: dict[str, str], expected: str) -> None:
    references = [{"kind": owner[0], "name": owner[1], "controller": True}] if owner else []
    assert workload({"metadata": {"name": "one", "labels": labels, "ownerReferences": references}}) == expected
