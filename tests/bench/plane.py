"""The control plane of the benchmark: etcd and an API server that audits Jobs, and nothing that would start Pods.

Every contestant is a user of its own, so that the audit log tells them apart; all are administrators, so that no rule
and no queue of the API server treats one better than another.
"""

from __future__ import annotations

import json
import shutil
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kubernetes.aio.client.configuration import Configuration
from kubernetes.aio.config.kube_config import load_kube_config

from bench.waiting import until
from lab import kubeconfig
from lab.home import Home
from lab.pki import Authority, Identity
from lab.port import choose
from lab.process import launch, records, stop
from upkeep.cluster.client import Client
from upkeep.cluster.errors import ApiError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from pathlib import Path

    from lab.report import Report

CONTEXT = "upkeep-bench"
ADDRESS = "127.0.0.1"
ADMINISTRATORS = "system:masters"
DRIVER = "upkeep-bench-driver"
SERVER = Identity(name="apiserver", user="kube-apiserver", addresses=(f"IP:{ADDRESS}", "DNS:localhost"))
PORTS = {"etcd": 26579, "etcd-peer": 26580, "apiserver": 26643, "operator": 26680}
READY_SECONDS = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Plane:
    """A control plane and where its files are."""

    home: Home
    programs: Path
    ports: Mapping[str, int]

    @property
    def audit_log(self) -> Path:
        """What the contestants asked of the API server, one JSON object a line."""
        return self.home.audit_log

    @property
    def server(self) -> str:
        """The API server's URL."""
        return f"https://{ADDRESS}:{self.ports['apiserver']}"

    @property
    def authority(self) -> Authority:
        """Signs every certificate."""
        return Authority(directory=self.home.pki)

    def kubeconfig(self, user: str) -> Path:
        """A kubeconfig with which to be `user`, an administrator."""
        pair = self.authority.issue(Identity(name=user, user=user, group=ADMINISTRATORS))
        path = self.home.pki / f"{user}.kubeconfig"
        return kubeconfig.write(
            path, context=CONTEXT, server=self.server, authority=self.authority.certificate, pair=pair
        )

    async def client(self) -> Client:
        """A client for what the benchmark itself has to do."""
        configuration = Configuration()
        await load_kube_config(  # type: ignore[no-untyped-call]
            config_file=str(self.kubeconfig(DRIVER)), client_configuration=configuration
        )
        return Client(configuration, timeout=60.0)

    def start_store(self) -> None:
        """Start etcd; the API server finds it when it is ready."""
        client, peer = (f"http://{ADDRESS}:{self.ports[name]}" for name in ("etcd", "etcd-peer"))
        launch(
            self.home,
            "etcd",
            [
                self.programs / "etcd",
                f"--name={CONTEXT}",
                f"--data-dir={self.home.cluster / 'etcd'}",
                f"--listen-client-urls={client}",
                f"--advertise-client-urls={client}",
                f"--listen-peer-urls={peer}",
                f"--initial-advertise-peer-urls={peer}",
                f"--initial-cluster={CONTEXT}={peer}",
                "--unsafe-no-fsync",
                "--log-level=warn",
            ],
        )

    def start_server(self) -> None:
        """Start the API server."""
        policy = self.home.cluster / "audit-policy.json"
        policy.write_text(json.dumps(audit_policy()))
        self.authority.create()
        certificate, key = self.authority.issue(SERVER)
        public, private = self.authority.signing_pair("service-account")
        flags = [
            f"--etcd-servers=http://{ADDRESS}:{self.ports['etcd']}",
            f"--bind-address={ADDRESS}",
            f"--secure-port={self.ports['apiserver']}",
            # Nothing looks for it from within a cluster, and loopback would not be a valid endpoint.
            "--endpoint-reconciler-type=none",
            f"--client-ca-file={self.authority.certificate}",
            f"--tls-cert-file={certificate}",
            f"--tls-private-key-file={key}",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-key-file={public}",
            f"--service-account-signing-key-file={private}",
            "--service-cluster-ip-range=10.97.0.0/16",
            "--authorization-mode=RBAC",
            # Nobody makes the ServiceAccount `default` that a Pod would need.
            "--disable-admission-plugins=ServiceAccount",
            f"--audit-policy-file={policy}",
            f"--audit-log-path={self.audit_log}",
            "--audit-log-maxsize=1000",
            "--profiling=false",
        ]
        self.home.logs.mkdir(parents=True, exist_ok=True)
        launch(self.home, "kube-apiserver", [self.programs / "kube-apiserver", *flags])


@asynccontextmanager
async def running(machine: Home, report: Report) -> AsyncIterator[Plane]:
    """A fresh control plane, for as long as the context; afterwards nothing of it runs, and only its logs are kept.

    Raises:
        LabError: it does not start.
    """
    plane = Plane(home=home_of(machine), programs=machine.bin, ports=choose(PORTS))
    stop_all(plane.home)
    shutil.rmtree(plane.home.cluster, ignore_errors=True)
    try:
        with report.step("Starting etcd and an API server for the benchmark alone"):
            plane.home.cluster.mkdir(parents=True, mode=0o700)
            plane.start_store()
            plane.start_server()
            async with await plane.client() as client:
                await until(
                    lambda: _ready(client),
                    doing="Waiting for the API server",
                    seconds=READY_SECONDS,
                    home=plane.home,
                    component="kube-apiserver",
                )
        yield plane
    finally:
        stop_all(plane.home)
        for leftover in (plane.home.cluster / "etcd", plane.home.pki):
            shutil.rmtree(leftover, ignore_errors=True)


def home_of(machine: Home) -> Home:
    """Where the benchmark keeps its own files."""
    return Home(root=machine.root / "bench")


def stop_all(home: Home) -> None:
    """End whatever the benchmark started, also an earlier one that was interrupted."""
    for record in reversed(records(home)):
        stop(home, record.name)


def audit_policy() -> dict[str, object]:
    """What is logged: every Job that is created, and whatever a contestant asks for."""
    return {
        "apiVersion": "audit.k8s.io/v1",
        "kind": "Policy",
        "omitStages": ["RequestReceived"],
        "rules": [
            {"level": "None", "users": [DRIVER, "system:apiserver"]},
            {"level": "Metadata", "userGroups": [ADMINISTRATORS]},
        ],
    }


async def _ready(client: Client) -> bool:
    try:
        await client.request("GET", "/readyz", timeout=2.0)
    except ApiError:
        return False
    return True
