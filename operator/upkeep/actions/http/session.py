"""Connections to HTTP servers, with errors that say what to do about them. Proxies of the environment are not used."""

import re
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

from pydantic import AfterValidator, Field

from upkeep.actions.connections import HTTPTarget, PrometheusTarget, readable_url
from upkeep.actions.contract import ActionError, Context

if TYPE_CHECKING:
    from httpx import AsyncClient, HTTPError

CONNECT_SECONDS: Final = 3.0
"""How long a server may take to accept, so that a wrong host shows within five seconds."""

PageURL = Annotated[
    str, Field(max_length=2048, pattern=r"^https?://[^\t-\r /?#@]+([/?#][^\t-\r ]*)?$"), AfterValidator(readable_url)
]
"""An address without user name and password."""

_ADVICE: Final = (
    ("Name or service not known", "no such name in DNS: check the host in url and that the Service exists"),
    ("No address associated", "no such name in DNS: check the host in url and that the Service exists"),
    ("Temporary failure in name resolution", "DNS does not answer: check the cluster's DNS"),
    ("All connection attempts failed", "nothing listens there: check host and port, and that the server runs"),
    ("Connection refused", "nothing listens there: check host and port, and that the server runs"),
    ("CERTIFICATE_VERIFY_FAILED", "renew the certificate, or check that url has a name in it"),
    ("SSL", "check that the server speaks TLS on this port"),
    ("disconnected", "look into the server's log"),
)


@asynccontextmanager
async def session(
    context: Context, name: str, *, seconds: float, kind: type[HTTPTarget | PrometheusTarget] = HTTPTarget
) -> AsyncIterator["AsyncClient"]:
    """A client of the connection of this kind, whose paths are relative to its url; a request may take so many seconds.

    Raises:
        ActionError: no such connection or Secret, a Secret without credentials, or a url that cannot be read.
    """
    import httpx  # noqa: PLC0415 - a driver is loaded only when an action runs

    target = context.target(name, kind)
    timeout = httpx.Timeout(seconds, connect=min(seconds, CONNECT_SECONDS))
    authority = context.credentials / name / "ca.crt"
    verify = trust(target.url, authority if authority.is_file() else None)
    credentials = _credentials(context, name, target)
    try:
        made = httpx.AsyncClient(base_url=target.url, timeout=timeout, verify=verify, trust_env=False, **credentials)
    except httpx.InvalidURL as error:
        msg = f"url of connection {name!r} cannot be read: {error}: correct it"
        raise ActionError(msg) from error
    async with made as client:
        yield client


def trust(url: str, authority: Path | None = None) -> ssl.SSLContext:
    """The system's authorities, or the one in the file, for https; for http nobody, which costs no time to make.

    Raises:
        ActionError: the file holds no certificate.
    """
    if not url.startswith("https:"):
        return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        return ssl.create_default_context(cafile=authority)
    except ssl.SSLError as error:
        msg = "key 'ca.crt' of the connection's Secret holds no certificate in PEM form: replace it"
        raise ActionError(msg) from error


def shown(url: str) -> str:
    """The URL without its query, for messages."""
    return url.partition("?")[0].partition("#")[0]


def explained(error: "HTTPError") -> str:
    """What went wrong with a request, and what to do about it."""
    what = re.sub(r"^\[Errno -?[0-9]+\] ", "", str(error)) or type(error).__name__
    advice = next((advice for needle, advice in _ADVICE if needle in what), "check url and the server's log")
    return f"{what}: {advice}"


def _credentials(context: Context, name: str, target: HTTPTarget | PrometheusTarget) -> dict[str, Any]:
    if target.secret_ref is None:
        return {}
    if (context.credentials / name / "token").is_file():
        return {"headers": {"Authorization": f"Bearer {context.secret(name, 'token')}"}}
    if (context.credentials / name / "ca.crt").is_file() and not (context.credentials / name / "username").is_file():
        return {}
    return {"auth": (context.secret(name, "username"), context.secret(name, "password"))}
