"""A server that speaks, on a free loopback port, what Google documents of Firestore's admin API and of its tokens.

- https://cloud.google.com/firestore/docs/reference/rest/v1/projects.databases/exportDocuments and importDocuments
- https://cloud.google.com/firestore/docs/reference/rest/v1/projects.databases.operations (get, list, cancel)
- https://developers.google.com/identity/protocols/oauth2/service-account (a token for a signed assertion)
- https://cloud.google.com/compute/docs/metadata (a token for where a Pod runs)
"""

import asyncio
import base64
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Final

from aiohttp import web
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

Object = dict[str, Any]

PATH: Final = "projects/shop-prod/databases/(default)"
EMAIL: Final = "upkeep@shop-prod.iam.gserviceaccount.com"
_METADATA: Final = "/computeMetadata/v1/instance/service-accounts/default/token"
_JWT: Final = "urn:ietf:params:oauth:grant-type:jwt-bearer"
_SCOPE: Final = "https://www.googleapis.com/auth/datastore"


@cache
def private_key(number: int) -> rsa.RSAPrivateKey:
    """The key with this number; 0 is the one that the server knows."""
    del number
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


@dataclass
class Firestore:
    """The server.

    Attributes:
        url: where it answers.
        operations: by name; the newest last.
        script: what an operation has, one more at each look at it; the last one stays.
        refusals: by `METHOD verb`, what is answered instead, first to last; a status of 0 hangs up.
        lost: how many operations are begun without an answer.
        clock: by how many seconds it is ahead.
        page: how many operations a page has.
        tokens: those that are good.
        begun: bodies of exports and imports that were asked for.
        cancelled: names of operations.
        begin: set when an operation is asked for.
        held: while it is not set, an operation that is asked for is begun, but not answered.
    """

    url: str = ""
    operations: dict[str, Object] = field(default_factory=dict)
    script: list[Object] = field(default_factory=list)
    refusals: dict[str, list[tuple[int, Object]]] = field(default_factory=dict)
    lost: int = 0
    clock: int = 0
    page: int = 2
    life: int = 3600
    tokens: set[str] = field(default_factory=set)
    begun: list[Object] = field(default_factory=list)
    cancelled: list[str] = field(default_factory=list)
    begin: asyncio.Event = field(default_factory=asyncio.Event)
    polled: asyncio.Event = field(default_factory=asyncio.Event)
    held: asyncio.Event = field(default_factory=asyncio.Event)
    metadata: bool = True

    def key(self, *, number: int = 0, **changes: Any) -> str:  # noqa: ANN401 - of JSON
        """The file of a service account's key."""
        pem = private_key(number).private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        content = {
            "type": "service_account",
            "project_id": "shop-prod",
            "private_key_id": "0a1b",
            "private_key": pem.decode(),
            "client_email": EMAIL,
            "token_uri": f"{self.url}/token",
        }
        return json.dumps({name: value for name, value in (content | changes).items() if value is not None})

    def under_way(self, place: str, *, kind: str = "output", **changes: Any) -> str:  # noqa: ANN401 - of JSON
        """Let an export (or an import, kind `input`) be under way; returns its name."""
        name = f"{PATH}/operations/op{len(self.operations)}"
        metadata = {"operationState": "PROCESSING", f"{kind}UriPrefix": place, **changes}
        self.operations[name] = {"name": name, "metadata": metadata}
        return name

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        if request.path == "/token":
            return self._token(await request.post())
        if request.path == _METADATA:
            assert request.headers["Metadata-Flavor"] == "Google"
            return self._granted() if self.metadata else web.Response(status=404, text="<html>")
        path = request.path.removeprefix("/v1/")
        verb = f"{request.method} {path.rpartition(':')[2] if ':' in path else path.removeprefix(PATH)}"
        for wanted, answers in self.refusals.items():
            if verb.startswith(wanted) and answers:
                status, body = answers.pop(0)
                if status == 0:
                    assert request.transport
                    request.transport.close()
                return web.json_response(body, status=status or 500)
        if request.headers.get("Authorization", "").removeprefix("Bearer ") not in self.tokens:
            return status_of(401, "UNAUTHENTICATED", "Request had invalid authentication credentials.")
        if not path.startswith(PATH):
            return status_of(404, "NOT_FOUND", "The database does not exist.")
        return await self._answered(request, path)

    async def _answered(self, request: web.BaseRequest, path: str) -> web.StreamResponse:
        match request.method, path.removeprefix(PATH):
            case "POST", ":exportDocuments" | ":importDocuments":
                return await self._begin(await request.json(), request)
            case "GET", "/operations":
                start = int(request.query.get("pageToken", "0"))
                shown = list(self.operations.values())[start : start + self.page]
                more = start + self.page < len(self.operations)
                following = {"nextPageToken": str(start + self.page)} if more else {}
                return web.json_response({"operations": shown, **following} if shown else {})
            case "POST", cancel if cancel.endswith(":cancel"):
                self.cancelled.append(path.removesuffix(":cancel"))
                return web.json_response({})
            case "GET", _ if path in self.operations:
                self.polled.set()
                self._advance(self.operations[path])
                return web.json_response(self.operations[path])
        return status_of(404, "NOT_FOUND", "Requested entity was not found.")

    async def _begin(self, body: Object, request: web.BaseRequest) -> web.StreamResponse:
        self.begun.append(body)
        kind = "output" if "outputUriPrefix" in body else "input"
        ids = {"collectionIds": body["collectionIds"]} if "collectionIds" in body else {}
        name = self.under_way(body[f"{kind}UriPrefix"], kind=kind, **ids)
        self.begin.set()
        await self.held.wait()
        if self.lost:
            self.lost -= 1
            assert request.transport
            request.transport.close()
        return web.json_response(self.operations[name])

    def _advance(self, operation: Object) -> None:
        if self.script:
            step = self.script.pop(0) if self.script[1:] else self.script[0]
            operation["metadata"] |= step.get("metadata", {})
            operation |= {key: value for key, value in step.items() if key != "metadata"}

    def _token(self, form: Any) -> web.Response:  # noqa: ANN401 - of aiohttp
        assert form["grant_type"] == _JWT
        head, claims, signature = form["assertion"].split(".")
        try:
            private_key(0).public_key().verify(
                _decoded(signature), f"{head}.{claims}".encode(), padding.PKCS1v15(), hashes.SHA256()
            )
        except InvalidSignature:
            return _refused("Invalid JWT Signature.")
        said, header = json.loads(_decoded(claims)), json.loads(_decoded(head))
        assert header == {"alg": "RS256", "typ": "JWT", "kid": "0a1b"}
        assert (said["scope"], said["aud"]) == (_SCOPE, f"{self.url}/token")
        if said["iss"] != EMAIL:
            return _refused("Invalid grant: account not found")
        now = time.time() + self.clock
        if not now - 3600 <= said["iat"] <= now + 300 or said["exp"] - said["iat"] > 3600:
            return _refused(
                "Invalid JWT: Token must be a short-lived token (60 minutes) and in a reasonable timeframe. "
                "Check your iat and exp values in the JWT claim."
            )
        return self._granted()

    def _granted(self) -> web.Response:
        token = f"ya29.secret-token-{len(self.tokens)}"
        self.tokens.add(token)
        return web.json_response({"access_token": token, "expires_in": self.life, "token_type": "Bearer"})


def status_of(code: int, status: str, message: str, *reasons: str) -> web.Response:
    """An error as Google's APIs give it."""
    return web.json_response(error_of(code, status, message, *reasons), status=code)


def error_of(code: int, status: str, message: str, *reasons: str) -> Object:
    """Its body (google.rpc.Status in JSON)."""
    details = [{"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": reason} for reason in reasons]
    return {"error": {"code": code, "status": status, "message": message, "details": details}}


def done(documents: int, size: int = 0, *, state: str = "SUCCESSFUL", **outcome: object) -> Object:
    """The last step of a script; numbers of 64 bits are text, and 0 is left out."""
    progress = {
        name: {"completedWork": str(work)} if work else {}
        for name, work in (("progressDocuments", documents), ("progressBytes", size))
    }
    return {"metadata": {"operationState": state, **progress}, "done": True, **(outcome or {"response": {}})}


def _refused(description: str) -> web.Response:
    return web.json_response({"error": "invalid_grant", "error_description": description}, status=400)


def _decoded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


@asynccontextmanager
async def serving_firestore() -> AsyncIterator[Firestore]:
    """A fresh server; it ends with the context."""
    server = Firestore()
    server.held.set()
    runner = web.ServerRunner(web.Server(server.handle, access_log=None))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    server.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield server
    finally:
        await runner.cleanup()
