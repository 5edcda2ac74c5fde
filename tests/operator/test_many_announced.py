"""Restarts in the middle of hundreds of announced windows: nobody hears a thing twice, and nobody is forgotten."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, NamedTuple

import pytest
import yaml

from fakeapi.objects import Json
from integration.receivers import Hook, hook
from replicas.stage import TEAM, Stage, resource
from replicas.story import UNHURRIED
from upkeep.actions.fields import format_duration
from upkeep.controller.notifier import AT_ONCE
from upkeep.domain.instants import read_instant, write_instant

WINDOWS: Final = 500
OPEN: Final = 50
TOLD: Final = 100
"""The first fifty open, the second fifty are only announced; of the rest nobody hears yet."""
CHANNELS: Final = ("chat", "pager")
OPENS: Final = timedelta(seconds=30)
LASTS: Final = timedelta(seconds=25)
FAR: Final = timedelta(hours=1)
LATER: Final = timedelta(seconds=35)
"""How long after they were made the second announcement is due of those that do not open."""
SUPERSEDED: Final = "a later message took its place"
PATIENCE: Final = 240.0


class Told(NamedTuple):
    """A message as the status of its window has it."""

    window: str
    channel: str
    kind: str
    lead: str
    state: str


@dataclass(frozen=True, slots=True)
class Crowd:
    """What was made, and what people heard of it."""

    stage: Stage
    hooks: Mapping[str, Hook]

    def statuses(self) -> Iterator[tuple[str, Json]]:
        for each in self.stage.cluster.list("maintenancewindows", TEAM):
            yield each["metadata"]["name"], each.get("status") or {}

    def notices(self) -> list[Told]:
        """Every message; what was left out for a later one is Superseded."""
        return [
            Told(name, notice["channel"], notice["kind"], notice.get("lead", ""), state_of(notice))
            for name, status in self.statuses()
            for notice in status.get("notices", ())
        ]

    def heard(self) -> Counter[tuple[str, str]]:
        """How many messages about each window have arrived on each channel."""
        return Counter(
            (subject.split()[1].removeprefix(f"{TEAM}/"), channel)
            for channel, receiver in self.hooks.items()
            for subject in receiver.subjects
        )

    def phases(self) -> Counter[str]:
        return Counter(status.get("phase", "") for _, status in self.statuses())


def state_of(notice: Json) -> str:
    state: str = notice["state"]
    return "Superseded" if state == "Skipped" and notice["message"] == SUPERSEDED else state


@pytest.fixture
def crowd(stage: Stage) -> Iterator[Crowd]:
    with ExitStack() as receivers:
        yield Crowd(stage, {channel: receivers.enter_context(hook()) for channel in CHANNELS})


def window(number: int, now: datetime) -> Json:
    """One that opens soon, one that is announced only, or one of which it is too early to speak."""
    leads = ["1h", "10s"]
    if number >= OPEN:
        leads = ["2h", seconds(FAR - LATER)] if number < TOLD else ["30m", "5m"]
    spec = {
        "startAt": write_instant(now + (OPENS if number < OPEN else FAR)),
        "duration": seconds(LASTS),
        "announcements": leads,
        "notify": {"channels": [*CHANNELS]},
    }
    return resource("MaintenanceWindow", name_of(number), spec)


def seconds(duration: timedelta) -> str:
    return f"{int(duration.total_seconds())}s"


def name_of(number: int) -> str:
    return f"window-{number:03}"


def due() -> Counter[tuple[str, str]]:
    """How many messages there are to be about each window on each channel."""
    return Counter(
        {(name_of(number), channel): 4 if number < OPEN else 2 for number in range(TOLD) for channel in CHANNELS}
    )


async def test_none_hears_a_thing_twice_and_no_window_is_forgotten(
    crowd: Crowd, tmp_path: Path, measured: Callable[[str], None]
) -> None:
    stage, file = crowd.stage, tmp_path / "channels.yaml"
    file.write_text(yaml.safe_dump({name: {"url": receiver.url()} for name, receiver in crowd.hooks.items()}))
    settings = {**UNHURRIED, "UPKEEP_CHANNELS_FILE": str(file)}
    now = datetime.now(UTC).replace(microsecond=0)
    for number in range(WINDOWS):
        stage.cluster.create(window(number, now))

    first = await stage.household.operator(settings=settings)
    await stage.cluster.until(lambda: crowd.heard().total() > TOLD // 2, within=PATIENCE)
    first.kill()
    await first.end()
    second = await stage.household.operator(settings=settings)
    await stage.cluster.until(lambda: crowd.phases()["Active"] == OPEN, within=PATIENCE)
    second.kill()
    await second.end()
    await stage.household.operator(settings=settings)
    await stage.cluster.until(lambda: crowd.phases()["Completed"] == OPEN and all_is_told(crowd), within=PATIENCE)

    notices, heard = crowd.notices(), crowd.heard()
    states = Counter(each.state for each in notices)
    assert len({each[:-1] for each in notices}) == len(notices), "a message is there twice"
    on_their_way = 2 * AT_ONCE * len(CHANNELS)
    assert states["Unknown"] <= 2 * on_their_way, "what was sent, or gone and not yet noted, may be in doubt, no more"
    sent = Counter((each.window, each.channel) for each in notices if each.state == "Sent")
    doubtful = Counter((each.window, each.channel) for each in notices if each.state == "Unknown")
    assert sent <= heard <= sent + doubtful, "each arrived once; of those in doubt nobody knows"
    last = [each for each in notices if each.kind == "Completed" or each.lead == format_duration(FAR - LATER)]
    assert len(last) == TOLD * len(CHANNELS)
    assert {each.state for each in last} <= {"Sent", "Unknown"}, "what is left out, is so for one that is not"
    closed = [status["occurrence"] for _, status in crowd.statuses() if status["phase"] == "Completed"]
    late = max((read_instant(each["closedAt"]) - read_instant(each["endTime"])).total_seconds() for each in closed)
    measured(
        f"{WINDOWS} windows, {OPEN} of them open, {heard.total()} messages on {len(CHANNELS)} channels, killed twice: "
        f"none twice, {states['Unknown']} in doubt, closed {late:.0f} s after their end at most"
    )


def all_is_told(crowd: Crowd) -> bool:
    """Whether every message that is due is there, and nothing more will be done about any."""
    notices = crowd.notices()
    over = all(each.state in {"Sent", "Unknown", "Superseded"} for each in notices)
    return over and Counter((each.window, each.channel) for each in notices) == due()
