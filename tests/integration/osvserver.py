"""A server that speaks the API of OSV as https://google.github.io/osv.dev/api describes it, on a free loopback port."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

Record = Mapping[str, Any]

LODASH: Record = {
    "id": "GHSA-35jh-r3h4-6jhm",
    "summary": "Command Injection in lodash",
    "aliases": ["CVE-2021-23337"],
    "modified": "2026-01-01T00:00:00Z",
    "published": "2021-05-06T16:05:51Z",
    "database_specific": {"severity": "HIGH", "cwe_ids": ["CWE-77", "CWE-94"]},
    "severity": [{"type": "CVSS_V3", "score": "CVSS:3.1/AV:N/AC:L/PR:H/UI:N/S:U/C:H/I:H/A:H"}],
    "affected": [
        {
            "package": {"name": "lodash", "ecosystem": "npm", "purl": "pkg:npm/lodash"},
            "ranges": [{"type": "SEMVER", "events": [{"introduced": "0"}, {"fixed": "4.17.21"}]}],
        }
    ],
}
MINIMIST: Record = {
    "id": "GHSA-xvch-5gv4-984h",
    "summary": "Prototype Pollution in minimist",
    "aliases": ["CVE-2021-44906"],
    "modified": "2026-01-01T00:00:00Z",
    "published": "2022-03-18T00:01:09Z",
    "severity": [{"type": "CVSS_V3", "score": "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H"}],
    "affected": [
        {
            "package": {"name": "minimist", "ecosystem": "npm"},
            "ranges": [{"type": "SEMVER", "events": [{"introduced": "1.0.0"}, {"fixed": "1.2.6"}]}],
        },
        {
            "package": {"name": "minimist", "ecosystem": "npm"},
            "ranges": [{"type": "SEMVER", "events": [{"introduced": "0"}, {"fixed": "0.2.4"}]}],
        },
    ],
}
JINJA: Record = {
    "id": "GHSA-h5c8-rqwp-cp95",
    "summary": "Jinja vulnerable to HTML attribute injection when passing user input as keys to xmlattr filter",
    "aliases": ["CVE-2024-22195", "PYSEC-2024-9999"],
    "modified": "2026-01-01T00:00:00Z",
    "published": "2024-01-11T15:20:48Z",
    "database_specific": {"severity": "MODERATE"},
    "severity": [{"type": "CVSS_V3", "score": "CVSS:3.1/AV:N/AC:L/PR:N/UI:R/S:C/C:L/I:L/A:N"}],
    "affected": [
        {
            "package": {"name": "Jinja2", "ecosystem": "PyPI"},
            "ranges": [
                {"type": "GIT", "repo": "https://example.com/jinja", "events": [{"introduced": "0"}, {"fixed": "abc"}]},
                {"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "3.1.3"}]},
            ],
            "versions": ["3.1.1", "3.1.2"],
        }
    ],
}
SAME_JINJA: Record = {**JINJA, "id": "PYSEC-2024-9999", "aliases": ["GHSA-h5c8-rqwp-cp95"], "database_specific": {}}
UNGRADED: Record = {
    "id": "PYSEC-2030-1",
    "details": "Something\nis wrong.\x1b[31m",
    "modified": "2030-01-01T00:00:00Z",
    "affected": [{"package": {"name": "größe", "ecosystem": "PyPI"}}],
}
WITHDRAWN: Record = {**LODASH, "id": "GHSA-with-draw-nnnn", "aliases": [], "withdrawn": "2024-01-01T00:00:00Z"}


@dataclass
class Osv:
    """The server.

    Attributes:
        url: where it answers.
        known: ids by ecosystem, name and version.
        records: by id.
        page: how many ids an answer has at most.
        status: what it answers to everything, where it is not 200.
        asked: the bodies of the queries.
        read: the ids that were looked up.
    """

    url: str = ""
    known: dict[tuple[str, str, str], list[str]] = field(default_factory=dict)
    records: dict[str, Record] = field(default_factory=dict)
    page: int = 100
    status: int = 200
    asked: list[Any] = field(default_factory=list)
    read: list[str] = field(default_factory=list)

    def know(self, ecosystem: str, name: str, version: str, *records: Record) -> None:
        """Let a package have these weaknesses."""
        self.records |= {record["id"]: record for record in records}
        self.known[ecosystem, name, version] = [record["id"] for record in records]

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        if self.status != 200:
            return web.json_response({"code": 8, "message": "no"}, status=self.status)
        if request.path == "/v1/querybatch" and request.method == "POST":
            body = await request.json()
            self.asked.append(body)
            if len(body["queries"]) > 1000:
                return web.json_response({"code": 3, "message": "Too many queries."}, status=400)
            return web.json_response({"results": [self._result(query) for query in body["queries"]]})
        identifier = request.path.removeprefix("/v1/vulns/")
        self.read.append(identifier)
        if identifier not in self.records:
            return web.json_response({"code": 5, "message": "Bug not found."}, status=404)
        return web.json_response(self.records[identifier])

    def _result(self, query: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON as it came
        place = (query["package"]["ecosystem"], query["package"]["name"], query["version"])
        start = int(query.get("page_token", "0"))
        found = self.known.get(place, [])
        shown = found[start : start + self.page]
        result: dict[str, Any] = {"vulns": [{"id": each, "modified": "2026-01-01T00:00:00Z"} for each in shown]}
        if start + self.page < len(found):
            result["next_page_token"] = str(start + self.page)
        return result if shown else {}


@asynccontextmanager
async def serving_osv() -> AsyncIterator[Osv]:
    """A fresh server; it ends with the context."""
    osv = Osv()
    runner = web.ServerRunner(web.Server(osv.handle, access_log=None))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    osv.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield osv
    finally:
        await runner.cleanup()
