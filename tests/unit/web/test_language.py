"""Everybody gets the language that he asks for most, as far as it is there, and the page's own words in it."""

import json
from datetime import UTC, datetime, timedelta
from string import Formatter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from upkeep.api.window import Page
from upkeep.web.language import direction, preferred_language
from upkeep.web.notice import Notice, Text, read_notice
from upkeep.web.words import ENGLISH, WORDS, Words, words

NOW = datetime(2026, 11, 29, 2, tzinfo=UTC)
OWN = Notice(title="Moving", message="Soon.", translations={"de": Text(title="Umzug", message="Bald.")})


@pytest.mark.parametrize(
    ("header", "language"),
    [
        ("", "en"),
        ("de", "de"),
        ("DE", "de"),
        ("de-AT", "de"),
        ("de-DE,de;q=0.9,en;q=0.8", "de"),
        ("fr, en;q=0.5, de;q=0.4", "en"),
        ("fr;q=0.9, de;q=0.3", "de"),
        ("en;q=0.2, de;q=0.3", "de"),
        ("pt", "pt-BR"),
        ("pt-PT", "pt-BR"),
        ("zh-Hant-TW", "zh-Hant"),
        ("zh", "zh-Hant"),
        ("ja, *;q=0.1", "en"),
        ("*", "en"),
        ("en;q=0, *", "en"),
        ("de;q=0", "en"),
        ("de;q=nonsense, pt-BR;q=0.1", "pt-BR"),
        (";;,,=,q=1", "en"),
        ("-", "en"),
        ("de-" * 100_000, "de"),
        ("x-" * 100_000, "en"),
    ],
)
def test_the_language_is_the_one_that_is_liked_best_of_those_that_are_there(header: str, language: str) -> None:
    assert preferred_language(header, ["de", "pt-BR", "zh-Hant"], otherwise="en") == language


@given(header=st.text(alphabet="deni-*;,=q.01 \x00ä"), offers=st.lists(st.sampled_from(["de", "en-GB", "d", "i-n"])))
def test_any_header_gets_a_language_that_is_there(header: str, offers: list[str]) -> None:
    assert preferred_language(header, offers, otherwise="nl") in {*offers, "nl"}


def test_a_translation_brings_title_message_and_the_words_of_its_language() -> None:
    german = Notice(title=OWN.title, translations=OWN.translations, until=NOW + timedelta(hours=2)).edition("de-CH")

    assert (german.language, german.text) == ("de", Text(title="Umzug", message="Bald."))
    assert german.prospect(NOW) == "Wieder da in etwa 2 Stunden"
    assert german.end == "Sonntag, 29. November 2026, 04:00 UTC"


def test_who_asks_for_what_is_not_there_gets_what_the_team_wrote() -> None:
    assert OWN.edition("fr").text == Text(title="Moving", message="Soon.")
    assert OWN.edition("fr").language == "en"


def test_what_nobody_wrote_is_there_in_every_language_of_the_page() -> None:
    for language, known in WORDS.items():
        edition = Notice().edition(language)
        assert (edition.language, edition.text) == (language, Text(title=known.title, message=known.message))


def test_a_page_in_another_language_than_english_says_so_and_speaks_it() -> None:
    french = Notice(title="Déménagement", message="", language="fr").edition("en")

    assert (french.language, french.spoken, french.direction) == ("fr", "fr", "ltr")
    assert french.prospect(NOW) == "De retour bientôt"


def test_where_the_page_does_not_know_a_language_its_own_words_are_english() -> None:
    hebrew = Notice(title="Moving", translations={"he": Text(title="עוברים", message="")}).edition("he-IL")

    assert (hebrew.language, hebrew.direction, hebrew.spoken) == ("he", "rtl", ENGLISH)
    assert direction("az-Arab") == "ltr", "the script is not looked at"


def test_the_resource_says_which_languages_the_page_knows() -> None:
    described = Page.model_fields["translations"].description or ""
    names = ("English", "German", "French", "Spanish", "Portuguese", "Italian", "Dutch")

    assert all(name in described for name in names)
    assert len(names) == len(WORDS)


@pytest.mark.parametrize("language", WORDS)
def test_every_language_says_everything_and_fills_in_the_same(language: str) -> None:
    found, english = words(language)[1], WORDS[ENGLISH]

    assert (len(found.weekdays), len(found.months)) == (7, 12)
    assert len({*found.weekdays}) == 7
    assert len({*found.months}) == 12
    for name in Words.__dataclass_fields__:
        if isinstance(text := getattr(found, name), str):
            assert text
            assert _holes(text) == _holes(getattr(english, name)), name


def _holes(text: str) -> set[str | None]:
    return {hole for _, hole, _, _ in Formatter().parse(text) if hole is not None}


@pytest.mark.parametrize(
    "translations",
    [
        None,
        7,
        "de",
        {},
        [1],
        [{}],
        [{"language": "de"}],
        [{"language": 1, "title": "x"}],
        [{"language": "<b>", "title": "x"}],
    ],
)
def test_translations_that_make_no_sense_are_left_out(translations: object) -> None:
    assert read_notice(json.dumps({"title": "Moving", "translations": translations})).translations == {}
