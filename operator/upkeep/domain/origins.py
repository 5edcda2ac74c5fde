"""The BackupPolicies whose backups the steps of a task restore, and what a Pod needs to read them.

A policy is only ever looked for in the namespace of the task, so that nobody can reach the backups of others by name.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any, Final

from pydantic import ValidationError

from upkeep.actions.backup.origin import Origin
from upkeep.actions.backup.repository import CREDENTIALS_NAME, MAX_DEPARTED, Repository
from upkeep.actions.backup.restore import LATEST_VERIFIED, BackupRestore
from upkeep.actions.backup.storage import STORAGE_NAME
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
        )
        found.append(Source(origin=origin, access=reached, scratch=spec.scratch_size))
    return found


def sources_problem(steps: Iterable[StepBase], policies: Mapping[str, Manifest]) -> Problem | None:
    """Why a step could restore nothing, and what to do; None where all is there."""
    for step in steps:
        for name in step.action.policy_names():
            if problem := _problem(step.action, name, policies.get(name)):
                return Problem(reason=problem.reason, message=f"step {step.name!r}: {problem.message}")
    return None


def _problem(action: Action, name: str, policy: Manifest | None) -> Problem | None:
    if policy is None:
        message = f"BackupPolicy {name!r} does not exist in this namespace: create it, or correct `policy`"
        return Problem(reason="BackupPolicyNotFound", message=message)
    if isinstance(spec := _read(policy), Problem):
        return Problem(reason=spec.reason, message=f"BackupPolicy {name!r} cannot be read: {spec.message}")
    if spec.source.postgres is None:
        message = f"BackupPolicy {name!r} backs up no PostgreSQL database: bring it back with restic"
        return Problem(reason="NoDatabaseBackedUp", message=message)
    if spec.source.physical:
        message = (
            f"BackupPolicy {name!r} backs up the files of a whole server (method Physical), which replace no database "
            "of another: bring them back by hand (docs/guides/physical-backups.md)"
        )
        return Problem(reason="NoDatabaseBackedUp", message=message)
    if isinstance(action, BackupRestore) and action.snapshot == LATEST_VERIFIED and _verified(policy) is None:
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
