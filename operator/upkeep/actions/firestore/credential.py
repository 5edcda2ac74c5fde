"""Tokens for Google's APIs: for a service account's key, or from the metadata server of where the Pod runs.

Neither a key nor a token may ever stand in a message, a log line or an argument.
"""

import asyncio
import base64
import json
import os
import re
import time
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from upkeep.actions.connections import SAFE_URL, readable_url
from upkeep.actions.contract import ActionError, Context
from upkeep.actions.firestore.answer import answer, patiently, quoted

if TYPE_CHECKING:
    from httpx import AsyncClient

KEY: Final = "key.json"

_SCOPE: Final = "https://www.googleapis.com/auth/datastore"
_GRANT: Final = "urn:ietf:params:oauth:grant-type:jwt-bearer"
_METADATA: Final = "metadata.google.internal"
_METADATA_PATH: Final = "/computeMetadata/v1/instance/service-accounts/default/token"
_LIFE_SECONDS: Final = 3600
"""The longest that Google takes."""
_MARGIN_SECONDS: Final = 120.0
_METADATA_SECONDS: Final = 10.0
"""How long its server may take to know a Pod that has just started."""
_CLOCK: Final = ("short-lived", "timeframe", "expired")


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Key:
    """A service account's key, as Google writes it into a file."""

    email: str
    identifier: str
    private: str
    token_uri: str

    @classmethod
    def read(cls, text: str, secret: str) -> "Key":
        """Read the file's content.

        Raises:
            ActionError: it is no such file; says what is missing, never what is there.
        """
        advice = f"store the file of a service account's key under {KEY!r} in Secret {secret!r}"
        try:
            found = json.loads(text)
        except (ValueError, RecursionError):
            msg = f"key {KEY!r} of Secret {secret!r} is not JSON: {advice}"
            raise ActionError(msg) from None
        if not isinstance(found, dict) or found.get("type") != "service_account":
            msg = f"key {KEY!r} of Secret {secret!r} is not of the type service_account: {advice}"
            raise ActionError(msg)
        wanted = ("client_email", "private_key_id", "private_key", "token_uri")
        missing = [name for name in wanted if not isinstance(found.get(name), str) or not found[name]]
        if missing:
            msg = f"key {KEY!r} of Secret {secret!r} has no {' and no '.join(missing)}: {advice}"
            raise ActionError(msg)
        email, identifier, private, uri = (found[name] for name in wanted)
        if not _sendable(uri):
            msg = f"token_uri in key {KEY!r} of Secret {secret!r} is not an https URL: {advice}"
            raise ActionError(msg)
        return cls(email=email, identifier=identifier, private=private, token_uri=uri)

    def assertion(self, secret: str) -> str:
        """A JSON Web Token that says who asks (RFC 7523), signed by RS256.

        Raises:
            ActionError: the private key cannot be used.
        """
        from cryptography.hazmat.primitives import hashes  # noqa: PLC0415 - a driver is loaded only when an action runs
        from cryptography.hazmat.primitives.asymmetric import padding, rsa  # noqa: PLC0415 - as above
        from cryptography.hazmat.primitives.serialization import load_pem_private_key  # noqa: PLC0415 - as above

        msg = f"private_key in key {KEY!r} of Secret {secret!r} is not an RSA key in PEM form: make a new key"
        try:
            private = load_pem_private_key(self.private.encode(), password=None)
        except (ValueError, TypeError):
            raise ActionError(msg) from None
        if not isinstance(private, rsa.RSAPrivateKey):
            raise ActionError(msg)
        now = int(time.time())
        claims = {"iss": self.email, "scope": _SCOPE, "aud": self.token_uri, "iat": now, "exp": now + _LIFE_SECONDS}
        head = {"alg": "RS256", "typ": "JWT", "kid": self.identifier}
        signed = b".".join(_encoded(json.dumps(part).encode()) for part in (head, claims))
        signature = private.sign(signed, padding.PKCS1v15(), hashes.SHA256())
        return (signed + b"." + _encoded(signature)).decode()


@dataclass(slots=True, kw_only=True, repr=False)
class Tokens:
    """Tokens of one connection; each is used until shortly before its end.

    Attributes:
        secret: name of the Secret with the key, for messages.
        key: None: the metadata server is asked.
        patience: for how many seconds the metadata server is asked again.
    """

    secret: str
    key: Key | None
    patience: float
    _token: str = ""
    _ends: float = 0

    @classmethod
    def of(cls, context: Context, name: str, *, patience: float) -> "Tokens":
        """Those of a connection.

        Raises:
            ActionError: the Secret has no usable key.
        """
        secret = context.secret_name(name)
        key = Key.read(context.secret(name, KEY), secret) if secret else None
        return cls(secret=secret, key=key, patience=min(patience, _METADATA_SECONDS))

    async def current(self, client: "AsyncClient") -> str:
        """A token that is good for some time yet.

        Raises:
            ActionError: none is given.
            BusyError: none is given just now.
        """
        clock = asyncio.get_running_loop().time
        if not self._token or clock() > self._ends:
            asked = clock()
            found = await (self._metadata(client) if self.key is None else self._exchange(client, self.key))
            match found:
                case {"access_token": str(token), "expires_in": int(seconds)} if re.fullmatch(r"[!-~]+", token):
                    self._token, self._ends = token, asked + seconds - _MARGIN_SECONDS
                case _:
                    msg = "no token is in the answer to the request for one: check token_uri of the key"
                    raise ActionError(msg)
        return self._token

    def forget(self) -> None:
        """The token is refused: get another one next time."""
        self._token = ""

    async def _exchange(self, client: "AsyncClient", key: Key) -> object:
        assertion = key.assertion(self.secret)
        form = {"grant_type": _GRANT, "assertion": assertion}
        status, found = await answer(client, "POST", key.token_uri, data=form)
        if status == HTTPStatus.OK:
            return found
        code, text = _error(found)
        said = quoted(f"{code}: {text}" if text else code or f"status {status}", assertion)
        msg = f"no token for the key in Secret {self.secret!r} ({said}): {_advice(code, text)}"
        raise ActionError(msg)

    async def _metadata(self, client: "AsyncClient") -> object:
        host = os.environ.get("GCE_METADATA_HOST", _METADATA)
        advice = (
            "on GKE bind the task's ServiceAccount to a Google service account (Workload Identity), elsewhere name a "
            "Secret with a key in secretRef of the connection"
        )
        try:
            status, found = await patiently(
                lambda: answer(client, "GET", f"http://{host}{_METADATA_PATH}", headers={"Metadata-Flavor": "Google"}),
                seconds=self.patience,
            )
        except ActionError as error:
            msg = f"no token from the metadata server: {error}: {advice}"
            raise ActionError(msg) from error
        if status != HTTPStatus.OK:
            msg = f"no token from the metadata server (status {status}): {advice}"
            raise ActionError(msg)
        return found


def _advice(code: str, text: str) -> str:
    if any(sign in text.lower() for sign in _CLOCK):
        return "the clock of this node is wrong: let it be set by NTP"
    if "signature" in text.lower() or code == "invalid_grant":
        return f"the key was revoked, or the service account is gone: make a new key and store it under {KEY!r}"
    return f"check the service account, and {KEY!r} of the Secret"


def _error(found: object) -> tuple[str, str]:
    """The code and the sentence of an error, as OAuth 2.0 gives them."""
    match found:
        case {"error": str(code), "error_description": str(text)}:
            return code, text
        case {"error": str(code)}:
            return code, ""
    return "", ""


def _sendable(url: str) -> bool:
    try:
        return re.fullmatch(SAFE_URL + r"(/[^\s?#]*)?", readable_url(url)) is not None
    except ValueError:
        return False


def _encoded(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")
