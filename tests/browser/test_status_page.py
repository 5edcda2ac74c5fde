"""The status page as people see it: on a desk and in a hand, by day and by night, with and without scripts.

`UPKEEP_PICTURES=DIRECTORY` keeps the pictures; that of the documentation is `status-desktop-light.png`.
"""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from itertools import product
from typing import Any, Final

import pytest

from browser.chromium import Tab, tab
from browser.test_maintenance_page import DEVICES, SCHEMES, contrast, emulate, keep
from upkeep.domain.bulletin import Bulletin, Entry, State, Wording
from upkeep.web.status.server import serving
from upkeep.web.status.source import Source

LONG_WORD: Final = "Donaudampfschifffahrtsgesellschaftskapitän" * 3
TEXT: Final = "getComputedStyle(document.documentElement).getPropertyValue('--{}')"


class Known(Source):
    """A source that knows something without asking anybody."""

    def __init__(self, *entries: Entry, age: timedelta = timedelta(0)) -> None:
        super().__init__()
        self._entries = entries
        self.as_of = datetime.now(UTC) - age


def entry(state: State, title: str, message: str = "", *, start: timedelta, length: timedelta, **more: Any) -> Entry:  # noqa: ANN401 - fields of an entry
    begin = datetime.now(UTC) + start
    wording = Wording(title=title, message=message, language="en", **more)
    place = "Europe/Berlin"
    return Entry(id=f"{title}{start}", state=state, start=begin, end=begin + length, zone=place, wording=wording)


def usual() -> list[Entry]:
    hour, day = timedelta(hours=1), timedelta(days=1)
    german = {"de": ("Der Laden zieht in eine größere Datenbank", "Ihr Warenkorb ist sicher.")}
    return [
        entry(
            State.ACTIVE,
            "The shop moves to a bigger database",
            "The shop is closed for a short while. Your basket and your orders are safe.",
            start=-1.2 * hour,
            length=1.6 * hour,
            translations=german,
        ),
        entry(State.PLANNED, "Search", "Search results may be incomplete.", start=2.1 * day, length=hour),
        entry(State.CANCELLED, "New payment provider", start=4 * day, length=2 * hour),
        entry(State.COMPLETED, "Images and videos", start=-2 * day, length=hour),
        entry(State.FAILED, "Delivery tracking", start=-5 * day, length=2 * hour),
    ]


@asynccontextmanager
async def looking(devtools: str, source: Source, *, name: str = "The Shop") -> AsyncIterator[tuple[Tab, str]]:
    async with serving(source, port=0, host="127.0.0.1", name=name) as port, tab(devtools) as page:
        yield page, f"http://127.0.0.1:{port}/"


async def no_scripts(page: Tab) -> None:
    await page.call("Emulation.setScriptExecutionDisabled", value=True)


@pytest.mark.parametrize(("device", "scheme"), list(product(DEVICES, SCHEMES)))
async def test_it_can_be_read(devtools: str, device: str, scheme: str) -> None:
    async with looking(devtools, Known(*usual())) as (page, url):
        await emulate(page, device, scheme)
        await page.open(url)

        assert await page.read("document.title") == "Maintenance in progress · The Shop"
        headings = await page.read("[...document.querySelectorAll('h2')].map(each => each.innerText)")
        assert headings == ["Under maintenance now", "Planned", "Recently over"]
        assert await page.read("document.querySelector('.active strong').innerText") == "Ends in about 24 minutes"
        assert await page.read("document.documentElement.scrollWidth <= window.innerWidth"), "nothing is cut off"
        for text, ground in product(("ink", "soft", "accent", "alert"), ("sky-top", "sky-bottom")):
            seen = contrast(await page.read(TEXT.format(text)), await page.read(TEXT.format(ground)))
            assert seen >= 4.5, f"{text} on {ground}: {seen:.1f} (WCAG 2.2, 1.4.3)"
        keep(await page.picture(), f"status-{device}-{scheme}.png")


async def test_a_calm_day(devtools: str) -> None:
    async with looking(devtools, Known()) as (page, url):
        await emulate(page, "phone", "light")
        await page.open(url)

        assert await page.read("document.querySelector('h1').innerText") == "No maintenance at the moment"
        assert await page.read("document.querySelector('.nothing').innerText") == "Nothing is planned."
        keep(await page.picture(), "status-calm.png")


async def test_what_may_be_out_of_date_says_so(devtools: str) -> None:
    async with looking(devtools, Known(*usual(), age=timedelta(minutes=9))) as (page, url):
        await emulate(page, "desktop", "dark")
        await page.open(url)

        assert "may be out of date" in await page.read("document.querySelector('.stale').innerText")
        keep(await page.picture(), "status-stale.png")


async def test_people_far_away_read_their_own_time_too(devtools: str) -> None:
    async with looking(devtools, Known(*usual())) as (page, url):
        await page.call("Emulation.setTimezoneOverride", timezoneId="Asia/Kolkata")
        await page.open(url)

        spans = await page.read("[...document.querySelectorAll('.active .when span')].map(each => each.innerText)")
        assert re.search(r"day, .*\d\d:\d\d (CET|CEST)$", spans[0])
        assert spans[-1].endswith("where you are")


async def test_people_in_the_same_zone_read_it_once(devtools: str) -> None:
    async with looking(devtools, Known(*usual())) as (page, url):
        await page.call("Emulation.setTimezoneOverride", timezoneId="Europe/Madrid")
        await page.open(url)

        assert await page.read("document.querySelector('.active .local').innerText") == ""


async def test_an_open_page_goes_on_by_itself_and_asks_nobody_else(devtools: str) -> None:
    source = Known(*usual())
    async with looking(devtools, source) as (page, url):
        await page.open(url)
        await page.read("document.body.dataset.same = 'yes'")
        source._entries = ()  # noqa: SLF001 - what a refresh does
        await page.pass_time(seconds=65)

        assert await page.read("document.querySelector('h1').innerText") == "No maintenance at the moment"
        assert await page.read("document.title") == "No maintenance at the moment · The Shop"
        assert await page.read("document.body.dataset.same") == "yes", "without loading it anew"
        assert {request for request in page.requests() if not request.startswith("data:")} == {url}
        assert page.complaints() == []


async def test_without_scripts_everything_is_there_and_it_loads_again(devtools: str) -> None:
    async with looking(devtools, Known(*usual())) as (page, url):
        await no_scripts(page)
        await emulate(page, "desktop", "light")
        await page.open(url)

        assert await page.read("document.querySelectorAll('li').length") == 5
        assert await page.read("document.querySelector('noscript meta[http-equiv=refresh]') !== null")


async def test_everybody_reads_his_own_language(devtools: str) -> None:
    async with looking(devtools, Known(*usual()), name="") as (page, url):
        await emulate(page, "phone", "dark")
        await page.call("Network.setExtraHTTPHeaders", headers={"Accept-Language": "de-AT,de;q=0.9,en;q=0.5"})
        await page.open(url)

        assert await page.read("document.documentElement.lang") == "de"
        assert await page.read("document.querySelector('h1').innerText") == "Wartung läuft"
        title = "document.querySelector('.{} h3').{}"
        assert await page.read(title.format("active", "innerText")) == "Der Laden zieht in eine größere Datenbank"
        assert await page.read(title.format("ahead", "lang")) == "en", "what is not translated says what it is"
        keep(await page.picture(), "status-german.png")


async def test_long_words_and_markup_stay_within_the_page(devtools: str) -> None:
    hour = timedelta(hours=1)
    wild = [
        entry(state, f"<b>{LONG_WORD}</b>", f"<i>{LONG_WORD}</i>", start=start, length=hour)
        for state, start in ((State.ACTIVE, -hour / 2), (State.PLANNED, hour), (State.NOT_HELD, -2 * hour))
    ]
    async with looking(devtools, Known(*wild), name=LONG_WORD) as (page, url):
        await emulate(page, "small", "light")
        await page.open(url)

        assert await page.read("document.documentElement.scrollWidth <= window.innerWidth")
        assert await page.read("document.querySelectorAll('main b, main i').length") == 0


async def test_nothing_is_not_the_same_as_all_is_well(devtools: str) -> None:
    source = Known()
    source.as_of = None
    async with looking(devtools, source) as (page, url):
        await page.open(url)

        assert Bulletin() == source.bulletin(datetime.now(UTC))
        assert await page.read("document.body.innerText") == "The status is not known yet.\n"
