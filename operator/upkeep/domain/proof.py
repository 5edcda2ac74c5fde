"""What the runs of a policy prove: that there is a backup, that its repository is intact, that it can be restored.

Only a run that ended well, and said so itself, proves something. What fails takes nothing of what was proven away, but
it is told: a restore test that fails turns the condition Verified, and leaves `lastVerified` as it is.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Final

from upkeep.actions.backup.coldcopy import COPY_BYTES, COPY_SNAPSHOTS, STORAGE_CLASS, THAW_TIME
from upkeep.actions.backup.prune import FREED_BYTES, KEPT, KEPT_SNAPSHOTS, REMOVED
from upkeep.actions.backup.repository import FREE_BYTES, REPOSITORY_BYTES
from upkeep.actions.backup.snapshot import BYTES, SNAPSHOT, SNAPSHOT_TIME
from upkeep.actions.backup.trial import AGE_SECONDS, RESTORE_SECONDS
from upkeep.actions.contract import Outcome
from upkeep.api.backup import FULL_RESTORE, INTEGRITY, PRUNE, RESTORE_TEST, LastPrune, LastVerified, StoredBackup
from upkeep.api.coldcopy import COLD_COPY, LastColdCopy
from upkeep.api.status import Condition
from upkeep.domain.capacity import Measured
from upkeep.domain.conditions import Fact
from upkeep.domain.decision import Announce, EventType
from upkeep.domain.instants import write_instant
from upkeep.domain.report import StepReport
from upkeep.domain.run import Run

VERIFIED: Final = "Verified"
_NOT_YET: Final = Fact(type=VERIFIED, status=None, reason="NotTestedYet", message="no restore test has ended yet")
_MAX_MESSAGE: Final = 300
_TESTS: Final = {RESTORE_TEST: ("RestoreTest", "last_verified"), FULL_RESTORE: ("FullRestore", "last_full_restore")}
_MAX_SNAPSHOTS: Final = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Proofs:
    """What ended runs prove, as a value that grows.

    Attributes:
        remembered: fields of a status.
        successes: schedule → when it ended well.
        verdict: what the last restore test says; None where none has ended.
        sizes: of the repository, after each of them that tells.
        announcements: Events about it.
        snapshots: the newest backups, newest first.
    """

    remembered: Mapping[str, Any] = field(default_factory=dict)
    successes: Mapping[str, str] = field(default_factory=dict)
    verdict: Fact | None = None
    sizes: tuple[Measured, ...] = ()
    announcements: tuple[Announce, ...] = ()
    snapshots: tuple[StoredBackup, ...] = ()

    def with_end(self, run: Run) -> "Proofs":
        """Adds a run that has ended. One of which nobody knows any more what it did proves nothing."""
        schedule = run.occasion.schedule
        ended = write_instant(run.finished or run.created)
        step = run.report.steps[0] if run.report and run.report.steps else None
        if schedule in _TESTS:
            return self._with_restore_test(run, step, ended)
        if run.outcome not in {Outcome.OK, Outcome.CHANGED} or not schedule:
            return self
        proof: Mapping[str, Any]
        if schedule == INTEGRITY:
            proof = {"last_integrity_check_time": ended}
        elif schedule == PRUNE:
            proof = _pruned(step, ended) | self._listing(_left(self.snapshots, step))
        elif schedule == COLD_COPY:
            proof = _copied(step, ended)
        else:
            message = step.message if step else run.message
            listing = self._listing(_with_backup(self.snapshots, step, schedule))
            proof = {"last_backup_time": ended, "last_backup": message[:_MAX_MESSAGE], **listing}
        size, sizes = _size(step), self.sizes
        if size:
            free = _number(step, FREE_BYTES)
            sizes = (*sizes, Measured(time=run.finished or run.created, bytes=size["repository_bytes"], free=free))
        return replace(
            self,
            remembered={**self.remembered, **proof, **size},
            successes={**self.successes, schedule: ended},
            sizes=sizes,
            snapshots=proof.get("snapshots", self.snapshots),
        )

    def _listing(self, snapshots: Sequence[StoredBackup]) -> dict[str, Any]:
        """The field of a status that lists them, where that has changed."""
        return {"snapshots": tuple(snapshots)} if tuple(snapshots) != self.snapshots else {}

    def facts(self, known: Sequence[Condition], *, tested: bool | None) -> Sequence[Fact]:
        """The condition Verified: of the last restore test, also while the next one runs; none without such tests.

        Args:
            known: the conditions up to now.
            tested: whether restores are to be tested; None where the spec cannot be read.
        """
        before = next((condition for condition in known if condition.type == VERIFIED), None)
        if tested is False or (tested is None and before is None):
            return ()
        if self.verdict:
            return (self.verdict,)
        if before is None:
            return (_NOT_YET,)
        status = {"True": True, "False": False}.get(before.status)
        return (Fact(type=VERIFIED, status=status, reason=before.reason, message=before.message),)

    def _with_restore_test(self, run: Run, step: StepReport | None, ended: str) -> "Proofs":
        what, place = _TESTS[run.occasion.schedule]
        verified = _verified(step, ended) if run.outcome is Outcome.OK and step else None
        message = f"{run.name}: {run.message}"
        if verified is None:
            failed = run.outcome is Outcome.FAILED
            fact = Fact(
                type=VERIFIED,
                status=False if failed else None,
                reason=f"{what}Failed" if failed else f"{what}Unknown",
                message=message,
            )
            event = Announce(type=EventType.WARNING, reason="BackupNotVerified", message=message[:1000])
            return replace(self, verdict=fact, announcements=(*self.announcements, event))
        event = Announce(type=EventType.NORMAL, reason="BackupVerified", message=message[:1000])
        snapshots = tuple(
            each.model_copy(update={"verified_time": ended}) if each.snapshot == verified.snapshot else each
            for each in self.snapshots
        )
        return replace(
            self,
            remembered={**self.remembered, "last_verified": verified, place: verified, **self._listing(snapshots)},
            snapshots=snapshots,
            successes={**self.successes, run.occasion.schedule: ended},
            verdict=Fact(type=VERIFIED, status=True, reason=f"{what}Passed", message=message),
            announcements=(*self.announcements, event),
        )


def _verified(step: StepReport, ended: str) -> LastVerified | None:
    """What a test that was passed tells of the backup; None where it does not, and so proves nothing."""
    try:
        return LastVerified(
            time=ended,
            snapshot=step.facts[SNAPSHOT],
            snapshot_time=write_instant(datetime.fromisoformat(step.facts[SNAPSHOT_TIME])),
            restore_seconds=math.ceil(step.metrics[RESTORE_SECONDS]),
            age_seconds=math.ceil(step.metrics[AGE_SECONDS]),
        )
    except (KeyError, ValueError, OverflowError):
        return None


def _with_backup(known: Sequence[StoredBackup], step: StepReport | None, schedule: str) -> Sequence[StoredBackup]:
    """The list with a backup that was made, as far as it says which."""
    try:
        made = StoredBackup(
            snapshot=step.facts[SNAPSHOT] if step else "",
            schedule=schedule,
            time=write_instant(datetime.fromisoformat(step.facts[SNAPSHOT_TIME] if step else "")),
            bytes=int(step.metrics[BYTES] if step else -1),
        )
    except (KeyError, ValueError, OverflowError):
        return known
    others = [each for each in known if each.snapshot != made.snapshot]
    return sorted([made, *others], key=lambda each: each.time, reverse=True)[:_MAX_SNAPSHOTS]


def _left(known: Sequence[StoredBackup], step: StepReport | None) -> Sequence[StoredBackup]:
    """The list after a removal; unchanged where that does not say what it left, as a dry run does not."""
    if step is None or KEPT_SNAPSHOTS not in step.facts:
        return known
    kept = frozenset(step.facts[KEPT_SNAPSHOTS].split())
    return [each for each in known if each.snapshot in kept]


def _pruned(step: StepReport | None, ended: str) -> dict[str, Any]:
    """What a removal did; nothing where it was a dry run, or does not say."""
    metrics = step.metrics if step else {}
    try:
        last = LastPrune(
            time=ended,
            removed=int(metrics[REMOVED]),
            kept=int(metrics[KEPT]),
            freed_bytes=int(metrics[FREED_BYTES]),
        )
    except (KeyError, ValueError, OverflowError):
        return {}
    return {"last_prune": last}


def _copied(step: StepReport | None, ended: str) -> dict[str, Any]:
    """What a copy to cold storage holds; nothing where it does not say."""
    try:
        last = LastColdCopy(
            time=ended,
            snapshot=step.facts.get(SNAPSHOT) if step else None,
            snapshots=int(step.metrics[COPY_SNAPSHOTS] if step else -1),
            bytes=int(step.metrics[COPY_BYTES] if step else -1),
            storage_class=step.facts[STORAGE_CLASS] if step else "",
            verifiable=False,
            thaw_time=step.facts[THAW_TIME] if step else "",
        )
    except (KeyError, ValueError, OverflowError):
        return {}
    return {"cold_copy": last}


def _size(step: StepReport | None) -> Mapping[str, int]:
    """How large the repository is now; nothing where the run does not say."""
    size = _number(step, REPOSITORY_BYTES)
    return {} if size is None else {"repository_bytes": size}


def _number(step: StepReport | None, metric: str) -> int | None:
    """A number of bytes that a run measured; None where it does not say, or not sensibly."""
    try:
        size = int(step.metrics[metric]) if step else -1
    except (KeyError, ValueError, OverflowError):
        return None
    return size if size >= 0 else None
