"""Messages of windows, from an operator as a process to a real HTTP receiver: at most once each, whatever happens."""

import asyncio
import signal
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from integration.receivers import Hook, hook
from replicas.replica import Nursery
from replicas.stage import TEAM, Stage, in_seconds, resource
from replicas.story import FAILURES, IMPATIENT, KILLED_AFTER, KILLED_BEFORE, UNHURRIED, Disturbance, Story, tell
from upkeep.controller.notifier import AT_ONCE as AT_ONCE_ON_A_CHANNEL

WINDOW: Final = "night"
PATIENCE: Final = 60.0
AT_ONCE: Final = 10
MANY: Final = 100
WORDS: Final = {"opens": "Announcement", "is open": "Opened", "is over": "Completed", "was not": "NotOpened"}


def channels(file: Path, **urls: str) -> dict[str, str]:
    """The settings of an operator with these channels."""
    file.write_text(yaml.safe_dump({name: {"url": url} for name, url in urls.items()}))
    return {"UPKEEP_CHANNELS_FILE": str(file)}


def announced_window(stage: Stage, *, start: float = 4, **changes: object) -> None:
    spec = {
        "startAt": in_seconds(start),
        "duration": "2s",
        "announcements": ["2s"],
        "notify": {"channels": ["chat"]},
        **changes,
    }
    stage.cluster.create(resource("MaintenanceWindow", WINDOW, spec))


def notices(stage: Stage) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = stage.status("MaintenanceWindow", WINDOW).get("notices", [])
    return found


def states(stage: Stage) -> dict[str, str]:
    """State of each message, by kind."""
    return {each["kind"]: each["state"] for each in notices(stage)}


def all_is_said(stage: Stage) -> bool:
    final = {"Sent", "Failed", "Unknown", "Skipped"}
    kinds = states(stage)
    return bool(kinds.keys() & {"Completed", "Failed", "NotOpened"}) and set(kinds.values()) <= final


def kinds(subjects: Sequence[str]) -> Counter[str]:
    """How often each kind of message arrived."""
    return Counter(next(kind for word, kind in WORDS.items() if word in subject) for subject in subjects)


@pytest.fixture
def chat() -> Iterator[Hook]:
    with hook() as made:
        yield made


@dataclass(frozen=True)
class Telling:
    """A story with a receiver of its own."""

    story: Story
    chat: Hook


@contextmanager
def telling(directory: Path, *, certain: bool) -> Iterator[Telling]:
    """A window with an announcement; `certain`: nobody dies, so nothing may be left in doubt."""
    with hook() as receiver:

        def check(stage: Stage) -> None:
            arrived = kinds(receiver.subjects)
            assert set(arrived.values()) <= {1}, f"sent twice: {receiver.subjects}"
            for kind, state in states(stage).items():
                assert state != "Sent" or arrived[kind] == 1, f"{kind} is said to be sent, but did not arrive"
                assert state != "Failed", notices(stage)
            assert not certain or "Unknown" not in states(stage).values(), notices(stage)

        directory.mkdir(parents=True)
        settings = channels(directory / "channels.yaml", chat=receiver.url())
        story = Story(
            name="a window that is announced",
            begin=announced_window,
            over=all_is_said,
            jobs=0,
            check=check,
            settings={**UNHURRIED, **IMPATIENT, **settings},
            within=PATIENCE,
        )
        yield Telling(story, receiver)


async def told(nursery: Nursery, directory: Path, disturbances: Sequence[Disturbance], *, certain: bool) -> int:
    """Tell it undisturbed, then with each disturbance at each write; the number of disturbed tellings."""
    # The first process takes seconds to start, and the announcement would be too late.
    ready = await nursery.start(["--help"], environment={}, log=directory / "ready.log")
    await ready.end()
    places = asyncio.Semaphore(AT_ONCE)
    with ExitStack() as receivers:
        plain = receivers.enter_context(telling(directory / "plain", certain=True))
        model = await tell(plain.story, nursery, directory / "plain" / "stage")
        assert kinds(plain.chat.subjects) == {"Announcement": 1, "Opened": 1, "Completed": 1}
        cases = [(each, nth) for each in disturbances for nth in range(1, len(model.writes) + 1)]

        async def one(disturbance: Disturbance, nth: int) -> None:
            place = directory / f"{disturbance.name.replace(' ', '-')}-{nth}"
            one_telling = receivers.enter_context(telling(place, certain=certain))
            async with places:
                await tell(one_telling.story, nursery, place / "stage", disturbance=disturbance, nth=nth)

        results = await asyncio.gather(*(one(*case) for case in cases), return_exceptions=True)
    errors = [result for result in results if isinstance(result, Exception)]
    if errors:
        msg = f"{len(errors)} of {len(cases)} tellings went wrong"
        raise ExceptionGroup(msg, errors)
    return len(cases)


async def test_killed_at_every_write_no_message_is_sent_twice(nursery: Nursery, tmp_path: Path) -> None:
    tellings = await told(nursery, tmp_path, [KILLED_BEFORE, KILLED_AFTER], certain=False)

    # Three messages are claimed and recorded, and the window has steps of its own.
    assert tellings >= 2 * 6


async def test_whatever_the_api_server_does_to_a_write_every_message_is_sent_once(
    nursery: Nursery, tmp_path: Path
) -> None:
    chosen = [each for each in FAILURES if each.name in {"conflict at", "error in spite of", "connection cut after"}]

    assert await told(nursery, tmp_path, chosen, certain=True) >= 3 * 6


async def test_who_is_killed_while_a_message_is_on_its_way_leaves_it_in_doubt_and_nobody_sends_it_again(
    stage: Stage, chat: Hook, tmp_path: Path
) -> None:
    settings = channels(tmp_path / "channels.yaml", chat=f"{chat.url()}?rto=30")
    chat.answers.clear()
    announced_window(stage, start=600, announcements=["1h"])
    operator = await stage.household.operator(settings=settings)
    await stage.cluster.until(lambda: bool(chat.bodies), within=PATIENCE)

    operator.kill()
    await operator.end()
    chat.answers.set()
    await stage.household.operator(settings=settings)
    await stage.cluster.until(lambda: states(stage) == {"Announcement": "Unknown"}, within=PATIENCE)

    assert len(chat.bodies) == 1
    assert stage.condition("MaintenanceWindow", WINDOW, "Notified")["reason"] == "DeliveryUnknown"
    await stage.cluster.until(
        lambda: "NotificationUnknown" in {event["reason"] for event in stage.events(WINDOW)}, within=PATIENCE
    )


async def test_who_is_told_to_stop_while_a_message_is_on_its_way_records_what_came_of_it(
    stage: Stage, chat: Hook, tmp_path: Path
) -> None:
    settings = channels(tmp_path / "channels.yaml", chat=f"{chat.url()}?rto=30")
    chat.answers.clear()
    announced_window(stage, start=600, announcements=["1h"])
    operator = await stage.household.operator(settings=settings)
    await stage.cluster.until(lambda: bool(chat.bodies), within=PATIENCE)

    operator.send(signal.SIGTERM)
    chat.answers.set()

    assert await operator.end() == 0
    assert states(stage) == {"Announcement": "Sent"}


async def test_a_change_of_the_end_is_told_once_whoever_is_killed_before_and_after(
    stage: Stage, chat: Hook, tmp_path: Path
) -> None:
    settings = channels(tmp_path / "channels.yaml", chat=chat.url())
    announced_window(stage, start=600, announcements=["1h"], duration="10m")
    kinds_sent = ["Announcement"]

    def all_sent() -> bool:
        window = stage.cluster.get("MaintenanceWindow", TEAM, WINDOW)
        seen = stage.status("MaintenanceWindow", WINDOW).get("observedGeneration") == window["metadata"]["generation"]
        return seen and [(each["kind"], each["state"]) for each in notices(stage)] == [(k, "Sent") for k in kinds_sent]

    for change in ({}, {"duration": "20m"}, {"overrun": "Stop"}, {"duration": "5m"}):
        stage.cluster.patch("MaintenanceWindow", TEAM, WINDOW, {"spec": change})
        kinds_sent += ["Changed"] if "duration" in change else []
        operator = await stage.household.operator(settings=settings)
        await stage.cluster.until(all_sent, within=PATIENCE)
        operator.kill()
        await operator.end()

    corrections = [subject for subject in chat.subjects if "than announced" in subject]
    assert [subject.split(" ends ")[1] for subject in corrections] == ["later than announced", "earlier than announced"]
    assert len(chat.subjects) == 3


async def test_a_channel_that_refuses_is_tried_again_until_it_takes_the_message(
    stage: Stage, chat: Hook, tmp_path: Path
) -> None:
    chat.status = 503
    announced_window(stage, start=600, announcements=["1h"])
    await stage.household.operator(settings=channels(tmp_path / "channels.yaml", chat=chat.url()))
    await stage.cluster.until(
        lambda: stage.condition("MaintenanceWindow", WINDOW, "Notified").get("reason") == "Retrying", within=PATIENCE
    )

    chat.status = 200
    await stage.cluster.until(lambda: states(stage) == {"Announcement": "Sent"}, within=PATIENCE)

    (notice,) = notices(stage)
    assert notice["attempts"] == len(chat.bodies) - 1


async def test_a_channel_that_is_added_to_the_file_counts_without_a_restart(
    stage: Stage, chat: Hook, tmp_path: Path
) -> None:
    file = tmp_path / "channels.yaml"
    announced_window(stage, start=600, announcements=["1h"])
    await stage.household.operator(settings=channels(file, mail="mailto://127.0.0.1"))
    await stage.cluster.until(
        lambda: stage.condition("MaintenanceWindow", WINDOW, "Notified").get("reason") == "ChannelNotConfigured",
        within=PATIENCE,
    )

    channels(file, chat=chat.url())

    await stage.cluster.until(lambda: states(stage) == {"Announcement": "Sent"}, within=PATIENCE)
    assert TEAM in chat.subjects[0]


async def test_killed_in_the_middle_of_many_messages_each_arrives_once_or_is_one_of_few_in_doubt(
    stage: Stage, chat: Hook, tmp_path: Path, measured: Callable[[str], None]
) -> None:
    settings = {**UNHURRIED, **channels(tmp_path / "channels.yaml", chat=chat.url())}
    spec = {"startAt": in_seconds(3600), "duration": "1h", "announcements": ["2h"], "notify": {"channels": ["chat"]}}
    for number in range(MANY):
        stage.cluster.create(resource("MaintenanceWindow", f"window-{number}", spec))

    def outcomes() -> Counter[str]:
        windows = [stage.status("MaintenanceWindow", f"window-{number}") for number in range(MANY)]
        return Counter(notice["state"] for status in windows for notice in status.get("notices", ()))

    operator = await stage.household.operator(settings=settings)
    await stage.cluster.until(lambda: len(chat.bodies) > MANY // 3, within=PATIENCE)
    operator.kill()
    await operator.end()
    left = outcomes()
    await stage.household.operator(settings=settings)
    await stage.cluster.until(lambda: outcomes()["Sent"] + outcomes()["Unknown"] == MANY, within=PATIENCE)

    arrived = Counter(subject.split()[1] for subject in chat.subjects)
    assert set(arrived.values()) == {1}
    assert MANY - len(arrived) <= AT_ONCE_ON_A_CHANNEL, "only what was on its way may be lost"
    measured(f"{MANY} messages, killed after {MANY // 3}: {outcomes()['Unknown']} in doubt, {left['Pending']} waited")


async def test_people_who_were_told_hear_that_a_window_was_deleted_once_also_where_two_replicas_watch(
    stage: Stage, chat: Hook, tmp_path: Path
) -> None:
    settings = channels(tmp_path / "channels.yaml", chat=chat.url())
    announced_window(stage, start=600, announcements=["1h"])
    await stage.household.operator("upkeep-0", settings=settings)
    await stage.household.operator("upkeep-1", settings=settings)
    await stage.cluster.until(lambda: states(stage) == {"Announcement": "Sent"}, within=PATIENCE)
    await stage.watched()
    chat.status = 503

    stage.cluster.delete("MaintenanceWindow", TEAM, WINDOW)
    await _received(chat, 2)
    chat.status = 200
    await _received(chat, 3)

    assert [subject.partition(" ")[0] for subject in chat.subjects] == ["Maintenance"] * 3
    assert all("does not take place as announced" in subject for subject in chat.subjects[1:])


async def _received(chat: Hook, number: int) -> None:
    async with asyncio.timeout(PATIENCE):
        while len(chat.bodies) < number:  # noqa: ASYNC110 - the receiver lives on another thread
            await asyncio.sleep(0.05)
