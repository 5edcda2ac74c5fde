"""What the Job of a run has to contain, before anybody thinks of manifests."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Final

from upkeep.actions.backup.origin import Origin
from upkeep.actions.backup.repository import Repository
from upkeep.actions.backup.restorefiles import BackupRestoreFiles
from upkeep.actions.connections import Connection, VolumeTarget
from upkeep.actions.contract import Previous
from upkeep.actions.fields import bytes_of
from upkeep.api.container import CustomJob
from upkeep.api.steps import StepBase
from upkeep.api.task import Rollback, StepMemory, TaskSpec
from upkeep.domain.identity import Identity
from upkeep.domain.instants import read_instant
from upkeep.domain.order import VOLUMES_DIRECTORY, OrderedStep, RunOrder

MEMORY: Final = "1Gi"
"""Memory limit, as a quantity, of what works with a repository."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What a run does and needs.

    Attributes:
        content: the order for the runner, or a container of the user's own.
        timeout: for the run, all retries together.
        retries: how often a failed Pod is replaced.
        secrets: connection → name of its Secret, mounted as files.
        claims: mount path → name of a PersistentVolumeClaim.
        only_reads: whether the claims are mounted read-only.
        written: the mount paths that are written to all the same.
        sources: mount path → name of a PersistentVolumeClaim that nothing of the Pod may change, not even its owners.
        preparation: a container of the user's own that runs before and leaves files.
        user: number of the user that it runs as; None for Upkeep's own.
        scratch: size limit of the scratch directory, as a quantity.
        memory: memory limit, as a quantity.
        service_account: name; None for no access to the API.
    """

    content: RunOrder | CustomJob
    timeout: timedelta
    retries: int = 0
    secrets: Mapping[str, str] = field(default_factory=dict)
    claims: Mapping[str, str] = field(default_factory=dict)
    only_reads: bool = False
    written: frozenset[str] = frozenset()
    sources: Mapping[str, str] = field(default_factory=dict)
    preparation: CustomJob | None = None
    user: int | None = None
    scratch: str = "1Gi"
    memory: str = "256Mi"
    service_account: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """What a Pod needs to reach a repository.

    Attributes:
        repository: where it is.
        secrets: sub-directory of the credentials → name of the Secret that is mounted there.
        claims: mount path → name of a PersistentVolumeClaim.
    """

    repository: Repository
    secrets: Mapping[str, str]
    claims: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A policy whose backups are restored.

    Attributes:
        origin: for the step.
        access: for the Pod.
        scratch: room for its files, as a quantity.
        user: number of the user that its Jobs run as; None for Upkeep's own.
    """

    origin: Origin
    access: Access
    scratch: str
    user: int | None = None


def steps_work(
    owner: Identity,
    steps: Sequence[StepBase],
    connections: Sequence[Connection],
    timeout: timedelta,
    *,
    memory: Sequence[StepMemory] = (),
) -> Work:
    """The work of steps in their order; `memory` is what they are told of runs before."""
    order = RunOrder(
        owner=str(owner),
        timeout=timeout,
        steps=[
            OrderedStep(
                name=step.name,
                action_name=step.action_name,
                action=step.action,
                on_failure=step.on_failure,
                timeout=step.timeout,
                previous=_previous(memory, step),
            )
            for step in steps
        ],
        connections=connections,
    )
    secrets = {connection.name: connection.target.secret_name for connection in connections}
    return Work(
        content=order,
        timeout=timeout,
        secrets={connection: secret for connection, secret in secrets.items() if secret},
        claims={
            f"{VOLUMES_DIRECTORY}/{connection.name}": connection.target.claim_name
            for connection in connections
            if isinstance(connection.target, VolumeTarget)
        },
    )


def _previous(memory: Sequence[StepMemory], step: StepBase) -> Previous | None:
    """What a step is told of its last run that came to a result; None where it has left nothing."""
    for entry in memory:
        if (entry.step, entry.action) == (step.name, step.action_name) and entry.values:
            return Previous(time=read_instant(entry.time), values=entry.values)
    return None


def task_work(owner: Identity, spec: TaskSpec, memory: Sequence[StepMemory], sources: Sequence[Source] = ()) -> Work:
    """The work of a MaintenanceTask.

    Args:
        owner: the task.
        spec: what it says.
        memory: that of its status.
        sources: the policies whose backups its steps restore.
    """
    work = _work(owner, spec, steps=spec.steps, job=spec.job, memory=memory)
    return replace(_with_backups(work, sources), retries=spec.retries)


def rollback_work(owner: Identity, spec: TaskSpec, rollback: Rollback, sources: Sequence[Source] = ()) -> Work:
    """The work that undoes a MaintenanceTask; `sources` are the policies whose backups that restores."""
    return _with_backups(_work(owner, spec, steps=rollback.steps, job=rollback.job), sources)


def _work(
    owner: Identity,
    spec: TaskSpec,
    *,
    steps: Sequence[StepBase] | None,
    job: CustomJob | None,
    memory: Sequence[StepMemory] = (),
) -> Work:
    if job is not None:
        return Work(content=job, timeout=spec.timeout, service_account=spec.service_account_name)
    work = steps_work(owner, steps or [], spec.connections, spec.timeout, memory=memory)
    return replace(work, service_account=spec.service_account_name)


def _with_backups(work: Work, sources: Sequence[Source]) -> Work:
    """The same with what its steps need to read backups, and no more than that: repositories cannot be written to.

    Nor can volumes, but for those that files are restored to.
    """
    if not sources or not isinstance(work.content, RunOrder):
        return work
    return replace(
        work,
        content=work.content.model_copy(update={"origins": [each.origin for each in sources]}),
        secrets=dict(work.secrets) | {key: name for each in sources for key, name in each.access.secrets.items()},
        claims=dict(work.claims) | {path: name for each in sources for path, name in each.access.claims.items()},
        only_reads=True,
        written=frozenset(
            f"{VOLUMES_DIRECTORY}/{step.action.connection}"
            for step in work.content.steps
            if isinstance(step.action, BackupRestoreFiles)
        ),
        user=next((each.user for each in sources if each.user), None),
        scratch=max((each.scratch for each in sources), key=bytes_of),
        memory=MEMORY,
    )
