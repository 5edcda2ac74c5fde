"""The control plane of a home-built cluster: etcd, API server, controller manager, scheduler.

Only what differs from the defaults is set. It must never be reachable from outside this machine: everything listens on
loopback or on the Pods' bridge.
"""

from __future__ import annotations

import json
import ssl
import urllib.error
import urllib.request
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lab import kubeconfig
from lab.network import API_SERVICE_ADDRESS, NODE_ADDRESS, SERVICE_NETWORK
from lab.pki import Authority, Identity
from lab.process import launch
from lab.waiting import until

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from lab.home import Home

CONTEXT = "upkeep-lab"
ISSUER = "https://kubernetes.default.svc.cluster.local"
OPERATOR_GROUP = "system:serviceaccounts:upkeep-system"
"""The ServiceAccounts whose requests the audit log holds."""

ADMIN = Identity(name="admin", user="upkeep-lab-admin", group="system:masters")
APISERVER = Identity(
    name="apiserver",
    user="kube-apiserver",
    addresses=(
        "IP:127.0.0.1",
        f"IP:{NODE_ADDRESS}",
        f"IP:{API_SERVICE_ADDRESS}",
        "DNS:localhost",
        "DNS:kubernetes",
        "DNS:kubernetes.default",
        "DNS:kubernetes.default.svc",
        "DNS:kubernetes.default.svc.cluster.local",
    ),
)
KUBELET_CLIENT = Identity(name="apiserver-kubelet-client", user="kube-apiserver", group="system:masters")
CONTROLLER_MANAGER = Identity(name="kube-controller-manager", user="system:kube-controller-manager")
SCHEDULER = Identity(name="kube-scheduler", user="system:kube-scheduler")

READY_SECONDS = 60


@dataclass(frozen=True, slots=True)
class ControlPlane:
    """What the control plane is made of, before it runs."""

    home: Home
    ports: Mapping[str, int]

    @property
    def authority(self) -> Authority:
        """Signs every certificate of this cluster."""
        return Authority(directory=self.home.pki)

    @property
    def server(self) -> str:
        """Address of the API server, for this machine and for Pods."""
        return f"https://{NODE_ADDRESS}:{self.ports['apiserver']}"

    def credentials(self, identity: Identity) -> Path:
        """Return a kubeconfig for `identity`, made if it is not there."""
        path = self.home.kubeconfig if identity is ADMIN else self.home.pki / f"{identity.name}.kubeconfig"
        return kubeconfig.write(
            path,
            context=CONTEXT,
            server=self.server,
            authority=self.authority.certificate,
            pair=self.authority.issue(identity),
        )

    def start_store(self) -> None:
        """Start etcd; the API server finds it when it is ready."""
        launch(self.home, "etcd", etcd_arguments(self.home, self.ports))

    def start_server(self) -> None:
        """Start the API server and return when it is ready."""
        policy = self.home.cluster / "audit-policy.json"
        policy.write_text(json.dumps(audit_policy()))
        authority = self.authority
        authority.create()
        serving, kubelet = authority.issue(APISERVER), authority.issue(KUBELET_CLIENT)
        tokens = authority.signing_pair("service-account")
        self.credentials(ADMIN)
        launch(
            self.home,
            "kube-apiserver",
            [
                self.home.bin / "kube-apiserver",
                *apiserver_flags(
                    self.home,
                    self.ports,
                    authority=authority.certificate,
                    serving=serving,
                    kubelet=kubelet,
                    tokens=tokens,
                ),
            ],
        )
        until(
            self.ready,
            doing="Waiting for the API server",
            seconds=READY_SECONDS,
            home=self.home,
            component="kube-apiserver",
        )

    def start_controllers(self) -> None:
        """Start controller manager and scheduler."""
        manager, scheduler = self.credentials(CONTROLLER_MANAGER), self.credentials(SCHEDULER)
        launch(
            self.home,
            "kube-controller-manager",
            [
                self.home.bin / "kube-controller-manager",
                f"--kubeconfig={manager}",
                f"--root-ca-file={self.authority.certificate}",
                f"--cluster-signing-cert-file={self.authority.certificate}",
                f"--cluster-signing-key-file={self.authority.key}",
                f"--service-account-private-key-file={self.home.pki / 'service-account.key'}",
                f"--service-cluster-ip-range={SERVICE_NETWORK}",
                "--use-service-account-credentials=true",
                "--leader-elect=false",
                "--secure-port=0",
                "--profiling=false",
            ],
        )
        launch(
            self.home,
            "kube-scheduler",
            [
                self.home.bin / "kube-scheduler",
                f"--kubeconfig={scheduler}",
                "--leader-elect=false",
                "--secure-port=0",
                "--profiling=false",
            ],
        )

    def ready(self) -> bool:
        """Whether the API server answers its readiness probe."""
        return self.get("/readyz") is not None

    def get(self, path: str) -> bytes | None:
        """Return what the API server says to an administrator; None where it does not answer, or not with success."""
        certificate, key = self.authority.issue(ADMIN)
        trust = ssl.create_default_context(cafile=self.authority.certificate)
        trust.load_cert_chain(certificate, key)
        try:
            url = f"{self.server}{path}"
            with urllib.request.urlopen(url, timeout=2, context=trust) as answer:  # noqa: S310 - always https
                return bytes(answer.read())
        except (urllib.error.URLError, TimeoutError, ConnectionError):
            return None


def etcd_arguments(home: Home, ports: Mapping[str, int]) -> list[str]:
    """Return etcd's command line. Nothing survives a power cut, which is why it is fast."""
    client, peer = (f"http://127.0.0.1:{ports[name]}" for name in ("etcd", "etcd-peer"))
    return [
        str(home.bin / "etcd"),
        "--name=upkeep-lab",
        f"--data-dir={home.cluster / 'etcd'}",
        f"--listen-client-urls={client}",
        f"--advertise-client-urls={client}",
        f"--listen-peer-urls={peer}",
        f"--initial-advertise-peer-urls={peer}",
        f"--initial-cluster=upkeep-lab={peer}",
        "--unsafe-no-fsync",
        f"--quota-backend-bytes={4 << 30}",
        "--log-level=warn",
    ]


def apiserver_flags(
    home: Home,
    ports: Mapping[str, int],
    *,
    authority: Path,
    serving: tuple[Path, Path],
    kubelet: tuple[Path, Path],
    tokens: tuple[Path, Path],
) -> list[str]:
    """Return the API server's flags; pairs are certificate and key, for tokens public and private key."""
    return [
        f"--etcd-servers=http://127.0.0.1:{ports['etcd']}",
        f"--bind-address={NODE_ADDRESS}",
        f"--advertise-address={NODE_ADDRESS}",
        f"--secure-port={ports['apiserver']}",
        f"--service-cluster-ip-range={SERVICE_NETWORK}",
        f"--client-ca-file={authority}",
        f"--tls-cert-file={serving[0]}",
        f"--tls-private-key-file={serving[1]}",
        f"--kubelet-certificate-authority={authority}",
        f"--kubelet-client-certificate={kubelet[0]}",
        f"--kubelet-client-key={kubelet[1]}",
        # Else logs and exec would look the node's name up in DNS.
        "--kubelet-preferred-address-types=InternalIP",
        f"--service-account-issuer={ISSUER}",
        f"--service-account-key-file={tokens[0]}",
        f"--service-account-signing-key-file={tokens[1]}",
        "--authorization-mode=Node,RBAC",
        "--enable-admission-plugins=NodeRestriction",
        "--allow-privileged=true",
        "--max-requests-inflight=2000",
        "--max-mutating-requests-inflight=1000",
        f"--audit-policy-file={home.cluster / 'audit-policy.json'}",
        f"--audit-log-path={home.audit_log}",
        "--audit-log-maxsize=1000",
        "--profiling=false",
    ]


def audit_policy() -> dict[str, Any]:
    """Return the audit policy: who asked for what, for Upkeep's own ServiceAccounts and nobody else."""
    return {
        "apiVersion": "audit.k8s.io/v1",
        "kind": "Policy",
        "omitStages": ["RequestReceived"],
        "rules": [{"level": "Metadata", "userGroups": [OPERATOR_GROUP]}, {"level": "None"}],
    }
