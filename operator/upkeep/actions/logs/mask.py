"""Takes out of a log line what differs between lines that mean the same, and whatever could be a secret.

A finding travels to a status, to channels and to e-mail: what is not sure to be harmless does not stay in it.
"""

import re
from collections.abc import Sequence
from typing import Final

from upkeep.actions.text import readable

_LONGEST: Final = 160
_LOOKED_AT: Final = 1024

_NAMED: Final = re.compile(
    r"((?:pass(?:w(?:or)?d|phrase)?|pwd|secret|token|api[-_ ]?key|access[-_ ]?key|private[-_ ]?key|credentials?"
    r"|auth(?:orization)?|cookie|session(?:[-_ ]?id)?|signature|\botp|\bpin)[\w-]*\\*[\"']?"
    r"(?:\s*(?:[:=]|=>|\bis\b)\s*|\s+(?=[^\s]*[\d!$%^&*])))(?!<secret>)\\*(?:\"[^\"]*\"?|'[^']*'?|\S+)",
    re.IGNORECASE,
)
"""A name that tells of a secret, and what is given as its value."""
_STEMS: Final = ("pass", "pwd", "secret", "token", "key", "cred", "auth", "cookie", "sess", "sign", "otp", "pin")
"""What a line has that can match it: to look for these first is much faster."""
_SECRETS: Final[Sequence[tuple[re.Pattern[str], str]]] = (
    (re.compile(r"-----BEGIN .*"), "<secret>"),
    (re.compile(r"\b(cookie\s*[:=]).*", re.IGNORECASE), r"\1 <secret>"),
    (re.compile(r"(://)\S*@"), r"\1<secret>@"),
    (re.compile(r"(?<!\S)[^\s@]+:[^\s@]*@"), "<secret>@"),
    (re.compile(r"\b(bearer|basic|digest|negotiate)\s+\S+", re.IGNORECASE), r"\1 <secret>"),
    (_NAMED, r"\1<secret>"),
    (re.compile(r"\beyJ[\w.-]{10,}"), "<secret>"),
    (re.compile(r"\b(?:sk|pk|rk|ghp|gho|ghs|ghu|glpat|xox[a-z]|AKIA|ASIA|AIza|hvs|npm)[-_]?[\w-]{8,}"), "<secret>"),
    (re.compile(r"(?<![\w+/=.-])(?=[\w+/=-]*\d)(?=[\w+/=-]*[A-Za-z])[\w+=-][\w+/=-]{19,}"), "<id>"),
)
_VARIABLE: Final[Sequence[tuple[re.Pattern[str], str]]] = (
    (re.compile(r"\?[^\s\"']+"), "?<query>"),
    (re.compile(r"\"(?:[^\"\\]|\\.)*(?:\"|$)|(?<!\w)'(?:[^'\\]|\\.)*'(?!\w)|`[^`]*`"), "<text>"),
    (re.compile(r"(?<![\w.+-])[\w.+-]+@[\w-]+(?:\.[\w-]+)+"), "<email>"),
    (re.compile(r"\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b", re.IGNORECASE), "<id>"),
    (re.compile(r"\b(?:0x[0-9a-f]+|(?=[0-9a-f]*\d)[0-9a-f]{8,})\b", re.IGNORECASE), "<id>"),
    (re.compile(r"\d+(?:[.,:/T-]\d+)*Z?"), "<n>"),
    (re.compile(r"\s+"), " "),
)


def pattern_of(line: str) -> str:
    """What lines like this one have in common, without anything secret, safe to show; at most 160 characters."""
    text = without_secrets(line[:_LOOKED_AT])
    for expression, instead in _VARIABLE:
        text = expression.sub(instead, text)
    return readable(text.strip())[:_LONGEST]


def without_secrets(text: str) -> str:
    """The text without what looks like a password, a token or a key."""
    lowered = text.lower()
    suspicious = any(stem in lowered for stem in _STEMS)
    for expression, instead in _SECRETS:
        if expression is _NAMED and not suspicious:
            continue
        text = expression.sub(instead, text)
    return text
