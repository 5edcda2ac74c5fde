"""What every backup has in common, whatever it is of: where it goes, what it has to be like, what it tells."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated

from pydantic import Field

from upkeep.actions.backup.capacity import room_findings
from upkeep.actions.backup.repository import Repository
from upkeep.actions.backup.restic import Restic
from upkeep.actions.backup.sanity import Previous, Sanity, implausible
from upkeep.actions.backup.snapshot import BYTES, SNAPSHOT, SNAPSHOT_TIME, Snapshot
from upkeep.actions.contract import Action, ActionError, Finding, Outcome, Result
from upkeep.actions.fields import LabelName
from upkeep.actions.text import readable_size


class BackupMaking(Action):
    """Base of the actions that make backups."""

    repository: Repository
    """Where the backup is kept."""
    policy: Annotated[str, Field(min_length=1, max_length=317, pattern=r"^[a-z0-9][-a-z0-9./]*$")]
    """`namespace/name` of the BackupPolicy; host and tag of the snapshot."""
    schedule: LabelName
    """Name of the schedule; a tag of the snapshot."""
    sanity: Sanity = Sanity()
    """What the backup has to be like."""
    previous: Previous | None = None
    """The last good backup."""

    @property
    def tags(self) -> Sequence[str]:
        """Of the snapshot."""
        return [f"policy={self.policy}", f"schedule={self.schedule}"]

    def refusal(self, size: int, *, of: str) -> Result | None:
        """That nothing is stored, because it is too small to be a backup; None where it may be one.

        Args:
            size: bytes of what is to be stored.
            of: what it is of.
        """
        doubt = implausible(self.sanity, size, self.previous, of=of)
        if doubt is None:
            return None
        message = f"nothing was stored: {doubt.recommendation}"
        return Result(outcome=Outcome.FAILED, message=message, findings=[doubt])

    async def made(
        self,
        restic: Restic,
        snapshot: Snapshot,
        moment: datetime,
        *,
        parts: Sequence[str],
        remarks: Sequence[str] = (),
        metrics: Mapping[str, float],
        findings: Sequence[Finding] = (),
    ) -> Result:
        """What is said of a backup that was made.

        Args:
            restic: of the repository.
            snapshot: what was stored.
            moment: when, in a time zone.
            parts: what it holds, for people.
            remarks: what else is to be said of it.
            metrics: what was counted and measured.
            findings: what is not as it should be.
        """
        room = await restic.room()
        told = [
            f"snapshot {snapshot.identifier}, {readable_size(snapshot.bytes)}",
            *parts,
            f"{readable_size(snapshot.added)} new",
            *remarks,
        ]
        return Result(
            outcome=Outcome.CHANGED,
            message=", ".join(told),
            findings=[*findings, *room_findings(restic.name, room, added=snapshot.added)],
            metrics={
                BYTES: snapshot.bytes,
                "added_bytes": snapshot.added,
                **room,
                "files": snapshot.files,
                **metrics,
            },
            facts={SNAPSHOT: snapshot.identifier, SNAPSHOT_TIME: moment.isoformat()},
        )


def demand_whole(restic: Restic, snapshot: Snapshot, size: int) -> None:
    """Refuse a snapshot that has less than the `size` bytes that were to be stored.

    Raises:
        ActionError: it is not whole.
    """
    if snapshot.bytes < size:
        msg = (
            f"snapshot {snapshot.identifier} in repository {restic.name} has {snapshot.bytes} of {size} bytes: "
            "it is not whole, run the backup again"
        )
        raise ActionError(msg)


def creation(*, created: bool) -> Sequence[str]:
    """What is said of a repository that was made for it."""
    return ["first one in a new repository"] if created else []
