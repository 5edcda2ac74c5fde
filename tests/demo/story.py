"""The story that the demo tells, chapter by chapter."""

import json
import shutil
import time
from pathlib import Path
from typing import Final

import httpx

from demo.claims import Claims
from demo.cluster import OPERATOR_NAMESPACE, ROOT, SHOP, Cluster
from demo.opening import watch_opening
from lab import cluster as lab
from lab.access import OWN_CONTEXTS, connect
from lab.home import Home
from lab.report import Report
from lab.state import alone

SAMPLES: Final = ROOT / "manifests" / "samples"
VOLUME: Final = Path("/var/lib/upkeep-demo/backups")
"""The directory behind the volume of manifests/demo/home-built, where the only node is this machine."""
SHOP_IMAGE: Final = "localhost/upkeep-shop:dev"
"""As the manifests name it."""
LEAST_ORDERS: Final = 300_000
LEAST_DEAD: Final = 100_000
STATISTICS: Final = "SELECT n_live_tup, n_dead_tup FROM pg_stat_user_tables WHERE relname = 'orders'"
"""As a DBA looks at it: reading the table itself would already prune some of its pages."""


def tell() -> None:
    """Tell it from beginning to end.

    Raises:
        ClaimError: something that is claimed does not hold.
        LabError: the cluster did not come up.
    """
    started = time.monotonic()
    with Report() as report:
        claims = Claims(report)
        report.say("\n1. A real cluster, and Upkeep on it by its Helm chart")
        home = Home.from_environment()
        with alone(home, report):
            lab.up(home, report)
            lab.load_images(home, report)
            lab.start_ingress(home, report)
        cluster = Cluster.of(connect(home))
        install(cluster, claims, report)
        report.say("\n2. A small shop behind an Ingress: web app, PostgreSQL, Redis")
        open_shop(cluster, claims, report)
        report.say("\n3. Maintenance as custom resources")
        apply_samples(cluster, claims)
        report.say("\n4. A maintenance window opens")
        watch_opening(cluster, claims, report)
        report.say("\n5. What is left to see")
        look_back(cluster, claims, report)
        report.say(f"\nAll {claims.held} claims held, in {time.monotonic() - started:.0f} s. Look around:")
        report.say(f"  export KUBECONFIG={cluster.access.kubeconfig}")
        report.say("  kubectl -n shop get mw,mt,bp          kubectl -n shop describe mw tonight")
        report.say(f"  curl -H 'Host: shop.localhost' {cluster.access.ingress_url}/")
        report.say("  make demo-down removes it all.")


def undo(*, keep_cluster: bool) -> None:
    """Remove the demo, and the cluster unless it is to be kept or belongs to the user."""
    with Report() as report:
        home = Home.from_environment()
        access = connect(home)
        cluster = Cluster.of(access)
        if access.context in OWN_CONTEXTS and not keep_cluster:
            with alone(home, report):
                lab.down(home, report)
            shutil.rmtree(VOLUME.parent, ignore_errors=True)
            return
        with report.step("Removing the shop and Upkeep"):
            cluster.kubectl("delete", "namespace", SHOP, "--ignore-not-found", "--wait")
            cluster.kubectl("delete", "pv", "shop-backups", "--ignore-not-found")
            cluster.helm("uninstall", "upkeep", "-n", OPERATOR_NAMESPACE, "--ignore-not-found", "--wait")
            cluster.kubectl("delete", "crd", "-l", "app.kubernetes.io/part-of=upkeep", "--ignore-not-found")
            cluster.kubectl("delete", "namespace", OPERATOR_NAMESPACE, "--ignore-not-found", "--wait")
            shutil.rmtree(VOLUME.parent, ignore_errors=True)


def install(cluster: Cluster, claims: Claims, report: Report) -> None:
    """Upkeep by its chart: two replicas, one leading."""
    repository, _, tag = cluster.access.image.rpartition(":")
    again = bool(cluster.list("deployments", OPERATOR_NAMESPACE))
    with report.step("helm upgrade --install upkeep charts/upkeep"):
        cluster.helm(
            *("upgrade", "--install", "upkeep", str(ROOT / "charts" / "upkeep")),
            *("--namespace", OPERATOR_NAMESPACE, "--create-namespace", "--wait", "--timeout", "3m"),
            *("--set", f"image.repository={repository}", "--set", f"image.tag={tag}"),
        )
        if again:  # the tag stays the same while the image changes
            cluster.kubectl("rollout", "restart", "deployment/upkeep", "-n", OPERATOR_NAMESPACE)
            cluster.kubectl("rollout", "status", "deployment/upkeep", "-n", OPERATOR_NAMESPACE, "--timeout=120s")
    deployment = cluster.list("deployments", OPERATOR_NAMESPACE)[0]
    ready = deployment["status"].get("readyReplicas", 0)
    claims.claim("two replicas of the operator are ready", holds=ready == 2, seen=f"{ready} ready")
    holder, pods = claims.wait(
        "One of them takes the Lease",
        lambda: (_holder(cluster), {pod["metadata"]["name"] for pod in cluster.list("pods", OPERATOR_NAMESPACE)}),
        # Right after a restart it may still be held by a Pod that is gone.
        lambda seen: seen[0] in seen[1],
        seconds=60,
    )
    claims.claim("one of them leads", holds=holder in pods, seen=holder)


def _holder(cluster: Cluster) -> str:
    return cluster.get("lease", "upkeep-operator", OPERATOR_NAMESPACE)["spec"].get("holderIdentity") or ""


def open_shop(cluster: Cluster, claims: Claims, report: Report) -> None:
    """The shop: real servers in Pods, and a table that has been neglected."""
    where = "home-built" if cluster.access.home_built else "shop"
    with report.step("Starting with an empty namespace"):
        cluster.kubectl("delete", "namespace", SHOP, "--ignore-not-found", "--wait")
        if cluster.access.home_built:
            cluster.kubectl("delete", "pv", "shop-backups", "--ignore-not-found")
            shutil.rmtree(VOLUME, ignore_errors=True)
            VOLUME.mkdir(parents=True)
    with report.step(f"kubectl apply -k manifests/demo/{where}"):
        rendered = cluster.kubectl("kustomize", str(ROOT / "manifests" / "demo" / where))
        cluster.kubectl("apply", "-f", "-", stdin=rendered.replace(SHOP_IMAGE, cluster.access.shop_image))
    for workload in ("statefulset/shop-db", "deployment/shop-redis", "deployment/shop"):
        with report.step(f"Waiting for {workload}"):
            cluster.kubectl("rollout", "status", "-n", SHOP, workload, "--timeout=180s")
    orders, dead = (int(number) for number in cluster.sql(STATISTICS).split("|"))
    claims.claim(f"at least {LEAST_ORDERS:,} orders", holds=orders >= LEAST_ORDERS, seen=f"{orders:,}")
    claims.claim(f"at least {LEAST_DEAD:,} dead rows", holds=dead >= LEAST_DEAD, seen=f"{dead:,}")
    status = claims.wait(
        "Waiting for the Ingress to be served",
        lambda: _status(cluster),
        lambda code: code == httpx.codes.OK,
        seconds=60,
    )
    claims.claim("the shop answers through the Ingress", holds=status == httpx.codes.OK, seen=f"HTTP {status}")


def apply_samples(cluster: Cluster, claims: Claims) -> None:
    """The samples as they stand in the repository, and a backup at once."""
    for sample in ("task-vacuum", "task-custom-job", "backup-postgres", "window-maintenance"):
        manifest = (SAMPLES / f"{sample}.yaml").read_text()
        cluster.kubectl("apply", "-f", "-", stdin=manifest.replace(SHOP_IMAGE, cluster.access.shop_image))
    cluster.kubectl("annotate", "bp", "shop-db", "-n", SHOP, "upkeep.dev/run-now=daily/demo")
    claims.wait(
        "kubectl annotate bp shop-db upkeep.dev/run-now=daily/demo",
        lambda: cluster.get("bp", "shop-db").get("status", {}).get("lastRun", {}).get("outcome", ""),
        bool,
        seconds=120,
    )
    run = cluster.get("bp", "shop-db")["status"]["lastRun"]
    claims.claim("a backup was made", holds=run["outcome"] == "changed", seen=run["message"])
    cluster.kubectl("annotate", "bp", "shop-db", "-n", SHOP, "upkeep.dev/run-now=integrity/demo", "--overwrite")
    claims.wait(
        "kubectl annotate bp shop-db upkeep.dev/run-now=integrity/demo",
        lambda: cluster.get("bp", "shop-db")["status"].get("lastIntegrityCheckTime", ""),
        bool,
        seconds=120,
    )
    listed = snapshots(cluster)
    claims.claim("restic alone lists the backup", holds=len(listed) == 1, seen=listed[0]["short_id"])


def look_back(cluster: Cluster, claims: Claims, report: Report) -> None:
    """Jobs, findings, Events and metrics."""
    jobs = cluster.list("jobs")
    done = sum(bool(job["status"].get("succeeded")) for job in jobs)
    claims.claim("every run was a Job of its own", holds=done == len(jobs) >= 5, seen=f"{done} Jobs succeeded")
    dead = int(cluster.sql(STATISTICS).split("|")[1])
    claims.claim("the dead rows are gone", holds=dead < LEAST_DEAD // 100, seen=f"{dead:,} left")
    reasons = {
        event["reason"] for event in cluster.list("events") if event.get("source", {}).get("component") == "upkeep"
    }
    wanted = {"RunStarted", "RunSucceeded", "WindowOpened", "WindowCompleted"}
    claims.claim("Events tell what happened", holds=wanted <= reasons, seen=", ".join(sorted(reasons)))
    metrics = cluster.kubectl(
        "get", "--raw", f"/api/v1/namespaces/{OPERATOR_NAMESPACE}/services/upkeep-metrics:http/proxy/metrics"
    )
    for name in (
        'upkeep_maintenance_last_run{namespace="shop",task="nightly-care"}',
        'upkeep_maintenance_duration_seconds{namespace="shop",task="nightly-care"}',
        'upkeep_maintenance_status{namespace="shop",task="nightly-care"} 1.0',
        'upkeep_window_status{name="tonight",namespace="shop"} 1.0',
        'upkeep_backup_last_success{name="shop-db",namespace="shop"}',
    ):
        line = next((line for line in metrics.splitlines() if line.startswith(name)), "")
        claims.claim(f"/metrics has {name.partition('{')[0]}", holds=bool(line), seen=line.rpartition(" ")[2])
    described = cluster.kubectl("describe", "mt", "nightly-care", "-n", SHOP)
    report.say("\nkubectl -n shop describe mt nightly-care\n" + described[described.index("\nStatus:") :])


def snapshots(cluster: Cluster) -> list[dict[str, str]]:
    """What restic itself lists in the repository, in a Pod that has nothing of Upkeep but its image."""
    name = "list-backups"
    password = {"secretKeyRef": {"name": "shop-backup-password", "key": "password"}}
    container = {
        "name": "restic",
        "image": cluster.access.image,
        "imagePullPolicy": "IfNotPresent",
        "command": ["restic", "--no-cache", "--json", "--no-lock", "snapshots"],
        "env": [
            {"name": "RESTIC_REPOSITORY", "value": "/repository/postgres/shop"},
            {"name": "RESTIC_PASSWORD", "valueFrom": password},
        ],
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
        "volumeMounts": [{"name": "repository", "mountPath": "/repository", "readOnly": True}],
    }
    spec = {
        "restartPolicy": "Never",
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": 65532,
            "fsGroup": 65532,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [container],
        "volumes": [{"name": "repository", "persistentVolumeClaim": {"claimName": "shop-backups"}}],
    }
    metadata = {"name": name, "namespace": SHOP}
    cluster.apply({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})
    cluster.kubectl("wait", "-n", SHOP, f"pod/{name}", "--for=jsonpath={.status.phase}=Succeeded", "--timeout=60s")
    listed: list[dict[str, str]] = json.loads(cluster.kubectl("logs", "-n", SHOP, name))
    cluster.kubectl("delete", "pod", "-n", SHOP, name, "--wait=false")
    return listed


def _status(cluster: Cluster) -> int:
    try:
        return cluster.fetch().status_code
    except httpx.TransportError:
        return 0
