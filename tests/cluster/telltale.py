"""Secret values that would be recognised wherever they turned up, also encoded."""

import base64
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(slots=True)
class Telltales:
    """Values by what they are for.

    Each has a random core between characters that URLs, JSON and shells write differently; the core is looked for.
    """

    cores: dict[str, str] = field(default_factory=dict)

    def value(self, purpose: str) -> str:
        """The value for a purpose, always the same."""
        core = self.cores.setdefault(purpose, secrets.token_hex(12))
        return f"p%'{core}\"$/:x"

    def found_in(self, places: Mapping[str, str]) -> list[str]:
        """`purpose in place` for every value that stands in a text, as it is or in base64."""
        return [
            f"{purpose} in {place}"
            for place, text in places.items()
            for purpose, core in self.cores.items()
            if any(form in text for form in _forms(core))
        ]


def _forms(core: str) -> list[str]:
    """The core as it is, and what of its base64 does not depend on its neighbours, at each of three alignments."""
    encoded = []
    for offset in range(3):
        padded = base64.b64encode(b"\0" * offset + core.encode()).decode()
        encoded.append(padded[4 if offset else 0 : 4 * ((offset + len(core)) // 3)])
    return [core, *encoded]
