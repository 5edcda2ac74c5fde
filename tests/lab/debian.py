"""Programs that come from Debian, installed only where they are missing.

It must never upgrade or remove anything, nor start a service.
"""

from __future__ import annotations

import os
import shutil
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from lab.command import follow
from lab.failure import LabError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from lab.report import Report, Step

CLUSTER = {
    "containerd": "containerd",
    "ctr": "containerd",
    "runc": "runc",
    "ip": "iproute2",
    "nft": "nftables",
    "iptables": "iptables",
    "/usr/lib/cni/bridge": "containernetworking-plugins",
    "conntrack": "conntrack",
    "openssl": "openssl",
}
"""What a home-built cluster runs with: program (or file) → package."""

IMAGES = {"buildah": "buildah", "mmdebstrap": "mmdebstrap", "catatonit": "catatonit"}
"""What images are built with."""

POLICY = Path("/usr/sbin/policy-rc.d")

TESTS = {
    "/usr/lib/postgresql/*/bin/initdb": "postgresql",
    "redis-server": "redis-server",
    "restic": "restic",
    "chromium": "chromium",
    "prometheus": "prometheus",
    "prometheus-alertmanager": "prometheus-alertmanager",
    "rclone": "rclone",
}
"""What the tests run against outside of the cluster."""


def missing(wanted: Mapping[str, str]) -> list[str]:
    """Return the packages whose program (or file, by pattern) is not on this machine."""
    absent = [package for program, package in wanted.items() if not _present(program)]
    return sorted(set(absent))


def ensure(wanted: Mapping[str, str], report: Report) -> None:
    """Install what is missing of `wanted`, saying so.

    Raises:
        LabError: something is missing that cannot be installed here; the message names it.
    """
    packages = missing(wanted)
    if not packages:
        return
    if shutil.which("apt-get") is None or os.geteuid() != 0:
        message = (
            f"These programs are missing: {' '.join(packages)} (names of Debian packages). Install them, or run this "
            "as root on a Debian or Ubuntu machine, where the lab installs them itself."
        )
        raise LabError(message)
    report.say(f"Missing on this machine, so installed with apt-get: {' '.join(packages)}")
    with (
        report.step("Installing packages") as step,
        services_forbidden(POLICY),
    ):
        try:
            _apt("update", step=step)
        except LabError as error:
            # One list of several may not answer; the packages may well be in the others, or known from before.
            report.say(f"{error}\n  Going on with the lists that there are.")
        _apt("install", "--yes", "--no-install-recommends", *packages, step=step)
    if still := missing(wanted):
        message = f"Installed {' '.join(packages)}, but still missing what these should bring: {' '.join(still)}."
        raise LabError(message)


@contextmanager
def services_forbidden(policy: Path) -> Iterator[None]:
    """Keep packages from starting what they bring, which Debian asks the program `policy` about."""
    if policy.exists():
        yield
        return
    policy.write_text("#!/bin/sh\nexit 101\n")
    policy.chmod(0o755)
    try:
        yield
    finally:
        policy.unlink()


def _apt(*words: str, step: Step) -> None:
    follow(
        ["apt-get", "--quiet", *words],
        doing=f"Running apt-get {' '.join(words)}",
        on_line=lambda line: step.advance(detail=line),
        env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"},
    )


def _present(program: str) -> bool:
    if program.startswith("/"):
        return any(Path("/").glob(program.removeprefix("/")))
    return shutil.which(program) is not None
