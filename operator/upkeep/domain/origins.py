"""The BackupPolicies whose backups the steps of a task restore, and what a Pod needs to read them.

A policy is only ever looked for in the namespace of the task, so that nobody can reach the backups of others by name.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any, Final

from pydantic import ValidationError

from upkeep.actions.backup.choice import LATEST_VERIFIED, Restoring
from upkeep.actions.backup.origin import Origin
from upkeep.actions.backup.repository import CREDENTIALS_NAME, MAX_DEPARTED, Repository
from upkeep.actions.backup.restore import BackupRestore
from upkeep.actions.backup.restorefiles import BackupRestoreFiles
from upkeep.actions.backup.storage import STORAGE_NAME
from upkeep.actions.connections import Connection, VolumeTarget
from upkeep.actions.contract import Action
from upkeep.api.backup import BackupSpec, BackupStatus
from upkeep.api.steps import StepBase
from upkeep.domain.conditions import Problem
from upkeep.domain.recollection import recall
from upkeep.domain.spec import explain
from upkeep.domain.work import Access, Source

MOUNT: Final = "/var/run/upkeep/repository"
"""Where the volume of a repository is mounted."""

Manifest = Mapping[str, Any]


def access(spec: BackupSpec, *, credentials: str = "", mount: str = MOUNT, departed: Sequence[str] = ()) -> Access:
    """What a Pod needs to reach the repository of a policy.

    Args:
        spec: of the policy.
        credentials: sub-directory of the credentials in which its Secrets are mounted; empty for that itself.
        mount: where its volume is mounted.
        departed: names of Jobs that have ended, whose locks may be removed.
    """
    declared = spec.repository
    secrets = {CREDENTIALS_NAME: declared.password_secret_ref.name}
    if declared.storage_secret:
        secrets |= {STORAGE_NAME: declared.storage_secret}
    return Access(
        repository=Repository(
            path=str(PurePosixPath(mount, declared.volume.path)) if declared.volume else None,
            s3=declared.s3,
            rest=declared.rest,
            password_secret_ref=declared.password_secret_ref,
            limit_upload=declared.limit_upload,
            limit_download=declared.limit_download,
            departed=list(departed)[:MAX_DEPARTED],
        ),
        secrets={str(PurePosixPath(credentials, name)): secret for name, secret in secrets.items()},
        claims={mount: declared.volume.claim_name} if declared.volume else {},
    )


def sources(steps: Iterable[StepBase] | None, namespace: str, policies: Mapping[str, Manifest]) -> Sequence[Source]:
    """The policies that steps name, as far as they exist and can be read.

    Args:
        steps: of a task; None where it has none.
        namespace: of the task.
        policies: the BackupPolicies of this namespace, by name.
    """
    found = []
    names = dict.fromkeys(name for step in steps or () for name in step.action.policy_names())
    for number, name in enumerate(names):
        policy = policies.get(name)
        if policy is None or isinstance(spec := _read(policy), Problem):
            continue
        # A name of a policy can be longer than that of a file, and this can be the name of no connection.
        credentials = f"policy.{number}"
        reached = access(spec, credentials=credentials, mount=f"{MOUNT}/{number}")
        origin = Origin(
            policy=name,
            owner=f"{namespace}/{name}",
            repository=reached.repository,
            credentials=credentials,
            verified=_verified(policy),
            kind=spec.source.chosen(),
            paths=spec.source.files.paths if spec.source.files else (),
        )
        found.append(Source(origin=origin, access=reached, scratch=spec.scratch_size, user=spec.source.user))
    return found


def sources_problem(
    steps: Sequence[StepBase], connections: Iterable[Connection], policies: Mapping[str, Manifest]
) -> Problem | None:
    """Why a step could restore nothing, and what to do; None where all is there."""
    claims = {each.name: each.target.claim_name for each in connections if isinstance(each.target, VolumeTarget)}
    for step in steps:
        for name in step.action.policy_names():
            policy = policies.get(name)
            problem = _problem(step.action, name, policy) or _onto_repository(step.action, policy or {}, claims)
            if problem:
                return Problem(reason=problem.reason, message=f"step {step.name!r}: {problem.message}")
    return _users_problem(steps, policies)


def _onto_repository(action: Action, policy: Manifest, claims: Mapping[str, str]) -> Problem | None:
    """That a step would write to the volume that has the backups."""
    if not isinstance(action, BackupRestoreFiles) or isinstance(spec := _read(policy), Problem):
        return None
    volume = spec.repository.volume
    if volume is None or claims.get(action.connection) != volume.claim_name:
        return None
    message = f"claim {volume.claim_name!r} has the backups themselves: restore them to another volume"
    return Problem(reason="RestoreOntoRepository", message=message)


def _users_problem(steps: Iterable[StepBase], policies: Mapping[str, Manifest]) -> Problem | None:
    """That the steps of one Pod would have to run as several users."""
    users: dict[int | None, str] = {}
    for name in dict.fromkeys(name for step in steps for name in step.action.policy_names()):
        if not isinstance(spec := _read(policies[name]), Problem):
            users.setdefault(spec.source.user, name)
    if len(users) <= 1:
        return None
    told = " and ".join(repr(name) for name in users.values())
    message = f"BackupPolicies {told} run as different users (runAsUser), a Pod as one: make a task for each"
    return Problem(reason="SeveralUsers", message=message)


def _problem(action: Action, name: str, policy: Manifest | None) -> Problem | None:
    if policy is None:
        message = f"BackupPolicy {name!r} does not exist in this namespace: create it, or correct `policy`"
        return Problem(reason="BackupPolicyNotFound", message=message)
    if isinstance(spec := _read(policy), Problem):
        return Problem(reason=spec.reason, message=f"BackupPolicy {name!r} cannot be read: {spec.message}")
    if isinstance(action, BackupRestore) and spec.source.postgres is None:
        message = f"BackupPolicy {name!r} backs up no PostgreSQL database: restore it by backupRestoreFiles"
        return Problem(reason="NoDatabaseBackedUp", message=message)
    if spec.source.physical:
        message = (
            f"BackupPolicy {name!r} backs up the files of a whole server (method Physical), which replace no database "
            "of another: bring them back by hand (docs/guides/physical-backups.md)"
        )
        return Problem(reason="NoDatabaseBackedUp", message=message)
    if isinstance(action, BackupRestoreFiles) and spec.source.postgres is not None:
        message = f"BackupPolicy {name!r} backs up a PostgreSQL database: restore it by backupRestore"
        return Problem(reason="NoFilesBackedUp", message=message)
    if isinstance(action, Restoring) and action.snapshot == LATEST_VERIFIED and _verified(policy) is None:
        message = (
            f"no backup of BackupPolicy {name!r} has passed a restore test yet: `kubectl annotate bp {name} "
            "upkeep.dev/run-now=restore-test/$(date +%s)` makes one, or use snapshot: latest"
        )
        return Problem(reason="BackupNotVerified", message=message)
    return None


def _read(policy: Manifest) -> BackupSpec | Problem:
    try:
        return BackupSpec.model_validate(policy.get("spec"))
    except ValidationError as error:
        return Problem(reason="BackupPolicyInvalid", message=explain(error))


def _verified(policy: Manifest) -> str | None:
    last = recall(BackupStatus, policy.get("status")).status.last_verified
    return last.snapshot if last else None
