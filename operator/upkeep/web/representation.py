"""A notice as HTML for people, JSON for programs and plain text for terminals."""

import base64
import json
from datetime import datetime
from functools import lru_cache
from typing import Final

from upkeep.domain.branding import Brand, Logo
from upkeep.web.colour import palette
from upkeep.web.document import Document
from upkeep.web.negotiation import HTML, JSON
from upkeep.web.notice import Edition

_TEMPLATE: Final = "page.html"
_OFTEN: Final = 30
"""Seconds between two looks of an open page where scripts are off; people may see it that long after an early end."""


class Representations:
    """Renders notices; the template is read once."""

    def __init__(self) -> None:
        self._page = Document(_TEMPLATE)

    def body(self, media: str, edition: Edition, *, now: datetime) -> str:
        """The edition as text of the media type, one of those that `negotiated` returns."""
        if media == HTML:
            brand = edition.notice.brand
            return self._page.render(
                edition=edition,
                notice=edition.notice,
                prospect=edition.prospect(now),
                overdue=edition.notice.overdue(now),
                refresh=_refresh(edition, now),
                brand=brand,
                logo=_source(brand.logo) if brand.logo else "",
                brand_style=_style(brand),
            )
        return _json(edition, now) if media == JSON else _plain(edition, now)

    def policy(self, brand: Brand) -> str:
        """The Content-Security-Policy that the HTML page needs: its own styles and script, by their hashes."""
        return self._page.policy(filter(None, [_style(brand)]))


def _refresh(edition: Edition, now: datetime) -> int:
    return min(_OFTEN, edition.notice.retry_after(now))


def _json(edition: Edition, now: datetime) -> str:
    notice = edition.notice
    answer = {
        "error": "maintenance",
        **({"name": notice.brand.name} if notice.brand.name else {}),
        "title": edition.text.title,
        "message": edition.text.message,
        "language": edition.language,
        "until": notice.end_instant or None,
        "retryAfterSeconds": notice.retry_after(now),
    }
    return json.dumps(answer, ensure_ascii=False) + "\n"


def _plain(edition: Edition, now: datetime) -> str:
    prospect = edition.prospect(now)
    end = f"{prospect} ({edition.end})." if edition.end else f"{prospect}."
    return "\n\n".join([edition.text.title, *edition.paragraphs, end]) + "\n"


@lru_cache(maxsize=4)
def _source(logo: Logo) -> str:
    """A picture as the source of an `<img>`, in which no script of an SVG runs."""
    return f"data:{logo.media};base64,{base64.b64encode(logo.data).decode()}"


@lru_cache(maxsize=4)
def _style(brand: Brand) -> str:
    """The style that goes over the page's own; empty where the brand has no colour."""
    if brand.accent is None:
        return ""
    colours = palette(brand.accent)
    day, night = (
        ":root{" + "".join(f"--{n}:{c};" for n, c in colours[when].items()) + "}" for when in ("day", "night")
    )
    return f"{day}@media (prefers-color-scheme: dark){{{night}}}"
