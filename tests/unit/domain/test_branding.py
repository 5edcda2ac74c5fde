"""Name, logo and colour of a page: what can be used is used, of the rest people are told what to write."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from upkeep.domain.branding import KEYS, LARGEST_LOGO, Brand, Logo, read_brand

SVG = b"<?xml version='1.0'?>\n<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 4 4'/>"
PNG = b"\x89PNG\r\n\x1a\n rest"


def test_everything_is_taken_in() -> None:
    brand = read_brand({"name": b" The\n shop ", "accentColor": b"#0B7285\n", "logo.svg": SVG, "theirs": b"x"})

    assert brand == Brand(name="The shop", accent="#0b7285", logo=Logo(media="image/svg+xml", data=SVG))


def test_everything_is_optional() -> None:
    assert read_brand({}) == Brand()


def test_of_two_logos_the_one_that_can_be_used_is_shown() -> None:
    assert read_brand({"logo.svg": b"none", "logo.png": PNG}).logo == Logo(media="image/png", data=PNG)
    assert read_brand({"logo.svg": SVG, "logo.png": PNG}).logo == Logo(media="image/svg+xml", data=SVG)


@pytest.mark.parametrize(("text", "colour"), [("#abc", "#aabbcc"), ("#0b7285", "#0b7285"), ("#FFFFFF", "#ffffff")])
def test_a_colour_is_written_in_full(text: str, colour: str) -> None:
    assert read_brand({"accentColor": text.encode()}).accent == colour


@pytest.mark.parametrize(
    "text", ["red", "0b7285", "#0b72", "#gggggg", "", "#fff;}body{display:none", "rgb(1,2,3)", "var(--x)", "#fff\n#000"]
)
def test_what_is_no_colour_never_comes_near_a_style(text: str) -> None:
    brand = read_brand({"accentColor": text.encode()})

    assert brand.accent is None
    assert "write it as #0b7285" in brand.complaints[0]


@pytest.mark.parametrize(
    ("key", "data", "said"),
    [
        ("logo.png", SVG, "logo.png is no image/png picture"),
        ("logo.svg", PNG, "logo.svg is no image/svg+xml picture"),
        ("logo.svg", b"<html><script>", "logo.svg is no image/svg+xml picture"),
        ("logo.png", PNG + b"x" * LARGEST_LOGO, "at most 64 KiB can be shown"),
    ],
)
def test_a_logo_that_cannot_be_shown_is_left_out_and_said(key: str, data: bytes, said: str) -> None:
    brand = read_brand({key: data})

    assert brand.logo is None
    assert said in brand.complaints[0]


def test_a_long_name_is_cut_and_said() -> None:
    brand = read_brand({"name": b"x" * 200})

    assert len(brand.name) == 80
    assert "shorten it" in brand.complaints[0]


@given(st.dictionaries(st.sampled_from([*KEYS, "other"]), st.binary(max_size=200)))
def test_nothing_makes_it_fail(entries: dict[str, bytes]) -> None:
    brand = read_brand(entries)

    assert brand.name == " ".join(brand.name.split())
    hash(brand)
