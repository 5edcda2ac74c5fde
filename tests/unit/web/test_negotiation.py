"""Who gets HTML, who JSON and who text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from upkeep.web.negotiation import HTML, JSON, TEXT, negotiated

CHROME = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8"


@pytest.mark.parametrize(
    ("accept", "media"),
    [
        (CHROME, HTML),
        ("text/html", HTML),
        ("TEXT/HTML; charset=utf-8", HTML),
        ("text/*", HTML),
        ("application/json", JSON),
        ("application/json, text/plain, */*", JSON),
        ("application/json, text/javascript, */*; q=0.01", JSON),
        ("text/html;q=0.5, application/json", JSON),
        ("text/html, application/json;q=0.9", HTML),
        ("text/plain", TEXT),
        ("text/plain;q=0.9, text/html;q=0.8", TEXT),
        ("text/html;q=0, */*", JSON),
        ("application/json;q=0, */*", HTML),
        ("*/*, text/html;level=1;q=0.1", JSON),
    ],
)
def test_clients_get_what_they_like_best(accept: str, media: str) -> None:
    assert negotiated(accept) == media


@pytest.mark.parametrize("accept", ["*/*", "", " ", ",", "image/avif,image/webp,*/*;q=0.8"])
def test_who_does_not_ask_for_a_page_is_a_program_and_gets_json(accept: str) -> None:
    assert negotiated(accept) == JSON


@pytest.mark.parametrize("accept", ["application/vnd.api+json", "image/png", "text/html;q=0", "*/*;q=0", "nonsense"])
def test_who_likes_none_of_them_gets_json_and_not_an_error(accept: str) -> None:
    assert negotiated(accept) == JSON


@given(st.text() | st.lists(st.sampled_from(["text/html", "*/*", ";", ",", "q=", "q=x", "q=nan", "q=-1"])).map("".join))
def test_no_header_is_too_strange(accept: str) -> None:
    assert negotiated(accept) in {HTML, JSON, TEXT}
