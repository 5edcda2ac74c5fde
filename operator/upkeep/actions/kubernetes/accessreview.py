"""Tells who may do what: Roles resolved to those who have them, and which of that deserves a look.

It compares rules as they stand in Roles and bindings; what webhooks and other authorisers allow, the API server does
not list. It reads no Secret, and no token.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, ClassVar, Final

from pydantic import Field

from upkeep.actions.contract import Finding, Outcome, Result, Severity
from upkeep.actions.kubernetes.allowance import Allowed, allows
from upkeep.actions.kubernetes.pod import ended
from upkeep.actions.kubernetes.rights import Danger, dangers
from upkeep.actions.kubernetes.view import PODS, SERVICE_ACCOUNTS, Kind, Look, View
from upkeep.actions.text import readable

Object = Mapping[str, Any]

_GROUP: Final = "rbac.authorization.k8s.io/v1"
ROLES: Final = Kind(_GROUP, "roles")
ROLE_BINDINGS: Final = Kind(_GROUP, "rolebindings")
CLUSTER_ROLES: Final = Kind(_GROUP, "clusterroles")
CLUSTER_ROLE_BINDINGS: Final = Kind(_GROUP, "clusterrolebindings")

_BUILT_IN: Final = "kubernetes.io/bootstrapping"
_ACCOUNT_PREFIX: Final = "system:serviceaccount:"
_NOBODY_KNOWN: Final = frozenset({"User/system:anonymous", "Group/system:unauthenticated"})
_EVERYBODY: Final = frozenset({*_NOBODY_KNOWN, "Group/system:authenticated", "Group/system:serviceaccounts"})
_FOR_EVERYBODY: Final = frozenset(
    {"ClusterRole/system:public-info-viewer", "ClusterRole/system:basic-user", "ClusterRole/system:discovery"}
    | {"Role/kubeadm:bootstrap-signer-clusterinfo", "ClusterRole/system:service-account-issuer-discovery"}
)
"""Roles that clusters give to everybody: version, health, what one may do oneself."""
_SHOWN: Final = 6
"""Dangers and roles that one finding names."""


class Scope(StrEnum):
    """Where rights are looked at."""

    NAMESPACE = "Namespace"
    CLUSTER = "Cluster"


@dataclass(frozen=True, slots=True)
class _Subject:
    kind: str
    name: str
    namespace: str = ""

    def __str__(self) -> str:
        return f"{self.kind}/{self.namespace}/{self.name}" if self.namespace else f"{self.kind}/{self.name}"

    @property
    def is_everybody(self) -> bool:
        return str(self) in _EVERYBODY

    @property
    def is_default_account(self) -> bool:
        return self.kind == "ServiceAccount" and self.name == "default"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Grant:
    """A role that a subject has by a binding."""

    binding: str
    role: str
    subject: _Subject
    cluster_wide: bool
    dangers: Sequence[Danger]
    empty: bool
    """The role allows nothing, or is not there."""

    @property
    def severity(self) -> Severity | None:
        """Of the worst danger; None where there is none."""
        graded = [danger.everywhere if self.cluster_wide else danger.severity for danger in self.dangers]
        worst = max((each for each in graded if each), key=lambda each: each.rank, default=None)
        if worst and worst is not Severity.INFO and (self.subject.is_everybody or self.subject.is_default_account):
            return Severity.CRITICAL
        return worst

    @property
    def said(self) -> str:
        """What it allows, in words."""
        graded = [each.what for each in self.dangers if self.cluster_wide or each.severity]
        return ", ".join(graded[:_SHOWN]) + (" and more" if graded[_SHOWN:] else "")


@dataclass(slots=True)
class _Seen:
    """What was read of the cluster."""

    roles: dict[str, tuple[Sequence[Danger], bool]] = field(default_factory=dict)
    """By name: dangers, and whether the role allows nothing."""
    bindings: list[Object] = field(default_factory=list)
    accounts: dict[_Subject, bool] = field(default_factory=dict)
    """ServiceAccounts, and whether their token is mounted unless a Pod says otherwise."""
    mounted: dict[_Subject, int] = field(default_factory=lambda: defaultdict(int))
    """How many Pods have the token of a ServiceAccount without having asked for it."""


class KubernetesAccessReview(Look):
    """Reports who has rights that deserve a look, in the task's namespace or in the whole cluster.

    These are rights to do everything, to read Secrets, to run commands in Pods, to act as others, to grant more than
    one has, and the like; any rights of everybody and of ServiceAccounts named default; bindings to what is not there;
    and tokens in Pods that need none. Rights of parts of Kubernetes itself are left out. In a namespace, what is
    granted cluster-wide counts for its own ServiceAccounts and for everybody.
    Locks: none. Privileges: the task names a ServiceAccount that may `list` Roles, RoleBindings, ClusterRoles,
    ClusterRoleBindings, ServiceAccounts and Pods; the ClusterRole upkeep-action-access-review of the chart, bound by a
    ClusterRoleBinding.
    """

    action_name: ClassVar[str] = "kubernetesAccessReview"
    role: ClassVar[str] = "upkeep-action-access-review"
    finds: ClassVar[Mapping[str, str]] = {
        "kubernetes.access.rights": "somebody may do what lets them do harm, or take more rights",
        "kubernetes.access.everybody": "everybody, or everybody who can log in, has a role",
        "kubernetes.access.default-account": "the ServiceAccount of Pods that name none has a role",
        "kubernetes.access.dangling": "a binding to a ServiceAccount that is not there: whoever makes it gets the role",
        "kubernetes.access.token": "Pods have the token of a ServiceAccount that has no role",
        "kubernetes.access.inventory": "which roles somebody has; only with inventory",
    }

    scope: Scope = Scope.NAMESPACE
    """Namespace: that of the task. Cluster: all of them, and everything that is granted cluster-wide."""
    allowed_subjects: Allowed = Field(default_factory=list)
    """Who may have what they have, as User/name, Group/name or ServiceAccount/namespace/name, for example
    Group/platform-admins or ServiceAccount/argocd/*; `*` is any text."""
    allowed_roles: Allowed = Field(default_factory=list)
    """Roles that whoever has them may have, as Role/name or ClusterRole/name."""
    inventory: bool = False
    """Whether whoever else has a role is listed too, each as a finding of severity info."""

    async def look(self, view: View) -> Result:
        """Read roles and bindings, then judge."""
        where = view.namespace if self.scope is Scope.NAMESPACE else None
        seen = await _seen(view, where)
        view.complete()
        every = [grant for binding in seen.bindings for grant in _grants(binding, seen)]
        grants = [grant for grant in every if where is None or _concerns(grant, where)]
        left = [grant for grant in grants if not self._allows(grant)]
        findings = [
            *(found for grant in left for found in _judged(grant)),
            *_dangling(left, seen, where),
            *self._tokens(grants, seen),
        ]
        if self.inventory:
            findings += _inventory([grant for grant in left if not any(_judged(grant))])
        elsewhere = len({each.subject for each in every if each.severity} - {each.subject for each in grants})
        subjects = len({grant.subject for grant in grants})
        place = f"namespace {where}" if where else "the cluster"
        others = f"; {elsewhere} more have such rights cluster-wide (scope: Cluster tells who)" if elsewhere else ""
        allowed = f", {len(grants) - len(left)} grants allowed" if len(grants) > len(left) else ""
        return Result(
            outcome=Outcome.OK,
            message=f"{subjects} subjects have {len(grants)} roles in {place}: "
            f"{len(findings)} findings{allowed}{others}",
            findings=findings,
            metrics={
                "subjects": float(subjects),
                "grants": float(len(grants)),
                "allowed_grants": float(len(grants) - len(left)),
                "cluster_wide_subjects_elsewhere": float(elsewhere),
            },
        )

    def _allows(self, grant: _Grant) -> bool:
        return allows(self.allowed_subjects, str(grant.subject)) or allows(self.allowed_roles, grant.role)

    def _tokens(self, grants: Sequence[_Grant], seen: _Seen) -> Iterator[Finding]:
        """ServiceAccounts whose token is in Pods that nobody asked for, and that have no rights to use it for."""
        entitled = {grant.subject for grant in grants if not grant.empty}
        for account, pods in seen.mounted.items():
            if account in entitled or allows(self.allowed_subjects, str(account)):
                continue
            yield _finding(
                "token",
                Severity.INFO,
                str(account),
                pods,
                "Pods",
                "its token is mounted although it has no role: set automountServiceAccountToken: false on it",
            )


async def _seen(view: View, where: str | None) -> _Seen:
    """Read all that is needed, keeping little of it."""
    seen = _Seen()
    for kind, plural, space in (("ClusterRole", CLUSTER_ROLES, None), ("Role", ROLES, where)):
        async for role in view.each(plural, namespace=space):
            key = _key(kind, role["metadata"]["name"], role["metadata"].get("namespace"))
            seen.roles[key] = (dangers(role.get("rules")), not role.get("rules"))
    for plural, space in ((CLUSTER_ROLE_BINDINGS, None), (ROLE_BINDINGS, where)):
        async for binding in view.each(plural, namespace=space):
            seen.bindings.append(binding)
    async for account in view.each(SERVICE_ACCOUNTS, namespace=where):
        subject = _Subject("ServiceAccount", account["metadata"]["name"], account["metadata"]["namespace"])
        seen.accounts[subject] = account.get("automountServiceAccountToken") is not False
    async for pod in view.each(PODS, namespace=where):
        spec = pod["spec"]
        subject = _Subject("ServiceAccount", spec.get("serviceAccountName") or "default", pod["metadata"]["namespace"])
        if spec.get("automountServiceAccountToken") is None and seen.accounts.get(subject) and not ended(pod):
            seen.mounted[subject] += 1
    return seen


def _key(kind: str, name: str, namespace: str | None) -> str:
    """What a role or binding is called here."""
    return f"{kind}/{name}" if kind.startswith("Cluster") else f"{kind}/{namespace}/{name}"


def _grants(binding: Object, seen: _Seen) -> Iterator[_Grant]:
    """Whom a binding gives its role, without the parts of Kubernetes in what Kubernetes brings with it."""
    metadata, reference = binding["metadata"], binding["roleRef"]
    namespace = metadata.get("namespace")
    built_in = _BUILT_IN in (metadata.get("labels") or {})
    found, empty = seen.roles.get(_key(reference["kind"], reference["name"], namespace), ((), True))
    for each in binding.get("subjects") or ():
        subject = _subject(each, namespace)
        if built_in and _is_part_of_kubernetes(subject):
            continue
        yield _Grant(
            binding=f"RoleBinding/{namespace}/{metadata['name']}"
            if namespace
            else f"ClusterRoleBinding/{metadata['name']}",
            role=f"{reference['kind']}/{reference['name']}",
            subject=subject,
            cluster_wide=namespace is None,
            dangers=found,
            empty=empty,
        )


def _subject(found: Object, namespace: str | None) -> _Subject:
    kind, name = str(found["kind"]), str(found["name"])
    if kind == "ServiceAccount":
        return _Subject(kind, name, str(found.get("namespace") or namespace or ""))
    if kind == "User" and name.startswith(_ACCOUNT_PREFIX):
        space, _, account = name.removeprefix(_ACCOUNT_PREFIX).partition(":")
        return _Subject("ServiceAccount", account, space)
    return _Subject(kind, name)


def _is_part_of_kubernetes(subject: _Subject) -> bool:
    if subject.kind == "ServiceAccount":
        return subject.namespace == "kube-system" and not subject.is_default_account
    return subject.name.startswith("system:") and not subject.is_everybody and "serviceaccounts" not in subject.name


def _concerns(grant: _Grant, namespace: str) -> bool:
    """Whether a grant is one of this namespace, and not one for the platform as a whole."""
    if not grant.cluster_wide or grant.subject.namespace == namespace or grant.subject.is_everybody:
        return True
    return grant.subject == _Subject("Group", f"system:serviceaccounts:{namespace}")


def _judged(grant: _Grant) -> Iterator[Finding]:
    if grant.empty:
        return
    subject, place = grant.subject, f"{grant.binding} {grant.subject}"
    take = f"bind {subject} to a role with what it needs, or allow it here"
    if severity := grant.severity:
        advice = f"it may {grant.said} by {grant.role}: {take}"
        yield _finding("rights", severity, place, len(grant.dangers), "rights", advice)
    if grant.role in _FOR_EVERYBODY or (severity and severity is not Severity.INFO):
        return
    if str(subject) in _NOBODY_KNOWN:
        advice = f"whoever can reach the API server has {grant.role}, without logging in: take it away"
        yield _finding("everybody", Severity.CRITICAL, place, 1, "roles", advice)
    elif subject.is_everybody:
        advice = f"everybody who can log in has {grant.role}: bind it to a group of those who need it"
        yield _finding("everybody", Severity.WARNING, place, 1, "roles", advice)
    elif subject.is_default_account:
        advice = f"every Pod that names no ServiceAccount has {grant.role}: bind it to a ServiceAccount of its own"
        yield _finding("default-account", Severity.WARNING, place, 1, "roles", advice)


def _dangling(grants: Sequence[_Grant], seen: _Seen, where: str | None) -> Iterator[Finding]:
    """Bindings to ServiceAccounts that are not there, as far as they could be seen."""
    for grant in grants:
        subject = grant.subject
        if subject.kind != "ServiceAccount" or subject in seen.accounts or (where and subject.namespace != where):
            continue
        advice = f"there is no such ServiceAccount: whoever may make it gets {grant.role}; take it off the binding"
        yield _finding("dangling", Severity.WARNING, f"{grant.binding} {subject}", 1, "subjects", advice)


def _inventory(grants: Sequence[_Grant]) -> Iterator[Finding]:
    held: dict[_Subject, list[str]] = defaultdict(list)
    for grant in grants:
        if not grant.empty:
            held[grant.subject].append(f"{grant.role} ({grant.binding})")
    for subject, roles in held.items():
        said = ", ".join(roles[:_SHOWN]) + (f" and {len(roles) - _SHOWN} more" if roles[_SHOWN:] else "")
        advice = f"it has {said}: see that it still needs them"
        yield _finding("inventory", Severity.INFO, str(subject), len(roles), "roles", advice)


def _finding(check: str, severity: Severity, name: str, observed: int, unit: str, advice: str) -> Finding:
    return Finding(
        check_id=f"kubernetes.access.{check}",
        severity=severity,
        object=readable(name),
        observed=observed,
        threshold=1,
        unit=unit,
        recommendation=readable(advice),
    )
