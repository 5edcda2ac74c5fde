"""Which kind of cluster this machine uses, and each command for it.

In this order: a context of the user's, named by UPKEEP_CONTEXT; kind, where a container engine answers; else one that
is built here. A cluster that is up stays what it is, whatever has been installed meanwhile.
"""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING

from lab import certmanager, debian, homebuilt, images, ingress, kind, state, traefik
from lab.access import ClusterAccess, connect
from lab.failure import LabError

if TYPE_CHECKING:
    from lab.home import Home
    from lab.report import Report
    from lab.state import State


def given() -> str | None:
    """Return the context of the user's own that is to be used."""
    return os.environ.get("UPKEEP_CONTEXT") or None


def up(home: Home, report: Report) -> ClusterAccess:
    """Bring the cluster up; what is up already stays as it is.

    Raises:
        LabError: this machine cannot run one; the message says what to do.
    """
    if given() is None:
        recorded = state.load(home)
        if recorded.kind == "kind" if recorded else kind.engine():
            kind.up(home, report)
        else:
            homebuilt.up(home, report)
    return connect(home)


def down(home: Home, report: Report) -> None:
    """Remove the lab's own cluster; a context of the user's is left alone."""
    if named := given():
        report.say(f"UPKEEP_CONTEXT={named} is a cluster of your own: it stays as it is.")
        return
    recorded = state.load(home)
    if recorded and recorded.kind == "kind":
        kind.down(home, report)
    else:
        homebuilt.down(home, report)


def load_images(home: Home, report: Report) -> None:
    """Build the images that have changed and load them into the cluster.

    Raises:
        LabError: there is no cluster, or an image cannot be built.
    """
    if given():
        access = connect(home)
        report.say(f"{access.context} runs the images that you named: {access.image}, {access.shop_image}.")
    elif _recorded(home).kind == "kind":
        kind.load_images(home, report)
    else:
        debian.ensure(debian.IMAGES, report)
        images.load_all(home, report)


def start_ingress(home: Home, report: Report) -> str | None:
    """Serve the cluster's Ingresses; return the URL, None if nobody but the user can know.

    Raises:
        LabError: there is no cluster, or the ingress does not start.
    """
    if given() is None:
        recorded = _recorded(home)
        if recorded.kind == "kind":
            kind.start_ingress(home, report)
        else:
            ingress.up(home, recorded, report)
        state.save(home, replace(recorded, ingress=True))
    return connect(home).ingress_url


def start_traefik(home: Home, report: Report) -> str | None:
    """Start the second data plane; return its URL, None where the cluster is not one that was built here.

    Raises:
        LabError: there is no cluster, or Traefik cannot be built or does not start.
    """
    if given() or _recorded(home).kind != "home-built":
        return None
    return traefik.up(home, _recorded(home), report)


def start_certmanager(home: Home, report: Report) -> bool:
    """Start cert-manager; return False where the cluster is not one that was built here.

    Raises:
        LabError: there is no cluster, or cert-manager cannot be built or started.
    """
    if given() or _recorded(home).kind != "home-built":
        return False
    certmanager.up(home, _recorded(home), report)
    return True


def _recorded(home: Home) -> State:
    recorded = state.load(home)
    if recorded is None:
        message = "There is no cluster. Bring one up: make cluster."
        raise LabError(message)
    return recorded
