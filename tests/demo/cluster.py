"""kubectl, helm and HTTP, as a user of the cluster has them."""

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import httpx

from lab import tools
from lab.access import ClusterAccess
from lab.command import run

ROOT: Final = Path(__file__).resolve().parents[2]
OPERATOR_NAMESPACE: Final = "upkeep-system"
SHOP: Final = "shop"


@dataclass(frozen=True, slots=True)
class Cluster:
    """The cluster of the demo."""

    access: ClusterAccess
    environment: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, access: ClusterAccess) -> "Cluster":
        """The cluster that `access` leads to; commands see no other kubeconfig."""
        environment = {**os.environ, "KUBECONFIG": str(access.kubeconfig)}
        return cls(access=access, environment=environment)

    def kubectl(self, *arguments: str, stdin: str | None = None) -> str:
        """What a kubectl command prints."""
        words: list[str | Path] = [tools.kubectl(), f"--context={self.access.context}", *arguments]
        return run(words, doing=f"kubectl {' '.join(arguments[:4])}", env=self.environment, stdin=stdin)

    def helm(self, *arguments: str) -> str:
        """What a helm command prints."""
        words: list[str | Path] = [tools.helm(), f"--kube-context={self.access.context}", *arguments]
        return run(words, doing=f"helm {' '.join(arguments[:3])}", env=self.environment)

    def get(self, kind: str, name: str, namespace: str = SHOP) -> dict[str, Any]:
        """One object."""
        found: dict[str, Any] = json.loads(
            self.kubectl("get", kind, name, "-n", namespace, "-o", "json", "--show-managed-fields")
        )
        return found

    def list(self, kind: str, namespace: str = SHOP, selector: str = "") -> list[dict[str, Any]]:
        """The objects of a kind."""
        chosen = ["-l", selector] if selector else []
        items: list[dict[str, Any]] = json.loads(self.kubectl("get", kind, "-n", namespace, "-o", "json", *chosen))[
            "items"
        ]
        return items

    def apply(self, *manifests: dict[str, Any]) -> None:
        """`kubectl apply` of objects that are made here."""
        self.kubectl("apply", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": manifests}))

    def sql(self, query: str) -> str:
        """What a query answers, asked in the database's own Pod."""
        words = ["psql", "-h", "/var/lib/shop", "-U", "postgres", "-d", "shop", "-At", "-c", query]
        return self.kubectl("exec", "-n", SHOP, "shop-db-0", "-c", "postgres", "--", *words).strip()

    def fetch(self, path: str = "/", accept: str = "text/html") -> httpx.Response:
        """What a user of the shop gets, through the Ingress."""
        return httpx.get(
            f"{self.access.ingress_url}{path}",
            headers={"Host": "shop.localhost", "Accept": accept},
            timeout=5.0,
        )
