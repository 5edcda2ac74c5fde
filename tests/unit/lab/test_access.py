from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import pytest

from lab.access import connect, require_permitted
from lab.failure import LabError
from lab.process import launch, stop
from lab.state import State, save

if TYPE_CHECKING:
    from pathlib import Path

    from lab.home import Home


@pytest.fixture
def strangers_kubeconfig(tmp_path: Path) -> Path:
    """A kubeconfig of the user's with two clusters, the current one being production."""
    names = ("production", "playground")
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "production",
        "clusters": [{"name": name, "cluster": {"server": f"https://{name}.example"}} for name in names],
        "users": [{"name": name, "user": {"token": f"{name}-token"}} for name in names],
        "contexts": [{"name": name, "context": {"cluster": name, "user": name}} for name in names],
    }
    path = tmp_path / "strangers.kubeconfig"
    path.write_text(json.dumps(content))
    return path


@pytest.mark.parametrize("context", ["upkeep-lab", "kind-upkeep"])
def test_the_labs_own_contexts_may_be_used(context: str) -> None:
    require_permitted(context, named=None)


@pytest.mark.parametrize("context", ["production", "kind-production", "upkeep-lab-2", ""])
def test_any_other_context_is_refused(context: str) -> None:
    with pytest.raises(LabError, match="UPKEEP_CONTEXT"):
        require_permitted(context, named=None)


def test_another_context_may_be_used_when_the_caller_names_it() -> None:
    require_permitted("playground", named="playground")

    with pytest.raises(LabError):
        require_permitted("production", named="playground")


def test_without_a_cluster_one_reads_how_to_get_one(home: Home) -> None:
    with pytest.raises(LabError, match="make cluster"):
        connect(home, {})


def test_a_recorded_cluster_that_has_ended_is_not_handed_out(home: Home) -> None:
    save(home, State(kind="home-built", context="upkeep-lab", ports={"ingress": 1}))

    with pytest.raises(LabError, match="not running"):
        connect(home, {})


def test_a_recorded_context_that_is_not_the_labs_is_refused(home: Home) -> None:
    save(home, State(kind="kind", context="production", ports={"ingress": 1}))

    with pytest.raises(LabError, match="production"):
        connect(home, {})


def test_the_home_built_cluster_is_handed_out_with_its_audit_log_and_ingress(home: Home) -> None:
    save(home, State(kind="home-built", context="upkeep-lab", ports={"ingress": 8080}, ingress=True))
    launch(home, "kube-apiserver", ["sleep", "300"])
    try:
        access = connect(home, {})
    finally:
        stop(home, "kube-apiserver")

    assert (access.context, access.home_built) == ("upkeep-lab", True)
    assert access.ingress_url == "http://127.0.0.1:8080"
    assert access.audit_log == home.audit_log
    assert access.image == "localhost/upkeep:dev"


def test_no_ingress_is_promised_before_one_is_started(home: Home) -> None:
    save(home, State(kind="kind", context="kind-upkeep", ports={"ingress": 8080}))

    access = connect(home, {})

    assert access.ingress_url is None
    assert access.audit_log is None
    assert not access.home_built


def test_a_named_cluster_needs_images_that_it_can_pull(home: Home) -> None:
    with pytest.raises(LabError, match="UPKEEP_IMAGE and UPKEEP_SHOP_IMAGE"):
        connect(home, {"UPKEEP_CONTEXT": "playground"})


def test_of_the_users_kubeconfig_only_the_named_context_is_taken(home: Home, strangers_kubeconfig: Path) -> None:
    environment = {
        "PATH": os.environ["PATH"],
        "KUBECONFIG": str(strangers_kubeconfig),
        "UPKEEP_CONTEXT": "playground",
        "UPKEEP_IMAGE": "registry.example/upkeep:1",
        "UPKEEP_SHOP_IMAGE": "registry.example/shop:1",
        "UPKEEP_INGRESS_URL": "http://192.0.2.1",
    }

    access = connect(home, environment)

    taken = access.kubeconfig.read_text()
    assert json.loads(taken)["current-context"] == "playground"
    assert "production" not in taken
    assert access.kubeconfig.stat().st_mode & 0o077 == 0
    assert (access.context, access.image, access.ingress_url) == (
        "playground",
        "registry.example/upkeep:1",
        "http://192.0.2.1",
    )


def test_a_named_context_that_does_not_exist_is_an_error_that_names_it(home: Home, strangers_kubeconfig: Path) -> None:
    environment = {
        "PATH": os.environ["PATH"],
        "KUBECONFIG": str(strangers_kubeconfig),
        "UPKEEP_CONTEXT": "playgruond",
        "UPKEEP_IMAGE": "a",
        "UPKEEP_SHOP_IMAGE": "b",
    }

    with pytest.raises(LabError, match="playgruond"):
        connect(home, environment)
