"""The page with a brand: only data in it, let in by the policy, and taken in whenever its files change."""

import base64
import hashlib
import json
import re
from datetime import UTC, datetime
from pathlib import Path

import pytest

from upkeep.domain.branding import Brand, Logo
from upkeep.web.content import Content
from upkeep.web.negotiation import HTML, JSON
from upkeep.web.notice import Notice
from upkeep.web.representation import Representations

NOW = datetime(2026, 11, 29, 2, tzinfo=UTC)
SVG = b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>"
BRAND = Brand(name='Mark & "Spencer"', accent="#0b5394", logo=Logo(media="image/svg+xml", data=SVG))
PAGES = Representations()


def html(brand: Brand) -> str:
    return PAGES.body(HTML, Notice(brand=brand).edition(), now=NOW)


def test_the_logo_is_a_picture_in_the_page_itself_and_bears_the_name() -> None:
    source = f"data:image/svg+xml;base64,{base64.b64encode(SVG).decode()}"

    assert f'<img src="{source}" alt="Mark &amp; &#34;Spencer&#34;">' in html(BRAND)
    assert "alert(1)" not in html(BRAND), "no script of a picture stands in the page"


def test_without_a_logo_the_name_is_written() -> None:
    assert "Mark &amp; &#34;Spencer&#34;</span>" in html(Brand(name=BRAND.name))


def test_without_a_brand_there_is_no_place_for_one() -> None:
    assert 'class="brand"' not in html(Brand())
    assert html(Brand()).count("<style>") == 1


def test_the_policy_lets_in_the_style_of_the_colour_too_and_nothing_else() -> None:
    styles = re.findall("<style>(.*?)</style>", html(BRAND), re.DOTALL)
    hashes = [f"'sha256-{base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()}'" for style in styles]

    assert len(styles) == 2
    assert "#0b5394" in styles[1]
    assert f"style-src {' '.join(hashes)};" in PAGES.policy(BRAND)
    assert "unsafe" not in PAGES.policy(BRAND)
    assert PAGES.policy(Brand()).count("sha256-") == 2


def test_programs_read_the_name() -> None:
    assert json.loads(PAGES.body(JSON, Notice(brand=BRAND).edition(), now=NOW))["name"] == BRAND.name


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    """A content file, and a directory for a brand that is not there yet."""
    content = tmp_path / "page.json"
    content.write_text('{"title": "Moving"}')
    return content, tmp_path / "brand"


def test_a_brand_is_taken_in_when_it_comes_changes_and_goes(files: tuple[Path, Path]) -> None:
    content = Content(*files)
    assert content.notice().brand == Brand()

    files[1].mkdir()
    (files[1] / "name").write_text("The shop")
    assert content.notice().brand == Brand(name="The shop")
    (files[1] / "accentColor").write_text("#fff")
    assert content.notice().brand == Brand(name="The shop", accent="#ffffff")
    (files[1] / "name").unlink()
    assert content.notice().brand == Brand(accent="#ffffff")
    assert content.notice().title == "Moving"


def test_what_cannot_be_used_is_logged_once(files: tuple[Path, Path], caplog: pytest.LogCaptureFixture) -> None:
    files[1].mkdir()
    (files[1] / "logo.png").write_bytes(b"no picture" * 100_000)
    content = Content(*files)

    for _ in range(3):
        assert content.notice().brand.logo is None

    assert len(caplog.records) == 1
