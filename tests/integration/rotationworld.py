"""A Secret, a workload that reads it when it starts, and an API server that cuts a rotation off anywhere."""

import asyncio
import base64
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import httpx

from fakeapi.resources import KUBERNETES, ResourceType
from fakeapi.server import FakeCluster
from integration.bench import Bench
from upkeep.actions.contract import ActionError, Outcome, Result
from upkeep.actions.kubernetes.session import Cluster
from upkeep.actions.rotate.credential import RotateCredential
from upkeep.actions.rotate.record import RECORD

HOLDER: Final = "shop-db"
NAMESPACE: Final = "shop"
SECRETS: Final = ResourceType(plural="secrets", kind="Secret")


@dataclass
class RotationWorld:
    """The namespace of a rotation.

    Attributes:
        token: file with the ServiceAccount's token.
        in_use: what the Pods of the workload have read when they were started.
        restarts: how often the workload was started anew.
        well: whether Pods with such values become well.
        on_restart: what else happens then.
    """

    api: FakeCluster
    bench: Bench
    token: Path
    in_use: dict[str, str] = field(default_factory=dict)
    restarts: int = 0
    well: Callable[[dict[str, str]], bool] = lambda _: True
    on_restart: Callable[[dict[str, str]], None] = lambda _: None

    def make(self, *, metadata: dict[str, Any] | None = None, **data: str) -> None:
        """The Secret, and a workload that uses it."""
        encoded = {key.replace("_", "-"): base64.b64encode(value.encode()).decode() for key, value in data.items()}
        named = {"name": HOLDER, "namespace": NAMESPACE, **(metadata or {})}
        self.api.create({"apiVersion": "v1", "kind": "Secret", "metadata": named, "data": encoded})
        labels = {"app": "web"}
        container = {"name": "web", "image": "shop"}
        template = {"metadata": {"labels": labels}, "spec": {"containers": [container]}}
        self.api.create(
            {
                "apiVersion": "apps/v1",
                "kind": "Deployment",
                "metadata": {"name": "web", "namespace": NAMESPACE},
                "spec": {"selector": {"matchLabels": labels}, "template": template},
            }
        )
        self.start()

    def values(self) -> dict[str, str]:
        """What the Secret holds."""
        data = self.api.get("Secret", NAMESPACE, HOLDER).get("data") or {}
        return {key: base64.b64decode(value).decode() for key, value in data.items()}

    def annotations(self) -> dict[str, str]:
        """Those of the Secret."""
        found: dict[str, str] = self.api.get("Secret", NAMESPACE, HOLDER)["metadata"].get("annotations") or {}
        return found

    def annotate(self, **changes: str | None) -> None:
        """Change the record of the rotation, as time or a person does."""
        self.api.patch("Secret", NAMESPACE, HOLDER, {"metadata": {"annotations": changes}})

    def let_grace_pass(self) -> None:
        """Let the grace period be over."""
        record = self.annotations()[RECORD]
        head, _, rest = record.partition('"revokeAfter":"')
        self.annotate(**{RECORD: f'{head}"revokeAfter":"2020-01-01T00:00:00Z"{rest.partition(chr(34))[2]}'})

    def start(self) -> None:
        """What the controller of Deployments does: new Pods read the Secret."""
        found = self.api.get("Deployment", NAMESPACE, "web")
        values, generation = self.values(), found["metadata"]["generation"]
        well = self.well(values)
        if well:
            self.in_use = values
            self.restarts += 1
            self.on_restart(values)
        reason = "NewReplicaSetAvailable" if well else "ProgressDeadlineExceeded"
        progressing = {"type": "Progressing", "status": str(well), "reason": reason, "message": reason}
        counts = {"replicas": 1, "updatedReplicas": 1, "availableReplicas": int(well)}
        status = {"observedGeneration": generation, "conditions": [progressing], **counts}
        self.api.patch("Deployment", NAMESPACE, "web", {"status": status}, subresource="status")

    async def rotate(self, action: RotateCredential, *, remaining: float = 60) -> Result:
        """One run of it; what it raises is a failed result, as for the runner."""
        async with httpx.AsyncClient(base_url=self.api.url, trust_env=False) as client:
            api = Cluster(namespace=NAMESPACE, token=self.token, client=client)
            try:
                return await action.rotate(self.bench.context(remaining=remaining), api)
            except ActionError as error:
                return Result(outcome=Outcome.FAILED, message=str(error))

    async def cut_off(self, action: RotateCredential, *, request: int, answered: bool) -> bool:
        """A run that is killed at this request, before or after it was done; False where it made fewer."""
        run = asyncio.create_task(self.rotate(action))
        trigger = self.api.faults.on(namespace=NAMESPACE, nth=request)

        def kill() -> None:
            run.cancel()

        rule = trigger.kill_after(kill) if answered else trigger.kill_before(kill)
        with suppress(asyncio.CancelledError):
            await run
        self.api.faults.clear()
        return rule.fired > 0


@asynccontextmanager
async def rotation_world(bench: Bench, directory: Path) -> AsyncIterator[RotationWorld]:
    """An empty namespace, in which workloads are started anew as soon as their template changes."""
    token = directory / "token"
    token.write_text("of-the-account")
    async with FakeCluster(resources=(*KUBERNETES, SECRETS)) as api:
        world = RotationWorld(api=api, bench=bench, token=token)

        def behind() -> bool:
            return any(
                found["metadata"]["generation"] != (found.get("status") or {}).get("observedGeneration")
                for found in api.list("Deployment", NAMESPACE)
            )

        async def control() -> None:
            while True:
                await api.until(behind, within=600)
                world.start()

        controlling = asyncio.create_task(control())
        try:
            yield world
        finally:
            controlling.cancel()
            with suppress(asyncio.CancelledError):
                await controlling
