"""Where nobody names a namespace, it is that of the current context, as with kubectl."""

import argparse
from pathlib import Path
from typing import Any

import pytest
import yaml
from kubernetes.aio.config import kube_config

from upkeep.cli.namespace import add_namespace


@pytest.fixture(autouse=True)
def kubeconfig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file that is read; there is none before a test writes one."""
    file = tmp_path / "config"
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    monkeypatch.setattr(kube_config, "KUBE_CONFIG_DEFAULT_LOCATION", str(file))
    return file


def contexts(**namespaces: str | None) -> dict[str, Any]:
    """A kubeconfig with these contexts, of which `here` is the current one."""
    entries = {name: {"cluster": "c", "user": "u", "namespace": space} for name, space in namespaces.items()}
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "here",
        "clusters": [{"name": "c", "cluster": {"server": "https://127.0.0.1"}}],
        "users": [{"name": "u", "user": {}}],
        "contexts": [
            {"name": name, "context": {key: value for key, value in entry.items() if value}}
            for name, entry in entries.items()
        ],
    }


def chosen(*arguments: str) -> str:
    parser = argparse.ArgumentParser()
    add_namespace(parser, "its namespace")
    namespace: str = parser.parse_args(arguments).namespace
    return namespace


def test_it_is_that_of_the_current_context(kubeconfig: Path) -> None:
    kubeconfig.write_text(yaml.safe_dump(contexts(here="shop", there="blog")))

    assert chosen() == "shop"


def test_who_names_one_gets_it(kubeconfig: Path) -> None:
    kubeconfig.write_text(yaml.safe_dump(contexts(here="shop")))

    assert chosen("-n", "blog") == chosen("--namespace=blog") == "blog"


@pytest.mark.parametrize("text", [yaml.safe_dump(contexts(here=None)), "", "{", "current-context: nowhere"])
def test_without_one_it_is_the_one_that_every_cluster_has(kubeconfig: Path, text: str) -> None:
    kubeconfig.write_text(text)

    assert chosen() == "default"


def test_without_a_kubeconfig_too() -> None:
    assert chosen() == "default"
