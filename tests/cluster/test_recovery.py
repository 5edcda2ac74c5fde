"""The sample of an emergency recovery: stop, restore, start, verify; and what it does where the restore fails."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from typing import Any, Final

import pytest

from cluster.kubectl import Kubectl, Object, parse
from cluster.manifests import postgres_server, resource, secret, task, web_server
from cluster.space import Space
from cluster.volume import claimed
from cluster.waiting import until
from lab.access import ClusterAccess
from lab.home import TREE
from upkeep.actions.kubernetes.scale import BEFORE
from upkeep.cluster.resources import BACKUPS, DEPLOYMENTS, PODS, TASKS

SAMPLE: Final = TREE / "manifests" / "samples" / "task-recovery.yaml"
PATIENCE: Final = 120.0
LOGINS: Final = {"shop-db-admin": "upkeep-in-tests", "repository": "repository-in-tests"}
MINE: Final = "namespace: shop\n"


@pytest.fixture(scope="module")
def shop(space: Space, access: ClusterAccess, kubectl: Kubectl) -> Iterator[Space]:
    """A shop with two Pods, its database with a thousand orders, and a backup of that which was verified."""
    with claimed(space, access, "backups"):
        space.make(*(secret(name, username="postgres", password=password) for name, password in LOGINS.items()))
        space.make(*postgres_server(access.shop_image, login="shop-db-admin"))
        _deployed(space, access, kubectl)
        space.ready("db")
        asked(space, kubectl, "CREATE DATABASE shop", database="postgres")
        asked(space, kubectl, "CREATE TABLE orders AS SELECT generate_series(1, 1000) AS number")
        space.make(_policy())
        for token in ("daily/1", "restore-test/2"):
            space.run_now("shop-db", token, kind=BACKUPS)
            run = space.ended_run("shop-db", kind=BACKUPS, token=token, seconds=PATIENCE)["lastRun"]
            assert run["outcome"] in {"changed", "ok"}, run
        for each in _sample(space.name):
            kubectl.run("apply", "--filename=-", stdin=json.dumps(each))
        yield space


def test_the_sample_brings_the_shop_back_with_the_data_of_its_backup(shop: Space, kubectl: Kubectl) -> None:
    # given a shop that has lost most of its orders
    asked(shop, kubectl, "DELETE FROM orders WHERE number > 10")
    # when it is recovered
    run = _ran(shop, "recover-shop", "1")
    # then its orders are there, and so are its Pods
    assert run["outcome"] == "changed", run
    assert [step["name"] for step in run["steps"]] == ["stop", "restore", "start", "verify"]
    assert "all its Pods are gone" in run["steps"][0]["message"]
    assert "1 table with 1000 rows as dumped, 1 query as expected" in run["steps"][1]["message"]
    assert "2 Pods can be used" in run["steps"][2]["message"]
    assert asked(shop, kubectl, "SELECT count(*) FROM orders") == "1000"
    assert BEFORE not in shop.get(DEPLOYMENTS, "shop")["metadata"]["annotations"]
    # and the old database is kept beside
    (old,) = asked(shop, kubectl, "SELECT datname FROM pg_database WHERE datname LIKE 'shop_before%'").splitlines()
    assert old in run["steps"][1]["message"]
    assert asked(shop, kubectl, "SELECT count(*) FROM orders", database=old) == "10"
    # and no right was used but to this Deployment
    account = f"--as=system:serviceaccount:{shop.name}:recover-shop"
    for question in (("patch", "deployments.apps/other"), ("delete", "pods"), ("get", "secrets")):
        answer = kubectl.attempt("auth", "can-i", *question, account, f"--namespace={shop.name}")
        assert answer.stdout.strip() == "no", question


def test_a_rehearsal_touches_nothing(shop: Space, kubectl: Kubectl) -> None:
    before = asked(shop, kubectl, "SELECT oid FROM pg_database WHERE datname = 'shop'")

    for token in ("1", "2"):
        run = _ran(shop, "rehearse-recovery", token)
        assert run["outcome"] == "changed", run
        assert "restored into 'shop_rehearsal' on PostgreSQL db:5432 in " in run["message"]

    assert asked(shop, kubectl, "SELECT count(*) FROM orders", database="shop_rehearsal") == "1000"
    assert asked(shop, kubectl, "SELECT oid FROM pg_database WHERE datname = 'shop'") == before


def test_backups_are_listed_made_and_restored_from_the_command_line(
    shop: Space, kubectl: Kubectl, access: ClusterAccess
) -> None:
    def upkeep(*arguments: str) -> str:
        environment = {**os.environ, "KUBECONFIG": str(access.kubeconfig), "PYTHONPATH": str(TREE / "operator")}
        command = [sys.executable, "-m", "upkeep", "backup", *arguments, "-n", shop.name]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert upkeep("run", "shop-db", "--wait").splitlines()[1].startswith("changed: snapshot ")
    newest, *_ = shop.status(BACKUPS, "shop-db")["snapshots"]
    listed = upkeep("list", "shop-db")
    assert newest["snapshot"] in listed
    assert "daily" in listed
    wanted = ("--database=by_hand", "--snapshot", newest["snapshot"], "--wait")
    assert "restored into 'by_hand' on PostgreSQL db:5432" in upkeep("restore", "shop-db", *wanted)
    assert asked(shop, kubectl, "SELECT count(*) FROM orders", database="by_hand") == asked(
        shop, kubectl, "SELECT count(*) FROM orders"
    )


def test_a_shop_whose_database_cannot_be_restored_is_started_again(shop: Space, kubectl: Kubectl) -> None:
    # given a recovery from a snapshot that is not there
    found = shop.get(TASKS, "recover-shop")
    steps = found["spec"]["steps"]
    steps[1]["backupRestore"]["snapshot"] = "00000000"
    shop.make(resource("MaintenanceTask", "hopeless", found["spec"] | {"steps": steps}))
    before = asked(shop, kubectl, "SELECT oid FROM pg_database WHERE datname = 'shop'")
    # when it runs
    run = _ran(shop, "hopeless", "1")
    # then it has failed, says why, and the shop is there with the database that it had
    assert run["outcome"] == "failed"
    assert "BackupPolicy 'shop-db' has no snapshot 00000000" in run["message"]
    assert [step["outcome"] for step in run["steps"]] == ["changed", "failed", "changed", "ok"]
    assert asked(shop, kubectl, "SELECT oid FROM pg_database WHERE datname = 'shop'") == before
    assert shop.get(DEPLOYMENTS, "shop")["status"]["availableReplicas"] == 2


def test_a_policy_that_is_not_there_is_said_before_anything_runs(shop: Space) -> None:
    found = shop.get(TASKS, "rehearse-recovery")["spec"]
    found["steps"][0]["backupRestore"]["policy"] = "nowhere"
    shop.make(resource("MaintenanceTask", "nameless", found))

    condition = shop.condition("nameless", "Ready", "False")

    assert condition["reason"] == "BackupPolicyNotFound"
    assert "step 'restore': BackupPolicy 'nowhere' does not exist in this namespace: create it" in condition["message"]


def test_what_an_autoscaler_decides_is_left_to_it_but_can_be_stopped_and_started(
    shop: Space, kubectl: Kubectl, access: ClusterAccess
) -> None:
    _deployed(shop, access, kubectl, name="scaled")
    where = f"--namespace={shop.name}"
    kubectl.run("autoscale", "deployment", "scaled", "--min=2", "--max=3", "--cpu-percent=80", where)
    kubectl.run("create", "serviceaccount", "scaler", where)
    subject = f"--serviceaccount={shop.name}:scaler"
    kubectl.run("create", "rolebinding", "scaler", "--clusterrole=upkeep-action-scale", subject, where)

    def scaled(called: str, **action: object) -> Object:
        step = {"name": "scale", "kubernetesScale": {"name": "scaled", **action}}
        shop.make(task(called, step, serviceAccountName="scaler"))
        run: Object = shop.ended_run(called, seconds=60)["lastRun"]
        return run

    refused, stopped = scaled("more", replicas=5), scaled("stop", replicas=0)
    assert refused["outcome"] == "failed"
    assert "is scaled by the HorizontalPodAutoscaler 'scaled', which would undo this" in refused["message"]
    assert stopped["outcome"] == "changed", stopped
    assert not [pod for pod in shop.all(PODS, selector="app=scaled") if pod["status"]["phase"] == "Running"]
    again, started = scaled("stop-again", replicas=0), scaled("start", restore=True)
    assert again["outcome"] == "ok", again
    assert started["outcome"] == "changed", started
    assert "2 Pods can be used" in started["message"]
    assert scaled("start-again", restore=True)["outcome"] == "skipped"


@pytest.mark.parametrize(
    ("called", "account", "name", "words"),
    [
        ("powerless", "default", "shop", 'cannot get resource "deployments"'),
        ("nameless-scale", None, "shop", "name a ServiceAccount in spec.serviceAccountName"),
        ("mistaken", "recover-shop", "not-there", 'cannot get resource "deployments"'),
    ],
)
def test_what_may_not_be_scaled_says_what_to_do(
    shop: Space, called: str, account: str | None, name: str, words: str
) -> None:
    named = {"serviceAccountName": account} if account else {}
    shop.make(task(called, {"name": "stop", "kubernetesScale": {"name": name, "replicas": 0}}, **named))

    run = shop.ended_run(called, seconds=60)["lastRun"]

    assert run["outcome"] == "failed"
    assert words in run["message"]
    assert shop.get(DEPLOYMENTS, "shop")["spec"]["replicas"] == 2


def asked(space: Space, kubectl: Kubectl, statement: str, *, database: str = "shop") -> str:
    """What the database answers its administrator."""
    ask = ["psql", "--username=postgres", "--host=/tmp", f"--dbname={database}", "-XAtqc", statement]
    return kubectl.run("exec", "db", f"--namespace={space.name}", "--", *ask).strip()


def _deployed(space: Space, access: ClusterAccess, kubectl: Kubectl, *, name: str = "shop") -> None:
    """A Deployment with two Pods behind a Service, which can be used."""
    service, pod = web_server(access.shop_image, name)
    labels = {"app": name}
    template = {"metadata": {"labels": labels}, "spec": pod["spec"]}
    spec = {"replicas": 2, "selector": {"matchLabels": labels}, "template": template}
    body = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name}, "spec": spec}
    kubectl.run("apply", f"--namespace={space.name}", "--filename=-", stdin=json.dumps(body))
    space.make(service)
    until(
        partial(space.get, DEPLOYMENTS, name),
        lambda found: found.get("status", {}).get("availableReplicas") == spec["replicas"],
        what=f"{name} is well",
        seconds=60,
        every=0.2,
    )


def _policy() -> Object:
    spec = {
        "source": {"postgres": {"host": "db", "database": "shop", "secretRef": {"name": "shop-db-admin"}}},
        "repository": {"passwordSecretRef": {"name": "repository"}, "volume": {"claimName": "backups"}},
        "schedules": [{"name": "daily", "schedule": "0 1 * * *"}],
        "verify": {"restoreTest": {"schedule": "0 5 * * SUN", "scratchSize": "1Gi"}},
        "scratchSize": "1Gi",
    }
    return resource("BackupPolicy", "shop-db", spec)


def _sample(namespace: str) -> list[Object]:
    """The sample, for the servers of the test."""
    found = parse(SAMPLE.read_text().replace(MINE, f"namespace: {namespace}\n"))
    for each in found:
        if each["kind"] == "MaintenanceTask":
            each["spec"]["connections"][0]["postgres"]["host"] = "db"
            for step in each["spec"]["steps"]:
                if "httpCheck" in step:
                    step["httpCheck"]["url"] = "http://shop:8000/"
    return found


def _ran(space: Space, name: str, token: str) -> dict[str, Any]:
    """The last run of a task, asked for by hand."""
    space.run_now(name, token)
    run: dict[str, Any] = space.ended_run(name, token=token, seconds=PATIENCE)["lastRun"]
    return run
