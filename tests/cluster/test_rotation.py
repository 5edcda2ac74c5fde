"""A password is rotated in a real cluster: by the sample, with its Role alone, and with Pods that log in at start."""

import json
from base64 import b64decode
from functools import partial
from typing import Final

import pytest

from cluster.kubectl import Kubectl, Object, parse, read
from cluster.manifests import pod, postgres_server, secret
from cluster.server import SECRETS
from cluster.space import Space
from cluster.waiting import until
from lab.access import ClusterAccess
from lab.home import TREE
from upkeep.actions.kubernetes.rollout import WorkloadKind, rollout
from upkeep.actions.rotate.record import RECORD
from upkeep.cluster.resources import DEPLOYMENTS

SAMPLE: Final = TREE / "manifests" / "samples" / "task-rotate-credential.yaml"
FIRST: Final = "first-of-all-passwords"
LOGIN: Final = "shop-db-login"
ROLES: Final = f"""
CREATE ROLE shop;
CREATE ROLE shop_a LOGIN PASSWORD '{FIRST}' IN ROLE shop;
CREATE ROLE shop_b LOGIN IN ROLE shop;
"""
_WELL: Final = "/tmp/well"  # noqa: S108 - in a container
_SHOP: Final = f'psql --no-psqlrc --command="SELECT 1" && touch {_WELL} && exec sleep infinity'


@pytest.fixture(scope="module")
def shop(space: Space, access: ClusterAccess, kubectl: Kubectl) -> Space:
    """A database with the two roles, and a shop that logs in with what it finds in the Secret when it starts."""
    where = f"--namespace={space.name}"
    space.make(
        secret("shop-db", username="postgres", password="of-the-superuser"),  # noqa: S106 - of a server that lives for one test
        secret(LOGIN, username="shop_a", password=FIRST),
        *postgres_server(access.shop_image, login="shop-db"),
    )
    space.ready("db")
    kubectl.run("exec", "--stdin", "db", where, "--", "psql", "--host=/tmp", "--username=postgres", stdin=ROLES)
    variables = {"PGUSER": "username", "PGPASSWORD": "password"}
    container = {
        "name": "shop",
        "image": access.shop_image,
        "imagePullPolicy": "IfNotPresent",
        "command": ["/bin/sh", "-c", _SHOP],
        "env": [
            {"name": "PGHOST", "value": "db"},
            {"name": "PGDATABASE", "value": "postgres"},
            *(
                {"name": name, "valueFrom": {"secretKeyRef": {"name": LOGIN, "key": key}}}
                for name, key in variables.items()
            ),
        ],
        "readinessProbe": {"exec": {"command": ["test", "-e", _WELL]}, "periodSeconds": 1},
    }
    labels = {"app": "shop"}
    template = {"metadata": {"labels": labels}, "spec": pod("shop", container)["spec"]}
    spec = {"selector": {"matchLabels": labels}, "template": template}
    space.make({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "shop"}, "spec": spec})
    sample = parse(SAMPLE.read_text().replace("namespace: shop\n", f"namespace: {space.name}\n"))
    rights = [found for found in sample if found["kind"] != "MaintenanceTask"]
    kubectl.run("apply", "--filename=-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": rights}))
    until(
        partial(space.get, DEPLOYMENTS, "shop"),
        lambda found: rollout(WorkloadKind.DEPLOYMENT, found).complete,
        what="the shop is well",
        seconds=60,
        every=0.2,
    )
    return space


def sample_task(name: str) -> Object:
    """A task of the sample, which runs when it is asked to."""
    (task,) = [each for each in read(SAMPLE) if (each["kind"], each["metadata"]["name"]) == ("MaintenanceTask", name)]
    del task["spec"]["schedule"]
    return task


def rotate(shop: Space, *, token: str, **changes: object) -> Object:
    """The last run of the sample's task, with other times."""
    task = sample_task("rotate-db-login")
    task["spec"]["connections"][0]["postgres"] |= {"host": "db", "database": "postgres"}
    task["spec"]["steps"][0]["rotateCredential"] |= changes
    task["metadata"] |= {"name": token, "annotations": {"upkeep.dev/run-now": token}}
    shop.make(task)
    run: Object = shop.ended_run(token, token=token, seconds=90)["lastRun"]
    return run


def held(shop: Space) -> dict[str, str]:
    return {key: b64decode(value).decode() for key, value in shop.get(SECRETS, LOGIN)["data"].items()}


def test_the_sample_replaces_the_password_and_revokes_the_old_one(shop: Space, kubectl: Kubectl) -> None:
    where = f"--namespace={shop.name}"

    def logs_in(role: str, password: str) -> bool:
        address = f"host=db user={role} dbname=postgres password={password}"
        return kubectl.attempt("exec", "db", where, "--", "psql", "--command=SELECT 1", address).returncode == 0

    # when it is old enough
    first = rotate(shop, token="first", maxAge="0s", grace="2s")  # noqa: S106 - a token of run-now

    # then all use the new one, and the old one is good until the grace period is over
    assert first["outcome"] == "changed", first["message"]
    assert "Secret 'shop-db-login' has a new credential, which works (Deployment 'shop' restarted)" in first["message"]
    now = held(shop)
    assert now["username"] == "shop_b"
    assert logs_in("shop_b", now["password"])
    assert logs_in("shop_a", FIRST)

    # when the next run comes after that
    second = rotate(shop, token="second", maxAge="90d", grace="2s")  # noqa: S106 - a token of run-now

    assert second["outcome"] == "changed", second["message"]
    assert second["message"].startswith("the old credential is revoked")
    assert not logs_in("shop_a", FIRST)
    assert set(held(shop)) == {"username", "password"}
    assert RECORD not in shop.get(SECRETS, LOGIN)["metadata"]["annotations"]

    # and nothing that anybody can read has one of them
    told = kubectl.run("get", "mt,jobs,pods,events,deployments", where, "--output=yaml")
    told += kubectl.run("logs", where, "--selector=app.kubernetes.io/managed-by=upkeep", "--tail=-1")
    assert FIRST not in told
    assert now["password"] not in told


def test_it_may_touch_this_secret_and_this_workload_and_nothing_else(shop: Space, kubectl: Kubectl) -> None:
    account = f"--as=system:serviceaccount:{shop.name}:rotate-db-login"
    allowed = kubectl.attempt("auth", "can-i", "patch", f"secrets/{LOGIN}", account, f"--namespace={shop.name}")
    assert allowed.stdout.strip() == "yes"
    for question in (
        ("get", "secrets/shop-db"),
        ("delete", f"secrets/{LOGIN}"),
        ("list", "secrets"),
        ("patch", "deployments.apps/other"),
    ):
        asked = kubectl.attempt("auth", "can-i", *question, account, f"--namespace={shop.name}")
        assert asked.stdout.strip() == "no", question


def test_without_rights_it_says_which_are_missing(shop: Space) -> None:
    task = sample_task("rotate-api-key")
    task["spec"]["serviceAccountName"] = "default"
    task["metadata"]["annotations"] = {"upkeep.dev/run-now": "powerless"}
    shop.make(task)

    run = shop.ended_run("rotate-api-key", seconds=60)["lastRun"]

    assert run["outcome"] == "failed"
    assert 'cannot get resource "secrets"' in run["message"]
    assert "bind the ServiceAccount to a Role that allows it" in run["message"]
