"""Reads what matters from an X.509 certificate (RFC 5280), which the standard library does only for verified ones.

It reads and never judges: whether a certificate is trusted is for OpenSSL to say.
"""

import hashlib
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from ipaddress import ip_address
from typing import Final

from upkeep.actions.text import readable

_INTEGER: Final = 0x02
_SEQUENCE: Final = 0x30
_UTC_TIME: Final = 0x17
_GENERALIZED_TIME: Final = 0x18
_BMP_STRING: Final = 0x1E
_VERSION: Final = 0xA0
_EXTENSIONS: Final = 0xA3
_DNS_NAME: Final = 0x82
_IP_ADDRESS: Final = 0x87
_COMMON_NAME: Final = bytes.fromhex("550403")
_ORGANISATION: Final = bytes.fromhex("55040a")
_ALTERNATIVE_NAMES: Final = bytes.fromhex("551d11")
_LONG_FORM: Final = 0x80
_LONGEST_LENGTH: Final = 4
_LATEST_OF_1900S: Final = 50
BEGIN: Final = "-----BEGIN CERTIFICATE-----"
"""How a certificate in PEM form begins."""
_END: Final = "-----END CERTIFICATE-----"


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """What a certificate says of itself.

    Attributes:
        subject: common name of its holder, or the organisation where it has none; safe to show.
        issuer: the same of who signed it.
        serial: its number, in hexadecimal.
        begins: first instant of its validity.
        ends: last instant of its validity.
        names: DNS names and IP addresses that it is for.
        fingerprint: SHA-256 of the whole, in hexadecimal.
    """

    subject: str
    issuer: str
    serial: str
    begins: datetime
    ends: datetime
    names: tuple[str, ...]
    fingerprint: str

    @classmethod
    def of_der(cls, data: bytes) -> "Certificate":
        """Read the binary form.

        Raises:
            ValueError: it is not a certificate.
        """
        try:
            return cls._read(data)
        except (IndexError, OverflowError) as error:
            msg = "not an X.509 certificate"
            raise ValueError(msg) from error

    @classmethod
    def all_of_pem(cls, text: str) -> "list[Certificate]":
        """Read every certificate in a text, in its order.

        Raises:
            ValueError: one of them is not a certificate, or there is none.
        """
        blocks = [block.partition(_END)[0] for block in text.split(BEGIN)[1:]]
        if not blocks:
            msg = "no certificate in PEM form"
            raise ValueError(msg)
        return [cls.of_der(ssl.PEM_cert_to_DER_cert(f"{BEGIN}{block}{_END}")) for block in blocks]

    @classmethod
    def _read(cls, data: bytes) -> "Certificate":
        (_, whole), *_ = _elements(data)
        (_, signed), *_ = _elements(whole)
        fields = [field for field in _elements(signed) if field[0] != _VERSION]
        (kind, serial), _, (_, issuer), (_, validity), (_, subject), *rest = fields
        if kind != _INTEGER:
            msg = "not an X.509 certificate: no serial number"
            raise ValueError(msg)
        begins, ends = (_instant(*time) for time in _elements(validity))
        return cls(
            subject=_name(subject),
            issuer=_name(issuer),
            serial=serial.hex(),
            begins=begins,
            ends=ends,
            names=tuple(name for tag, content in rest if tag == _EXTENSIONS for name in _alternative_names(content)),
            fingerprint=hashlib.sha256(data).hexdigest(),
        )


def _elements(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Tag and content of each DER element, one after the other."""
    position = 0
    while position < len(data):
        tag, length = data[position], data[position + 1]
        position += 2
        if length & _LONG_FORM:
            size = length & ~_LONG_FORM
            if not 0 < size <= _LONGEST_LENGTH:
                msg = "not DER: a length of an unknown form"
                raise ValueError(msg)
            length = int.from_bytes(data[position : position + size], "big")
            position += size
        if position + length > len(data):
            msg = "not DER: it is cut off"
            raise ValueError(msg)
        yield tag, data[position : position + length]
        position += length


def _instant(tag: int, content: bytes) -> datetime:
    text = content.decode("ascii")
    if tag == _UTC_TIME:
        century = "20" if int(text[:2]) < _LATEST_OF_1900S else "19"
        text = century + text
    elif tag != _GENERALIZED_TIME:
        msg = "not an X.509 certificate: a validity without times"
        raise ValueError(msg)
    return datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC)


def _name(content: bytes) -> str:
    parts: dict[bytes, str] = {}
    for _, group in _elements(content):
        for _, pair in _elements(group):
            (_, kind), (tag, value) = _elements(pair)
            encoding = "utf-16-be" if tag == _BMP_STRING else "utf-8"
            parts.setdefault(kind, readable(value.decode(encoding, "replace")))
    return parts.get(_COMMON_NAME) or parts.get(_ORGANISATION) or "without a name"


def _alternative_names(content: bytes) -> Iterator[str]:
    for _, extensions in _elements(content):
        for _, extension in _elements(extensions):
            (_, kind), *_, (_, value) = _elements(extension)
            if kind != _ALTERNATIVE_NAMES:
                continue
            for _, names in _elements(value):
                for tag, name in _elements(names):
                    if tag == _DNS_NAME:
                        yield readable(name.decode("ascii", "replace"))
                    elif tag == _IP_ADDRESS:
                        yield str(ip_address(name))
