"""A repository that is damaged, and what is told of it."""

from upkeep.actions.contract import ActionError, Finding, Severity


class DamagedError(ActionError):
    """The repository does not pass its check, or gives back something else than what was put into it."""


def damage_finding(check_id: str, repository: str) -> Finding:
    """What is told of a damaged repository."""
    return Finding(
        check_id=check_id,
        severity=Severity.CRITICAL,
        object=repository,
        observed=1,
        threshold=1,
        unit="",
        recommendation="backups may be unreadable: copy the repository, repair it (restic repair), and make a new "
        "backup at once",
    )
