"""Which rules of roles deserve a look, matched as RBAC matches them."""

from typing import Any

import pytest

from upkeep.actions.kubernetes.rights import EVERYTHING, dangers

RBAC = "rbac.authorization.k8s.io"


def rule(group: str, resource: str, verb: str, *names: str) -> dict[str, Any]:
    limit = {"resourceNames": names} if names else {}
    return {"apiGroups": [group], "resources": [resource], "verbs": [verb], **limit}


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (rule("", "secrets", "list"), "read Secrets"),
        (rule("*", "secrets", "*"), "read Secrets"),
        (rule("", "*", "get"), "read Secrets"),
        (rule("", "pods/exec", "get"), "run commands in Pods"),
        (rule("", "*/exec", "create"), "run commands in Pods"),
        (rule("", "serviceaccounts/token", "create", "admin"), "issue tokens"),
        (rule(RBAC, "clusterroles", "escalate", "x"), "grant rights that it does not have"),
        (rule(RBAC, "roles", "bind"), "grant rights that it does not have"),
        (rule("", "users", "impersonate"), "act as others"),
        (rule("", "nodes/proxy", "get", "node-1"), "through the kubelet"),
        (rule("admissionregistration.k8s.io", "mutatingwebhookconfigurations", "patch"), "admission webhooks"),
        (rule("cert-manager.io", "*", "*"), "by wildcards"),
    ],
)
def test_what_deserves_a_look(found: dict[str, Any], words: str) -> None:
    assert any(words in danger.what for danger in dangers([found]))


@pytest.mark.parametrize(
    "found",
    [
        rule("", "secrets", "create"),
        rule("", "secrets", "get", "own"),
        rule("apps", "secrets", "get"),
        rule("example.com", "pods/exec", "create"),
        rule("", "pods/*", "create"),
        rule(RBAC, "roles", "bind", "view"),
        rule("", "configmaps", "get"),
        {"nonResourceURLs": ["*"], "verbs": ["*"]},
        {},
    ],
)
def test_what_does_not(found: dict[str, Any]) -> None:
    assert dangers([found]) == ()


def test_all_of_everything_is_one_danger() -> None:
    assert dangers([rule("", "secrets", "get"), rule("*", "*", "*")]) == (EVERYTHING,)


def test_a_role_without_rules_is_none() -> None:
    assert dangers(None) == ()
