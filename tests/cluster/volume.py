"""A volume that Pods without privileges can write to, also where the cluster makes none by itself."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from cluster.server import CLAIMS, VOLUMES
from cluster.space import Space
from cluster.waiting import until
from lab.access import ClusterAccess
from lab.home import Home

_SIZE: Final = {"storage": "1Gi"}


@contextmanager
def claimed(space: Space, access: ClusterAccess, name: str) -> Iterator[Path | None]:
    """A PersistentVolumeClaim in a namespace; its content goes when the block ends.

    Yields its directory where that is on this machine.
    """
    volume = f"{space.name}-{name}"
    claim: dict[str, object] = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": _SIZE}}
    if access.home_built:
        claim |= {"storageClassName": "", "volumeName": volume}
    body = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": name}, "spec": claim}
    if not access.home_built:
        space.make(body)
        yield None
        return
    # The only node is this machine. `local`, unlike hostPath, makes the directory writable for the Pod's fsGroup.
    directory = Home.from_environment().cluster / "test-volumes" / volume
    directory.mkdir(parents=True)
    anywhere = {"matchExpressions": [{"key": "kubernetes.io/os", "operator": "In", "values": ["linux"]}]}
    spec = {
        "capacity": _SIZE,
        "accessModes": ["ReadWriteOnce"],
        "persistentVolumeReclaimPolicy": "Retain",
        "storageClassName": "",
        "claimRef": {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "namespace": space.name, "name": name},
        "local": {"path": str(directory)},
        "nodeAffinity": {"required": {"nodeSelectorTerms": [anywhere]}},
    }
    metadata = {"name": volume}
    space.server.create({"apiVersion": "v1", "kind": "PersistentVolume", "metadata": metadata, "spec": spec})
    try:
        space.make(body)
        # A Pod that comes before the claim is bound may wait for minutes until the scheduler looks at it again.
        until(
            lambda: space.status(CLAIMS, name),
            lambda status: status.get("phase") == "Bound",
            what=f"claim {name} is bound",
            seconds=60,
        )
        yield directory
    finally:
        space.server.delete(VOLUMES, None, volume)
        shutil.rmtree(directory, ignore_errors=True)
