"""In which namespace a command works where nobody names one: that of the current context, as with kubectl."""

import argparse
import os
from pathlib import Path
from typing import Final

import yaml
from kubernetes.aio.config.config_exception import ConfigException
from kubernetes.aio.config.kube_config import list_kube_config_contexts

_OF_THE_POD: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
_DEFAULT: Final = "default"
_UNREADABLE: Final = (ConfigException, OSError, yaml.YAMLError, AttributeError, KeyError, TypeError, ValueError)
"""What the library makes of a kubeconfig that is not there, or is none."""


def add_namespace(parser: argparse.ArgumentParser, meaning: str) -> None:
    """Let a command take `--namespace`; `meaning` says what of."""
    told = f"{meaning}; without it, that of the current context"
    # An empty text goes through `type` as well, so that the kubeconfig is read only where nobody names one.
    parser.add_argument("-n", "--namespace", default="", type=_named, help=told)


def current_namespace() -> str:
    """Of the Pod that this process runs in, else of the kubeconfig's current context, else `default`."""
    if os.environ.get("KUBERNETES_SERVICE_HOST") and _OF_THE_POD.is_file():
        return _OF_THE_POD.read_text().strip() or _DEFAULT
    try:
        _, current = list_kube_config_contexts()  # type: ignore[no-untyped-call]
    except _UNREADABLE:
        # Who needs the cluster is told what is wrong when it is asked.
        return _DEFAULT
    return str(current["context"].get("namespace") or _DEFAULT)


def _named(text: str) -> str:
    return text or current_namespace()
