"""Tells whether a certificate works: its key, its chain, its names; and whether what is served is what is stored."""

import ssl
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import ClassVar, Final

from upkeep.actions.certificate.session import complaint, label, served, stored
from upkeep.actions.certificate.x509 import Certificate
from upkeep.actions.connections import TLSTarget
from upkeep.actions.contract import Action, ActionError, Context, Finding, Outcome, Result, Severity
from upkeep.actions.fields import LabelName

_NO_NAME: Final = ("Hostname mismatch", "IP address mismatch")
_NO_PAIR: Final = ("KEY_VALUES_MISMATCH", "KEY_TYPE_MISMATCH")
_ROUNDS: Final = 8
"""More turns than any handshake takes."""
_NAMES_SHOWN: Final = 5


class CertificateConsistency(Action):
    """Checks key, chain and names of a stored and of a served certificate, and that what is served is what is stored.

    OpenSSL judges, as a client would: by the authorities in `ca.crt` of the Secret, or else by those of the system.
    Names are checked where the connection says which (serverName or host). Revocation is not checked.
    Locks: none. Privileges: none in Kubernetes; the Secret, with its private key, is mounted into the Pod of the run.
    """

    action_name: ClassVar[str] = "certificateConsistency"
    check: ClassVar[bool] = True
    finds: ClassVar[Mapping[str, str]] = {
        "certificate.consistency.chain": "clients do not trust it",
        "certificate.consistency.key": "tls.key does not belong to tls.crt",
        "certificate.consistency.name": "it is not for the name that clients use",
        "certificate.consistency.not-loaded": "the Secret has a newer one than the server shows",
        "certificate.consistency.not-stored": "the server shows a newer one than the Secret has",
    }

    connection: LabelName
    """Name of a tls connection."""

    async def run(self, context: Context) -> Result:
        """Check what is stored, what is served, and compare them.

        Raises:
            ActionError: no such Secret, no certificate or key in it, or the server shows none.
        """
        target = context.target(self.connection, TLSTarget)
        findings: list[Finding] = []
        own = shown = None
        if target.secret_ref is not None:
            own = stored(context, self.connection)[0]
            findings += self._stored(context, target, own)
        if target.host is not None:
            shown, data = await served(context, self.connection)
            findings += await self._served(context, target, shown, data)
        if own is not None and shown is not None and own.fingerprint != shown.fingerprint:
            findings.append(_another(target, own, shown))
        what = own or shown
        subject = what.subject if what else ""
        message = f"{subject!r} is consistent" if not findings else f"{subject!r}: {findings[0].recommendation}"
        return Result(
            outcome=Outcome.OK,
            message=message,
            findings=findings,
            metrics={"checked": float((own is not None) + (shown is not None)), "faults": float(len(findings))},
        )

    def _stored(self, context: Context, target: TLSTarget, own: Certificate) -> Iterator[Finding]:
        where = f"Secret {target.secret_name}"
        holder, secret = f"connection {self.connection!r}", context.secret_name(self.connection)
        certificate = context.secret_file(self.connection, "tls.crt", holder=holder, secret=secret)
        key = context.secret_file(self.connection, "tls.key", holder=holder, secret=secret)
        server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        try:
            server.load_cert_chain(certificate, key, password="")
        except (ssl.SSLError, OSError, ValueError) as error:
            if not any(reason in str(error) for reason in _NO_PAIR):
                msg = (
                    f"{where} cannot be loaded by a server: {error}: tls.key has to be an unencrypted private key in "
                    "PEM form, and the key of tls.crt as long as today's servers demand"
                )
                raise ActionError(msg) from error
            yield _fault("key", where, own, "tls.key is not the key of tls.crt: store the pair that belongs together")
            return
        why = _handshake(server, self._judge(context))
        if why:
            yield _fault("chain", where, own, _chain_advice(why))
        name = target.server_name or target.host
        if name and _handshake(server, _judge_of_names(certificate), name).startswith(_NO_NAME):
            yield _fault("name", where, own, _name_advice(name, own))

    async def _served(self, context: Context, target: TLSTarget, shown: Certificate, data: bytes) -> list[Finding]:
        found = []
        why = await complaint(context, self.connection, self._judge(context))
        if why:
            found.append(_fault("chain", label(target), shown, _chain_advice(why)))
        names = _judge_of_names(data)
        if (await complaint(context, self.connection, names)).startswith(_NO_NAME):
            name = target.server_name or target.host or ""
            found.append(_fault("name", label(target), shown, _name_advice(name, shown)))
        return found

    def _judge(self, context: Context) -> ssl.SSLContext:
        """A client that trusts whom it should, and asks for no name."""
        authority = context.credentials / self.connection / "ca.crt"
        try:
            judge = ssl.create_default_context(cafile=authority if authority.is_file() else None)
        except ssl.SSLError as error:
            secret = context.secret_name(self.connection)
            msg = f"key 'ca.crt' of Secret {secret!r} is no certificate in PEM form: replace it"
            raise ActionError(msg) from error
        judge.check_hostname = False
        return judge


def _judge_of_names(certificate: Path | bytes) -> ssl.SSLContext:
    """A client that trusts this certificate and nothing else, so that only its names are left to complain about."""
    judge = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    judge.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    if isinstance(certificate, bytes):
        judge.load_verify_locations(cadata=certificate)
    else:
        judge.load_verify_locations(cafile=certificate)
    return judge


def _handshake(server: ssl.SSLContext, judge: ssl.SSLContext, name: str | None = None) -> str:
    """What the judge says of the server's certificate, in a handshake in memory; empty if it has no complaint."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    sides = [
        judge.wrap_bio(to_client, to_server, server_hostname=name),
        server.wrap_bio(to_server, to_client, server_side=True),
    ]
    for _ in range(_ROUNDS):
        for side in sides:
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
            except ssl.SSLCertVerificationError as error:
                return error.verify_message
    return ""


def _another(target: TLSTarget, own: Certificate, shown: Certificate) -> Finding:
    newer = (own.begins, own.ends) >= (shown.begins, shown.ends)
    advice = (
        f"the Secret has one that is valid to {own.ends:%Y-%m-%d}, the server still shows the one to "
        f"{shown.ends:%Y-%m-%d}: renewed, but not reloaded: restart the server or let it reload"
        if newer
        else f"the server shows a newer one, valid to {shown.ends:%Y-%m-%d}, than the Secret has: let the Secret follow"
    )
    return _fault("not-loaded" if newer else "not-stored", label(target), shown, advice)


def _chain_advice(why: str) -> str:
    hint = "store the certificates of its issuers after it in tls.crt, or its authority in ca.crt"
    if "expired" in why or "not yet valid" in why:
        hint = "renew it, or check the clocks"
    return f"clients do not trust it: {why}: {hint}"


def _name_advice(name: str, certificate: Certificate) -> str:
    names = ", ".join(certificate.names[:_NAMES_SHOWN]) + (", …" if certificate.names[_NAMES_SHOWN:] else "")
    return f"it is not for {name!r} but for {names or 'no name at all'}: issue it for the name that clients use"


def _fault(kind: str, where: str, certificate: Certificate, advice: str) -> Finding:
    return Finding(
        check_id=f"certificate.consistency.{kind}",
        severity=Severity.CRITICAL,
        object=f"{where}: {certificate.subject}",
        observed=1,
        threshold=1,
        unit="",
        recommendation=advice,
    )
