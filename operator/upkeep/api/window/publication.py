"""What users may read of a window on the status page: nothing, unless somebody wrote it for them."""

from typing import Annotated

from pydantic import AfterValidator, Field

from upkeep.actions.fields import Model
from upkeep.api.window.page import BY_LANGUAGE, Language, Message, Translation, each_language_once


class StatusPage(Model):
    """What the status page says of the window."""

    title: Annotated[str, Field(max_length=200)] = ""
    """One line: what is going to be done, or what is concerned. Left out: title, message and translations of the
    maintenance page, where somebody wrote them; else no more than that there is maintenance."""
    message: Message = ""
    """More about it, as plain text; blank lines separate paragraphs. Shown with a title only."""
    language: Language = "en"
    """The language of title and message, as a language tag (BCP 47); visitors who want none of the translations get
    it."""
    translations: Annotated[
        list[Translation], Field(max_length=20, json_schema_extra=BY_LANGUAGE), AfterValidator(each_language_once)
    ] = Field(default_factory=list)
    """The same in other languages; a visitor gets the one that his browser asks for."""
