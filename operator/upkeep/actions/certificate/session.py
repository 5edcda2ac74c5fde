"""Certificates as they are stored in a mounted Secret and as a server shows them."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from upkeep.actions.certificate.x509 import Certificate
from upkeep.actions.connections import TLSTarget
from upkeep.actions.contract import ActionError, Context

_HANDSHAKE_SECONDS: Final = 10.0
_ADVICE: Final = (
    ("Name or service not known", "no such name in DNS: check `host` of connection {connection!r}"),
    ("No address associated", "no such name in DNS: check `host` of connection {connection!r}"),
    ("Temporary failure in name resolution", "DNS does not answer: check the cluster's DNS"),
    ("Connect call failed", "nothing listens there: check host and port, and that the server runs"),
    ("refused", "nothing listens there: check host and port, and that the server runs"),
    ("SSL", "check that the server speaks TLS on this port"),
)
_OTHER_ADVICE: Final = "check that the server speaks TLS on this port, and its log"


def stored(context: Context, name: str, key: str = "tls.crt") -> list[Certificate]:
    """The certificates in the connection's Secret, the server's own first.

    Raises:
        ActionError: no such connection, Secret or key, or no certificate in it.
    """
    context.target(name, TLSTarget)
    text = context.secret(name, key)
    try:
        return Certificate.all_of_pem(text)
    except ValueError as error:
        msg = f"key {key!r} of Secret {context.secret_name(name)!r} is no certificate in PEM form: replace it"
        raise ActionError(msg) from error


async def served(context: Context, name: str) -> tuple[Certificate, bytes]:
    """The certificate that the server shows, whether it is to be trusted or not; and its binary form.

    Raises:
        ActionError: no such connection, or the server shows none.
    """
    trusting = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    trusting.check_hostname = False
    trusting.verify_mode = ssl.CERT_NONE
    target = context.target(name, TLSTarget)
    async with _connected(name, target, trusting) as data:
        try:
            return Certificate.of_der(data), data
        except ValueError as error:
            msg = f"{label(target)} shows something that is no certificate: check its configuration"
            raise ActionError(msg) from error


async def complaint(context: Context, name: str, judge: ssl.SSLContext) -> str:
    """What is wrong with what the server shows, in the judge's eyes; empty if nothing is.

    Raises:
        ActionError: the server cannot be reached or does not speak TLS.
    """
    try:
        async with _connected(name, context.target(name, TLSTarget), judge):
            return ""
    except ssl.SSLCertVerificationError as error:
        return error.verify_message


def label(target: TLSTarget) -> str:
    """How messages call the server."""
    return f"{target.host}:{target.port}"


@asynccontextmanager
async def _connected(name: str, target: TLSTarget, judge: ssl.SSLContext) -> AsyncIterator[bytes]:
    """The binary form of the certificate that the server shows in a handshake; the connection is closed at once."""
    try:
        async with asyncio.timeout(_HANDSHAKE_SECONDS):
            _, writer = await asyncio.open_connection(
                target.host, target.port, ssl=judge, server_hostname=target.server_name or target.host
            )
    except ssl.SSLCertVerificationError:
        raise
    except TimeoutError as error:
        msg = (
            f"no TLS handshake with {label(target)} within {_HANDSHAKE_SECONDS:g} s: check host and port, that the "
            "server speaks TLS there, and the NetworkPolicies"
        )
        raise ActionError(msg) from error
    except OSError as error:
        what = str(error) or type(error).__name__
        advice = next((advice for needle, advice in _ADVICE if needle in what), _OTHER_ADVICE)
        msg = f"cannot reach {label(target)}: {what}: {advice.format(connection=name)}"
        raise ActionError(msg) from error
    try:
        yield writer.get_extra_info("ssl_object").getpeercert(binary_form=True) or b""
    finally:
        writer.transport.abort()
