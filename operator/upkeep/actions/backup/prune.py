"""Removes the backups that no retention keeps, and the data that nobody needs any more.

It must never remove a snapshot of another policy, the newest one of a schedule, the one that was verified last, or one
that another builds on, and nothing at all from a repository that is damaged. It removes by id what it has looked at, so
that whatever stops it in between, nothing else is gone, and the next run goes on.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated, ClassVar, Final

from pydantic import Field

from upkeep.actions.backup.damage import DamagedError, damage_finding
from upkeep.actions.backup.repository import REPOSITORY_BYTES, Repository
from upkeep.actions.backup.restic import Restic
from upkeep.actions.backup.retention import Choice, ScheduleRetention, choose, unbroken
from upkeep.actions.backup.snapshot import Stored
from upkeep.actions.contract import Action, ActionError, Context, Outcome, Result
from upkeep.actions.text import readable_size, several

REMOVED: Final = "removed"
KEPT: Final = "kept"
FREED_BYTES: Final = "freed_bytes"
"""What a run that was no dry run measures: snapshots that are gone, those of the policy that stay, and the room."""

KEPT_SNAPSHOTS: Final = "kept_snapshots"
"""Fact of such a run: the short ids of the newest ones that stay."""

_LISTED: Final = 64
_CLOCKS_DIFFER: Final = timedelta(hours=1)


class BackupPrune(Action):
    """Applies the retention of each schedule of a policy to its snapshots, then frees what no snapshot needs.

    Locks: the repository, exclusively; it waits a while for others. Privileges: write access to the repository's
    volume, and its password; nothing of the source.
    """

    action_name: ClassVar[str] = "backupPrune"
    internal: ClassVar[bool] = True

    repository: Repository
    """Where the backups are kept."""
    policy: Annotated[str, Field(min_length=1, max_length=317, pattern=r"^[a-z0-9][-a-z0-9./]*$")]
    """`namespace/name` of the BackupPolicy; only its snapshots are removed."""
    retentions: Annotated[list[ScheduleRetention], Field(max_length=8)] = Field(default_factory=list)
    """What is kept of which schedule. Snapshots of others are all kept."""
    verified: str | None = None
    """The snapshot that was verified last; it is kept."""
    tested: bool = False
    """Whether restores are tested: then nothing is removed before one was verified."""
    dry_run: bool = False
    """True: says what would be removed, and removes nothing."""

    async def run(self, context: Context) -> Result:
        """Choose, check the repository, remove, free. A damaged repository is a failed result with a finding.

        Raises:
            ActionError: it could not be done: there is no repository, it is locked, or the password is wrong.
        """
        restic = Restic.of(self.repository, context)
        try:
            plan = await self._plan(restic)
            if plan.unproven:
                message = f"nothing was removed: {plan.unproven}"
                return Result(outcome=Outcome.SKIPPED, message=message)
            if self.dry_run:
                return Result(outcome=Outcome.OK, message=f"dry run, nothing was removed: {plan.told('would remove')}")
            return await self._remove(restic, plan)
        except DamagedError as error:
            message = f"{error}: nothing is removed from it"
            finding = damage_finding("backup.prune", restic.name)
            return Result(outcome=Outcome.FAILED, message=message, findings=[finding])

    async def _plan(self, restic: Restic) -> "_Plan":
        tag = f"policy={self.policy}"
        mine = await restic.stored(host=self.policy, tag=tag)
        early = datetime.now(UTC) + _CLOCKS_DIFFER
        ahead = next((each for each in mine if each.time > early), None)
        if ahead:
            msg = (
                f"snapshot {ahead.name} in repository {restic.name} is dated {ahead.time:%Y-%m-%d}, which is in the "
                "future, so that all others look old: set the clocks of the nodes, then remove it (restic forget)"
            )
            raise ActionError(msg)
        choices = {}
        for each in self.retentions:
            of_schedule = f"schedule={each.schedule}"
            options = each.retention.options()
            proposed = await restic.unkept(options, host=self.policy, tag=f"{tag},{of_schedule}")
            stored = [snapshot for snapshot in mine if of_schedule in snapshot.tags]
            choices[each.schedule] = choose(stored, proposed, verified=self.verified)
        choices = unbroken(mine, choices)
        return _Plan(mine=mine, choices=choices, unproven=self._unproven(mine, choices))

    def _unproven(self, mine: Sequence[Stored], choices: dict[str, Choice]) -> str:
        """Why nothing may be removed yet; empty where it may."""
        if not self.tested or not any(choice.removed for choice in choices.values()):
            return ""
        remedy = "run a restore test (annotation upkeep.dev/run-now: restore-test/<token>)"
        if not self.verified:
            return f"no backup has passed its restore test yet, so that any may be the last good one: {remedy}"
        if not any(each.goes_by(self.verified) for each in mine):
            return f"the snapshot {self.verified} that was verified last is not in the repository any more: {remedy}"
        return ""

    async def _remove(self, restic: Restic, plan: "_Plan") -> Result:
        before = await restic.size()
        going = plan.removed
        if going:
            await restic.check(read_data_subset=None)
            await restic.forget([each.identifier for each in going])
        await restic.prune()
        kept = sorted(await restic.stored(host=self.policy, tag=f"policy={self.policy}"), key=lambda each: each.time)
        left = {each.identifier for each in kept}
        stayed = [each.name for each in going if each.identifier in left]
        lost = [each.name for each in plan.mine if each not in going and each.identifier not in left]
        if stayed or lost:
            what = f"{', '.join(stayed[:3])} could not be removed" if stayed else f"{', '.join(lost[:3])} is gone"
            msg = f"repository {restic.name}: {what}: somebody else changes it: run this again when nobody does"
            raise ActionError(msg)
        room = await restic.room()
        size = room[REPOSITORY_BYTES]
        freed = max(0, before - size)
        size_now = f"repository {readable_size(size)}, {readable_size(freed)} freed"
        return Result(
            outcome=Outcome.CHANGED if going or freed else Outcome.OK,
            message=f"{plan.told('removed')}; {size_now}",
            metrics={REMOVED: len(going), KEPT: len(left), FREED_BYTES: freed, **room},
            facts={KEPT_SNAPSHOTS: " ".join(each.name for each in kept[-_LISTED:])},
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Plan:
    """What is to be removed.

    Attributes:
        mine: all snapshots of the policy.
        choices: what becomes of those of each schedule with a retention.
        unproven: why nothing may be removed yet; empty where it may.
    """

    mine: Sequence[Stored]
    choices: dict[str, Choice]
    unproven: str

    @property
    def removed(self) -> list[Stored]:
        return [each for choice in self.choices.values() for each in choice.removed]

    def told(self, doing: str) -> str:
        """What goes and what stays, for people: `removed 3 of 10 snapshots (daily 3 of 8), 7 kept`."""
        going, total = len(self.removed), len(self.mine)
        parts = [
            f"{name} {len(choice.removed)} of {len(choice.removed) + len(choice.kept)}"
            for name, choice in self.choices.items()
        ]
        which = f" ({', '.join(parts)})" if parts else ""
        pinned = [each.name for choice in self.choices.values() for each in choice.pinned]
        why = f", also {', '.join(pinned)}, verified last, the newest, or built upon" if pinned else ""
        return f"{doing} {going} of {several(total, 'snapshot')}{which}, {total - going} kept{why}"
