"""A notice as HTML for people, JSON for programs and plain text for terminals."""

import base64
import hashlib
import json
import re
from datetime import datetime
from typing import Final

from jinja2 import Environment, PackageLoader, StrictUndefined

from upkeep.web.negotiation import HTML, JSON
from upkeep.web.notice import Notice

_TEMPLATE: Final = "page.html"
_OFTEN: Final = 30
"""Seconds between two looks of an open page where scripts are off; people may see it that long after an early end."""


class Representations:
    """Renders notices; the template is read once."""

    def __init__(self) -> None:
        loader = PackageLoader("upkeep.web")
        environment = Environment(
            loader=loader,
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._page = environment.get_template(_TEMPLATE)
        source, _, _ = loader.get_source(environment, _TEMPLATE)
        self.policy = _content_security_policy(source)
        """The Content-Security-Policy that the HTML page needs."""

    def body(self, media: str, notice: Notice, *, now: datetime) -> str:
        """The notice as text of the media type, one of those that `negotiated` returns."""
        if media == HTML:
            return self._page.render(
                notice=notice, prospect=notice.prospect(now), overdue=notice.overdue(now), refresh=_refresh(notice, now)
            )
        return _json(notice, now) if media == JSON else _plain(notice, now)


def _refresh(notice: Notice, now: datetime) -> int:
    return min(_OFTEN, notice.retry_after(now))


def _json(notice: Notice, now: datetime) -> str:
    answer = {
        "error": "maintenance",
        "title": notice.title,
        "message": notice.message,
        "until": notice.end_instant or None,
        "retryAfterSeconds": notice.retry_after(now),
    }
    return json.dumps(answer, ensure_ascii=False) + "\n"


def _plain(notice: Notice, now: datetime) -> str:
    end = f"{notice.prospect(now)} ({notice.end})." if notice.until else f"{notice.prospect(now)}."
    return "\n\n".join([notice.title, *notice.paragraphs, end]) + "\n"


def _content_security_policy(source: str) -> str:
    """Lets in the page's own style and script, by their hashes, and nothing else."""
    directives = {
        "default-src": "'none'",
        "style-src": _hash("style", source),
        "script-src": _hash("script", source),
        "img-src": "data:",
        "connect-src": "'self'",
        "base-uri": "'none'",
        "form-action": "'none'",
    }
    return "; ".join(f"{name} {value}" for name, value in directives.items())


def _hash(element: str, source: str) -> str:
    found = re.search(rf"<{element}>(.*?)</{element}>", source, re.DOTALL)
    text = found.group(1) if found else ""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
