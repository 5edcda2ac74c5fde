"""Whatever stands where a certificate should: it is read, or refused as none."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from upkeep.actions.certificate.x509 import Certificate

_VALIDITY = bytes.fromhex("301e170d3439313233313233353935395a170d3530303130313030303030305a")


def _sequence(*parts: bytes) -> bytes:
    content = b"".join(parts)
    return b"\x30" + (bytes([len(content)]) if len(content) < 128 else b"\x81" + bytes([len(content)])) + content


def _certificate(*, name: bytes = b"", extensions: bytes = b"") -> bytes:
    serial, algorithm, key = b"\x02\x01\x2a", _sequence(), _sequence()
    return _sequence(_sequence(serial, algorithm, _sequence(), _VALIDITY, _sequence(name), key, extensions))


def test_the_least_that_a_certificate_says_is_read() -> None:
    found = Certificate.of_der(_certificate())
    assert (found.subject, found.serial, found.names) == ("without a name", "2a", ())
    assert (found.begins.year, found.ends.year) == (2049, 1950)


@given(st.binary(max_size=300))
def test_anything_else_is_refused(data: bytes) -> None:
    with suppress(ValueError):
        Certificate.of_der(data)


@given(st.integers(0, 60), st.integers(0, 255))
def test_a_flipped_byte_never_crashes(position: int, value: int) -> None:
    data = bytearray(_certificate(name=bytes.fromhex("310b300906035504030c0261ff")))
    data[position % len(data)] = value
    with suppress(ValueError):
        Certificate.of_der(bytes(data))


@pytest.mark.parametrize("text", ["", "hello", "-----BEGIN CERTIFICATE-----", "-----BEGIN CERTIFICATE-----\n!\n"])
def test_a_text_without_one_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        Certificate.all_of_pem(text)
