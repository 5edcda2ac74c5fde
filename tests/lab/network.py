"""The bridge that Pods hang on, and the kernel settings that routing needs.

It must never change an interface or a table that is not the lab's, and puts every kernel setting back.
"""

from __future__ import annotations

import json
from ipaddress import ip_interface, ip_network
from pathlib import Path

from lab.command import run, succeeds
from lab.failure import LabError

BRIDGE = "upkeep0"
NODE_ADDRESS = "10.85.0.1"
POD_NETWORK = "10.85.0.0/16"
SERVICE_NETWORK = "10.96.0.0/16"
API_SERVICE_ADDRESS = "10.96.0.1"
PROXY_TABLES = ("ip", "ip6")
"""Families in which kube-proxy keeps a table named kube-proxy."""

SETTINGS = {
    "net/ipv4/ip_forward": "1",
    "net/bridge/bridge-nf-call-iptables": "1",
    # The kubelet sets the rest to values of its own; they are listed to be put back.
    "kernel/panic": None,
    "kernel/panic_on_oops": None,
    "vm/overcommit_memory": None,
    "vm/panic_on_oom": None,
    "kernel/keys/root_maxbytes": None,
    "kernel/keys/root_maxkeys": None,
}
KERNEL = Path("/proc/sys")


def overlapping(addresses: str, network: str) -> str | None:
    """Return the interface that already has an address in `network`, from the JSON of `ip -j address`."""
    for link in json.loads(addresses):
        for held in link.get("addr_info", []):
            if held.get("family") != "inet" or link.get("ifname") == BRIDGE:
                continue
            if ip_interface(f"{held['local']}/{held['prefixlen']}").network.overlaps(ip_network(network)):
                return str(link["ifname"])
    return None


def raise_bridge() -> None:
    """Make the bridge with the node's address on it, unless it is there.

    Raises:
        LabError: another interface of this machine uses the Pods' addresses.
    """
    for network in (POD_NETWORK, SERVICE_NETWORK):
        if other := overlapping(run(["ip", "-j", "address"], doing="Reading this machine's addresses"), network):
            message = (
                f"Making the bridge {BRIDGE}: {network} is in use on {other}. "
                "Remove that network, or name a cluster of your own by UPKEEP_CONTEXT."
            )
            raise LabError(message)
    doing = f"Making the bridge {BRIDGE}"
    if not bridge_exists():
        run(["ip", "link", "add", BRIDGE, "type", "bridge"], doing=doing)
    run(["ip", "address", "replace", f"{NODE_ADDRESS}/16", "dev", BRIDGE], doing=doing)
    run(["ip", "link", "set", BRIDGE, "up"], doing=doing)


def bridge_exists() -> bool:
    """Whether there is a bridge with the lab's name."""
    return Path(f"/sys/class/net/{BRIDGE}").exists()


def proxy_table_exists() -> bool:
    """Whether some kube-proxy keeps its rules on this machine."""
    return any(succeeds(["nft", "list", "table", family, "kube-proxy"]) for family in PROXY_TABLES)


def firewall_rules() -> list[tuple[str, ...]]:
    """Return what must be let through where the machine's own firewall drops what it does not know."""
    return [
        ("INPUT", "-i", BRIDGE, "-j", "ACCEPT"),
        ("FORWARD", "-i", BRIDGE, "-j", "ACCEPT"),
        ("FORWARD", "-o", BRIDGE, "-j", "ACCEPT"),
    ]


def open_firewall() -> None:
    """Let Pods' packets through chains that drop by default, as Docker and ufw make them; else change nothing."""
    doing = f"Letting packets of {BRIDGE} through the firewall"
    for rule in firewall_rules():
        drops = run(["iptables", "-S", rule[0]], doing=doing).startswith(f"-P {rule[0]} DROP")
        if drops and not succeeds(["iptables", "-C", *rule]):
            run(["iptables", "-I", *rule], doing=doing)


def close_firewall() -> None:
    """Take back what `open_firewall` did."""
    for rule in firewall_rules():
        if succeeds(["iptables", "-C", *rule]):
            run(["iptables", "-D", *rule], doing="Removing the lab's rules from the firewall")


def remove() -> None:
    """Remove the bridge, every veth that still hangs on it, kube-proxy's tables and the firewall's openings."""
    doing = "Removing the lab's network"
    close_firewall()
    if bridge_exists():
        for link in json.loads(run(["ip", "-j", "link", "show", "master", BRIDGE], doing=doing) or "[]"):
            if link:
                run(["ip", "link", "delete", link["ifname"]], doing=doing)
        run(["ip", "link", "delete", BRIDGE], doing=doing)
    for family in PROXY_TABLES:
        if succeeds(["nft", "list", "table", family, "kube-proxy"]):
            run(["nft", "delete", "table", family, "kube-proxy"], doing=doing)


def read_settings() -> dict[str, str]:
    """Return the present value of every kernel setting that the cluster will change."""
    return {name: (KERNEL / name).read_text().strip() for name in SETTINGS if (KERNEL / name).exists()}


def change_settings() -> None:
    """Allow forwarding between Pods and Services."""
    for name, value in SETTINGS.items():
        if value is not None and (KERNEL / name).exists():
            (KERNEL / name).write_text(value)


def restore_settings(before: dict[str, str]) -> None:
    """Put back what `read_settings` returned."""
    for name, value in before.items():
        if (KERNEL / name).read_text().strip() != value:
            (KERNEL / name).write_text(value)
