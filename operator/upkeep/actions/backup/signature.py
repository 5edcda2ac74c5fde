"""Signs requests as the protocol of S3 wants it ("Signature Version 4"), so that no secret travels."""

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from urllib.parse import quote, urlsplit

EMPTY: Final = hashlib.sha256(b"").hexdigest()
"""SHA-256 of no content."""
_UNRESERVED: Final = "-_.~"


@dataclass(frozen=True, slots=True, kw_only=True)
class Keys:
    """What a request is signed with.

    Attributes:
        access: the key that is sent.
        secret: the key that never is.
        region: of the server.
    """

    access: str
    secret: str
    region: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A request to a server of S3.

    Attributes:
        method: of HTTP.
        endpoint: scheme, host and port.
        path: with bucket and key, not quoted.
        query: its parameters.
        headers: that are sent besides, by their names in small letters; all are signed.
        digest: SHA-256 of the content, in hex.
    """

    method: str
    endpoint: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    digest: str = EMPTY

    @property
    def url(self) -> str:
        """The whole address."""
        return f"{self.endpoint}{self._quoted_path}{f'?{self._quoted_query}' if self.query else ''}"

    def signed(self, keys: Keys, now: datetime) -> Mapping[str, str]:
        """Its headers, with the signature; `now` is in UTC."""
        headers = {
            **self.headers,
            "host": urlsplit(self.endpoint).netloc,
            "x-amz-content-sha256": self.digest,
            "x-amz-date": f"{now:%Y%m%dT%H%M%SZ}",
        }
        names = sorted(headers)
        lines = [self.method, self._quoted_path, self._quoted_query, *(f"{name}:{headers[name]}" for name in names)]
        text = "\n".join([*lines, "", ";".join(names), self.digest])
        scope = f"{now:%Y%m%d}/{keys.region}/s3/aws4_request"
        digest = hashlib.sha256(text.encode()).hexdigest()
        secret = f"AWS4{keys.secret}".encode()
        for word in scope.split("/"):
            secret = hmac.digest(secret, word.encode(), "sha256")
        demand = f"AWS4-HMAC-SHA256\n{headers['x-amz-date']}\n{scope}\n{digest}"
        signature = hmac.digest(secret, demand.encode(), "sha256").hex()
        credential = f"Credential={keys.access}/{scope}, SignedHeaders={';'.join(names)}, Signature={signature}"
        return {**headers, "authorization": f"AWS4-HMAC-SHA256 {credential}"}

    @property
    def _quoted_path(self) -> str:
        return quote(self.path, safe=f"/{_UNRESERVED}")

    @property
    def _quoted_query(self) -> str:
        quoted = {quote(name, safe=_UNRESERVED): quote(self.query[name], safe=_UNRESERVED) for name in self.query}
        return "&".join(f"{name}={quoted[name]}" for name in sorted(quoted))
