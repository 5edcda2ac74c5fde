"""Which backup of a policy is restored: the newest, one that was proven, one of before, or one by its id.

It must never choose a snapshot of another policy, also where several share a repository.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated, Final, Self

from pydantic import AwareDatetime, Field, WithJsonSchema, model_validator

from upkeep.actions.backup.origin import Origin
from upkeep.actions.backup.restic import Restic
from upkeep.actions.backup.snapshot import SNAPSHOT, SNAPSHOT_TIME, Stored
from upkeep.actions.contract import Action, ActionError
from upkeep.actions.fields import ObjectName, Rule

LATEST: Final = "latest"
LATEST_VERIFIED: Final = "latestVerified"
REMEDY: Final = (
    "this backup cannot be restored: choose an older snapshot; copy the repository before you repair it (restic repair)"
)
"""What to do where a repository does not give a backup back."""

_TOLD: Final = 3
_ONE_MOMENT: Final[Rule] = {
    "rule": f"!has(self.before) || !has(self.snapshot) || self.snapshot == '{LATEST}'",
    "message": "before chooses the newest backup made before that time: leave snapshot out",
}


class Restoring(Action):
    """Base of the actions that restore a backup to where it is used."""

    policy: ObjectName
    """BackupPolicy in this namespace."""
    snapshot: Annotated[str, Field(max_length=64, pattern=rf"^({LATEST}|{LATEST_VERIFIED}|[0-9a-f]{{8,64}})$")] = LATEST
    """`latest`, `latestVerified` (the one that passed its restore test last), or the id of a snapshot of the policy."""
    before: Annotated[AwareDatetime, WithJsonSchema({"type": "string", "format": "date-time"})] | None = None
    """The newest backup that was made before this time, for example 2026-12-01T02:00:00Z."""

    @classmethod
    def rules(cls) -> Sequence[Rule]:
        """A snapshot is chosen in one way."""
        return (_ONE_MOMENT,)

    @model_validator(mode="after")
    def _chooses_in_one_way(self) -> Self:
        if self.before is not None and self.snapshot != LATEST:
            raise ValueError(_ONE_MOMENT["message"])
        return self

    def policy_names(self) -> Sequence[str]:
        """The policy."""
        return (self.policy,)

    async def chosen(self, restic: Restic, origin: Origin) -> Stored:
        """The snapshot that is to be restored; only ever one of the policy.

        Raises:
            ActionError: there is no such snapshot.
        """
        stored = sorted(
            await restic.stored(host=origin.owner, tag=f"policy={origin.owner}"), key=lambda each: each.time
        )
        wanted = self.snapshot
        if wanted == LATEST_VERIFIED:
            if origin.verified is None:
                msg = f"no backup of BackupPolicy {self.policy!r} has passed a restore test yet: use snapshot: latest"
                raise ActionError(msg)
            wanted = origin.verified
        found = [each for each in stored if wanted == LATEST or each.goes_by(wanted)]
        found = [each for each in found if self.before is None or each.time < self.before]
        if found:
            return found[-1]
        there = ", ".join(f"{each.name} of {when(each)}" for each in stored[-_TOLD:]) or "none at all"
        which = f" before {self.before:%Y-%m-%d %H:%M %Z}" if self.before else "" if wanted == LATEST else f" {wanted}"
        msg = f"BackupPolicy {self.policy!r} has no snapshot{which} in repository {restic.name}; the last ones: {there}"
        raise ActionError(msg)


def when(snapshot: Stored) -> str:
    """When a snapshot was made, for people."""
    return f"{snapshot.time.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def age_of(snapshot: Stored) -> float:
    """How long ago it was made, in seconds."""
    return max(0.0, (datetime.now(UTC) - snapshot.time).total_seconds())


def facts_of(snapshot: Stored) -> Mapping[str, str]:
    """What a status keeps of a snapshot that was restored."""
    return {SNAPSHOT: snapshot.name, SNAPSHOT_TIME: snapshot.time.astimezone(UTC).isoformat()}
