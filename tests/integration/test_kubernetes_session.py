"""The Kubernetes API as a step sees it: over TLS, with the mounted token, and with errors that say what to do."""

import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from integration.certificate import Certificate
from upkeep.actions.contract import ActionError
from upkeep.actions.kubernetes.session import AbsentError, AwayError, ChangedError, DeniedError, cluster

PATH = "/apis/apps/v1/namespaces/shop/deployments/web"


@dataclass
class ApiServer:
    """Answers what it is told to, and remembers what it was asked.

    Attributes:
        directory: what the kubelet would have mounted.
        environment: what the kubelet would have set.
    """

    directory: Path
    environment: dict[str, str] = field(default_factory=dict)
    status: int = 200
    answer: Any = field(default_factory=dict)
    asked: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        self.asked.append((request.method, request.path_qs, dict(request.headers)))
        return web.json_response(self.answer, status=self.status)


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[ApiServer]:
    files = Certificate.make(tmp_path)
    (tmp_path / "ca.crt").write_bytes(files.certificate.read_bytes())
    (tmp_path / "token").write_text("first\n")
    (tmp_path / "namespace").write_text("shop")
    found = ApiServer(tmp_path)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(files.certificate, files.key)
    runner = web.ServerRunner(web.Server(found.handle, access_log=None))
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context)
    await site.start()
    found.environment = {
        "KUBERNETES_SERVICE_HOST": "127.0.0.1",
        "KUBERNETES_SERVICE_PORT": str(runner.addresses[0][1]),
        "HTTPS_PROXY": "http://127.0.0.1:9",
    }
    yield found
    await runner.cleanup()


async def test_each_request_has_the_token_of_that_moment(server: ApiServer) -> None:
    async with cluster(server.directory, server.environment) as api:
        await api.get(PATH)
        (server.directory / "token").write_text("second\n")
        await api.patch(PATH, [{"op": "test", "path": "/metadata/uid", "value": "u"}])

    assert api.namespace == "shop"
    assert [(method, path) for method, path, _ in server.asked] == [
        ("GET", PATH),
        ("PATCH", f"{PATH}?fieldManager=upkeep"),
    ]
    assert [headers["Authorization"] for *_, headers in server.asked] == ["Bearer first", "Bearer second"]
    assert server.asked[1][2]["Content-Type"] == "application/json-patch+json"


@pytest.mark.parametrize(
    ("status", "answer", "kind", "words"),
    [
        (401, {"message": "Unauthorized"}, ActionError, "does not take the ServiceAccount's token: Unauthorized"),
        (
            403,
            {"message": "u cannot get deployments"},
            DeniedError,
            "u cannot get deployments: bind the ServiceAccount",
        ),
        (404, {"message": "not found"}, AbsentError, "not found"),
        (409, {"message": "modified"}, ChangedError, "modified"),
        (410, {"message": "too old"}, AwayError, "the list has changed while it was read: too old: run this again"),
        (422, {"message": "test failed"}, ChangedError, "test failed"),
        (422, {"message": "invalid", "details": {"causes": [{"field": "spec"}]}}, ActionError, "invalid"),
        (429, {"message": "slow down"}, AwayError, "slow down"),
        (503, ["no object"], AwayError, "no object"),
    ],
)
async def test_a_refusal_says_what_to_do(
    server: ApiServer, status: int, answer: object, kind: type[ActionError], words: str
) -> None:
    server.status, server.answer = status, answer

    async with cluster(server.directory, server.environment) as api:
        with pytest.raises(ActionError, match=words) as caught:
            await api.get(PATH)

    assert type(caught.value) is kind
    assert "first" not in str(caught.value), "the token stays out of messages"


async def test_a_server_that_is_not_there_may_come_back(server: ApiServer) -> None:
    async with cluster(server.directory, server.environment | {"KUBERNETES_SERVICE_PORT": "1"}) as api:
        with pytest.raises(AwayError, match="the API server does not answer"):
            await api.get(PATH)


async def test_a_server_with_the_certificate_of_another_authority_gets_no_token(
    server: ApiServer, tmp_path_factory: pytest.TempPathFactory
) -> None:
    other = Certificate.make(tmp_path_factory.mktemp("other"))
    (server.directory / "ca.crt").write_bytes(other.certificate.read_bytes())

    async with cluster(server.directory, server.environment) as api:
        with pytest.raises(AwayError, match="CERTIFICATE_VERIFY_FAILED"):
            await api.get(PATH)
    assert server.asked == []


@pytest.mark.parametrize("missing", ["ca.crt", "namespace", "token", "KUBERNETES_SERVICE_HOST"])
async def test_a_pod_without_an_account_is_told_to_name_one(server: ApiServer, missing: str) -> None:
    (server.directory / missing).unlink(missing_ok=True)
    environment = {name: value for name, value in server.environment.items() if name != missing}

    with pytest.raises(ActionError, match=r"name a ServiceAccount in spec\.serviceAccountName"):
        async with cluster(server.directory, environment) as api:
            await api.get(PATH)
