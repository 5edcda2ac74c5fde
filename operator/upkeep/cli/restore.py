"""`upkeep restore`: takes Ingresses off their maintenance page without the operator.

It needs nothing but the kubeconfig of somebody who may patch Ingresses: the undo records stand on the Ingresses.
"""

import argparse
import asyncio
import sys
from collections.abc import Sequence

from upkeep.cluster.client import Client, Object
from upkeep.cluster.errors import ApiError
from upkeep.cluster.resources import INGRESSES
from upkeep.domain.maintenance import MODE_LABEL, UndoRecordError, forget_ownership, holders, release


def main(arguments: Sequence[str]) -> int:
    """Restore; the exit code is 0 when nothing is left on a page."""
    parser = argparse.ArgumentParser(prog="upkeep restore", description=__doc__)
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--all", action="store_true", help="every Ingress in maintenance mode, in all namespaces")
    which.add_argument("name", nargs="?", help="one Ingress")
    parser.add_argument("-n", "--namespace", default="default", help="namespace of the Ingress")
    chosen = parser.parse_args(arguments)
    return asyncio.run(_restore(None if chosen.all else (chosen.namespace, chosen.name)))


async def _restore(wanted: tuple[str, str] | None) -> int:
    async with await Client.connect() as client:
        if wanted:
            found = [await client.get(INGRESSES, *wanted)]
        else:
            pages = client.list_pages(INGRESSES, selector=f"{MODE_LABEL}=on")
            found = [item async for page in pages for item in page["items"]]
        results = [await _restore_one(client, ingress) for ingress in found]
    sys.stdout.write(f"{sum(results)} of {len(results)} Ingresses are off their maintenance page.\n")
    return 0 if all(results) else 1


async def _restore_one(client: Client, ingress: Object) -> bool:
    namespace, name = ingress["metadata"]["namespace"], ingress["metadata"]["name"]
    try:
        answer = release(ingress, *(holder.uid for holder in holders(ingress)))
        if answer.patch is None:
            sys.stdout.write(f"{namespace}/{name}: {'; '.join(answer.conflicts) or 'not in maintenance mode'}\n")
            return not answer.conflicts
        restored = await client.patch(INGRESSES, namespace, name, answer.patch)
        if forget := forget_ownership(restored):
            await client.patch(INGRESSES, namespace, name, forget)
    except (ApiError, UndoRecordError) as problem:
        sys.stderr.write(f"{namespace}/{name}: {problem}\n")
        return False
    for conflict in answer.conflicts:
        sys.stdout.write(f"{namespace}/{name}: left as it is: {conflict}\n")
    sys.stdout.write(f"{namespace}/{name}: restored\n")
    return True
