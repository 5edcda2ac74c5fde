"""The maintenance page as people see it: on a desk and in a hand, by day and by night, and when it is over.

`UPKEEP_PICTURES=DIRECTORY` keeps the pictures; that of the documentation is `desktop-light.png`.
"""

import json
import os
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from browser.chromium import Tab, tab
from upkeep.web.content import Content
from upkeep.web.page import page_handler, serving

DEVICES = {"desktop": (1280, 800), "phone": (390, 844), "small": (320, 568)}
SCHEMES = ("light", "dark")
LONG_WORD = "Donaudampfschifffahrtsgesellschaftskapitän" * 3

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write(**content: Any) -> Path:  # noqa: ANN401 - any JSON value may stand in the file
        until = datetime.now(UTC) + timedelta(minutes=24, seconds=30)
        notice = {
            "title": "We are moving to a bigger database",
            "message": (
                "The shop is closed for a short while. Your basket and your orders are safe.\n\n"
                "If something is urgent, call us: +49 30 1234567."
            ),
            "until": until.isoformat(),
        }
        path = tmp_path / "page.json"
        path.write_text(json.dumps(notice | content))
        return path

    return write


@asynccontextmanager
async def looking(devtools: str, content: Path, brand: Path | None = None) -> AsyncIterator[tuple[Tab, str]]:
    async with serving(content, port=0, health_port=0, host="127.0.0.1", brand=brand) as where, tab(devtools) as page:
        yield page, f"http://127.0.0.1:{where.port}/"


async def emulate(page: Tab, device: str, scheme: str) -> None:
    width, height = DEVICES[device]
    await page.call(
        "Emulation.setDeviceMetricsOverride",
        width=width,
        height=height,
        deviceScaleFactor=1,
        mobile=device != "desktop",
    )
    await page.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])


def keep(picture: bytes, name: str) -> None:
    if directory := os.environ.get("UPKEEP_PICTURES"):
        Path(directory, name).write_bytes(picture)


def luminance(colour: str) -> float:
    """Relative luminance of `#rrggbb` (WCAG 2.2)."""
    parts = [int(part, 16) / 255 for part in re.findall("..", colour.strip().lstrip("#"))]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    darker, lighter = sorted((luminance(one), luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


@pytest.mark.parametrize(("device", "scheme"), list(product(DEVICES, SCHEMES)))
async def test_it_can_be_read(devtools: str, write: Write, device: str, scheme: str) -> None:
    async with looking(devtools, write()) as (page, url):
        await emulate(page, device, scheme)
        await page.open(url)

        assert await page.read("document.title") == "We are moving to a bigger database"
        assert await page.read("document.querySelector('h1').innerText") == "We are moving to a bigger database"
        assert await page.read("document.querySelector('.prospect strong').innerText") == "Back in about 25 minutes"
        assert await page.read("document.documentElement.scrollWidth <= window.innerWidth"), "nothing is cut off"
        colour = "getComputedStyle(document.documentElement).getPropertyValue('--{}')"
        for text, ground in product(("ink", "soft", "accent"), ("sky-top", "sky-bottom")):
            seen = contrast(await page.read(colour.format(text)), await page.read(colour.format(ground)))
            assert seen >= 4.5, f"{text} on {ground}: {seen:.1f} (WCAG 2.2, 1.4.3)"

        picture = await page.picture()
        assert len(picture) > 10_000, "an empty page is smaller"
        keep(picture, f"{device}-{scheme}.png")


async def test_the_whole_of_it_is_seen_without_scrolling(devtools: str, write: Write) -> None:
    async with looking(devtools, write()) as (page, url):
        await emulate(page, "desktop", "light")
        await page.open(url)

        assert await page.read("document.documentElement.scrollHeight <= window.innerHeight")


async def test_day_and_night_differ(devtools: str, write: Write) -> None:
    async with looking(devtools, write()) as (page, url):
        seen = []
        for scheme in SCHEMES:
            await emulate(page, "desktop", scheme)
            await page.open(url)
            seen.append(await page.read("getComputedStyle(document.body).color"))

        assert seen == ["rgb(29, 43, 54)", "rgb(234, 241, 244)"]


async def test_it_asks_nobody_else_and_breaks_no_rule_of_its_own(devtools: str, write: Write) -> None:
    async with looking(devtools, write()) as (page, url):
        await page.open(url)
        await page.pass_time(seconds=100)

        asked = [request for request in page.requests() if not request.startswith("data:")]
        assert set(asked) == {url}
        assert len(asked) > 1, "it looks again by itself"
        expected = "the server responded with a status of 503"
        assert [complaint for complaint in page.complaints() if expected not in complaint] == []


async def test_long_words_and_markup_stay_within_the_page(devtools: str, write: Write) -> None:
    content = write(title=LONG_WORD, message="<b>" + LONG_WORD + "</b>")
    async with looking(devtools, content) as (page, url):
        await emulate(page, "small", "light")
        await page.open(url)

        assert await page.read("document.documentElement.scrollWidth <= window.innerWidth")
        assert await page.read("document.querySelectorAll('.message b').length") == 0


async def test_people_far_away_read_their_own_time_too(devtools: str, write: Write) -> None:
    async with looking(devtools, write(until="2026-11-29T04:00:00Z")) as (page, url):
        await page.call("Emulation.setTimezoneOverride", timezoneId="Asia/Kolkata")
        await page.open(url)

        assert await page.read("document.querySelector('time').innerText") == "Sunday, 29 November 2026, 04:00 UTC"
        assert re.fullmatch(
            r"Sunday,? (at )?9:30\sAM where you are", await page.read("document.querySelector('.local').innerText")
        )


async def test_an_extended_window_shows_on_pages_that_are_open(devtools: str, write: Write) -> None:
    async with looking(devtools, write()) as (page, url):
        await page.open(url)
        await page.read("document.body.dataset.same = 'yes'")
        write(title="It takes longer")
        await page.pass_time(seconds=35)

        assert await page.read("document.querySelector('h1').innerText") == "It takes longer"
        assert await page.read("document.body.dataset.same") == "yes", "without loading it anew"


async def test_when_it_is_over_an_open_page_goes_on_by_itself(devtools: str, write: Write) -> None:
    """Given an ingress that leads to the page, fails for a moment, and leads to the application again."""
    down = page_handler(Content(write()))
    stage = "page"

    async def ingress(request: web.BaseRequest) -> web.StreamResponse:
        if stage == "page":
            return await down(request)
        if stage == "gap":
            return web.Response(status=502, text="bad gateway")
        return web.Response(text="<h1>The shop</h1>", content_type="text/html")

    runner = web.ServerRunner(web.Server(ingress, access_log=None))
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        async with tab(devtools) as page:
            await page.open(f"http://127.0.0.1:{runner.addresses[0][1]}/basket")
            stage = "gap"
            await page.pass_time(seconds=35)
            assert await page.read("document.querySelector('h1').innerText") == "We are moving to a bigger database"

            stage = "application"
            before = len(page.events)
            await page.call("Emulation.setVirtualTimePolicy", policy="pauseIfNetworkFetchesPending", budget=60_000)
            await page.event("Page.loadEventFired", after=before)
            assert await page.read("document.querySelector('h1').innerText") == "The shop"
    finally:
        await runner.cleanup()


LOGO = """<svg xmlns="http://www.w3.org/2000/svg" width="220" height="56" viewBox="0 0 220 56">
<script>document.documentElement.setAttribute("data-ran", "yes"); alert(1)</script>
<image href="http://192.0.2.1/track.png" width="1" height="1"/>
<circle cx="28" cy="28" r="24" fill="#c2410c"/><path d="M17 30l8 8 15-18" fill="none" stroke="#fff" stroke-width="5"/>
<text x="64" y="38" font-family="sans-serif" font-size="30" font-weight="700" fill="#c2410c">The Shop</text></svg>"""


@pytest.fixture
def brand(tmp_path: Path) -> Path:
    """A branding with a logo that would like to do more than to be seen."""
    directory = tmp_path / "brand"
    directory.mkdir()
    for name, text in {"name": "The Shop", "accentColor": "#c2410c", "logo.svg": LOGO}.items():
        (directory / name).write_text(text)
    return directory


@pytest.mark.parametrize("scheme", SCHEMES)
async def test_a_brand_is_seen_and_the_page_can_still_be_read(
    devtools: str, write: Write, brand: Path, scheme: str
) -> None:
    async with looking(devtools, write(), brand) as (page, url):
        await emulate(page, "desktop", scheme)
        await page.open(url)

        assert await page.read("document.querySelector('.brand img').naturalWidth") == 220
        assert await page.read("document.querySelector('.brand img').alt") == "The Shop"
        colour = "getComputedStyle(document.documentElement).getPropertyValue('--{}')"
        accent = await page.read(colour.format("accent"))
        for ground in ("sky-top", "sky-bottom"):
            assert contrast(accent, await page.read(colour.format(ground))) >= 4.5
        keep(await page.picture(), f"brand-{scheme}.png")
        assert await page.read("document.documentElement.scrollHeight - window.innerHeight") <= 0


async def test_a_logo_runs_no_script_and_asks_nobody(devtools: str, write: Write, brand: Path) -> None:
    async with looking(devtools, write(), brand) as (page, url):
        await page.open(url)
        await page.pass_time(seconds=40)

        assert {request for request in page.requests() if not request.startswith("data:")} == {url}
        assert await page.read("document.documentElement.dataset.ran") is None
        expected = "the server responded with a status of 503"
        assert [complaint for complaint in page.complaints() if expected not in complaint] == []


GERMAN = {
    "language": "de",
    "title": "Wir ziehen in eine größere Datenbank",
    "message": "Der Laden ist kurz geschlossen. Ihr Warenkorb und Ihre Bestellungen sind sicher.",
}
ARABIC = {
    "language": "ar",
    "title": "ننتقل إلى قاعدة بيانات أكبر",
    "message": "المتجر مغلق لفترة قصيرة. طلباتك في أمان.",
}


@pytest.mark.parametrize(
    ("asked", "read"),
    [
        ("de-AT,de;q=0.9,en;q=0.8", ("de", "ltr", GERMAN["title"], "Wieder da in etwa 25 Minuten")),
        ("ar", ("ar", "rtl", ARABIC["title"], "Back in about 25 minutes")),
        ("ja", ("en", "ltr", "We are moving to a bigger database", "Back in about 25 minutes")),
    ],
)
async def test_everybody_reads_his_own_language(
    devtools: str, write: Write, asked: str, read: tuple[str, str, str, str]
) -> None:
    async with looking(devtools, write(translations=[GERMAN, ARABIC])) as (page, url):
        await emulate(page, "phone", "light")
        await page.call("Network.setExtraHTTPHeaders", headers={"Accept-Language": asked})
        await page.open(url)

        places = ("h1", ".prospect strong")
        words = [await page.read(f"document.querySelector('{place}').innerText") for place in places]
        root = [await page.read(f"document.documentElement.{attribute}") for attribute in ("lang", "dir")]
        assert (*root, *words) == read
        assert await page.read("document.documentElement.scrollWidth <= window.innerWidth"), "nothing is cut off"
        keep(await page.picture(), f"language-{read[0]}.png")


async def test_the_time_of_people_far_away_is_told_in_their_language(devtools: str, write: Write) -> None:
    content = write(translations=[GERMAN], until="2026-11-29T04:00:00Z")
    async with looking(devtools, content) as (page, url):
        await page.call("Emulation.setTimezoneOverride", timezoneId="Asia/Kolkata")
        await page.call("Network.setExtraHTTPHeaders", headers={"Accept-Language": "de"})
        await page.open(url)

        assert await page.read("document.querySelector('time').innerText") == "Sonntag, 29. November 2026, 04:00 UTC"
        local = await page.read("document.querySelector('.local').innerText")
        assert re.fullmatch(r"Sonntag,? (um )?09:30(\sUhr)? bei Ihnen", local)
