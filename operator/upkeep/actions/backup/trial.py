"""What every restore test does, whatever was backed up: bring the newest backup back, and say what is wrong with it.

It must never write to the repository, and never call verified what it has not seen.
"""

import time
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Final

from pydantic import Field

from upkeep.actions.backup.damage import DamagedError, damage_finding
from upkeep.actions.backup.repository import Repository
from upkeep.actions.backup.restic import Restic
from upkeep.actions.backup.scratch import vacated
from upkeep.actions.backup.snapshot import SNAPSHOT, SNAPSHOT_TIME, Stored
from upkeep.actions.contract import Action, Context, Finding, Outcome, Result
from upkeep.actions.fields import format_duration

RESTORE_SECONDS: Final = "restore_seconds"
AGE_SECONDS: Final = "age_seconds"

_TARGET: Final = "restored"
_REMEDY: Final = (
    "the newest backup cannot be restored: make a new one at once, copy the repository, then repair it (restic repair)"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Examination:
    """What was seen of a backup that came back.

    Attributes:
        usable: by the monotonic clock, when the data could be used again.
        findings: what is not as it should be, the worst first.
        praise: what is, for people.
        metrics: what was counted.
    """

    usable: float
    findings: Sequence[Finding] = ()
    praise: Sequence[str] = ()
    metrics: Mapping[str, float] = field(default_factory=dict)


class RestoreTrial(Action):
    """Base of the restore tests: restores the newest snapshot of a policy, and has it examined."""

    repository: Repository
    """Where the backups are kept."""
    policy: Annotated[str, Field(min_length=1, max_length=317, pattern=r"^[a-z0-9][-a-z0-9./]*$")]
    """`namespace/name` of the BackupPolicy whose newest snapshot is tested."""

    @abstractmethod
    async def examine(self, context: Context, directory: Path, snapshot: Stored) -> Examination:
        """Look at what came back.

        Args:
            context: of the step.
            directory: with the files of the snapshot.
            snapshot: which one it is.

        Raises:
            DamagedError: it is not what was backed up.
            ActionError: it could not be looked at, for a reason that says nothing about the backup.
        """

    async def run(self, context: Context) -> Result:
        """Restore and examine. What does not come back as it was is a failed result with critical findings.

        Raises:
            ActionError: it could not be restored, for a reason that says nothing about the backup.
            UncheckableError: this image lacks what the data needs.
        """
        restic = Restic.of(self.repository, context, only_reads=True)
        try:
            with vacated(context.scratch / _TARGET) as target:
                snapshot = await restic.latest(host=self.policy, tag=f"policy={self.policy}")
                if snapshot is None:
                    message = f"repository {restic.name} has no snapshot of {self.policy} yet: make a backup first"
                    return Result(outcome=Outcome.UNKNOWN, message=message)
                age = max(0.0, (datetime.now(UTC) - snapshot.time).total_seconds())
                begun = time.monotonic()
                await restic.restore(snapshot, target)
                fetched = time.monotonic()
                seen = await self.examine(context, target, snapshot)
        except DamagedError as error:
            finding = damage_finding(check_id="backup.restore", what=self.policy, remedy=_REMEDY)
            return Result(outcome=Outcome.FAILED, message=str(error), findings=[finding])
        taken = seen.usable - begun
        metrics = {
            AGE_SECONDS: round(age, 1),
            RESTORE_SECONDS: round(taken, 3),
            "fetch_seconds": round(fetched - begun, 3),
            **seen.metrics,
        }
        if seen.findings:
            message = unlike(snapshot, seen.findings)
            return Result(outcome=Outcome.FAILED, message=message, findings=seen.findings, metrics=metrics)
        restored = f"snapshot {snapshot.name} restored in {taken:.1f}s, {format_duration(timedelta(seconds=age))} old"
        return Result(
            outcome=Outcome.OK,
            message=", ".join([restored, *seen.praise]),
            metrics=metrics,
            facts={SNAPSHOT: snapshot.name, SNAPSHOT_TIME: snapshot.time.astimezone(UTC).isoformat()},
        )


def unlike(snapshot: Stored, findings: Sequence[Finding]) -> str:
    """What is wrong with a snapshot that came back, in a sentence: the first finding, and how many there are more."""
    first = findings[0]
    more = f" (and {len(findings) - 1} more)" if len(findings) > 1 else ""
    return f"snapshot {snapshot.name} is not what it should be: {first.object}: {first.recommendation}{more}"
