"""`upkeep restore`: takes Ingresses and routes off their maintenance page without the operator.

It needs nothing but the kubeconfig of somebody who may patch them: the undo records stand on the objects themselves.
"""

import argparse
import asyncio
import contextlib
import sys
from collections.abc import Sequence

from upkeep.cli.namespace import add_namespace
from upkeep.cluster.client import Client, Object
from upkeep.cluster.errors import ApiError, NotFoundError
from upkeep.cluster.resources import INGRESSES, TARGETS, Resource
from upkeep.controller.targets import companions_in, in_maintenance
from upkeep.domain.maintenance import (
    MODE_LABEL,
    OVERLAY,
    UndoRecordError,
    companion_target,
    forget_ownership,
    holders,
    release,
)


def main(arguments: Sequence[str]) -> int:
    """Restore; the exit code is 0 when nothing is left on a page."""
    parser = argparse.ArgumentParser(prog="upkeep restore", description=__doc__)
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--all", action="store_true", help="everything in maintenance mode, in all namespaces")
    which.add_argument("target", nargs="?", type=_target, help="one of them: shop or ingress/shop, httproute/shop, …")
    add_namespace(parser, "namespace of the target")
    chosen = parser.parse_args(arguments)
    return asyncio.run(_restore(chosen.namespace, None if chosen.all else chosen.target))


def _target(text: str) -> tuple[Resource, str]:
    kind, _, name = text.rpartition("/")
    known = {resource.kind.lower(): resource for resource in TARGETS.values()}
    if kind and kind.lower() not in known:
        msg = f"{kind} cannot be in maintenance mode; the kinds are: {', '.join(known)}"
        raise argparse.ArgumentTypeError(msg)
    return known.get(kind.lower(), INGRESSES), name


async def _restore(namespace: str, wanted: tuple[Resource, str] | None) -> int:
    async with await Client.connect() as client:
        if wanted:
            resource, name = wanted
            results = await _restore_each(client, [await client.get(resource, namespace, name)])
            await _remove_companions(client, resource, namespace, of=f"{resource.kind}/{name}")
        else:
            results = await restore_all(client)
    return 0 if all(results) else 1


async def restore_all(client: Client, namespaces: Sequence[str] = ()) -> list[bool]:
    """Restore all that is in maintenance mode, in these namespaces or in all; of each, whether it is off its page.

    Raises:
        ApiError: the API server did not say what there is.
    """
    found = [
        item
        for resource in TARGETS.values()
        for namespace in namespaces or (None,)
        for item in await in_maintenance(client, resource, namespace)
    ]
    results = await _restore_each(client, found)
    for resource in TARGETS.values():
        for namespace in namespaces or (None,):
            results += [True] * await _remove_companions(client, resource, namespace)
    return results


async def _restore_each(client: Client, found: Sequence[Object]) -> list[bool]:
    results = [await _restore_one(client, item) for item in found]
    sys.stdout.write(f"{sum(results)} of {len(results)} targets are off their maintenance page.\n")
    return results


async def _remove_companions(client: Client, resource: Resource, namespace: str | None, *, of: str = "") -> int:
    """Remove the routes of Upkeep's own beside one target, or beside all; returns how many pages lay over targets."""
    pages = 0
    for item in await companions_in(client, resource, namespace):
        if of not in {"", companion_target(item)}:
            continue
        metadata = item["metadata"]
        with contextlib.suppress(NotFoundError):
            await client.delete(resource, metadata["namespace"], metadata["name"], uid=metadata["uid"])
            title = f"{resource.kind} {metadata['namespace']}/{metadata['name']}"
            sys.stdout.write(f"{title}: removed, beside {companion_target(item)}\n")
            pages += metadata["labels"][MODE_LABEL] == OVERLAY
    return pages


async def _restore_one(client: Client, item: Object) -> bool:
    resource, namespace, name = TARGETS[item["kind"]], item["metadata"]["namespace"], item["metadata"]["name"]
    title = f"{resource.kind} {namespace}/{name}"
    try:
        answer = release(item, *(holder.uid for holder in holders(item)))
        if answer.patch is None:
            sys.stdout.write(f"{title}: {'; '.join(answer.conflicts) or 'not in maintenance mode'}\n")
            return not answer.conflicts
        restored = await client.patch(resource, namespace, name, answer.patch)
        if forget := forget_ownership(restored):
            await client.patch(resource, namespace, name, forget)
    except (ApiError, UndoRecordError) as problem:
        sys.stderr.write(f"{title}: {problem}\n")
        return False
    for conflict in answer.conflicts:
        sys.stdout.write(f"{title}: left as it is: {conflict}\n")
    sys.stdout.write(f"{title}: restored\n")
    return True
