"""The status page, over HTTP: for people and for programs, in their language, also when it may be out of date."""

import json
import re
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import httpx
import pytest
from kubernetes.aio.client.configuration import Configuration

from fakeapi.server import FakeCluster
from upkeep.cluster.client import Client
from upkeep.cluster.errors import ApiError
from upkeep.domain.bulletin import State
from upkeep.domain.instants import write_instant
from upkeep.web.status.server import API_PATH, StatusSettings, StatusSettingsError, serving
from upkeep.web.status.source import Source
from upkeep.web.status.words import STATUS_WORDS
from upkeep.web.words import WORDS

Object = dict[str, Any]

BROWSER: Final = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
GERMAN: Final = {"language": "de", "title": "Der Laden zieht um", "message": "Ihr Warenkorb ist sicher."}


def later(**time: float) -> str:
    return write_instant(datetime.now(UTC) + timedelta(**time))


def window(name: str, status: Object, *, namespace: str = "shop", public: bool = True, **words: object) -> Object:
    page = {"title": f"{name} moves", "message": "Your basket is safe.", **words}
    return {
        "apiVersion": "upkeep.dev/v1alpha1",
        "kind": "MaintenanceWindow",
        "metadata": {"name": name, "namespace": namespace, "labels": {"audience": "customers"}},
        "spec": {"schedule": "0 2 * * SUN", "duration": "2h"} | ({"statusPage": page} if public else {}),
        "status": status,
    }


def open_now() -> Object:
    ahead = {"startTime": later(days=7), "endTime": later(days=7, hours=2), "state": "Planned"}
    return {
        "occurrence": {"startTime": later(hours=-1), "endTime": later(hours=1), "openedAt": later(hours=-1)},
        "upcoming": [ahead],
        "history": [
            {
                "ending": "Ran",
                "scheduledTime": later(days=-2),
                "startTime": later(days=-2),
                "completionTime": later(days=-2, hours=1),
                "outcome": "ok",
                "message": "3 of 3 tasks succeeded",
            }
        ],
    }


@pytest.fixture
async def cluster(fake_cluster: FakeCluster) -> FakeCluster:
    for namespace in ("shop", "bank"):
        fake_cluster.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})
    return fake_cluster


@asynccontextmanager
async def served(source: Source, *, name: str = "") -> AsyncIterator[httpx.AsyncClient]:
    async with (
        serving(source, port=0, host="127.0.0.1", name=name) as port,
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as visitor,
    ):
        yield visitor


@asynccontextmanager
async def visiting(
    cluster: FakeCluster, *, namespaces: tuple[str, ...] = (), selector: str = "", name: str = ""
) -> AsyncIterator[httpx.AsyncClient]:
    source = Source(namespaces=namespaces, selector=selector)
    async with Client(Configuration(host=cluster.url)) as client:
        await source.refresh(client)
    async with served(source, name=name) as visitor:
        yield visitor


async def test_programs_are_told_everything_by_path_and_by_accept(cluster: FakeCluster) -> None:
    cluster.create(window("shop", open_now()))

    async with visiting(cluster) as visitor:
        by_path = await visitor.get(API_PATH, headers=BROWSER)
        by_accept = await visitor.get("/", headers={"Accept": "application/json"})

    told = by_path.json()
    assert told == by_accept.json()
    assert (told["status"], told["stale"]) == ("maintenance", False)
    assert [[entry["state"] for entry in told[part]] for part in ("active", "upcoming", "past")] == [
        ["Active"],
        ["Planned"],
        ["Completed"],
    ]
    assert set(told["active"][0]) == {"id", "state", "title", "message", "language", "start", "end", "timeZone"}
    assert by_path.headers["Access-Control-Allow-Origin"] == "*"


async def test_people_read_it_in_their_language(cluster: FakeCluster) -> None:
    cluster.create(window("shop", open_now(), translations=[GERMAN]))

    async with visiting(cluster) as visitor:
        page = await visitor.get("/", headers={**BROWSER, "Accept-Language": "de-AT"})

    assert page.headers["Content-Language"] == "de"
    for text in ("Wartung läuft", "Der Laden zieht um", "Endet in etwa", "Geplant", "Abgeschlossen"):
        assert text in page.text
    assert "succeeded" not in page.text


async def test_what_somebody_wrote_stays_text(cluster: FakeCluster) -> None:
    evil = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>"
    cluster.create(window("shop", open_now(), title=evil[:200], message=evil, translations=[{**GERMAN, "title": evil}]))

    async with visiting(cluster, name=evil) as visitor:
        pages = [await visitor.get("/", headers={**BROWSER, "Accept-Language": tag}) for tag in ("en", "de")]

    for page in pages:
        assert "<script>alert" not in page.text
        assert "<img" not in page.text
        assert "default-src 'none'" in page.headers["Content-Security-Policy"]
        assert "unsafe" not in page.headers["Content-Security-Policy"]


async def test_no_other_namespace_and_no_other_label_is_ever_shown(cluster: FakeCluster) -> None:
    cluster.create(window("shop", open_now()))
    cluster.create(window("bank", open_now(), namespace="bank"))
    cluster.create(window("hidden", open_now(), public=False))

    async with visiting(cluster, namespaces=("shop",)) as visitor:
        one = await visitor.get(API_PATH)
    async with visiting(cluster) as visitor:
        both = await visitor.get(API_PATH)
    async with visiting(cluster, selector="audience=staff") as visitor:
        none = await visitor.get(API_PATH)

    def titles(answer: httpx.Response) -> list[str]:
        return sorted(entry["title"] for entry in answer.json()["active"])

    assert (titles(one), titles(both), titles(none)) == (["shop moves"], ["bank moves", "shop moves"], [])
    assert "hidden" not in both.text
    assert not any(entry.verb != "list" for entry in cluster.audit), "it only ever lists"


async def test_who_has_it_already_is_not_sent_it_again(cluster: FakeCluster) -> None:
    cluster.create(window("shop", open_now()))

    async with visiting(cluster) as visitor:
        first = await visitor.get(API_PATH)
        again = await visitor.get(API_PATH, headers={"If-None-Match": first.headers["ETag"]})
        german = await visitor.get(API_PATH, headers={"If-None-Match": first.headers["ETag"], "Accept-Language": "de"})

    assert first.headers["Cache-Control"] == "public, max-age=10"
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["ETag"] == first.headers["ETag"]
    assert german.status_code == 200


async def test_the_tag_stays_while_nothing_changes_and_goes_with_a_change(cluster: FakeCluster) -> None:
    cluster.create(window("shop", open_now()))
    async with visiting(cluster) as visitor:
        before = (await visitor.get(API_PATH)).headers["ETag"]
    async with visiting(cluster) as visitor:
        same = (await visitor.get(API_PATH)).headers["ETag"]
    cluster.create(window("other", open_now()))
    async with visiting(cluster) as visitor:
        after = (await visitor.get(API_PATH)).headers["ETag"]

    assert before == same != after


async def test_without_the_api_server_it_goes_on_with_what_it_knows_and_says_of_when_that_is(
    cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster.create(window("shop", open_now()))
    source = Source()
    async with Client(Configuration(host=cluster.url)) as client:
        await source.refresh(client)
    async with Client(Configuration(host="http://127.0.0.1:1")) as away:
        with pytest.raises(ApiError):
            await source.refresh(away)
    assert source.as_of is not None
    monkeypatch.setattr(source, "as_of", source.as_of - timedelta(minutes=5))

    async with served(source) as visitor:
        page, told = await visitor.get("/", headers=BROWSER), (await visitor.get(API_PATH)).json()
        ready = await visitor.get("/readyz")

    assert "This may be out of date" in page.text
    assert "shop moves" in page.text
    assert (told["stale"], told["asOf"]) == (True, write_instant(source.as_of))
    assert ready.status_code == 200


async def test_before_it_knows_anything_it_does_not_say_that_all_is_well() -> None:
    async with served(Source()) as visitor:
        answers = [await visitor.get(path) for path in ("/", API_PATH, "/readyz", "/healthz", "/else")]
        refused = await visitor.post("/")

    assert [answer.status_code for answer in answers] == [503, 503, 503, 200, 404]
    assert refused.status_code == 405


async def test_terminals_read_it_too(cluster: FakeCluster) -> None:
    cluster.create(window("shop", open_now()))

    async with visiting(cluster, name="The Shop") as visitor:
        text = (await visitor.get("/", headers={"Accept": "text/plain"})).text

    assert text.startswith("The Shop: Maintenance in progress\n\nUNDER MAINTENANCE NOW\n\nshop moves\n")
    assert re.search(r"Ends in about \d+ minutes\nYour basket is safe\.", text)


@pytest.mark.parametrize(
    ("time", "words"),
    [
        ({"minutes": 20}, "Starts in about 20 minutes"),
        ({"hours": 2, "minutes": 10}, "Starts in about 2 hours"),
        ({"days": 2, "hours": 3}, "Starts in about 2 days"),
    ],
)
async def test_nobody_comes_too_late(cluster: FakeCluster, time: dict[str, float], words: str) -> None:
    upcoming = {"startTime": later(**time), "endTime": later(days=9), "state": "Planned"}
    cluster.create(window("shop", {"upcoming": [upcoming]}))

    async with visiting(cluster) as visitor:
        text = (await visitor.get("/", headers={"Accept": "text/plain"})).text

    assert words in text


@pytest.mark.parametrize("accept", ["text/html", "application/json", "text/plain"])
async def test_nothing_at_all_is_a_page_too(cluster: FakeCluster, accept: str) -> None:
    async with visiting(cluster) as visitor:
        answer = await visitor.get("/", headers={"Accept": accept})

    assert answer.status_code == 200
    if accept == "application/json":
        assert json.loads(answer.text)["status"] == "none"
    else:
        assert "No maintenance at the moment" in answer.text


def test_every_language_of_the_maintenance_page_is_spoken() -> None:
    assert STATUS_WORDS.keys() == WORDS.keys()
    for words in STATUS_WORDS.values():
        assert "{duration}" in words.ends_in
        assert "{duration}" in words.starts_in
        assert "{time}" in words.as_of
        assert "{time}" in words.stale
        over = (State.CANCELLED, State.COMPLETED, State.FAILED, State.NOT_HELD)
        assert len({words.result(state) for state in over}) == len(over)


@pytest.mark.parametrize(
    ("environment", "complaint"),
    [
        ({"UPKEEP_STATUS_NAMESPACES": "shop,*"}, "UPKEEP_STATUS_NAMESPACES: '\\*' is not a namespace"),
        ({"UPKEEP_STATUS_INTERVAL": "0"}, "UPKEEP_STATUS_INTERVAL='0' is not a number of seconds"),
        ({"UPKEEP_STATUS_INTERVAL": "often"}, "UPKEEP_STATUS_INTERVAL='often'"),
    ],
)
def test_a_wrong_setting_is_named(environment: Mapping[str, str], complaint: str) -> None:
    with pytest.raises(StatusSettingsError, match=complaint):
        StatusSettings.read(environment)


def test_settings_are_read() -> None:
    read: Callable[[Mapping[str, str]], StatusSettings] = StatusSettings.read
    environment = {"UPKEEP_STATUS_NAMESPACES": "shop, blog,", "UPKEEP_STATUS_SELECTOR": "audience=customers"}

    found = read({**environment, "UPKEEP_STATUS_NAME": "The Shop", "UPKEEP_STATUS_INTERVAL": "30"})

    assert found == StatusSettings(
        namespaces=("shop", "blog"), selector="audience=customers", name="The Shop", interval=30.0
    )
