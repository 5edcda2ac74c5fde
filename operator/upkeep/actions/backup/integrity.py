"""Checks that a repository can still be read: its structure always, and a part of its data."""

from typing import Annotated, ClassVar

from pydantic import Field

from upkeep.actions.backup.damage import DamagedError, damage_finding
from upkeep.actions.backup.repository import Repository
from upkeep.actions.backup.restic import Restic
from upkeep.actions.contract import Action, Context, Outcome, Result
from upkeep.actions.text import several


class BackupIntegrity(Action):
    """Runs `restic check` on a repository.

    Locks: the repository, exclusively; a backup waits or fails meanwhile. Privileges: write access to the
    repository's volume (for the lock) and its password.
    """

    action_name: ClassVar[str] = "backupIntegrity"
    internal: ClassVar[bool] = True

    repository: Repository
    """The repository to check."""
    read_data_subset: Annotated[str, Field(max_length=8, pattern=r"^(100|[1-9]?[0-9])%$")] = "5%"
    """How much of the stored data is read back, `0%` to `100%`; a different random part each time."""

    async def run(self, context: Context) -> Result:
        """Check it. A damaged repository is a failed result with a critical finding, not an exception.

        Raises:
            ActionError: it could not be checked: not there, locked, or the password is wrong.
        """
        restic = Restic.of(self.repository, context)
        try:
            await restic.check(read_data_subset=None if self.read_data_subset == "0%" else self.read_data_subset)
        except DamagedError as error:
            finding = damage_finding("backup.integrity", restic.name)
            return Result(outcome=Outcome.FAILED, message=str(error), findings=[finding])
        count = await restic.snapshots()
        if not count:
            message = f"repository {restic.name} is intact, but it has no snapshots yet"
            return Result(outcome=Outcome.UNKNOWN, message=message, metrics={"snapshots": 0})
        message = (
            f"repository {restic.name} is intact: {several(count, 'snapshot')}, "
            f"{self.read_data_subset} of the data read back"
        )
        return Result(outcome=Outcome.OK, message=message, metrics={"snapshots": count})
