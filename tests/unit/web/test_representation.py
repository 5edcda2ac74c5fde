"""The page as HTML, JSON and text: what is in it, and that what people write stays text."""

import base64
import hashlib
import json
import re
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from upkeep.web.negotiation import HTML, JSON, TEXT
from upkeep.web.notice import Notice
from upkeep.web.representation import Representations

NOW = datetime(2026, 11, 29, 2, tzinfo=UTC)
NOTICE = Notice(title="Moving", message="We are moving.\n\nCall us.", until=NOW + timedelta(hours=2))
REPRESENTATIONS = Representations()


class Elements(HTMLParser):
    """The elements of a page in their order, with their attributes, and the text in them."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.text: dict[str, str] = {}
        self._open: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        while tag in self._open and self._open.pop() != tag:
            continue

    def handle_data(self, data: str) -> None:
        if self._open:
            self.text[self._open[-1]] = self.text.get(self._open[-1], "") + data

    def tags(self) -> list[str]:
        return [tag for tag, _ in self.found]


def html(notice: Notice = NOTICE) -> str:
    return REPRESENTATIONS.body(HTML, notice.edition(), now=NOW)


def test_people_read_title_message_and_when_it_is_over() -> None:
    page = Elements(html())

    assert page.text["h1"] == page.text["title"] == "Moving"
    assert page.tags().count("h1") == 1
    assert "<strong><bdi>Back in about 2 hours</bdi></strong>" in html()
    assert page.text["time"] == "Sunday, 29 November 2026, 04:00 UTC"
    assert ("time", {"datetime": "2026-11-29T04:00:00Z"}) in page.found
    assert '<p dir="auto">We are moving.</p>\n<p dir="auto">Call us.</p>' in html()


def test_a_page_without_an_end_says_soon() -> None:
    page = html(Notice())

    assert "<strong><bdi>Back soon</bdi></strong>" in page
    assert "time" not in Elements(page).tags()


def test_a_page_past_its_end_says_any_moment_now() -> None:
    page = html(Notice(until=NOW - timedelta(minutes=5)))

    assert "Back any moment now" in page
    assert "It was expected to end by" in page


def test_the_page_is_accessible() -> None:
    page = Elements(html())

    assert page.found[0] == ("html", {"lang": "en", "dir": "ltr"})
    assert "main" in page.tags()
    assert ("meta", {"name": "viewport", "content": "width=device-width, initial-scale=1"}) in page.found
    assert all(attributes.get("aria-hidden") == "true" for tag, attributes in page.found if tag == "svg")


def test_the_page_asks_again_soon_where_scripts_are_off() -> None:
    assert '<noscript><meta http-equiv="refresh" content="30"></noscript>' in html()
    assert 'content="5"></noscript>' in html(Notice(until=NOW))


def test_the_page_needs_nothing_from_anywhere() -> None:
    references = re.findall(r"(?:src|href|url)\s*[=(]\s*[\"']?([^\"')\s>]+)", html())

    assert [reference for reference in references if not reference.startswith(("data:", "#"))] == []


@pytest.mark.parametrize("element", ["style", "script"])
def test_the_policy_lets_in_the_pages_own_style_and_script_only(element: str) -> None:
    found = re.findall(f"<{element}>(.*?)</{element}>", html(), re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(found[0].encode()).digest()).decode()

    assert len(found) == 1
    assert f"{element}-src 'sha256-{digest}'" in REPRESENTATIONS.policy(NOTICE.brand)
    assert "default-src 'none'" in REPRESENTATIONS.policy(NOTICE.brand)
    assert "unsafe" not in REPRESENTATIONS.policy(NOTICE.brand)
    assert not re.search(r"<[^>]+\s(style|on\w+)=", html()), "the policy would not let them in"


@pytest.mark.parametrize(
    "hostile", ["<script>alert(1)</script>", "</title><img src=x>", '"><b>', "{{ 7 * 7 }}", "&amp;"]
)
def test_what_people_write_stays_text(hostile: str) -> None:
    plain = Elements(html())
    page = Elements(html(Notice(title=hostile, message=hostile + "\n\nCall us.", until=NOTICE.until)))

    assert page.found == plain.found
    assert page.text["h1"] == hostile


@given(title=st.text(min_size=1), message=st.text())
def test_every_text_has_every_representation(title: str, message: str) -> None:
    notice = Notice(title=title, message=message, until=NOTICE.until)

    assert json.loads(REPRESENTATIONS.body(JSON, notice.edition(), now=NOW))["title"] == title
    assert REPRESENTATIONS.body(TEXT, notice.edition(), now=NOW).startswith(title)
    assert Elements(html(notice)).tags().count("script") == 1


def test_programs_read_all_of_it() -> None:
    assert json.loads(REPRESENTATIONS.body(JSON, NOTICE.edition(), now=NOW)) == {
        "error": "maintenance",
        "title": "Moving",
        "message": "We are moving.\n\nCall us.",
        "language": "en",
        "until": "2026-11-29T04:00:00Z",
        "retryAfterSeconds": 7200,
    }
    assert json.loads(REPRESENTATIONS.body(JSON, Notice().edition(), now=NOW))["until"] is None


def test_terminals_read_all_of_it() -> None:
    assert REPRESENTATIONS.body(TEXT, NOTICE.edition(), now=NOW) == (
        "Moving\n\nWe are moving.\n\nCall us.\n\nBack in about 2 hours (Sunday, 29 November 2026, 04:00 UTC).\n"
    )
    assert REPRESENTATIONS.body(TEXT, Notice().edition(), now=NOW).endswith("\n\nBack soon.\n")
