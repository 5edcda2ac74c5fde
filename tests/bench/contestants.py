"""Who competes: the CronJob controller twice, and Upkeep. (The bare client has nothing to wait for: `bare`.)

Each is the real program in a process of its own, started as it would be anywhere.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bench.objects import CRON_JOBS, cron_job, maintenance_task
from lab.home import TREE
from upkeep.cluster.resources import TASKS, Resource

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence
    from datetime import datetime

    from bench.audit import Audit
    from bench.plane import Plane
    from upkeep.cluster.client import Client

LIFTED = ("--kube-api-qps=10000", "--kube-api-burst=10000", "--concurrent-cron-job-syncs=50")
"""Client limits out of the way, and ten times the usual number of workers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Contestant:
    """A program that starts Jobs by schedule.

    Attributes:
        key: short name, part of its namespaces; also of its user and its process.
        title: as the table shows it.
        kind: of its schedules.
        manifest: makes a schedule from name, namespace and minute.
        command: its command line.
        environment: of its process, besides ours, for a namespace.
        aware: whether it knows of so many schedules in a namespace.
    """

    key: str
    title: str
    kind: Resource
    manifest: Callable[[str, str, datetime], dict[str, Any]]
    command: Callable[[Plane, Contestant], Sequence[str]]
    environment: Callable[[Plane, Contestant, str], Mapping[str, str]]
    aware: Callable[[Client, Audit, str, int], Awaitable[bool]]

    @property
    def user(self) -> str:
        """As whom it talks to the API server."""
        return f"upkeep-bench-{self.key}"


def _controller_manager(*limits: str) -> Callable[[Plane, Contestant], Sequence[str]]:
    def command(plane: Plane, contestant: Contestant) -> Sequence[str]:
        return (
            str(plane.programs / "kube-controller-manager"),
            f"--kubeconfig={plane.kubeconfig(contestant.user)}",
            "--controllers=cronjob",
            "--leader-elect=false",
            "--secure-port=0",
            "--profiling=false",
            *limits,
        )

    return command


def _operator(_: Plane, __: Contestant) -> Sequence[str]:
    return (sys.executable, "-m", "upkeep", "operator")


def _nothing(_: Plane, __: Contestant, ___: str) -> Mapping[str, str]:
    return {}


def _settings(plane: Plane, contestant: Contestant, namespace: str) -> Mapping[str, str]:
    return {
        "PYTHONPATH": str(TREE / "operator"),
        "KUBECONFIG": str(plane.kubeconfig(contestant.user)),
        "UPKEEP_IMAGE": "localhost/upkeep:bench",
        "UPKEEP_NAMESPACE": namespace,
        "UPKEEP_PORT": str(plane.ports["operator"]),
    }


async def _watches(_: Client, audit: Audit, __: str, ___: int) -> bool:
    return {"cronjobs", "jobs"} <= audit.read().watching


async def _announces(client: Client, _: Audit, namespace: str, count: int) -> bool:
    """Upkeep says of every task when it runs next."""
    known = 0
    async for page in client.list_pages(TASKS, namespace):
        known += sum("nextScheduleTime" in task.get("status", {}) for task in page["items"])
    return known == count


DEFAULT = Contestant(
    key="cronjob-default",
    title="CronJob, default limits",
    kind=CRON_JOBS,
    manifest=cron_job,
    command=_controller_manager(),
    environment=_nothing,
    aware=_watches,
)
LIFTED_LIMITS = Contestant(
    key="cronjob-lifted",
    title="CronJob, lifted limits",
    kind=CRON_JOBS,
    manifest=cron_job,
    command=_controller_manager(*LIFTED),
    environment=_nothing,
    aware=_watches,
)
UPKEEP = Contestant(
    key="upkeep",
    title="Upkeep",
    kind=TASKS,
    manifest=maintenance_task,
    command=_operator,
    environment=_settings,
    aware=_announces,
)
