"""Which rules of a Role let somebody do harm, as RBAC itself matches rules.

Sources: https://kubernetes.io/docs/concepts/security/rbac-good-practices/ (privilege escalation risks), and what
rbac-police and KubiScan look for. A right that is limited to named objects counts only where that does not help.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from upkeep.actions.contract import Severity

Object = Mapping[str, Any]

_RBAC: Final = "rbac.authorization.k8s.io"
_ADMISSION: Final = "admissionregistration.k8s.io"
_CERTIFICATES: Final = "certificates.k8s.io"
_READ: Final = ("get", "list", "watch")
_WRITE: Final = ("create", "update", "patch")
_WARNING, _CRITICAL = Severity.WARNING, Severity.CRITICAL


@dataclass(frozen=True, slots=True)
class Danger:
    """Something that a rule allows and that deserves a look.

    Attributes:
        what: in words, after "may".
        severity: where it is granted in one namespace; None where it is usual there, or means nothing.
        everywhere: where it is granted in the whole cluster.
    """

    what: str
    severity: Severity | None
    everywhere: Severity


@dataclass(frozen=True, slots=True)
class _Right:
    group: str
    resources: Sequence[str]
    verbs: Sequence[str]
    danger: Danger
    by_name: bool = False
    """Whether it is as dangerous where it is limited to named objects."""


EVERYTHING: Final = Danger("do everything", _CRITICAL, _CRITICAL)
_SECRETS: Final = Danger("read Secrets", _WARNING, _CRITICAL)
_EXEC: Final = Danger("run commands in Pods", _WARNING, _CRITICAL)
_TOKENS: Final = Danger("issue tokens of ServiceAccounts", _WARNING, _CRITICAL)
_ESCALATE: Final = Danger("grant rights that it does not have (escalate, bind)", _CRITICAL, _CRITICAL)
_IMPERSONATE: Final = Danger("act as others (impersonate)", _WARNING, _CRITICAL)
_BINDINGS: Final = Danger("change RoleBindings", _WARNING, _CRITICAL)
_KUBELET: Final = Danger("run commands through the kubelet (nodes/proxy)", None, _CRITICAL)
_WEBHOOKS: Final = Danger("change admission webhooks", None, _CRITICAL)
_APPROVAL: Final = Danger("approve or sign certificates", None, _CRITICAL)
_VOLUMES: Final = Danger("make PersistentVolumes, also of the nodes' files", None, _WARNING)
_RUN: Final = Danger("run Pods in every namespace", None, _WARNING)
_WILDCARD: Final = Danger("do what is allowed by wildcards", Severity.INFO, _WARNING)

_RIGHTS: Final = (
    _Right("", ("secrets",), _READ, _SECRETS),
    _Right("", ("pods/exec", "pods/attach"), ("create", "get"), _EXEC),
    _Right("", ("pods/ephemeralcontainers",), ("update", "patch"), _EXEC),
    _Right("", ("serviceaccounts/token",), ("create",), _TOKENS, by_name=True),
    _Right(_RBAC, ("roles", "clusterroles"), ("escalate",), _ESCALATE, by_name=True),
    _Right(_RBAC, ("roles", "clusterroles"), ("bind",), _ESCALATE),
    _Right("", ("users", "groups", "serviceaccounts"), ("impersonate",), _IMPERSONATE),
    _Right("authentication.k8s.io", ("uids", "userextras"), ("impersonate",), _IMPERSONATE),
    _Right(_RBAC, ("rolebindings", "clusterrolebindings"), _WRITE, _BINDINGS),
    _Right("", ("nodes/proxy",), ("get", "create"), _KUBELET, by_name=True),
    _Right(_ADMISSION, ("mutatingwebhookconfigurations", "validatingwebhookconfigurations"), _WRITE, _WEBHOOKS),
    _Right(_CERTIFICATES, ("certificatesigningrequests/approval",), ("update", "patch"), _APPROVAL),
    _Right(_CERTIFICATES, ("signers",), ("approve", "sign"), _APPROVAL),
    _Right("", ("persistentvolumes",), ("create",), _VOLUMES),
    _Right("", ("pods", "replicationcontrollers"), ("create",), _RUN),
    _Right("apps", ("deployments", "statefulsets", "daemonsets", "replicasets"), _WRITE, _RUN),
    _Right("batch", ("jobs", "cronjobs"), _WRITE, _RUN),
)


def dangers(rules: Sequence[Object] | None) -> tuple[Danger, ...]:
    """What the rules of a Role allow that deserves a look, each once, in the order above."""
    found = dict.fromkeys(danger for rule in rules or () for danger in _of_rule(rule))
    return (EVERYTHING,) if EVERYTHING in found else tuple(found)


def _of_rule(rule: Object) -> Iterator[Danger]:
    groups, resources, verbs = (rule.get(key) or () for key in ("apiGroups", "resources", "verbs"))
    named = bool(rule.get("resourceNames"))
    if all("*" in each for each in (groups, resources, verbs)) and not named:
        yield EVERYTHING
        return
    for right in _RIGHTS:
        if (
            (right.group in groups or "*" in groups)
            and any(_matches(resources, each) for each in right.resources)
            and ("*" in verbs or any(verb in verbs for verb in right.verbs))
            and (right.by_name or not named)
        ):
            yield right.danger
    if resources and not named and any("*" in each for each in (groups, resources, verbs)):
        yield _WILDCARD


def _matches(resources: Sequence[str], wanted: str) -> bool:
    """As RBAC does: `*` is everything, `*/scale` that subresource of everything, and `pods/*` nothing."""
    _, slash, subresource = wanted.partition("/")
    return wanted in resources or "*" in resources or bool(slash and f"*/{subresource}" in resources)
