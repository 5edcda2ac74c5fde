"""What the Job of a run has to contain, before anybody thinks of manifests."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta

from upkeep.actions.connections import Connection
from upkeep.actions.contract import Previous
from upkeep.api.container import CustomJob
from upkeep.api.steps import StepBase
from upkeep.api.task import Rollback, StepMemory, TaskSpec
from upkeep.domain.identity import Identity
from upkeep.domain.instants import read_instant
from upkeep.domain.order import OrderedStep, RunOrder


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
    scratch: str = "1Gi"
    memory: str = "256Mi"
    service_account: str | None = None


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
    )


def _previous(memory: Sequence[StepMemory], step: StepBase) -> Previous | None:
    """What a step is told of its last run that came to a result; None where it has left nothing."""
    for entry in memory:
        if (entry.step, entry.action) == (step.name, step.action_name) and entry.values:
            return Previous(time=read_instant(entry.time), values=entry.values)
    return None


def task_work(owner: Identity, spec: TaskSpec, memory: Sequence[StepMemory]) -> Work:
    """The work of a MaintenanceTask; `memory` is that of its status."""
    return replace(_work(owner, spec, steps=spec.steps, job=spec.job, memory=memory), retries=spec.retries)


def rollback_work(owner: Identity, spec: TaskSpec, rollback: Rollback) -> Work:
    """The work that undoes a MaintenanceTask."""
    return _work(owner, spec, steps=rollback.steps, job=rollback.job)


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
