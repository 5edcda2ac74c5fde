"""The fake cluster: what tests start, look into and disturb.

It exists as the one name that tests need. It must never listen on anything but loopback.

    async with FakeCluster() as cluster:
        cluster.create({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "namespace": "team"}})
        operator = start_operator(KUBECONFIG=cluster.kubeconfig(tmp_path / "kubeconfig"))
"""

import asyncio
import copy
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Self

import yaml
from aiohttp import web

from fakeapi.audit import Audit, Entry
from fakeapi.discovery import definitions
from fakeapi.faults import Faults
from fakeapi.fields import Writer
from fakeapi.frontend import Frontend
from fakeapi.garbage import Collector
from fakeapi.objects import Json
from fakeapi.patch import json_patch, merge_patch
from fakeapi.resources import CRDS, KUBERNETES, NAMESPACES, UPKEEP, Catalogue, ResourceType
from fakeapi.selectors import compile_selectors
from fakeapi.store import Deletion, Store
from fakeapi.world import World

_TEST = Writer("fakeapi-test")
_FIRST_NAMESPACES = ("default", "kube-system", "kube-public", "kube-node-lease")


def _wall_clock() -> datetime:
    return datetime.now(tz=UTC)


class FakeCluster:
    """A fake Kubernetes API server on a free loopback port.

    The methods `create`, `get`, `list`, `patch` and `delete` are a second client without HTTP: watches see what it
    does, faults do not strike it and the audit does not record it. What they return is the caller's own copy.

    Args:
        resources: the kinds that are served; namespaces always are.
        clock: the server's clock, for creationTimestamp and the like.
        seed: of generated names and UIDs.
        history: how many changes of each kind a watch can look back before it gets 410.
        bookmark_interval: seconds between bookmarks on watches that take them.
    """

    def __init__(
        self,
        *,
        resources: tuple[ResourceType, ...] = (*KUBERNETES, *UPKEEP),
        clock: Callable[[], datetime] = _wall_clock,
        seed: int = 0,
        history: int = 10_000,
        bookmark_interval: float = 60.0,
    ) -> None:
        self.catalogue = Catalogue(resources)
        self.faults = Faults(self.catalogue)
        self._audit = Audit()
        self._store = Store(self.catalogue, clock=clock, seed=seed, history=history)
        Collector(self._store)
        self.world = World(self._store)
        self._frontend = Frontend(
            catalogue=self.catalogue,
            store=self._store,
            faults=self.faults,
            audit=self._audit,
            clock=clock,
            bookmark_interval=bookmark_interval,
        )
        self._runner: web.ServerRunner | None = None
        self._address = ""
        for name in _FIRST_NAMESPACES:
            self._store.create(NAMESPACES, "", {"metadata": {"name": name}}, writer=_TEST)
        if CRDS in self.catalogue.types:
            for definition in definitions(self.catalogue):
                self._store.create(CRDS, "", definition, writer=_TEST, keep_status=True)

    async def __aenter__(self) -> Self:
        """Start to listen."""
        server = web.Server(self._frontend.answer, handler_cancellation=True, access_log=None)
        self._runner = web.ServerRunner(server, shutdown_timeout=1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        host, port = self._runner.addresses[0][:2]
        self._address = f"http://{host}:{port}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End all watches and stop; raise what went wrong inside the simulated world."""
        try:
            self.world.stop()
        finally:
            self._frontend.end_watches()
            if self._runner is not None:
                await self._runner.cleanup()

    # For clients

    @property
    def url(self) -> str:
        """Where the server listens."""
        return self._address

    def kubeconfig(self, path: Path) -> Path:
        """Write a kubeconfig whose current context is this server, and return its path."""
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "fake",
            "clusters": [{"name": "fake", "cluster": {"server": self.url}}],
            "users": [{"name": "fake", "user": {}}],
            "contexts": [{"name": "fake", "context": {"cluster": "fake", "user": "fake", "namespace": "default"}}],
        }
        path.write_text(yaml.safe_dump(config), encoding="utf-8")
        return path

    # For assertions

    @property
    def audit(self) -> list[Entry]:
        """All HTTP requests so far, oldest first."""
        return self._audit.entries

    @property
    def writes(self) -> list[Entry]:
        """The HTTP requests so far that change objects, refused ones included."""
        return self._audit.writes

    @property
    def version(self) -> int:
        """The resourceVersion of the last write."""
        return self._store.version

    @property
    def watches(self) -> int:
        """How many watches are open."""
        return self._frontend.watches

    async def until(self, holds: Callable[[], object], *, within: float = 10.0) -> None:
        """Wait until something holds, looking again after every write.

        Args:
            holds: what to wait for.
            within: seconds after which to give up.

        Raises:
            TimeoutError: it did not come true.
        """
        written = asyncio.Event()
        with ExitStack() as observing:
            for resource in self.catalogue.types:
                observing.callback(self._store.observe(resource, lambda *_: written.set()))
            async with asyncio.timeout(within):
                while not holds():
                    written.clear()
                    await written.wait()

    # For disturbance

    def compact(self) -> None:
        """Forget the history: watches and paged lists that started earlier get 410 when they come back."""
        self._store.compact()

    def end_watches(self) -> None:
        """End all watches as at their timeout; clients come back with the version that they know."""
        self._frontend.end_watches()

    # The second client

    def create(self, obj: Json) -> Json:
        """Create an object, with its status, and its namespace where that is missing.

        Raises:
            StatusError: as the server refuses.
        """
        body = copy.deepcopy(obj)
        resource = self.catalogue.named(body["kind"])
        namespace = body.get("metadata", {}).get("namespace", "default") if resource.namespaced else ""
        if namespace and self._store.find(NAMESPACES, ("", namespace)) is None:
            self._store.create(NAMESPACES, "", {"metadata": {"name": namespace}}, writer=_TEST)
        record = self._store.create(resource, namespace, body, writer=_TEST, keep_status=True)
        return copy.deepcopy(record.object)

    def get(self, kind: str | ResourceType, namespace: str, name: str) -> Json:
        """Return an object.

        Args:
            kind: its kind or plural.
            namespace: its namespace, empty for cluster-scoped kinds.
            name: its name.

        Raises:
            StatusError: 404.
        """
        return copy.deepcopy(self._store.get(self.catalogue.named(kind), (namespace, name)).object)

    def list(self, kind: str | ResourceType, namespace: str = "", *, labels: str = "") -> list[Json]:
        """Return objects in the order of namespace and name.

        Args:
            kind: their kind or plural.
            namespace: only of this namespace, empty for all.
            labels: a labelSelector.
        """
        resource = self.catalogue.named(kind)
        match = compile_selectors(resource, labels=labels, fields="")
        return [copy.deepcopy(record.object) for record in self._store.select(resource, namespace, match)]

    def patch(
        self,
        kind: str | ResourceType,
        namespace: str,
        name: str,
        change: Json | Iterable[Json],
        *,
        subresource: str = "",
    ) -> Json:
        """Change an object and return it.

        Args:
            kind: its kind or plural.
            namespace: its namespace, empty for cluster-scoped kinds.
            name: its name.
            change: a merge patch (a dict) or JSON patch operations.
            subresource: `status`, or empty.

        Raises:
            StatusError: as the server refuses.
        """
        own = copy.deepcopy(change)
        patch = merge_patch(own) if isinstance(own, dict) else json_patch([*own])
        resource = self.catalogue.named(kind)
        record = self._store.update(resource, (namespace, name), patch, writer=_TEST, subresource=subresource)
        return copy.deepcopy(record.object)

    def delete(self, kind: str | ResourceType, namespace: str, name: str, *, policy: str = "Background") -> None:
        """Delete an object, or mark it until its finalizers are gone.

        Args:
            kind: its kind or plural.
            namespace: its namespace, empty for cluster-scoped kinds.
            name: its name.
            policy: `Background`, `Foreground` or `Orphan`.

        Raises:
            StatusError: 404.
        """
        self._store.delete(self.catalogue.named(kind), (namespace, name), Deletion(policy=policy))
