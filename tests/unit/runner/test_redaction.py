"""Values of credential files are taken out of texts, in whatever spelling."""

from pathlib import Path

import pytest

from upkeep.runner.redaction import Redaction


def redaction(directory: Path, **files: str) -> Redaction:
    (directory / "db").mkdir()
    for name, value in files.items():
        (directory / "db" / name.replace("_", ".")).write_text(value)
    return Redaction.of(directory)


@pytest.mark.parametrize("spelling", ["p@ss/w\nord-1", "p%40ss/w%0Aord-1", "p%40ss%2Fw%0Aord-1", "p@ss/w\\nord-1"])
def test_every_usual_spelling_is_taken_out(tmp_path: Path, spelling: str) -> None:
    assert redaction(tmp_path, password="p@ss/w\nord-1\n").text(f"<{spelling}>") == "<[redacted]>"  # noqa: S106


def test_what_is_not_secret_stays(tmp_path: Path) -> None:
    known = redaction(tmp_path, username="upkeep-user", ca_crt="-----BEGIN CERTIFICATE-----")
    assert known.text("upkeep-user -----BEGIN CERTIFICATE-----") == "upkeep-user -----BEGIN CERTIFICATE-----"


def test_a_short_value_would_only_be_guessed_by_its_gaps(tmp_path: Path) -> None:
    assert redaction(tmp_path, password="shop").text("shop-db") == "shop-db"  # noqa: S106


def test_the_longest_value_goes_first(tmp_path: Path) -> None:
    known = redaction(tmp_path, a="secret", b="secret-and-more")
    assert known.text("secret-and-more") == "[redacted]"


def test_nothing_is_mounted(tmp_path: Path) -> None:
    assert Redaction.of(tmp_path / "nowhere").text("text") == "text"
