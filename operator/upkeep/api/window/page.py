"""What users see while a window is open: the words of the page, in several languages, and whose page it is."""

from typing import Annotated, Any, Final

from pydantic import AfterValidator, Field

from upkeep.actions.fields import Model, ObjectName

LANGUAGE_PATTERN: Final = r"^[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8}){0,3}$"

Language = Annotated[str, Field(min_length=2, max_length=30, pattern=LANGUAGE_PATTERN)]
Title = Annotated[str, Field(min_length=1, max_length=200)]
Message = Annotated[str, Field(max_length=2000)]


class Translation(Model):
    """The page in another language."""

    language: Language
    """Its language tag (BCP 47), for example `de` or `pt-BR`."""
    title: Title
    """Heading of the page."""
    message: Message = ""
    """What the page says; blank lines separate paragraphs."""


class Branding(Model):
    """Whose page it is."""

    config_map_name: ObjectName
    """A ConfigMap in the namespace of the window. Its keys, all optional: `name` (of your application or company),
    `logo.svg` or `logo.png` (at most 64 KiB), `accentColor` (for example `#0b7285`). Changes show on open pages within
    about a minute and a half."""


def each_language_once(items: list[Translation]) -> list[Translation]:
    """The translations, none of which takes the place of another.

    Raises:
        ValueError: a language is there twice.
    """
    seen = [item.language for item in items]
    twice = next((language for language in seen if seen.count(language) > 1), None)
    if twice is not None:
        msg = f"the language {twice!r} is there twice: remove one of them"
        raise ValueError(msg)
    return items


BY_LANGUAGE: Final[dict[str, Any]] = {
    "x-kubernetes-list-type": "map",
    "x-kubernetes-list-map-keys": ["language"],
}
"""How a list of translations merges."""


class Page(Model):
    """What users see meanwhile."""

    title: Title = "Down for maintenance"
    """Heading of the page."""
    message: Message = "We are working on it and will be back soon."
    """What the page says, as plain text; blank lines separate paragraphs."""
    language: Language = "en"
    """The language of title and message, as a language tag (BCP 47); visitors who want none of the translations get
    it."""
    translations: Annotated[
        list[Translation], Field(max_length=20, json_schema_extra=BY_LANGUAGE), AfterValidator(each_language_once)
    ] = Field(default_factory=list)
    """The page in other languages; a visitor gets the one that his browser asks for. What Upkeep itself says on the
    page, such as when it will be over, is there in English, German, French, Spanish, Portuguese, Italian and Dutch;
    left as they are, title and message too."""
    branding: Branding | None = None
    """Name, logo and colour."""
