"""Who may pass by a maintenance page: testers that send a header or a cookie."""

from collections.abc import Sequence
from typing import Annotated, Final, Self

from pydantic import Field, model_validator

from upkeep.actions.fields import Model, OneOf, Rule

PassName = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9!#$%&'*+.^_|~-]+$")]
"""A token (RFC 9110, section 5.6.2), without the backtick in which Traefik quotes."""

PassValue = Annotated[str, Field(min_length=8, max_length=256, pattern=r"^[!#-+./0-9:<-Z\[\]^_a-z{|}~-]+$")]
"""Cookie octets (RFC 6265, section 4.1.1), without the backtick."""

_UNUSABLE: Final = ("host", "cookie")
_ORDINARY: Final[Rule] = {
    "rule": f"!(self.name.lowerAscii() in {list(_UNUSABLE)})",
    "message": "the headers Host and Cookie tell nothing of testers: choose one of your own, X-Preview for example, "
    "or a cookie by bypass.cookie",
}


class PassHeader(Model):
    """A header of a request, and its whole value."""

    name: PassName
    """Its name; upper and lower case are the same."""
    value: PassValue
    """Its value, of at least 8 characters. Whoever may read the window can read it."""

    @classmethod
    def rules(cls) -> Sequence[Rule]:
        """Some headers are no good for that."""
        return (_ORDINARY,)

    @model_validator(mode="after")
    def _is_ordinary(self) -> Self:
        if self.name.lower() in _UNUSABLE:
            raise ValueError(_ORDINARY["message"])
        return self


class PassCookie(Model):
    """A cookie of a request."""

    name: PassName
    """Its name."""
    value: PassValue
    """Its value, of at least 8 characters. Whoever may read the window can read it."""


class Bypass(OneOf):
    """By what testers are told from users: they reach the application while all others meet the page."""

    header: PassHeader | None = None
    """A header that they send."""
    cookie: PassCookie | None = None
    """A cookie that they send."""

    @classmethod
    def alternatives(cls) -> Sequence[str]:
        """A header, or a cookie."""
        return ("header", "cookie")
