"""The cluster by `kind`, where a container engine answers.

Not tried: no machine that builds this project has a container engine. It is kept so small that reading it is enough:
kind makes the cluster, the engine builds the images, Contour and Envoy come from their own images.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from lab import state, toolchain, tools
from lab.access import KIND_CONTEXT
from lab.command import follow, run, succeeds
from lab.home import SOURCES, TREE
from lab.images import OPERATOR_IMAGE, SHOP_IMAGE
from lab.ingress import CONTOUR, LOOPBACK, ingress_class
from lab.port import PREFERRED, choose

if TYPE_CHECKING:
    from lab.home import Home
    from lab.report import Report

NAME = KIND_CONTEXT.removeprefix("kind-")


def engine() -> str | None:
    """Return the container engine that answers; None if there is none, or no kind to use it with."""
    if shutil.which("kind") is None:
        return None
    return next((name for name in ("docker", "podman") if succeeds([name, "info"])), None)


def up(home: Home, report: Report) -> state.State:
    """Make the cluster unless it is there; Envoy's port in it is a port of this machine's loopback."""
    if (recorded := state.load(home)) and NAME in run(["kind", "get", "clusters"], doing="Asking kind").split():
        return recorded
    made = state.State(kind="kind", context=KIND_CONTEXT, ports=choose({"ingress": PREFERRED["ingress"]}))
    state.save(home, made)
    mapping = {"containerPort": 80, "hostPort": made.ports["ingress"], "listenAddress": LOOPBACK}
    cluster = {
        "kind": "Cluster",
        "apiVersion": "kind.x-k8s.io/v1alpha4",
        "nodes": [{"role": "control-plane", "extraPortMappings": [mapping]}],
    }
    configuration = home.cluster / "kind.json"
    configuration.write_text(json.dumps(cluster))
    command: list[str | Path] = [
        "kind",
        "create",
        "cluster",
        "--name",
        NAME,
        "--config",
        configuration,
        "--wait",
        "120s",
    ]
    with report.step("Making a cluster with kind") as step:
        follow(
            [*command, "--kubeconfig", home.kubeconfig],
            doing="Making a cluster with kind",
            on_line=lambda line: step.advance(detail=line),
        )
    return made


def down(home: Home, report: Report) -> None:
    """Delete the cluster."""
    with report.step("Deleting the cluster"):
        run(
            ["kind", "delete", "cluster", "--name", NAME, "--kubeconfig", home.kubeconfig], doing="Deleting the cluster"
        )
    shutil.rmtree(home.cluster)


def load_images(home: Home, report: Report) -> None:
    """Build the images with the container engine and load them; it keeps what has not changed."""
    builder = engine() or "docker"
    shop = SOURCES / "images" / "shop"
    for image, dockerfile, context in (
        (OPERATOR_IMAGE, TREE / "Dockerfile", TREE),
        (SHOP_IMAGE, shop / "Dockerfile", shop),
    ):
        with report.step(f"Building and loading {image}") as step:
            follow(
                [builder, "build", "--tag", image, "--file", dockerfile, context],
                doing=f"Building {image}",
                on_line=lambda line: step.advance(detail=line),
            )
            archive = home.cluster / "image.tar"
            run([builder, "save", "--output", archive, image], doing=f"Saving {image}")
            run(["kind", "load", "image-archive", archive, "--name", NAME], doing=f"Loading {image}")
            archive.unlink()


def start_ingress(home: Home, report: Report) -> None:
    """Install Contour and Envoy as their project ships them, as the default ingress class."""
    manifest = toolchain.module_directory(CONTOUR) / Path("examples", "render", "contour.yaml")
    kubectl: list[str | Path] = [
        tools.kubectl(home, report),
        f"--kubeconfig={home.kubeconfig}",
        f"--context={KIND_CONTEXT}",
    ]
    with report.step("Installing Contour and Envoy"):
        apply: list[str | Path] = [*kubectl, "apply", "--server-side"]
        run([*apply, f"--filename={manifest}"], doing="Installing Contour and Envoy")
        run([*apply, "--filename=-"], doing="Making Contour the default", stdin=json.dumps(ingress_class()))
        waiting = ["rollout", "status", "daemonset/envoy", "--namespace=projectcontour", "--timeout=300s"]
        run([*kubectl, *waiting], doing="Waiting for Envoy")
