from __future__ import annotations

import json

from lab.network import BRIDGE, POD_NETWORK, SETTINGS, overlapping, read_settings, restore_settings


def addresses(*pairs: tuple[str, str, int]) -> str:
    return json.dumps(
        [
            {"ifname": name, "addr_info": [{"family": "inet", "local": local, "prefixlen": length}]}
            for name, local, length in pairs
        ]
    )


def test_an_interface_inside_the_pods_network_is_named() -> None:
    assert overlapping(addresses(("eth0", "192.0.2.7", 24), ("vpn0", "10.85.3.1", 24)), POD_NETWORK) == "vpn0"


def test_a_network_that_holds_the_pods_network_is_named_too() -> None:
    assert overlapping(addresses(("eth0", "10.1.2.3", 8)), POD_NETWORK) == "eth0"


def test_the_labs_own_bridge_and_foreign_networks_are_no_conflict() -> None:
    assert overlapping(addresses((BRIDGE, "10.85.0.1", 16), ("eth0", "10.84.0.1", 16)), POD_NETWORK) is None


def test_an_interface_without_addresses_is_no_conflict() -> None:
    six = {"ifname": "eth1", "addr_info": [{"family": "inet6", "local": "fd00::2", "prefixlen": 64}]}

    assert overlapping(json.dumps([{"ifname": "eth0"}, six]), POD_NETWORK) is None


def test_every_kernel_setting_that_is_changed_is_remembered_and_putting_back_what_is_so_writes_nothing() -> None:
    before = read_settings()

    restore_settings(before)

    assert set(before) <= set(SETTINGS)
    assert "net/ipv4/ip_forward" in before
