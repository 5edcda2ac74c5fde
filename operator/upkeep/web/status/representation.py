"""The status page as HTML for people, JSON for programs and plain text for terminals."""

import hashlib
import json
from typing import Final

from upkeep.web.document import Document
from upkeep.web.negotiation import HTML, JSON
from upkeep.web.status.edition import Item, StatusEdition

OFTEN: Final = 30
"""Seconds between two looks of an open page."""


class StatusRepresentations:
    """Renders status pages; the template is read once."""

    def __init__(self) -> None:
        self._document = Document("status.html")
        self.policy = self._document.policy()

    def body(self, media: str, edition: StatusEdition) -> str:
        """The edition as text of the media type, one of those that `negotiated` returns."""
        if media == HTML:
            return self._document.render(edition=edition, refresh=OFTEN)
        if media == JSON:
            return json.dumps(edition.written(), ensure_ascii=False) + "\n"
        return _plain(edition)


def entity_tag(media: str, edition: StatusEdition, body: str) -> str:
    """A tag that changes when what is told changes; for programs not because it was confirmed once more."""
    told: dict[str, object] = {**edition.written(), "asOf": None} if media == JSON and not edition.stale else {}
    text = json.dumps(told) if told else body
    return hashlib.sha256(f"{media}\0{edition.language}\0{text}".encode()).hexdigest()[:32]


def _plain(edition: StatusEdition) -> str:
    parts = [f"{edition.name}: {edition.headline}"]
    for heading, items in (
        (edition.own.active, edition.active),
        (edition.own.ahead, edition.ahead),
        (edition.own.over, edition.over),
    ):
        if items:
            parts.append("\n\n".join([heading.upper(), *map(_lines, items)]))
    return "\n\n".join([*parts, edition.as_of_words]) + "\n"


def _lines(item: Item) -> str:
    said = ", ".join(part for part in (item.span, item.prospect, item.result) if part)
    return "\n".join([item.title, said, *item.paragraphs])
