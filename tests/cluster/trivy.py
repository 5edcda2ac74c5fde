"""What trivy-operator leaves in a cluster: its kind of report, with the fields that it always has, and reports."""

from datetime import UTC, datetime, timedelta
from typing import Final

from cluster.kubectl import Object

GROUP: Final = "aquasecurity.github.io"
NAME: Final = f"vulnerabilityreports.{GROUP}"
_TEXT: Final = {"type": "string"}
_COUNTS: Final = ("criticalCount", "highCount", "mediumCount", "lowCount", "unknownCount")
_WEAKNESS: Final = {
    **dict.fromkeys(("vulnerabilityID", "resource", "installedVersion", "fixedVersion", "title"), _TEXT),
    **dict.fromkeys(("publishedDate", "lastModifiedDate"), _TEXT),
    "severity": {"type": "string", "enum": ["CRITICAL", "HIGH", "MEDIUM", "LOW", "UNKNOWN"]},
}


def definition() -> Object:
    """The CustomResourceDefinition of VulnerabilityReports, as far as trivy-operator demands fields of them."""
    artifact = dict.fromkeys(("repository", "tag", "digest"), _TEXT)
    report = {
        "artifact": _object(artifact),
        "os": _object({"family": _TEXT, "name": _TEXT}),
        "registry": _object({"server": _TEXT}),
        "scanner": _object(dict.fromkeys(("name", "vendor", "version"), _TEXT), *("name", "vendor", "version")),
        "summary": _object({name: {"type": "integer"} for name in _COUNTS}, *_COUNTS),
        "updateTimestamp": {"type": "string", "format": "date-time"},
        "vulnerabilities": {"type": "array", "items": _object(_WEAKNESS, *_WEAKNESS)},
    }
    demanded = ("artifact", "os", "scanner", "summary", "updateTimestamp", "vulnerabilities")
    schema = _object({"report": _object(report, *demanded)}, "report")
    names = {"kind": "VulnerabilityReport", "plural": "vulnerabilityreports", "singular": "vulnerabilityreport"}
    version = {"name": "v1alpha1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": NAME},
        "spec": {"group": GROUP, "names": names, "scope": "Namespaced", "versions": [version]},
    }


def report(repository: str, tag: str, *weaknesses: Object, server: str = "index.docker.io", days: float = 0) -> Object:
    """The field `report` of a VulnerabilityReport that was made so many days ago."""
    made = datetime.now(UTC) - timedelta(days=days)
    return {
        "artifact": {"repository": repository, "tag": tag},
        "os": {"family": "debian", "name": "12.5"},
        "registry": {"server": server},
        "scanner": {"name": "Trivy", "vendor": "Aqua Security", "version": "0.66.0"},
        "summary": dict.fromkeys(_COUNTS, 0),
        "updateTimestamp": made.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "vulnerabilities": list(weaknesses),
    }


def weakness(identity: str, severity: str, *, fixed: str = "2.0", published: str = "2026-11-01T00:00:00Z") -> Object:
    """One of a report's `vulnerabilities`."""
    return {
        "vulnerabilityID": identity,
        "severity": severity,
        "resource": "openssl",
        "installedVersion": "1.0",
        "fixedVersion": fixed,
        "title": "made up",
        "publishedDate": published,
        "lastModifiedDate": published,
    }


def _object(properties: Object, *required: str) -> Object:
    return {"type": "object", "properties": properties, **({"required": list(required)} if required else {})}
