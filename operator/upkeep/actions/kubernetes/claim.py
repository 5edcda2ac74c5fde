"""Who uses a volume, as far as the task's ServiceAccount may see it."""

import os
from collections.abc import Iterator
from typing import Final

from upkeep.actions.kubernetes.session import MOUNTED, AwayError, DeniedError, Object, cluster

_OVER: Final = frozenset({"Succeeded", "Failed"})


async def pods_with(claim: str) -> list[str]:
    """Names of the Pods of this namespace, besides this one, that mount a claim and have not ended.

    None where that cannot be seen: without a ServiceAccount, or without the right to list Pods.
    """
    if not (MOUNTED / "token").is_file():
        return []
    found, own = [], os.environ.get("HOSTNAME", "")
    try:
        async with cluster() as api:
            async for pod in api.listed(f"/api/v1/namespaces/{api.namespace}/pods"):
                name = str(pod["metadata"]["name"])
                over = pod.get("status", {}).get("phase") in _OVER
                # A host name has at most 63 characters; that of a Pod can be longer.
                if not over and claim in _claims(pod) and not (own and name.startswith(own)):
                    found.append(name)
    except (AwayError, DeniedError):
        return []
    return found


def _claims(pod: Object) -> Iterator[str]:
    for volume in pod["spec"].get("volumes") or ():
        if reference := volume.get("persistentVolumeClaim"):
            yield str(reference["claimName"])
