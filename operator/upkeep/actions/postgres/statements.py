"""How a statement of somebody else is shown: enough to recognise it, without the values that it carries.

Statements stand in statuses, Events and logs, so passwords and personal data in them must never get that far.
"""

import re
from typing import Final

SHOWN_CHARACTERS: Final = 90
"""How much of a statement is shown: two of them fit into one recommendation."""

_VALUE: Final = re.compile(
    r"""--[^\n]*                                # comments may hold values too
      | /\*.*?(?:\*/|\Z)
      | "(?:[^"]|"")*"                          # a quoted name: kept, and never searched for values
      | \$((?:[A-Za-z_]\w*)?)\$.*?(?:\$\1\$|\Z)  # dollar quoted, perhaps cut off by the server
      | [EeBbXxNn]?'(?:[^'\\]|\\.|'')*(?:'|\Z)
      | (?<![\w$.])[0-9]+(?:\.[0-9]+)?\b
    """,
    re.VERBOSE | re.DOTALL,
)


def shown(statement: str, *, characters: int = SHOWN_CHARACTERS) -> str:
    """The statement on one line, with `?` for every literal value, without comments, shortened.

    Args:
        statement: as pg_stat_activity has it: perhaps cut off in the middle of a value.
        characters: how long it may become.
    """
    masked = " ".join(_VALUE.sub(_masked, statement).split())
    return masked if len(masked) <= characters else f"{masked[: characters - 1]}…"


def _masked(match: "re.Match[str]") -> str:
    found = match[0]
    if found.startswith('"'):
        return found
    return " " if found.startswith(("--", "/*")) else "?"
