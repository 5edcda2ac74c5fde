"""Chooses ports to listen on: the lab's are the same every time where they are free; any free one for a test."""

from __future__ import annotations

import random
import socket
from contextlib import ExitStack

PREFERRED = {
    "etcd": 26379,
    "etcd-peer": 26380,
    "apiserver": 26443,
    "kubelet": 26250,
    "kube-proxy": 26249,
    "kube-proxy-health": 26248,
    "ingress": 26080,
    "ingress-tls": 26081,
    "envoy-admin": 26087,
    "envoy-stats": 26082,
    "contour-xds": 26083,
    "contour-health": 26084,
    "contour-metrics": 26085,
    "contour-debug": 26086,
}
"""Below the range that Linux hands out to outgoing connections, so that a choice is not overtaken."""

_FREE = range(10_000, 26_000)
"""Below the preferred ones, for the same reason."""


def choose(preferred: dict[str, int]) -> dict[str, int]:
    """Return a free port for every name: the preferred one, or whichever the kernel gives.

    All are held until all are chosen, so that no two names get the same.
    """
    chosen: dict[str, int] = {}
    with ExitStack() as held:
        for name, number in preferred.items():
            listener = held.enter_context(socket.socket())
            try:
                listener.bind(("", number))
            except OSError:
                listener.bind(("", 0))
            chosen[name] = listener.getsockname()[1]
    return chosen


def free_port() -> int:
    """A TCP port of the loopback that nobody listens on, for a server that starts soon after."""
    while True:
        port = random.choice(_FREE)  # noqa: S311 - chance keeps tests side by side apart, it protects nothing
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port
