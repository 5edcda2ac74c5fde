from __future__ import annotations

import json
import re
import subprocess
import tomllib
from typing import TYPE_CHECKING

import pytest

from lab import kubeconfig
from lab.controlplane import ControlPlane, apiserver_flags, audit_policy, etcd_arguments
from lab.ingress import bootstrap_flags, contour_flags
from lab.node import (
    containerd_configuration,
    dns_configuration,
    kubelet_configuration,
    pod_network,
    proxy_configuration,
)
from lab.pki import Authority, Identity, extensions, subject
from lab.port import PREFERRED
from lab.state import State

if TYPE_CHECKING:
    from pathlib import Path

    from lab.home import Home

SERVER = Identity(name="server", user="server", addresses=("IP:10.85.0.1", "DNS:localhost"))


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    authority = Authority(directory=tmp_path / "pki")
    authority.create()
    return authority


@pytest.fixture
def plane(home: Home) -> ControlPlane:
    plane = ControlPlane(home=home, ports=PREFERRED)
    plane.authority.create()
    return plane


def test_a_certificate_names_user_and_group_as_kubernetes_reads_them() -> None:
    assert subject(Identity(name="x", user="ada", group="system:masters")) == "/O=system:masters/CN=ada"
    assert subject(Identity(name="x", user="ada")) == "/CN=ada"


def test_only_servers_may_serve() -> None:
    assert "serverAuth" in extensions(SERVER)
    assert "subjectAltName=IP:10.85.0.1,DNS:localhost" in extensions(SERVER)
    assert "serverAuth" not in extensions(Identity(name="x", user="ada"))


def test_an_issued_certificate_is_trusted_and_its_key_is_private(authority: Authority) -> None:
    certificate, key = authority.issue(SERVER)

    verify: list[str | Path] = [
        "openssl",
        "verify",
        "-CAfile",
        authority.certificate,
        "-verify_ip",
        "10.85.0.1",
        certificate,
    ]
    assert subprocess.run(verify, capture_output=True, check=True).returncode == 0
    assert key.stat().st_mode & 0o077 == 0


def test_a_certificate_is_made_once(authority: Authority) -> None:
    certificate, _ = authority.issue(SERVER)
    first = certificate.read_bytes()

    authority.create()
    authority.issue(SERVER)

    assert certificate.read_bytes() == first


def test_a_kubeconfig_holds_one_context_with_its_credentials_and_is_private(
    authority: Authority, tmp_path: Path
) -> None:
    path = kubeconfig.write(
        tmp_path / "kubeconfig",
        context="upkeep-lab",
        server="https://10.85.0.1:1",
        authority=authority.certificate,
        pair=authority.issue(SERVER),
    )

    content = json.loads(path.read_text())
    assert content["current-context"] == "upkeep-lab"
    assert [held["name"] for held in content["contexts"]] == ["upkeep-lab"]
    assert content["users"][0]["user"].keys() == {"client-certificate-data", "client-key-data"}
    assert path.stat().st_mode & 0o077 == 0


def test_the_audit_log_holds_requests_of_upkeeps_own_serviceaccounts_and_no_others() -> None:
    first, last = audit_policy()["rules"]

    assert first == {"level": "Metadata", "userGroups": ["system:serviceaccounts:upkeep-system"]}
    assert last == {"level": "None"}


def test_nothing_listens_where_another_machine_could_reach_it(home: Home, plane: ControlPlane) -> None:
    state = State(kind="home-built", context="upkeep-lab", ports=PREFERRED)
    pair = (home.pki / "a", home.pki / "b")
    flags = [
        *etcd_arguments(home, PREFERRED),
        *apiserver_flags(home, PREFERRED, authority=home.pki, serving=pair, kubelet=pair, tokens=pair),
        *contour_flags(plane),
        *bootstrap_flags(home, state),
    ]
    listening = [flag for flag in flags if re.match(r"--.*(address|listen)[a-z-]*=", flag) and "types=" not in flag]
    kubelet = kubelet_configuration(home, port=1, serving=pair)
    proxy = proxy_configuration(home.pki, PREFERRED)

    assert len(listening) > 10
    assert [
        flag for flag in listening if not re.search(r"=(https?://)?(127\.0\.0\.1|10\.85\.0\.1)|\.sock$", flag)
    ] == []
    assert (kubelet["address"], kubelet["healthzPort"]) == ("10.85.0.1", 0)
    assert proxy["healthzBindAddress"].startswith("127.0.0.1:")
    assert proxy["metricsBindAddress"].startswith("127.0.0.1:")
    assert dns_configuration(home.pki).count("bind 10.85.0.1") == 2


def test_containerd_keeps_to_the_labs_directories(home: Home) -> None:
    configuration = tomllib.loads(containerd_configuration(home))

    plugins = configuration["plugins"]
    runc = plugins["io.containerd.grpc.v1.cri"]["containerd"]["runtimes"]["runc"]["options"]
    places = [configuration["root"], configuration["state"], configuration["grpc"]["address"], runc["Root"]]
    places.append(plugins["io.containerd.internal.v1.opt"]["path"])
    assert all(place.startswith(str(home.root)) for place in places)


def test_pods_have_a_route_to_services_and_none_to_the_world(home: Home) -> None:
    addresses = pod_network(home)["plugins"][0]["ipam"]

    assert addresses["routes"] == [{"dst": "10.96.0.0/16"}]
    assert addresses["dataDir"].startswith(str(home.cluster))
