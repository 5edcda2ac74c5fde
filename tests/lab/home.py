"""Where everything of the lab lies on disk, so that no other module builds a path of its own.

It must never point into the source tree: builds and clusters are shared by every checkout of one user.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

TREE = Path(__file__).resolve().parents[2]
"""The checkout: where the Dockerfile and `operator/` are."""

SOURCES = Path(__file__).resolve().parent
"""The lab's own folder in the checkout: Go module, Dockerfiles, lock file."""


@dataclass(frozen=True, slots=True)
class Home:
    """The lab's directories under one cache root."""

    root: Path

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> Home:
        """Find the root: `UPKEEP_CACHE`, else `upkeep` under the user's cache directory (XDG)."""
        environment = os.environ if environment is None else environment
        if named := environment.get("UPKEEP_CACHE"):
            return cls(root=Path(named).absolute())
        caches = environment.get("XDG_CACHE_HOME") or str(Path(environment.get("HOME", "~")).expanduser() / ".cache")
        return cls(root=Path(caches).absolute() / "upkeep")

    @property
    def bin(self) -> Path:
        """Programs that were built or unpacked once and are used by every cluster."""
        return self.root / "bin"

    @property
    def images(self) -> Path:
        """Image archives, the layers they are built from, and the hashes of what went in."""
        return self.root / "images"

    @property
    def layers(self) -> Path:
        """containerd's store of unpacked images, which outlives a cluster: unpacking takes longer than all else."""
        return self.images / "containerd"

    @property
    def cluster(self) -> Path:
        """Everything of the running cluster; `down` empties it."""
        return self.root / "cluster"

    @property
    def logs(self) -> Path:
        """One log file a component; `down` keeps them, the next `up` starts them afresh."""
        return self.cluster / "logs"

    @property
    def pki(self) -> Path:
        """Keys and certificates of the running cluster."""
        return self.cluster / "pki"

    @property
    def kubeconfig(self) -> Path:
        """What people and tests connect with."""
        return self.cluster / "kubeconfig"

    @property
    def state(self) -> Path:
        """What `up` decided: kind of cluster, ports, kernel settings as they were before."""
        return self.cluster / "cluster.json"

    @property
    def processes(self) -> Path:
        """One record a started process."""
        return self.cluster / "processes"

    @property
    def audit_log(self) -> Path:
        """What Upkeep's own ServiceAccounts asked of the API server, one JSON object a line."""
        return self.logs / "audit.log"

    @property
    def containerd_socket(self) -> Path:
        """Where containerd answers."""
        return self.cluster / "containerd.sock"
