"""`upkeep retire`: what comes before an uninstallation, so that nobody is left behind a maintenance page.

It stops the operator, which would send users to the page again, takes everything off its page, lets go of the windows
and removes their pages. What runs as a Job goes on. Without this command, `upkeep restore --all` does the main part.
"""

import argparse
import asyncio
import os
import sys
from collections.abc import Sequence
from typing import Final

from upkeep.cli.restore import restore_all
from upkeep.cluster.client import Client, Object
from upkeep.cluster.errors import ApiError, NotFoundError
from upkeep.cluster.resources import CONFIG_MAPS, DEPLOYMENTS, PODS, SERVICES, WINDOWS, Resource
from upkeep.domain.identity import FINALIZER
from upkeep.resources.page import PAGES

_PATIENCE: Final = 60.0
_POLL: Final = 0.5
_LINGER: Final = 15.0
"""Routers may still send somebody to a page for a moment."""


def main(arguments: Sequence[str]) -> int:
    """Retire; the exit code is 0 when nothing is left on a page."""
    parser = argparse.ArgumentParser(prog="upkeep retire", description=__doc__)
    parser.add_argument("--deployment", required=True, help="name of the operator's Deployment")
    parser.add_argument(
        "--namespace", default=os.environ.get("UPKEEP_NAMESPACE", "upkeep-system"), help="its namespace"
    )
    parser.add_argument("--selector", required=True, help="labels of the operator's Pods, for example app=upkeep")
    chosen = parser.parse_args(arguments)
    served = [name for name in os.environ.get("UPKEEP_WATCH_NAMESPACES", "").split(",") if name]
    return asyncio.run(_retire(chosen.namespace, chosen.deployment, chosen.selector, served))


async def _retire(namespace: str, deployment: str, selector: str, served: Sequence[str]) -> int:
    async with await Client.connect() as client:
        try:
            await _stop(client, namespace, deployment, selector)
            done = await restore_all(client, served)
            await _let_go(client, served)
            await _remove_pages(client, served, shown=bool(done))
        except (ApiError, TimeoutError) as problem:
            sys.stderr.write(f"{problem}\n")
            return 1
    return 0 if all(done) else 1


async def _stop(client: Client, namespace: str, deployment: str, selector: str) -> None:
    """Stop the operator, and wait until it is gone.

    Raises:
        TimeoutError: it does not go.
    """
    try:
        await client.patch(DEPLOYMENTS, namespace, deployment, {"spec": {"replicas": 0}})
    except NotFoundError:
        return
    try:
        async with asyncio.timeout(_PATIENCE):
            while await _listed(client, PODS, namespace, selector):  # noqa: ASYNC110 - the API tells it only when asked
                await asyncio.sleep(_POLL)
    except TimeoutError as problem:
        msg = f"the operator {namespace}/{deployment} still runs: delete its Pods, then try again"
        raise TimeoutError(msg) from problem
    sys.stdout.write(f"The operator {namespace}/{deployment} is stopped.\n")


async def _let_go(client: Client, served: Sequence[str]) -> None:
    """Take our finalizer off all windows: nobody would do that any more."""
    for window in await _served(client, WINDOWS, served, ""):
        metadata = window["metadata"]
        if FINALIZER not in metadata.get("finalizers", ()):
            continue
        others = [name for name in metadata["finalizers"] if name != FINALIZER]
        patch = {"metadata": {"resourceVersion": metadata["resourceVersion"], "finalizers": others}}
        await client.patch(WINDOWS, metadata["namespace"], metadata["name"], patch)
        sys.stdout.write(f"MaintenanceWindow {metadata['namespace']}/{metadata['name']}: let go\n")


async def _remove_pages(client: Client, served: Sequence[str], *, shown: bool) -> None:
    """Remove what pages consist of; when one was `shown`, once nobody can be on the way to it any more."""
    if shown:
        await asyncio.sleep(_LINGER)
    for resource in (DEPLOYMENTS, SERVICES, CONFIG_MAPS):
        for item in await _served(client, resource, served, PAGES):
            metadata = item["metadata"]
            try:
                await client.delete(resource, metadata["namespace"], metadata["name"], uid=metadata["uid"])
            except NotFoundError:
                continue


async def _served(client: Client, resource: Resource, namespaces: Sequence[str], selector: str) -> list[Object]:
    """What there is in these namespaces, or in all."""
    return [
        item for namespace in namespaces or (None,) for item in await _listed(client, resource, namespace, selector)
    ]


async def _listed(client: Client, resource: Resource, namespace: str | None, selector: str) -> list[Object]:
    pages = client.list_pages(resource, namespace, selector=selector)
    return [item async for page in pages for item in page["items"]]
