"""An S3 server in a namespace of a test, on a volume that the test can look into."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from cluster.manifests import pod, service
from cluster.space import Space
from cluster.volume import claimed
from lab.access import ClusterAccess
from lab.s3 import versitygw

if TYPE_CHECKING:
    from cluster.kubectl import Object

PORT: Final = 7070
ENDPOINT: Final = f"http://s3:{PORT}"
BUCKET: Final = "backups"
_START: Final = (
    f"mkdir -p /data/buckets/{BUCKET} && cd /data && exec ./versitygw --port :{PORT} --quiet posix --nometa buckets"
)


@contextmanager
def s3_server(space: Space, access: ClusterAccess, *, login: str) -> Iterator[Path]:
    """A server `s3` with one bucket, whose directory is yielded; the Secret `login` has its `password`.

    Only a cluster that was built here has volumes into which its program can be put.
    """
    with claimed(space, access, "s3") as directory:
        assert directory
        shutil.copy(versitygw(), directory)
        keys: list[Object] = [
            {"name": "ROOT_ACCESS_KEY", "valueFrom": {"secretKeyRef": {"name": login, "key": "accessKeyId"}}},
            {"name": "ROOT_SECRET_KEY", "valueFrom": {"secretKeyRef": {"name": login, "key": "secretAccessKey"}}},
        ]
        container = {
            "name": "s3",
            "image": access.shop_image,
            "imagePullPolicy": "IfNotPresent",
            "command": ["/bin/sh", "-c", _START],
            "env": keys,
            "readinessProbe": {"tcpSocket": {"port": PORT}, "periodSeconds": 1},
            "volumeMounts": [{"name": "data", "mountPath": "/data"}],
        }
        volumes: list[Object] = [{"name": "data", "persistentVolumeClaim": {"claimName": "s3"}}]
        space.make(service("s3", PORT), pod("s3", container, volumes=volumes))
        space.ready("s3")
        yield directory / "buckets" / BUCKET
