from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from lab.failure import LabError
from lab.process import launch
from lab.waiting import until

if TYPE_CHECKING:
    from lab.home import Home


def test_waiting_ends_as_soon_as_the_condition_holds() -> None:
    answers = iter([False, False, True])

    until(lambda: next(answers), doing="Waiting", seconds=5)

    assert list(answers) == []


def test_waiting_ends_with_a_sentence_when_the_time_is_over() -> None:
    with pytest.raises(LabError, match=r"^Waiting for the node: not after 0 s\.$"):
        until(lambda: False, doing="Waiting for the node", seconds=0)


def test_waiting_for_a_component_that_has_ended_shows_its_last_words_at_once(home: Home) -> None:
    launch(home, "etcd", ["sh", "-c", "echo the disk is full; exec sleep 0.2"])

    with pytest.raises(LabError, match=r"etcd has ended(.|\n)*the disk is full"):
        until(lambda: False, doing="Waiting for etcd", seconds=60, home=home, component="etcd")
