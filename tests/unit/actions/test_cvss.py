"""Scores are those of the examples that FIRST has published, and a vector that is none has no score."""

import pytest

from upkeep.actions.contract import Grade
from upkeep.actions.dependency.cvss import grade, score_of


@pytest.mark.parametrize(
    ("vector", "score"),
    [
        ("AV:N/AC:L/PR:N/UI:R/S:C/C:L/I:L/A:N", 6.1),  # CVE-2013-1937
        ("AV:N/AC:L/PR:L/UI:N/S:C/C:L/I:L/A:N", 6.4),  # CVE-2013-0375
        ("AV:N/AC:H/PR:N/UI:R/S:U/C:L/I:N/A:N", 3.1),  # CVE-2014-3566
        ("AV:N/AC:L/PR:L/UI:N/S:C/C:H/I:H/A:H", 9.9),  # CVE-2012-1516
        ("AV:L/AC:L/PR:H/UI:N/S:U/C:L/I:L/A:L", 4.2),  # CVE-2012-0384 and others by the same base
        ("AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:N/A:N", 7.5),  # CVE-2014-0160
        ("AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H", 9.8),  # CVE-2014-6271
        ("AV:N/AC:H/PR:N/UI:N/S:C/C:N/I:H/A:N", 6.8),  # CVE-2008-1447
        ("AV:L/AC:L/PR:N/UI:R/S:U/C:H/I:H/A:H", 7.8),  # CVE-2009-0658
        ("AV:A/AC:L/PR:N/UI:N/S:C/C:H/I:N/A:H", 9.3),  # CVE-2013-6014
        ("AV:P/AC:L/PR:N/UI:N/S:U/C:N/I:N/A:N", 0.0),
    ],
)
def test_a_vector_has_its_published_score(vector: str, score: float) -> None:
    assert score_of(f"CVSS:3.1/{vector}") == score
    assert score_of(f"CVSS:3.0/{vector}") == score


@pytest.mark.parametrize("vector", ["", "CVSS:3.1", "CVSS:2.0/AV:N", "CVSS:3.1/AV:N/AC:L", "CVSS:3.1/AV:X/AC:L", "7.5"])
def test_what_is_no_vector_has_no_score(vector: str) -> None:
    assert score_of(vector) is None


def test_the_word_of_the_database_comes_before_the_score() -> None:
    vector = {"type": "CVSS_V3", "score": "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H"}
    assert grade({"severity": [vector]}) == (Grade.CRITICAL, 9.8)
    assert grade({"severity": [vector], "database_specific": {"severity": "MODERATE"}}) == (Grade.MEDIUM, 9.8)
    assert grade({"database_specific": {"severity": "low"}}) == (Grade.LOW, 0.1)
    assert grade({"severity": [{"type": "CVSS_V4", "score": "CVSS:4.0/AV:N"}, 7], "database_specific": 1}) == (
        None,
        0.0,
    )
