"""One round of one contestant: schedules are created, the minute comes, and the audit log says when each Job was there.

While the minute runs, the benchmark itself only reads files.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import statistics
import sys
import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from bench.audit import Audit
from bench.objects import job_end, names, pod_end, pod_of
from bench.usage import Surroundings, usage
from bench.waiting import PAUSE_SECONDS, until
from lab.failure import LabError
from lab.home import TREE
from lab.process import launch, records, stop
from upkeep.cluster.resources import EVENTS, JOBS, PODS, Resource
from upkeep.domain.instants import write_instant

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from bench.contestants import Contestant
    from bench.plane import Plane
    from lab.report import Report, Step
    from upkeep.cluster.client import Client

BARE_USER = "upkeep-bench-bare"
SETTLING_SECONDS = 3.0
"""A contestant that knows its schedules is left alone for so long before they are due."""
QUIET_SECONDS = 2.0
"""A contestant that has asked for nothing for so long has nothing more to do."""
PREPARING = timedelta(seconds=15)
PREPARING_EACH = timedelta(milliseconds=25)
LONGEST_EACH_SECONDS = 0.5
LONGEST_SECONDS = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What a round has shown.

    Attributes:
        last: seconds from the due minute (of the bare client: from its first request) to the last Job.
        median: the same for half of the Jobs.
        cpu: CPU seconds of the process from just before the minute until it had nothing more to do.
        memory: its resident memory then, in MiB.
        start_requests: API requests for the start of a run, without watches and leadership.
        others: share of the machine's CPU time that went to processes outside of the round while Jobs were created.
        run_requests: API requests from the start of a run until its end is recorded; None where not measured.
    """

    last: float
    median: float
    cpu: float
    memory: float
    start_requests: float
    others: float
    run_requests: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Race:
    """What every round needs."""

    plane: Plane
    client: Client
    report: Report
    count: int

    async def bare(self, number: int) -> Figures:
        """The bare client posts the Jobs.

        Raises:
            LabError: it failed.
        """
        async with self._namespace(f"bare-{number}", ()) as namespace:
            audit = Audit(self.plane.audit_log, user=BARE_USER, namespace=namespace)
            with self.report.step(f"Round {number}: bare client posts {self.count} Jobs"):
                around = self._surroundings()
                begun, cpu = await self._post(namespace)
                others = around.share()
            jobs = audit.read().jobs
            if len(jobs) != self.count:
                message = f"The bare client created {len(jobs)} of {self.count} Jobs by {self.plane.audit_log}."
                raise LabError(message)
            cost = {"cpu": cpu, "memory": 0.0, "others": others}
            return _figures(jobs, begun, requests=audit.deeds.requests.total(), **cost)

    async def scheduled(self, contestant: Contestant, number: int, *, whole: bool) -> Figures:
        """A contestant starts the Jobs by schedule; `whole` follows the runs to their end.

        Raises:
            LabError: it did not start all Jobs, or not in any reasonable time.
        """
        async with self._namespace(f"{contestant.key}-{number}", (contestant.kind,)) as namespace:
            audit = Audit(self.plane.audit_log, user=contestant.user, namespace=namespace)
            title = f"Round {number}: {contestant.title}"
            minute = _next_minute(datetime.now(UTC) + PREPARING + self.count * PREPARING_EACH)
            with self.report.step(f"{title}: {self.count} schedules for {minute:%H:%M}", total=self.count) as step:
                bodies = [contestant.manifest(name, namespace, minute) for name in names(self.count)]
                await self._create_all(contestant.kind, bodies, step)
            process = launch(
                self.plane.home,
                contestant.key,
                contestant.command(self.plane, contestant),
                env=contestant.environment(self.plane, contestant, namespace),
            )
            try:
                await self._prepare(contestant, audit, namespace, minute, title=title)
                before, prepared = usage(process.pid), audit.read().requests.total()
                with self.report.step(f"{title}: Jobs created", total=self.count) as step:
                    around = self._surroundings()
                    await self._start_all(contestant, audit, step)
                    others = around.share()
                    requests = await self._quiet(audit) - prepared
                after = usage(process.pid)
                cost = {"cpu": after.cpu - before.cpu, "memory": after.memory, "others": others}
                figures = _figures(audit.deeds.jobs, minute, requests=requests, **cost)
                if not whole:
                    return figures
                with self.report.step(f"{title}: ends recorded", total=self.count) as step:
                    requests = await self._end_all(contestant, audit, namespace, step) - prepared
                return replace(figures, run_requests=requests / self.count)
            finally:
                stop(self.plane.home, contestant.key)

    def _surroundings(self) -> Surroundings:
        return Surroundings([record.pid for record in records(self.plane.home)])

    async def _post(self, namespace: str) -> tuple[datetime, float]:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "bench.bare", namespace, str(self.count)),
            env={
                **os.environ,
                "KUBECONFIG": str(self.plane.kubeconfig(BARE_USER)),
                "PYTHONPATH": os.pathsep.join(str(TREE / folder) for folder in ("operator", "tests")),
            },
            stdout=asyncio.subprocess.PIPE,
        )
        said, _ = await process.communicate()
        if process.returncode:
            message = f"The bare client ended with code {process.returncode}; what it said stands above."
            raise LabError(message)
        begun, cpu = said.decode().split()
        return datetime.fromisoformat(begun), float(cpu)

    async def _prepare(
        self, contestant: Contestant, audit: Audit, namespace: str, minute: datetime, *, title: str
    ) -> None:
        with self.report.step(f"{title}: it gets to know them; due at {minute:%H:%M:%S} UTC") as step:
            await until(
                lambda: contestant.aware(self.client, audit, namespace, self.count),
                doing=f"Waiting until {contestant.title} knows {self.count} schedules",
                seconds=LONGEST_SECONDS + self.count * LONGEST_EACH_SECONDS,
                home=self.plane.home,
                component=contestant.key,
            )
            left = _until(minute)
            if left < SETTLING_SECONDS:
                message = f"{title}: it was not ready before {minute:%H:%M:%S} UTC. Try on a calmer machine."
                raise LabError(message)
            while (left := _until(minute)) > PAUSE_SECONDS:
                step.advance(detail=f"due in {left:.0f} s")
                await asyncio.sleep(min(1.0, left - PAUSE_SECONDS))

    async def _start_all(self, contestant: Contestant, audit: Audit, step: Step) -> None:
        async def created() -> bool:
            found = len(audit.read().jobs)
            step.advance(by=found - step.done, detail="Jobs created")
            return found >= self.count

        await until(
            created,
            doing=f"Waiting for {self.count} Jobs of {contestant.title}",
            seconds=LONGEST_SECONDS + self.count * LONGEST_EACH_SECONDS,
            home=self.plane.home,
            component=contestant.key,
        )
        if len(audit.deeds.jobs) > self.count:
            message = f"{contestant.title} created {len(audit.deeds.jobs)} Jobs for {self.count} occurrences."
            raise LabError(message)

    async def _end_all(self, contestant: Contestant, audit: Audit, namespace: str, step: Step) -> int:
        """Let all Jobs end well, wait until every schedule's status was written, and return the number of requests."""
        now = write_instant(datetime.now(UTC))
        jobs = [job async for page in self.client.list_pages(JOBS, namespace) for job in page["items"]]
        await asyncio.gather(*(self._end_pod(pod_of(job), pod_end(now)) for job in jobs))
        await self._quiet(audit)
        before = audit.read().status_writes
        for_all = (self.client.patch(JOBS, namespace, _name(job), job_end(now), subresource="status") for job in jobs)
        await asyncio.gather(*for_all)

        async def recorded() -> bool:
            written = audit.read().status_writes - before
            step.advance(by=min(written, self.count) - step.done, detail="ends recorded")
            return written >= self.count

        await until(
            recorded,
            doing=f"Waiting until {contestant.title} has recorded the end of {self.count} runs",
            seconds=LONGEST_SECONDS + self.count * LONGEST_EACH_SECONDS,
            home=self.plane.home,
            component=contestant.key,
        )
        return await self._quiet(audit)

    async def _end_pod(self, pod: dict[str, Any], end: dict[str, Any]) -> None:
        metadata = pod["metadata"]
        await self.client.create(PODS, pod)
        await self.client.patch(PODS, metadata["namespace"], metadata["name"], end, subresource="status")

    async def _quiet(self, audit: Audit) -> int:
        """Wait until a contestant has nothing more to do; returns the number of its requests."""
        seen, since = audit.read().requests.total(), time.monotonic()
        while time.monotonic() - since < QUIET_SECONDS:
            await asyncio.sleep(PAUSE_SECONDS)
            now = audit.read().requests.total()
            if now != seen:
                seen, since = now, time.monotonic()
        return seen

    async def _create_all(self, kind: Resource, bodies: Sequence[dict[str, Any]], step: Step) -> None:
        async def create(body: dict[str, Any]) -> None:
            await self.client.create(kind, body)
            step.advance(detail=body["metadata"]["name"])

        await asyncio.gather(*(create(body) for body in bodies))

    @contextlib.asynccontextmanager
    async def _namespace(self, name: str, kinds: Sequence[Resource]) -> AsyncIterator[str]:
        """A namespace for a round; afterwards nothing is left in it that another contestant could see."""
        await self.client.request("POST", "/api/v1/namespaces", body={"metadata": {"name": name}})
        try:
            yield name
        finally:
            with self.report.step(f"Removing what is in {name}"):
                for kind in (*kinds, JOBS, PODS, EVENTS):
                    everything = {"propagationPolicy": "Background"}
                    await self.client.request("DELETE", kind.path(name), query=everything, timeout=120.0)


def _name(resource: dict[str, Any]) -> str:
    return str(resource["metadata"]["name"])


def _next_minute(instant: datetime) -> datetime:
    return instant.replace(second=0, microsecond=0) + timedelta(minutes=1)


def _until(instant: datetime) -> float:
    return (instant - datetime.now(UTC)).total_seconds()


def _figures(
    jobs: Sequence[datetime], due: datetime, *, cpu: float, memory: float, others: float, requests: int
) -> Figures:
    late = sorted((created - due).total_seconds() for created in jobs)
    return Figures(
        last=late[-1],
        median=statistics.median(late),
        cpu=cpu,
        memory=memory,
        start_requests=requests / len(jobs),
        others=others,
    )
