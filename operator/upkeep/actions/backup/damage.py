"""A repository that is damaged, and what is told of it."""

from typing import Final

from upkeep.actions.contract import ActionError, Finding, Severity

_REMEDY: Final = (
    "backups may be unreadable: copy the repository, repair it (restic repair), and make a new backup at once"
)


class DamagedError(ActionError):
    """The repository does not pass its check, or gives back something else than what was put into it."""


def damage_finding(check_id: str, what: str, remedy: str = _REMEDY) -> Finding:
    """What is told of a damaged repository, or of a backup in it that cannot be restored.

    Args:
        check_id: of the check that found out.
        what: the repository, or the policy of the backup.
        remedy: what to do.
    """
    return Finding(
        check_id=check_id,
        severity=Severity.CRITICAL,
        object=what,
        observed=1,
        threshold=1,
        unit="",
        recommendation=remedy,
    )
