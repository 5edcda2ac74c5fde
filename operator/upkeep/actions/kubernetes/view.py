"""What an action that only looks has seen of the cluster, and what it was not allowed to see.

A refusal must never look like something that is not there: an action reads all it needs, then asks for `complete()`,
which says everything that is missing at once. Lists come object by object, so that those of a large cluster fit into a
Pod.
"""

from abc import abstractmethod
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final

from upkeep.actions.contract import Action, ActionError, Context, Result, UncheckableError
from upkeep.actions.kubernetes.session import Cluster, DeniedError, cluster

Object = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of object, as it stands in a path of the API.

    Attributes:
        group: API group with its version, for example `apps/v1`.
        plural: for example `deployments`.
    """

    group: str
    plural: str

    def path(self, namespace: str | None = None) -> str:
        """Path of its list, in a namespace or in the whole cluster."""
        root = f"/apis/{self.group}" if "/" in self.group else f"/api/{self.group}"
        return f"{root}/namespaces/{namespace}/{self.plural}" if namespace else f"{root}/{self.plural}"

    @property
    def shown(self) -> str:
        """As RBAC calls it: with its group, where it has one."""
        group = self.group.partition("/")[0]
        return f"{self.plural}.{group}" if "/" in self.group else self.plural


PODS: Final = Kind("v1", "pods")
SERVICE_ACCOUNTS: Final = Kind("v1", "serviceaccounts")


@dataclass(slots=True, kw_only=True)
class View:
    """The API server, and which lists it has refused."""

    api: Cluster
    role: str
    """ClusterRole of the chart that allows all of it."""
    refused: dict[str, None] = field(default_factory=dict)

    @property
    def namespace(self) -> str:
        """Of the Pod."""
        return self.api.namespace

    async def each(self, kind: Kind, *, namespace: str | None = None) -> AsyncIterator[Object]:
        """The objects of a kind, in a namespace or in the whole cluster; none where they may not be listed."""
        try:
            async for found in self.api.listed(kind.path(namespace)):
                yield found
        except DeniedError:
            self.refused[f"{kind.shown} in namespace {namespace}" if namespace else f"{kind.shown} in the cluster"] = (
                None
            )

    def complete(self) -> None:
        """Make sure that nothing was kept from view.

        Raises:
            UncheckableError: something was; says what, and what to do.
        """
        if not self.refused:
            return
        binding = "ClusterRoleBinding" if any("in the cluster" in each for each in self.refused) else "RoleBinding"
        msg = (
            f"the ServiceAccount may not list {', '.join(self.refused)}: bind it to the ClusterRole {self.role} "
            f"by a {binding}"
        )
        raise UncheckableError(msg)


class Look(Action):
    """Base of the actions that look at the cluster; what keeps one from looking leaves its step `unknown`.

    They are no checks of windows, because only a task names a ServiceAccount.
    """

    role: ClassVar[str] = ""
    """ClusterRole of the chart with the least that it needs."""

    async def run(self, context: Context) -> Result:  # noqa: ARG002 - all that it knows of is the cluster
        """Look as the ServiceAccount that the task names.

        Raises:
            UncheckableError: it may not look, or the API server does not answer.
        """
        try:
            async with cluster() as api:
                return await self.look(View(api=api, role=self.role))
        except UncheckableError:
            raise
        except ActionError as error:
            raise UncheckableError(str(error)) from error

    @abstractmethod
    async def look(self, view: View) -> Result:
        """Look and judge.

        Raises:
            ActionError: it could not be looked at.
        """
