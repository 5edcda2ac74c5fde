"""Brings a cluster of real Kubernetes programs up on this very machine, and takes it down to the last trace.

It must never signal, unmount or delete anything but what it made, and needs root for what Linux reserves to root:
namespaces, mounts, a bridge.
"""

from __future__ import annotations

import json
import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from lab import cgroup, debian, images, mount, network, runtime, toolchain
from lab.controlplane import CONTEXT, ControlPlane
from lab.failure import LabError
from lab.node import NAME, Node
from lab.port import PREFERRED, choose
from lab.process import end, records, running, started, stop
from lab.state import State, load, save, this_boot
from lab.waiting import until

if TYPE_CHECKING:
    from lab.archive import Archive
    from lab.home import Home
    from lab.report import Report, Step

COMPONENTS = (
    "etcd",
    "containerd",
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
    "kubelet",
    "kube-proxy",
    "coredns",
)
"""In the order in which they start."""

FIXED_DIRECTORIES = (
    "/var/log/containers",
    "/var/lib/cni/results",
    "/var/lib/cni",
    "/var/lib/kubelet/device-plugins",
    "/var/lib/kubelet",
    "/run/containerd/s",
    "/run/containerd",
)
"""Places that the programs insist on; each goes when it is empty."""

NODE_SECONDS = 60
LONGEST_SOCKET_PATH = 107


def up(home: Home, report: Report) -> State:
    """Bring the cluster up, or what is missing of it, and return what was decided.

    Raises:
        LabError: this machine cannot run it; the message says what to do.
    """
    require_root()
    require_short_path(home)
    debian.ensure({**debian.CLUSTER, **debian.IMAGES}, report)
    toolchain.build(home, report)
    pause = images.pause(home, report)
    state = load(home)
    if state and state.boot == this_boot() and all(running(home, name) for name in COMPONENTS):
        return state
    if state is None or state.boot != this_boot() or not any(running(home, name) for name in COMPONENTS):
        state = _begin(home, report)
    with report.step("Starting the cluster", total=len(COMPONENTS)) as step:
        _start(home, state, pause=pause, step=step)
    return state


def down(home: Home, report: Report) -> None:
    """Stop everything and leave nothing behind but the logs and the caches."""
    state = load(home)
    if state is None:
        # Whatever there may be under the same names is that of a lab with another cache.
        report.say("There is no cluster.")
        return
    require_root()
    with report.step("Stopping the cluster") as step:
        for record in reversed(records(home)):
            if record.name != "containerd":
                step.advance(detail=record.name)
                stop(home, record.name)
        step.advance(detail="Pods")
        cgroup.kill()
        _stop_runtime(home)
    with report.step("Removing mounts, network and files"):
        mount.release(home.root)
        cgroup.remove()
        network.remove()
        network.restore_settings(state.settings if state.boot == this_boot() else {})
        remove_traces(home)
        for path in home.cluster.iterdir():
            if path not in (home.logs, home.state):
                _delete(path)
        home.state.unlink(missing_ok=True)


def _stop_runtime(home: Home) -> None:
    if running(home, "containerd"):
        runtime.forget_containers(home)
    else:
        # Nobody is left to ask, so what it knows of containers cannot be told from what it knows of images.
        shutil.rmtree(home.layers, ignore_errors=True)
    stop(home, "containerd")
    for pid in shims(home):
        if (ticks := started(pid)) is not None:
            end(pid, ticks)


def require_root() -> None:
    """Raise if the caller may not do what a kubelet does."""
    if os.geteuid() != 0:
        message = (
            "A home-built cluster makes namespaces, mounts and a bridge, which needs root. Run this as root (sudo -E), "
            "or start a container engine with kind installed, or name a cluster of your own: UPKEEP_CONTEXT=<context>."
        )
        raise LabError(message)


def shims(home: Home) -> list[int]:
    """Return the pids of containerd's shims that belong to the lab's own containerd."""
    found = []
    for directory in Path("/proc").iterdir():
        if directory.name.isdecimal():
            try:
                words = (directory / "cmdline").read_bytes().decode(errors="replace").split("\0")
            except (FileNotFoundError, ProcessLookupError):
                continue
            if serves(words, socket=str(home.containerd_socket)):
                found.append(int(directory.name))
    return found


def serves(words: list[str], *, socket: str) -> bool:
    """Whether a command line is that of a shim of the containerd behind `socket`."""
    return words[0].rpartition("/")[2] == "containerd-shim-runc-v2" and socket in words


def remove_traces(home: Home) -> None:
    """Remove what kubelet, CNI and containerd leave in places that cannot be configured, if it is the lab's own."""
    for link in Path("/var/log/containers").glob("*.log"):
        if link.is_symlink() and link.readlink().is_relative_to(home.cluster):
            link.unlink()
    for result in Path("/var/lib/cni/results").glob(f"{CONTEXT}-*-eth0"):
        sandbox = result.name.removeprefix(f"{CONTEXT}-").removesuffix("-eth0")
        result.with_name(f"cni-loopback-{sandbox}-lo").unlink(missing_ok=True)
        result.unlink()
    for name in ("DEPRECATION", "kubelet.sock", "kubelet_internal_checkpoint"):
        Path("/var/lib/kubelet/device-plugins", name).unlink(missing_ok=True)
    for directory in FIXED_DIRECTORIES:
        path = Path(directory)
        if path.is_dir() and not any(path.iterdir()):
            path.rmdir()


def _begin(home: Home, report: Report) -> State:
    """Clear what an earlier cluster left, choose ports and record how the machine was."""
    if load(home) is not None:
        down(home, report)
    elif network.bridge_exists() or network.proxy_table_exists():
        message = (
            f"This machine already has a bridge {network.BRIDGE} or a kube-proxy that this lab has no record of: a "
            "Kubernetes node runs here, or a lab with another UPKEEP_CACHE. Take that one down first."
        )
        raise LabError(message)
    shutil.rmtree(home.logs, ignore_errors=True)
    state = State(
        kind="home-built",
        context=CONTEXT,
        ports=choose(PREFERRED),
        settings=network.read_settings(),
        boot=this_boot(),
    )
    save(home, state)
    return state


def _start(home: Home, state: State, *, pause: Archive, step: Step) -> None:
    network.raise_bridge()
    network.change_settings()
    network.open_firewall()
    cgroup.create()
    plane = ControlPlane(home=home, ports=state.ports)
    node = Node(plane=plane)

    def containers() -> None:
        node.start_runtime()
        runtime.load(home, pause)
        step.advance(detail="containerd answers")

    def server() -> None:
        plane.start_store()
        plane.start_server()
        step.advance(by=2, detail="the API server is ready")

    with ThreadPoolExecutor(max_workers=2) as pool:
        waiting = [pool.submit(containers), pool.submit(server)]
    for done in waiting:
        done.result()
    plane.start_controllers()
    step.advance(by=2, detail="controllers started")
    node.start_agents()
    step.advance(by=3, detail="waiting for the node to be ready")
    until(
        lambda: node_ready(plane.get(f"/api/v1/nodes/{NAME}")),
        doing="Waiting for the node",
        seconds=NODE_SECONDS,
        home=home,
        component="kubelet",
    )


def node_ready(answer: bytes | None) -> bool:
    """Whether a Node, as the API server gave it, says that it is ready."""
    if answer is None:
        return False
    conditions = json.loads(answer).get("status", {}).get("conditions", [])
    return any(held["type"] == "Ready" and held["status"] == "True" for held in conditions)


def require_short_path(home: Home) -> None:
    """Raise if containerd's socket would have a longer path than Linux allows."""
    if len(str(home.containerd_socket)) + len(".ttrpc") > LONGEST_SOCKET_PATH:
        message = f"{home.root} is too long a path for Unix sockets. Name a shorter directory by UPKEEP_CACHE."
        raise LabError(message)


def _delete(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()
