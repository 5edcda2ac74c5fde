"""What is in a Secret of type kubernetes.io/tls as one encrypted file, PKCS #12, which every TLS tool can open.

It must never give out a private key but encrypted, or to be stored in a Secret.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from upkeep.actions.contract import ActionError, Context

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.serialization import KeySerializationEncryption

PASSPHRASE: Final = "passphrase"  # noqa: S105 - the name of a key
"""Key in the Secret of a volume connection."""
_SHORTEST: Final = 12
_CHAIN: Final = b"chain"
_AUTHORITY: Final = b"authority"
_ROUNDS: Final = 600_000
"""Of PBKDF2 with SHA-256, as OWASP's Password Storage Cheat Sheet has it (2023)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """The content of a Secret, in PEM form.

    Attributes:
        certificate: `tls.crt`: the certificate, and after it those of its issuers.
        key: `tls.key`, not encrypted.
        authority: `ca.crt`; empty where there is none.
    """

    certificate: bytes
    key: bytes
    authority: bytes = b""


def passphrase(context: Context, name: str) -> bytes:
    """The passphrase of a volume connection.

    Raises:
        ActionError: it has none, or one that is too short.
    """
    secret = context.secret_name(name)
    if not secret:
        msg = f"connection {name!r} has no secretRef: name a Secret with the key {PASSPHRASE!r}, to encrypt with"
        raise ActionError(msg)
    found = context.secret(name, PASSPHRASE)
    if len(found) < _SHORTEST:
        msg = f"key {PASSPHRASE!r} of Secret {secret!r} is too short: take at least {_SHORTEST} characters"
        raise ActionError(msg)
    return found.encode()


def sealed(bundle: Bundle, name: str, phrase: bytes) -> bytes:
    """The bundle, encrypted with AES-256.

    Raises:
        ValueError: certificates or key cannot be read, or do not belong together.
    """
    from cryptography import x509  # noqa: PLC0415 - a driver is loaded only when an action runs
    from cryptography.hazmat.primitives.serialization import load_pem_private_key, pkcs12  # noqa: PLC0415 - as above

    own, *chain = x509.load_pem_x509_certificates(bundle.certificate)
    authorities = x509.load_pem_x509_certificates(bundle.authority) if bundle.authority.strip() else []
    try:
        key = load_pem_private_key(bundle.key, password=None)
    except TypeError as error:
        msg = "the private key is encrypted already"
        raise ValueError(msg) from error
    if key.public_key() != own.public_key():
        msg = "tls.key is not the key of tls.crt"
        raise ValueError(msg)
    others = [
        *(pkcs12.PKCS12Certificate(each, _CHAIN) for each in chain),
        *(pkcs12.PKCS12Certificate(each, _AUTHORITY) for each in authorities),
    ]
    encryption = _encryption(phrase)
    return pkcs12.serialize_key_and_certificates(name.encode(), key, own, others, encryption)  # type: ignore[arg-type]  # of any kind that PKCS #12 knows; for others it raises TypeError


def unsealed(data: bytes, phrase: bytes) -> Bundle:
    """What was sealed, the private key as PKCS #8.

    Raises:
        ValueError: it is damaged, or the passphrase is another.
    """
    from cryptography.hazmat.primitives.serialization import (  # noqa: PLC0415 - a driver is loaded only when an action runs
        Encoding,
        NoEncryption,
        PrivateFormat,
        pkcs12,
    )

    loaded = pkcs12.load_pkcs12(data, phrase)
    if loaded.key is None or loaded.cert is None:
        msg = "there is no certificate with its key in it"
        raise ValueError(msg)
    chain = [loaded.cert, *(each for each in loaded.additional_certs if each.friendly_name != _AUTHORITY)]
    authorities = [each for each in loaded.additional_certs if each.friendly_name == _AUTHORITY]
    return Bundle(
        certificate=b"".join(each.certificate.public_bytes(Encoding.PEM) for each in chain),
        key=loaded.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
        authority=b"".join(each.certificate.public_bytes(Encoding.PEM) for each in authorities),
    )


def same(one: Bundle, other: Bundle) -> bool:
    """Whether both have the same certificates in the same order, and keys that belong to the first of them."""
    from cryptography import x509  # noqa: PLC0415 - a driver is loaded only when an action runs
    from cryptography.hazmat.primitives.serialization import load_pem_private_key  # noqa: PLC0415 - as above

    def content(bundle: Bundle) -> tuple[object, ...]:
        return (
            x509.load_pem_x509_certificates(bundle.certificate),
            x509.load_pem_x509_certificates(bundle.authority) if bundle.authority.strip() else [],
            load_pem_private_key(bundle.key, password=None).public_key(),
        )

    try:
        return content(one) == content(other)
    except (ValueError, TypeError):
        return False


def _encryption(phrase: bytes) -> "KeySerializationEncryption":
    from cryptography.hazmat.primitives.hashes import SHA256  # noqa: PLC0415 - a driver is loaded only when an action runs
    from cryptography.hazmat.primitives.serialization import PrivateFormat, pkcs12  # noqa: PLC0415 - as above

    return (
        PrivateFormat.PKCS12.encryption_builder()
        .kdf_rounds(_ROUNDS)
        .key_cert_algorithm(pkcs12.PBES.PBESv2SHA256AndAES256CBC)
        .hmac_hash(SHA256())
        .build(phrase)
    )
