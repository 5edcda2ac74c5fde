"""Sources on a volume are scanned in a real cluster: by the scanner in the image, and with a database like OSV."""

from typing import Final

from cluster.kubectl import Kubectl
from cluster.manifests import pod, script, service, task
from cluster.space import Space
from cluster.volume import claimed
from lab.access import ClusterAccess

_CLAIM: Final = "shop-sources"
_SECONDS: Final = 90
_ADVISORY: Final = {
    "id": "GHSA-h5c8-rqwp-cp95",
    "summary": "HTML attribute injection",
    "aliases": ["CVE-2024-22195"],
    "published": "2024-01-11T15:20:48Z",
    "database_specific": {"severity": "HIGH"},
    "affected": [
        {
            "package": {"name": "jinja2", "ecosystem": "PyPI"},
            "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "3.1.3"}]}],
        }
    ],
}
_DATABASE: Final = f"""
import json
from http.server import BaseHTTPRequestHandler, HTTPServer

class Handler(BaseHTTPRequestHandler):
    def answer(self, body):
        text = json.dumps(body).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def do_GET(self):
        self.answer({_ADVISORY!r})

    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["queries"]
        known = {{"vulns": [{{"id": "GHSA-h5c8-rqwp-cp95", "modified": "2024-01-11T15:20:48Z"}}]}}
        self.answer({{"results": [known if each["version"] == "3.1.2" else {{}} for each in asked]}})

HTTPServer(("", 8080), Handler).serve_forever()
"""
_WRITE: Final = """
mkdir -p /sources/shop && cd /sources/shop && printf 'jinja2==3.1.2\\nflask==3.0.0\\n' > requirements.txt
printf 'token = ghp_%s\\n' "$(head -c 200 /dev/urandom | base64 -w 0 | tr -d '+/=' | head -c 36)" > settings.py
"""


def test_weaknesses_and_secrets_are_found_and_no_secret_is_told(
    space: Space, access: ClusterAccess, kubectl: Kubectl
) -> None:
    volume = {
        "name": "sources",
        "mountPath": "/sources",
        "readOnly": False,
        "persistentVolumeClaim": {"claimName": _CLAIM},
    }
    container = {
        "name": "osv",
        "image": access.shop_image,
        "imagePullPolicy": "IfNotPresent",
        "command": ["python3", "-c", _DATABASE],
        "readinessProbe": {"tcpSocket": {"port": 8080}, "periodSeconds": 1},
    }
    connections = [
        {"name": "sources", "volume": {"claimName": _CLAIM}},
        {"name": "osv", "http": {"url": f"http://osv.{space.name}.svc:8080"}},
    ]
    with claimed(space, access, _CLAIM):
        space.make(
            service("osv", 8080),
            pod("osv", container),
            task("writer", job=script(access.shop_image, _WRITE, volumes=[volume])),
        )
        assert space.ended_run("writer", seconds=_SECONDS)["lastRun"]["outcome"] == "ok"
        space.ready("osv")
        audit: dict[str, object] = {"name": "packages", "onFailure": "Continue"}
        audit |= {"dependencyAudit": {"volume": "sources", "database": "osv"}}
        scan = {"name": "secrets", "secretScan": {"volume": "sources", "path": "shop"}}

        space.make(task("scan", audit, scan, connections=connections))
        run = space.ended_run("scan", seconds=_SECONDS)["lastRun"]

    assert [step["outcome"] for step in run["steps"]] == ["failed", "failed"], run["message"]
    assert {finding["object"] for finding in run["findings"]} == {
        "PyPI jinja2 GHSA-h5c8-rqwp-cp95",
        "settings.py github-pat",
    }
    where = f"--namespace={space.name}"
    told = kubectl.run("get", "mt,jobs,pods,events", where, "--output=yaml")
    told += kubectl.run("logs", where, "--selector=app.kubernetes.io/managed-by=upkeep", "--tail=-1")
    assert "ghp_" not in told.replace("ghp_%s", "")
