"""A ServiceAccount of a test, and what an action sees of the cluster as that account, without a Pod around it."""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from cluster.credentials import certificate_authority
from cluster.kubectl import read
from cluster.server import CLUSTER_ROLE_BINDINGS, CLUSTER_ROLES, ROLE_BINDINGS, SERVICE_ACCOUNTS, Server
from cluster.waiting import until
from lab.home import TREE
from upkeep.actions.contract import ActionError, Result
from upkeep.actions.kubernetes.session import cluster
from upkeep.actions.kubernetes.view import Look, View

Right = tuple[str, str, str]
"""API group, resource, verb."""

PATIENCE: Final = 20.0
WITHOUT_NAMESPACE: Final = frozenset({"clusterroles", "clusterrolebindings", "nodes"})
INSTALLED: Final = TREE / "manifests" / "install" / "upkeep.yaml"
"""What the chart renders."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """A ServiceAccount whose token lies in a folder as the kubelet would have mounted it."""

    namespace: str
    name: str
    directory: Path
    environment: dict[str, str]

    def look(self, action: Look) -> Result:
        """What the action reports.

        Raises:
            ActionError: it could not look.
        """

        async def looked() -> Result:
            async with cluster(self.directory, self.environment) as api:
                return await action.look(View(api=api, role=action.role))

        return asyncio.run(looked())

    def refusal(self, action: Look, words: str) -> str:
        """Why the action could not look, as soon as that has these words: rights take effect after a moment."""

        def refused() -> str:
            try:
                return f"it could: {self.look(action).message}"
            except ActionError as error:
                return str(error)

        return until(refused, lambda said: words in said, what=f"{self.name} is refused", seconds=PATIENCE)

    def report(self, action: Look) -> Result:
        """What the action reports, as soon as it may look."""
        kept: list[Result] = []

        def looked() -> str:
            try:
                kept.append(self.look(action))
            except ActionError as error:
                return str(error)
            return ""

        until(looked, lambda refusal: not refusal, what=f"{self.name} may look", seconds=PATIENCE)
        return kept[-1]


@dataclass(frozen=True, slots=True, kw_only=True)
class Accounts:
    """Makes ServiceAccounts in a namespace, and takes away again what it granted them."""

    server: Server
    kubeconfig: Path
    namespace: str
    folder: Path

    def make(self, name: str) -> Account:
        """A ServiceAccount without any role."""
        metadata = {"name": name, "namespace": self.namespace}
        self.server.create({"apiVersion": "v1", "kind": SERVICE_ACCOUNTS.kind, "metadata": metadata})
        url, authority = certificate_authority(self.kubeconfig, self.folder)
        directory = self.folder / name
        directory.mkdir()
        (directory / "ca.crt").write_bytes(authority.read_bytes())
        (directory / "namespace").write_text(self.namespace)
        (directory / "token").write_text(self.server.token(self.namespace, name))
        parts = urlsplit(url)
        environment = {
            "KUBERNETES_SERVICE_HOST": str(parts.hostname),
            "KUBERNETES_SERVICE_PORT": str(parts.port or 443),
        }
        return Account(namespace=self.namespace, name=name, directory=directory, environment=environment)

    @contextmanager
    def granted(self, account: Account, rights: Sequence[Right], *, everywhere: bool) -> Iterator[None]:
        """Just these rights, in the namespace or everywhere, while the block lasts."""
        name = f"{self.namespace}-{account.name}"
        rules = [{"apiGroups": [group], "resources": [resource], "verbs": [verb]} for group, resource, verb in rights]
        version = CLUSTER_ROLES.api_version
        binding, where = (CLUSTER_ROLE_BINDINGS, None) if everywhere else (ROLE_BINDINGS, self.namespace)
        self.server.create(
            {"apiVersion": version, "kind": CLUSTER_ROLES.kind, "metadata": {"name": name}, "rules": rules}
        )
        try:
            self.server.create(
                {
                    "apiVersion": version,
                    "kind": binding.kind,
                    "metadata": {"name": name, **({"namespace": where} if where else {})},
                    "roleRef": {"apiGroup": CLUSTER_ROLES.group, "kind": CLUSTER_ROLES.kind, "name": name},
                    "subjects": [{"kind": "ServiceAccount", "name": account.name, "namespace": self.namespace}],
                }
            )
            yield
        finally:
            self.server.delete(binding, where, name)
            self.server.delete(CLUSTER_ROLES, None, name)

    def need_each_right(self, action: Look, *, everywhere: bool) -> None:
        """Fail unless the action refuses to judge when one right of its role is missing, and says which."""
        rights = granted_by_the_chart(action)
        for number, left_out in enumerate(rights):
            weaker = self.make(f"weaker-{number}")
            with self.granted(weaker, [each for each in rights if each != left_out], everywhere=everywhere):
                group, resource, _ = left_out
                called = f"{resource}.{group}" if group else resource
                where = "the cluster" if resource in WITHOUT_NAMESPACE else f"namespace {self.namespace}"
                weaker.refusal(
                    action, f"the ServiceAccount may not list {called} in {where}: bind it to the ClusterRole"
                )


def granted_by_the_chart(action: Look) -> list[Right]:
    """All rights that the chart's ClusterRole for the action grants."""
    (role,) = (
        each
        for each in read(INSTALLED)
        if each["kind"] == CLUSTER_ROLES.kind and each["metadata"]["name"] == action.role
    )
    return [
        (group, resource, verb)
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    ]
