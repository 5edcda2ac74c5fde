"""What is wrong with the branding of a window's page; the page comes up all the same."""

import base64
import binascii
from collections.abc import Mapping

from upkeep.api.window import Branding
from upkeep.domain.branding import KEYS, read_brand
from upkeep.domain.conditions import Problem
from upkeep.domain.window.snapshot import Manifest, WindowSnapshot


def branding_problem(snapshot: WindowSnapshot, branding: Branding) -> Problem | None:
    """Why the page does not show all of it; None where it does."""
    name = branding.config_map_name
    if snapshot.branding is None:
        message = f"ConfigMap {name!r} does not exist in this namespace: create it; until then the page is plain"
        return Problem(reason="BrandingNotFound", message=message)
    complaints = read_brand(_entries(snapshot.branding)).complaints
    if not complaints:
        return None
    return Problem(reason="BrandingNotUsable", message=f"ConfigMap {name!r}: {'; '.join(complaints)}")


def _entries(config_map: Manifest) -> Mapping[str, bytes]:
    texts, binaries = config_map.get("data") or {}, config_map.get("binaryData") or {}
    entries = {key: text.encode() for key, text in texts.items() if key in KEYS}
    return entries | {key: _decoded(text) for key, text in binaries.items() if key in KEYS}


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text)
    except binascii.Error:
        return b""
