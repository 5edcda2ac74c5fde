"""The one node of a home-built cluster: containerd, kubelet, kube-proxy, and CoreDNS beside them.

Everything writes below the lab's own directory. Pods reach each other, Services and this machine's bridge address, and
nothing else: what the lab runs must not depend on, nor disturb, the world outside.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lab.cgroup import GROUP
from lab.command import succeeds
from lab.controlplane import ADMIN, CONTEXT, ControlPlane
from lab.network import BRIDGE, NODE_ADDRESS, POD_NETWORK, SERVICE_NETWORK
from lab.pki import Identity
from lab.process import launch
from lab.waiting import until

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from lab.home import Home

NAME = CONTEXT
KUBELET = Identity(
    name="kubelet",
    user=f"system:node:{NAME}",
    group="system:nodes",
    addresses=(f"IP:{NODE_ADDRESS}", f"DNS:{NAME}"),
)
PROXY = Identity(name="kube-proxy", user="system:kube-proxy")
PAUSE_IMAGE = "localhost/upkeep-pause:dev"
PLUGINS = "/usr/lib/cni"
"""Where Debian's containernetworking-plugins puts them."""


@dataclass(frozen=True, slots=True)
class Node:
    """What the node is made of, before it runs."""

    plane: ControlPlane

    @property
    def home(self) -> Home:
        """The control plane's directories are the node's."""
        return self.plane.home

    def start_runtime(self) -> None:
        """Start containerd and return when it answers."""
        networks = self.home.cluster / "cni"
        networks.mkdir(parents=True, exist_ok=True)
        (networks / "10-upkeep-lab.conflist").write_text(json.dumps(pod_network(self.home), indent=1))
        configuration = self.home.cluster / "containerd.toml"
        configuration.write_text(containerd_configuration(self.home))
        launch(self.home, "containerd", ["containerd", "--config", configuration])
        until(
            lambda: succeeds(["ctr", "--address", self.home.containerd_socket, "version"]),
            doing="Waiting for containerd",
            seconds=30,
            home=self.home,
            component="containerd",
        )

    def start_agents(self) -> None:
        """Start kubelet, kube-proxy and CoreDNS; the API server must be ready."""
        serving = self.plane.authority.issue(KUBELET)
        resolver = self.home.cluster / "resolv.conf"
        resolver.write_text(f"nameserver {NODE_ADDRESS}\n")
        configuration = self.home.cluster / "kubelet.json"
        configuration.write_text(
            json.dumps(kubelet_configuration(self.home, port=self.plane.ports["kubelet"], serving=serving), indent=1)
        )
        launch(
            self.home,
            "kubelet",
            [
                self.home.bin / "kubelet",
                f"--config={configuration}",
                f"--kubeconfig={self.plane.credentials(KUBELET)}",
                f"--root-dir={self.home.cluster / 'kubelet'}",
                f"--cert-dir={self.home.pki}",
                f"--hostname-override={NAME}",
                f"--node-ip={NODE_ADDRESS}",
            ],
        )
        proxy = self.home.cluster / "kube-proxy.json"
        proxy.write_text(json.dumps(proxy_configuration(self.plane.credentials(PROXY), self.plane.ports), indent=1))
        launch(self.home, "kube-proxy", [self.home.bin / "kube-proxy", f"--config={proxy}"])
        corefile = self.home.cluster / "Corefile"
        corefile.write_text(dns_configuration(self.plane.credentials(ADMIN)))
        launch(self.home, "coredns", [self.home.bin / "coredns", "-conf", corefile])


def containerd_configuration(home: Home) -> str:
    """Return containerd's configuration, version 2, as Debian's containerd 1.6 and the later ones read it."""
    return f"""\
version = 2
root = "{home.layers}"
state = "{home.cluster / "containerd-state"}"
disabled_plugins = ["io.containerd.internal.v1.tracing", "io.containerd.snapshotter.v1.btrfs",
  "io.containerd.snapshotter.v1.zfs", "io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.devmapper"]

[grpc]
  address = "{home.containerd_socket}"

[plugins."io.containerd.internal.v1.opt"]
  path = "{home.cluster / "containerd-opt"}"

[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{PAUSE_IMAGE}"
  # Without CAP_SYS_RESOURCE a score cannot be lowered, and every sandbox would fail.
  restrict_oom_score_adj = true
  netns_mounts_under_state_dir = true
  stream_server_address = "127.0.0.1"
  stream_server_port = "0"

  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
    default_runtime_name = "runc"

    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"

      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        BinaryName = "runc"
        Root = "{home.cluster / "runc"}"
        SystemdCgroup = false

  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{PLUGINS}"
    conf_dir = "{home.cluster / "cni"}"
"""


def pod_network(home: Home) -> dict[str, Any]:
    """Return the CNI network: the bridge, and a route to Services alone."""
    return {
        "cniVersion": "1.0.0",
        "name": CONTEXT,
        "plugins": [
            {
                "type": "bridge",
                "bridge": BRIDGE,
                "isGateway": True,
                "hairpinMode": True,
                "ipam": {
                    "type": "host-local",
                    "dataDir": str(home.cluster / "addresses"),
                    "ranges": [[{"subnet": POD_NETWORK, "gateway": NODE_ADDRESS}]],
                    "routes": [{"dst": SERVICE_NETWORK}],
                },
            }
        ],
    }


def kubelet_configuration(home: Home, *, port: int, serving: tuple[Path, Path]) -> dict[str, Any]:
    """Return the kubelet's configuration; `serving` is certificate and key."""
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": NODE_ADDRESS,
        "port": port,
        "healthzPort": 0,
        "tlsCertFile": str(serving[0]),
        "tlsPrivateKeyFile": str(serving[1]),
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": str(home.pki / "ca.crt")},
        },
        "authorization": {"mode": "Webhook"},
        "containerRuntimeEndpoint": f"unix://{home.containerd_socket}",
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": f"/{GROUP}",
        "failCgroupV1": False,
        "failSwapOn": False,
        "enforceNodeAllocatable": [],
        "oomScoreAdj": 0,
        "makeIPTablesUtilChains": False,
        "clusterDNS": [NODE_ADDRESS],
        "clusterDomain": "cluster.local",
        "resolvConf": str(home.cluster / "resolv.conf"),
        "podLogsDir": str(home.cluster / "pods"),
        "volumePluginDir": str(home.cluster / "volume-plugins"),
        "maxPods": 250,
        "serializeImagePulls": False,
        "kubeAPIQPS": 200,
        "kubeAPIBurst": 400,
        # Images come from archives and cannot be pulled again, so none may be collected.
        "imageGCHighThresholdPercent": 100,
        "imageGCLowThresholdPercent": 99,
        "evictionHard": {"memory.available": "100Mi", "nodefs.available": "1%", "imagefs.available": "1%"},
    }


def proxy_configuration(credentials: Path, ports: Mapping[str, int]) -> dict[str, Any]:
    """Return kube-proxy's configuration: nftables, and no kernel setting of its own."""
    return {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": "nftables",
        "clusterCIDR": POD_NETWORK,
        "hostnameOverride": NAME,
        "bindAddress": NODE_ADDRESS,
        "healthzBindAddress": f"127.0.0.1:{ports['kube-proxy-health']}",
        "metricsBindAddress": f"127.0.0.1:{ports['kube-proxy']}",
        "clientConnection": {"kubeconfig": str(credentials)},
        "conntrack": {"maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
        "oomScoreAdj": 0,
        # Services answer within tests that count milliseconds.
        "nftables": {"minSyncPeriod": "100ms", "syncPeriod": "30s"},
    }


def dns_configuration(credentials: Path) -> str:
    """Return CoreDNS' configuration: the cluster's names, and a plain no for all others."""
    return f"""cluster.local:53 in-addr.arpa:53 {{
    bind {NODE_ADDRESS}
    errors
    kubernetes {{
        kubeconfig {credentials}
        ttl 1
    }}
}}
.:53 {{
    bind {NODE_ADDRESS}
    template ANY ANY {{
        rcode NXDOMAIN
    }}
}}
"""
