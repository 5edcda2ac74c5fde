"""Which of several languages a client wants, after its Accept-Language header (RFC 9110, section 12.5.4)."""

from collections.abc import Iterable
from typing import Final

from upkeep.web.negotiation import ranges

_FROM_RIGHT: Final = frozenset({"ar", "arc", "ckb", "dv", "fa", "he", "ks", "ps", "sd", "ug", "ur", "yi"})
"""Primary subtags of languages that are written from right to left."""
_LONGEST_HEADER: Final = 1000
"""Characters that are looked at: nobody speaks so many languages."""


def preferred_language(header: str, offers: Iterable[str], *, otherwise: str) -> str:
    """The language that the client likes best among those that are there.

    A range means itself and, less and less closely, what is left of it from the right (RFC 4647, section 3.4: `de-AT`
    finds `de`), then any variety of it (`de` finds `de-CH`). Languages of quality 0 are not sent, unless there is no
    other.

    Args:
        header: the header's value; empty where there is none.
        offers: language tags, in no order.
        otherwise: what is sent to those who ask for nothing that is there.
    """
    known = {offer.lower(): offer for offer in (otherwise, *offers)}
    wanted = ranges(header[:_LONGEST_HEADER])
    refused = {found.value for found in wanted if found.quality == 0}
    for found in sorted(wanted, key=lambda found: -found.quality):
        if found.quality == 0:
            break
        if found.value == "*":
            return otherwise
        match = _closest(found.value, known)
        if match and match not in refused:
            return known[match]
    return otherwise


def direction(language: str) -> str:
    """`rtl` for a language that is written from right to left, else `ltr`."""
    return "rtl" if primary(language) in _FROM_RIGHT else "ltr"


def primary(language: str) -> str:
    """The language without its variety: `pt` of `pt-BR`."""
    return language.split("-", maxsplit=1)[0].lower()


def _closest(wanted: str, known: Iterable[str]) -> str | None:
    available = sorted(known)
    shorter = wanted
    while shorter:
        if shorter in available:
            return shorter
        shorter = shorter.rpartition("-")[0]
    varieties = [offer for offer in available if offer.startswith(f"{primary(wanted)}-")]
    return next(iter(varieties), None)
