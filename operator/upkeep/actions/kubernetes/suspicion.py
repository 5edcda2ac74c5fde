"""Why a value looks like a secret: its form, the name that it has, or how random it is.

What it returns never holds any part of the value. Names that only look secret (`SECRET_NAME`, `PASSWORD_FILE`,
`TOKEN_ENDPOINT`) and values that only stand for one (`$(PASSWORD)`, `changeme`, a path) are passed over: an alarm that
is wrong once a day is switched off.
"""

import math
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from upkeep.actions.contract import Severity

_FORMS: Final = (
    ("a private key", r"-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY(?: BLOCK)?-----"),
    ("an access key of AWS", r"\b(?:AKIA|ASIA|ABIA|ACCA)[A-Z2-7]{16}\b"),
    ("a token of GitHub", r"\b(?:gh[pousr]_[A-Za-z0-9]{36,}|github_pat_[A-Za-z0-9_]{22,})"),
    ("a token of GitLab", r"\bgl(?:pat|ptt|dt|rt|cbt|soat)-[A-Za-z0-9_-]{20,}"),
    ("a token of Slack", r"\bxox[abeprs]-[A-Za-z0-9-]{10,}"),
    ("a web hook of Slack", r"https://hooks\.slack\.com/(?:services|workflows)/[A-Za-z0-9/_-]{20,}"),
    ("a key of Stripe", r"\b[rs]k_live_[A-Za-z0-9]{16,}"),
    ("an API key of Google", r"\bAIza[A-Za-z0-9_-]{35}"),
    ("a key of SendGrid", r"\bSG\.[A-Za-z0-9_-]{16,}\.[A-Za-z0-9_-]{16,}"),
    ("a token of npm", r"\bnpm_[A-Za-z0-9]{36}"),
    ("a token of PyPI", r"\bpypi-[A-Za-z0-9_-]{50,}"),
    ("a token of Docker Hub", r"\bdckr_pat_[A-Za-z0-9_-]{20,}"),
    ("a key of OpenAI or Anthropic", r"\bsk-(?:ant-|proj-)?[A-Za-z0-9_-]{32,}"),
    ("an account key of Azure", r"\bAccountKey=[A-Za-z0-9+/]{40,}={0,2}"),
    ("a signed token (JWT)", r"\beyJ[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}"),
    ("a bearer token", r"(?i)\bbearer [A-Za-z0-9._~+/-]{20,}={0,2}"),
    ("credentials of a registry", r'"auth"\s*:\s*"[A-Za-z0-9+/]{8,}={0,2}"'),
)
_KNOWN: Final = tuple((what, re.compile(form)) for what, form in _FORMS)
_IN_URL: Final = re.compile(r"\b[a-z][a-z0-9+.-]{1,30}://[^\s:/@\"']*:(?P<password>[^\s/@\"']{1,200})@")

_SECRET: Final = frozenset(
    {"password", "passwd", "pwd", "passphrase", "secret", "token", "credential", "credentials", "apikey", "authkey"}
    | {"pass", "pw", "passwort"}
)
_PAIRS: Final = frozenset(
    {("api", "key"), ("access", "key"), ("private", "key"), ("secret", "key"), ("account", "key"), ("signing", "key")}
    | {("encryption", "key"), ("master", "key"), ("license", "key"), ("auth", "key"), ("shared", "key")}
)
_ABOUT: Final = frozenset(
    {"file", "path", "dir", "directory", "name", "names", "ref", "url", "uri", "endpoint", "host", "port", "ttl"}
    | {"expiry", "expiration", "expires", "lifetime", "timeout", "seconds", "minutes", "hours", "days", "age", "length"}
    | {"min", "max", "size", "count", "limit", "limits", "enabled", "disabled", "required", "type", "algorithm", "alg"}
    | {"header", "field", "cookie", "prefix", "suffix", "provider", "store", "backend", "issuer", "audience", "policy"}
    | {"rotation", "interval", "id", "public", "key_id", "location", "mount", "version", "format", "class", "charset"}
)
"""Words after which a name tells of something about a secret, and not the secret itself."""
_FILLERS: Final = frozenset({"value", "hash", "base", "string", "text"})
"""Words that change nothing at the end of a name."""
_WORD: Final = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")
_STANDS_FOR: Final = re.compile(
    r"\$\(.*\)|\$\{.*\}|\$[A-Za-z_]\w*|\{\{.*\}\}|<[^>]*>|%\w+%|\*+|x{3,}|\.{3,}|vault:.*|(?:secret)?ref\+.*|enc:.*"
    r"|change[-_ ]?(?:me|it)|todo|redacted|example|placeholder|none|null|nil|unset|undefined|n/?a|empty"
    r"|true|false|yes|no|on|off|enabled?|disabled?|required|optional|always|never|auto|default",
    re.IGNORECASE | re.DOTALL,
)
_PLAIN: Final = re.compile(
    r"[-+]?[0-9]+(?:\.[0-9]+)?(?:ms|[smhdwkMGTPEi]+)?|[a-z]+://[^\s]*|(?:\.{0,2}|~)/[^\s]*", re.IGNORECASE
)
"""Numbers, durations, sizes, URLs and paths."""
_RANDOM: Final = re.compile(r"[A-Za-z0-9+/_=-]{24,}")
_LEAST_BITS: Final = 4.2
"""Bits a character; English has about 4.1 at most in such lengths, random base64 more. Source: detect-secrets has 4.5
for longer texts."""
_NAMED_LEAST_BITS: Final = 3.2
_NAMED_LEAST_LENGTH: Final = 16
_SHORTEST: Final = 3
_ENTRY: Final = re.compile(
    r"^[\s\-\"']*(?:export )?(?P<name>[A-Za-z0-9_][A-Za-z0-9_.\-]{0,79})[\"']?\s*[:=]\s*(?P<value>\S.*?)\s*,?$"
)
"""A line such as `db.password=…`, `password: …` or `"password": "…",` of a file."""


@dataclass(frozen=True, slots=True)
class Suspicion:
    """Why a value looks like a secret.

    Attributes:
        severity: how sure it is.
        reason: in words, without any part of the value.
        place: in a text of several lines the name that it has there, else its form; empty for a single value.
        line: of that text; 0 for a single value.
    """

    severity: Severity
    reason: str
    place: str = ""
    line: int = 0


def suspicion(name: str, value: str) -> Suspicion | None:
    """Why the value of a variable looks like a secret; None where it does not."""
    text = value.strip()
    if what := _form(text):
        return Suspicion(Severity.CRITICAL, f"its value has the form of {what}")
    if len(text) < _SHORTEST or _STANDS_FOR.fullmatch(text) or _PLAIN.fullmatch(text):
        return None
    if tells_of_secret(name):
        random = len(text) >= _NAMED_LEAST_LENGTH and _bits(text) >= _NAMED_LEAST_BITS and not re.search(r"\s", text)
        severity = Severity.CRITICAL if random else Severity.WARNING
        return Suspicion(severity, f"it is named like a secret{', and its value looks random' if random else ''}")
    if not _tells_of_identity(name) and _looks_random(text):
        return Suspicion(Severity.INFO, "its value looks random, as keys do")
    return None


def suspicions(name: str, text: str) -> Iterator[Suspicion]:
    """The same for what may be a whole file, line by line."""
    lines = text.strip().splitlines()
    if len(lines) <= 1 and (found := suspicion(name, text)):
        yield found
        return
    for number, line in enumerate(text.splitlines(), 1):
        if what := _form(line):
            yield Suspicion(Severity.CRITICAL, f"it has the form of {what}", what, number)
        elif (entry := _ENTRY.match(line)) and tells_of_secret(entry["name"]):
            found = suspicion(entry["name"], entry["value"].strip("\"'"))
            if found:
                yield Suspicion(found.severity, found.reason, entry["name"], number)


def tells_of_secret(name: str) -> bool:
    """Whether a name says that its value is secret: `DB_PASSWORD`, `apiKey`, but not `PASSWORD_FILE`."""
    words = [word.lower() for word in _WORD.findall(name)]
    while len(words) > 1 and (words[-1].isdecimal() or words[-1] in _FILLERS):
        words.pop()
    if not words or words[-1] in _ABOUT or "public" in words:
        return False
    return words[-1] in _SECRET or tuple(words[-2:]) in _PAIRS


def _form(text: str) -> str:
    """Which known form of a secret is in a text; empty for none."""
    for what, form in _KNOWN:
        if form.search(text):
            return what
    for match in _IN_URL.finditer(text):
        if not _STANDS_FOR.fullmatch(match["password"]):
            return "a URL with a password"
    return ""


def _tells_of_identity(name: str) -> bool:
    """Whether a name says that its value is public, however random: a digest, a version, a certificate, an image."""
    words = {word.lower() for word in _WORD.findall(name)}
    public = {"id", "uuid", "uid", "sha", "digest", "hash", "checksum", "revision", "commit", "version", "image", "tag"}
    return bool(words & (public | {"public", "cert", "certificate", "ca", "crt", "fingerprint", "url", "path", "host"}))


def _looks_random(text: str) -> bool:
    kinds = sum(bool(re.search(kind, text)) for kind in ("[a-z]", "[A-Z]", "[0-9]"))
    return bool(_RANDOM.fullmatch(text)) and kinds == 3 and _bits(text) >= _LEAST_BITS  # noqa: PLR2004 - all of them


def _bits(text: str) -> float:
    """Shannon entropy, in bits a character."""
    counts = Counter(text)
    return -sum(count / len(text) * math.log2(count / len(text)) for count in counts.values())
