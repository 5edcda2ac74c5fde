"""What the Job of a run has to contain, before anybody thinks of manifests."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta

from upkeep.actions.connections import Connection
from upkeep.api.container import CustomJob
from upkeep.api.steps import StepBase
from upkeep.api.task import TaskSpec
from upkeep.domain.identity import Identity
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
        scratch: size limit of the scratch directory, as a quantity.
        memory: memory limit, as a quantity.
        service_account: name; None for no access to the API.
    """

    content: RunOrder | CustomJob
    timeout: timedelta
    retries: int = 0
    secrets: Mapping[str, str] = field(default_factory=dict)
    claims: Mapping[str, str] = field(default_factory=dict)
    scratch: str = "1Gi"
    memory: str = "256Mi"
    service_account: str | None = None


def steps_work(
    owner: Identity, steps: Sequence[StepBase], connections: Sequence[Connection], timeout: timedelta
) -> Work:
    """The work of steps in their order."""
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


def task_work(owner: Identity, spec: TaskSpec) -> Work:
    """The work of a MaintenanceTask."""
    if spec.job is not None:
        return Work(
            content=spec.job,
            timeout=spec.timeout,
            retries=spec.retries,
            service_account=spec.service_account_name,
        )
    work = steps_work(owner, spec.steps or [], spec.connections, spec.timeout)
    return Work(
        content=work.content,
        timeout=spec.timeout,
        retries=spec.retries,
        secrets=work.secrets,
        service_account=spec.service_account_name,
    )
