"""How tests and the demo get at the lab's cluster, and the one place that decides which clusters may be used.

It must never hand out a context that is neither the lab's own nor named by the caller in UPKEEP_CONTEXT.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lab import ingress, state, tools, traefik
from lab.command import run
from lab.controlplane import CONTEXT
from lab.failure import LabError
from lab.home import Home
from lab.images import OPERATOR_IMAGE, SHOP_IMAGE
from lab.process import running

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

KIND_CONTEXT = "kind-upkeep"
OWN_CONTEXTS = frozenset({CONTEXT, KIND_CONTEXT})


@dataclass(frozen=True, slots=True)
class ClusterAccess:
    """A cluster that may be used, and what runs in it."""

    kubeconfig: Path
    """Holds `context` as its current context, and its credentials."""
    context: str
    image: str
    """Upkeep's own image, as Pods of this cluster can name it."""
    shop_image: str
    """Image of the demo's shop, likewise."""
    ingress_url: str | None
    """Where the cluster's Ingresses are served, told apart by Host header; None where nothing serves them."""
    traefik_url: str | None
    """Where Traefik serves its class, its IngressRoutes and its Gateway; None where nobody started it."""
    home_built: bool
    """Whether the cluster's programs run on this machine as processes of the lab."""
    audit_log: Path | None
    """What Upkeep's ServiceAccounts asked of the API server; None where the lab has no control over that."""


def connect(home: Home | None = None, environment: Mapping[str, str] | None = None) -> ClusterAccess:
    """Return access to the cluster named by UPKEEP_CONTEXT, else to the lab's own.

    Raises:
        LabError: there is none that may be used; the message says what to do.
    """
    environment = os.environ if environment is None else environment
    home = home or Home.from_environment(environment)
    if named := environment.get("UPKEEP_CONTEXT"):
        return _given(home, named, environment)
    recorded = state.load(home)
    if recorded is None:
        message = "There is no cluster. Bring one up: make cluster."
        raise LabError(message)
    require_permitted(recorded.context, named=None)
    home_built = recorded.kind == "home-built"
    if home_built and not running(home, "kube-apiserver"):
        message = "The cluster is not running (any more). Bring it up again: make cluster."
        raise LabError(message)
    return ClusterAccess(
        kubeconfig=home.kubeconfig,
        context=recorded.context,
        image=OPERATOR_IMAGE,
        shop_image=SHOP_IMAGE,
        ingress_url=ingress.address(recorded) if recorded.ingress else None,
        traefik_url=traefik.address(recorded) if home_built and traefik.serves(home, recorded) else None,
        home_built=home_built,
        audit_log=home.audit_log if home_built else None,
    )


def require_permitted(context: str, *, named: str | None) -> None:
    """Raise unless `context` is one of the lab's own, or the one that the caller named."""
    if context not in OWN_CONTEXTS and context != named:
        message = (
            f"The context {context} is not the lab's ({', '.join(sorted(OWN_CONTEXTS))}). "
            f"If it may be used and changed, say so: UPKEEP_CONTEXT={context}."
        )
        raise LabError(message)


def _given(home: Home, named: str, environment: Mapping[str, str]) -> ClusterAccess:
    """Take one context out of the user's kubeconfig, so that nothing can stray to another."""
    missing = [name for name in ("UPKEEP_IMAGE", "UPKEEP_SHOP_IMAGE") if not environment.get(name)]
    if missing:
        message = (
            f"UPKEEP_CONTEXT={named} names a cluster of your own. Say which images it shall run: build them "
            "(Dockerfile, tests/lab/images/shop/Dockerfile), push them where it can pull, and set "
            f"{' and '.join(missing)}."
        )
        raise LabError(message)
    view: list[str | Path] = [
        tools.kubectl(home),
        "config",
        "view",
        "--minify",
        "--flatten",
        f"--context={named}",
        "--output=json",
    ]
    text = run(view, doing=f"Reading the context {named} from your kubeconfig", env=dict(environment))
    kubeconfig = home.root / "given.kubeconfig"
    home.root.mkdir(parents=True, exist_ok=True)
    draft = kubeconfig.with_suffix(".tmp")
    draft.touch(mode=0o600)
    draft.write_text(text)
    draft.replace(kubeconfig)
    return ClusterAccess(
        kubeconfig=kubeconfig,
        context=named,
        image=environment["UPKEEP_IMAGE"],
        shop_image=environment["UPKEEP_SHOP_IMAGE"],
        ingress_url=environment.get("UPKEEP_INGRESS_URL"),
        traefik_url=None,
        home_built=False,
        audit_log=None,
    )
