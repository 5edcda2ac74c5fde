"""A real Alertmanager for tests, on a free loopback port."""

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import httpx

from integration.certificate import Certificate
from integration.observability import Program, started
from lab.port import free_port
from upkeep.alertmanager.client import Alertmanager
from upkeep.alertmanager.configuration import read_endpoints

_CONFIGURATION: Final = """
route: {receiver: nobody}
receivers: [{name: nobody}]
inhibit_rules:
  - source_matchers: [alertname = "ClusterDown"]
    target_matchers: [alertname = "ShopDown"]
"""
_READY: Final = 'msg="TLS is '
"""It listens when it says this."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertmanagerServer:
    """A running Alertmanager.

    Attributes:
        url: where it answers.
        trust: the certificate that it shows; None where it speaks plain HTTP.
    """

    url: str
    trust: Path | None = None

    def fire(self, name: str, *, seconds: float = 300, **labels: str) -> None:
        """Let an alert fire; it resolves by itself after so many seconds, and at once for 0."""
        start = datetime.now(UTC)
        times = {"startsAt": start.isoformat(), "endsAt": (start + timedelta(seconds=seconds)).isoformat()}
        alert = {"labels": {"alertname": name, **labels}, **times}
        httpx.post(f"{self.url}/api/v2/alerts", json=[alert], trust_env=False).raise_for_status()

    def silences(self, *, state: str = "active") -> Sequence[dict[str, Any]]:
        """Its silences in this state."""
        answer = httpx.get(f"{self.url}/api/v2/silences", trust_env=False).raise_for_status()
        return [silence for silence in answer.json() if silence["status"]["state"] == state]

    def expire(self, identifier: str) -> None:
        """End a silence, as a person does in the user interface."""
        httpx.delete(f"{self.url}/api/v2/silence/{identifier}", trust_env=False).raise_for_status()

    def client(self, directory: Path, *, login: str = "", label: str = "namespace") -> Alertmanager:
        """A client for it, configured by files in a directory; `login` is a field of its configuration."""
        authority = f"caFile: {self.trust}" if self.trust else ""
        file = directory / "alertmanagers.yaml"
        fields = "\n  ".join([f"url: {self.url}", f"namespaceLabel: '{label}'", authority, login])
        file.write_text(f"main:\n  {fields}\n")
        return Alertmanager(read_endpoints(file)["main"])


@contextmanager
def running_alertmanager(
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    certificate: Certificate | None = None,
    configuration: str = _CONFIGURATION,
    path: str = "",
) -> Iterator[AlertmanagerServer]:
    """A fresh server, stopped and removed afterwards; with a certificate it speaks TLS and wants a password."""
    place = f"{host}:{port or free_port()}"
    with tempfile.TemporaryDirectory(prefix="upkeep-alertmanager-") as made:
        directory = Path(made)
        (directory / "alertmanager.yml").write_text(configuration)
        options = [f"--config.file={directory / 'alertmanager.yml'}", f"--storage.path={directory / 'data'}"]
        options += ["--cluster.listen-address=", *([f"--web.route-prefix={path}"] if path else [])]
        program = Program(name="prometheus-alertmanager", options=options, ready=_READY)
        with started(program, place, directory, certificate) as url:
            yield AlertmanagerServer(url=url, trust=certificate.certificate if certificate else None)
