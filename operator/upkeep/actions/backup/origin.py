"""Where the backups of a policy are, for steps of tasks: only the operator can look policies up, a step cannot."""

from collections.abc import Sequence

from upkeep.actions.backup.repository import Repository
from upkeep.actions.fields import Model


class Origin(Model):
    """A BackupPolicy of the task's namespace, as it was when the run was started."""

    policy: str
    """Its name."""
    owner: str
    """`namespace/name`; host and tag of its snapshots."""
    repository: Repository
    """Where its backups are kept."""
    credentials: str
    """The sub-directory of the credentials in which the Secrets of the repository are mounted."""
    verified: str | None = None
    """The snapshot that passed its restore test last, by restic's short id."""
    kind: str = "postgres"
    """What is backed up, as its source calls it: `postgres`, `redis`, `files`, `objects` or `command`."""
    paths: Sequence[str] = ()
    """Of files, what of the volume is backed up; empty for all."""
