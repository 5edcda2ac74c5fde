"""Replaces a credential: makes a new one, gives it to those who use it, sees that it works, later revokes the old one.

It never takes anything away that is in use: each step begins by making sure that what it relies on works.
"""

from collections.abc import Mapping, Sequence
from typing import Annotated, ClassVar

from pydantic import Field

from upkeep.actions.contract import Action, Context, Finding, Result
from upkeep.actions.fields import Duration, ObjectName, OneOf
from upkeep.actions.kubernetes.session import Cluster, cluster
from upkeep.actions.rotate.deployment import Workload
from upkeep.actions.rotate.key import Keys, RotatedKey
from upkeep.actions.rotate.kind import Credential
from upkeep.actions.rotate.role import Roles, RotatedRoles
from upkeep.actions.rotate.rotation import Note, Plan, Rotation


class RotateCredential(Action, OneOf):
    """Replaces the credential in a Secret of the task's namespace when it is old enough, later revokes the old one.

    A run goes as far as it can: a new value is made, tried out and written into the Secret, the workloads are restarted
    with it; the first run after the grace period revokes the old one. What does not work is taken back. A run that is
    stopped anywhere leaves all that is in use working, and the next one goes on.
    Locks: none. Privileges: the task names a ServiceAccount that may `get` and `patch` this Secret and these workloads;
    for roles the connection's user needs `CREATEROLE` and `GRANT shop_a, shop_b TO upkeep WITH ADMIN OPTION`.
    """

    action_name: ClassVar[str] = "rotateCredential"
    finds: ClassVar[Mapping[str, str]] = {
        "credential.gitops": "a GitOps tool has left its mark on the Secret, and may put the old credential back",
        "credential.in-use": "somebody still uses the old role",
        "credential.still-good": "the old credential is taken although it was revoked",
    }

    secret: ObjectName
    """Name of the Secret that applications take the credential from."""
    postgres: RotatedRoles | None = None
    """Two roles of PostgreSQL that take turns; keys `username` and `password` of the Secret."""
    key: RotatedKey | None = None
    """A generated key; keys `current` and `previous` of the Secret."""
    workloads: Annotated[list[Workload], Field(max_length=16)] = Field(default_factory=list)
    """What reads the Secret, restarted in this order: what checks a key before what shows it."""
    max_age: Duration = Field(default="90d", validate_default=True)
    """How old the credential has to be to be replaced; `0s`: each run replaces it."""
    grace: Duration = Field(default="24h", validate_default=True)
    """How long the old one stays good. A run after that revokes it."""
    revoke_in_use: bool = False
    """True: the old role is revoked although it has sessions, for one that has leaked."""
    timeout: Duration = Field(default="10m", validate_default=True)
    """How long each rollout of the workloads may take; then the old credential is given back."""

    @classmethod
    def alternatives(cls) -> Sequence[str]:
        """The kinds of credentials."""
        return ("postgres", "key")

    def connection_names(self) -> Sequence[str]:
        """That of the roles."""
        return [self.postgres.connection] if self.postgres else []

    async def run(self, context: Context) -> Result:
        """Go on from where the Secret says that it stands.

        Raises:
            ActionError: something has to be mended first; nothing that is in use has been taken away.
        """
        async with cluster() as api:
            return await self.rotate(context, api)

    async def rotate(self, context: Context, api: Cluster) -> Result:
        """The run, at this API server; raises what `run` does."""
        plan = Plan(
            secret=self.secret,
            workloads=self.workloads,
            max_age=self.max_age,
            grace=self.grace,
            timeout=self.timeout,
            revoke_in_use=self.revoke_in_use,
        )
        rotation = Rotation(api=api, credential=self._credential(context), plan=plan, remaining=context.remaining)
        end = await rotation.advance()
        return Result(outcome=end.outcome, message=end.message, findings=[self._finding(note) for note in end.notes])

    def _finding(self, note: Note) -> Finding:
        return Finding(
            check_id=f"credential.{note.check}",
            severity=note.severity,
            object=f"Secret/{self.secret}",
            observed=1,
            threshold=1,
            unit="",
            recommendation=note.advice,
        )

    def _credential(self, context: Context) -> Credential:
        match self.postgres, self.key:
            case RotatedRoles() as roles, _:
                return Roles(context=context, given=roles)
            case _, RotatedKey() as key:
                return Keys(context=context, given=key)
        raise ValueError(self.demand())
