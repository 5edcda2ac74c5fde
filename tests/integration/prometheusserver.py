"""A real Prometheus for tests, on a free loopback port, which evaluates rules and scrapes nothing."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from textwrap import indent
from typing import Any, Final

import httpx

from integration.certificate import Certificate
from integration.observability import Program, started
from lab.port import free_port

_READY: Final = "Server is ready to receive web requests"
"""It answers questions when it says this."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PrometheusServer:
    """A running Prometheus.

    Attributes:
        url: where it answers, with its path prefix.
        trust: the certificate that it shows; None where it speaks plain HTTP.
    """

    url: str
    trust: Path | None = None

    def values(self, query: str) -> list[float]:
        """What an instant query gives."""
        answer = httpx.get(f"{self.url}/api/v1/query", params={"query": query}, trust_env=False).raise_for_status()
        return [float(series["value"][1]) for series in answer.json()["data"]["result"]]

    def rules(self) -> dict[str, dict[str, Any]]:
        """Its rules by name."""
        answer = httpx.get(f"{self.url}/api/v1/rules", trust_env=False).raise_for_status()
        return {rule["name"]: rule for group in answer.json()["data"]["groups"] for rule in group["rules"]}


@contextmanager
def running_prometheus(
    rules: str = "", *, prefix: str = "", certificate: Certificate | None = None
) -> Iterator[PrometheusServer]:
    """A fresh server with these rules (the YAML list of one group), stopped and removed afterwards.

    They are evaluated every 200 ms. With a certificate it speaks TLS and wants a password.
    """
    place = f"127.0.0.1:{free_port()}"
    with tempfile.TemporaryDirectory(prefix="upkeep-prometheus-") as made:
        directory = Path(made)
        files = "rule_files: [rules.yml]\n" if rules else ""
        (directory / "rules.yml").write_text(f"groups:\n- name: shop\n  rules:\n{indent(rules, '  ')}")
        (directory / "prometheus.yml").write_text(f"global: {{evaluation_interval: 200ms}}\n{files}")
        options = [f"--config.file={directory / 'prometheus.yml'}", f"--storage.tsdb.path={directory / 'data'}"]
        options.append(f"--web.external-url=http://{place}{prefix}")
        program = Program(name="prometheus", options=options, ready=_READY)
        with started(program, place, directory, certificate) as url:
            yield PrometheusServer(url=f"{url}{prefix}", trust=certificate.certificate if certificate else None)
