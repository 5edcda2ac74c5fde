"""Checks of watches: order, selectors, starts and ends."""

from fakeapi.contract.api import Api, Events, widget
from fakeapi.objects import Json

_INITIAL_END = "k8s.io/initial-events-end"


async def _version(api: Api) -> str:
    return str((await api.get(api.widgets)).version)


def _seen(events: list[Json]) -> list[tuple[str, str]]:
    return [(event["type"], event["object"]["metadata"]["name"]) for event in events]


async def _until_initial_end(events: Events) -> list[Json]:
    found: list[Json] = []
    while True:
        event = await events.next()
        found.append(event)
        if event["type"] == "BOOKMARK":
            return found


class WatchContract:
    async def test_a_watch_tells_everything_after_its_version_in_order(self, api: Api) -> None:
        version = await _version(api)
        made = await api.made(api.widgets, widget("one"))
        changed = await api.merge(api.widget("one"), {"spec": {"size": 2}})

        async with api.watch(api.widgets, resourceVersion=version) as events:
            history = await events.take(2)
            await api.delete(api.widget("one"))
            deleted = await events.next()

        assert history == [
            {"type": "ADDED", "object": made.body},
            {"type": "MODIFIED", "object": changed.body},
        ]
        assert (deleted["type"], deleted["object"]["spec"]) == ("DELETED", changed.body["spec"])
        assert int(deleted["object"]["metadata"]["resourceVersion"]) > changed.version

    async def test_objects_come_and_go_as_a_selector_sees_them(self, api: Api) -> None:
        version = await _version(api)
        made = await api.made(api.widgets, widget("one", labels={"x": "1"}))
        away = await api.merge(api.widget("one"), {"metadata": {"labels": {"x": "2"}}})
        await api.merge(api.widget("one"), {"spec": {"size": 2}})
        back = await api.merge(api.widget("one"), {"metadata": {"labels": {"x": "1"}}})
        within = await api.merge(api.widget("one"), {"spec": {"size": 3}})

        async with api.watch(api.widgets, resourceVersion=version, labelSelector="x=1") as events:
            added, left, returned, modified = await events.take(4)

        assert (added["type"], added["object"]) == ("ADDED", made.body)
        assert (left["type"], left["object"]["metadata"]["labels"]) == ("DELETED", {"x": "1"})
        assert int(left["object"]["metadata"]["resourceVersion"]) == away.version
        assert (returned["type"], returned["object"]) == ("ADDED", back.body)
        assert (modified["type"], modified["object"]) == ("MODIFIED", within.body)

    async def test_a_watch_is_of_one_name_where_it_says_so(self, api: Api) -> None:
        version = await _version(api)
        for name in ("one", "two"):
            await api.made(api.widgets, widget(name))

        async with api.watch(api.widgets, resourceVersion=version, fieldSelector="metadata.name=two") as events:
            first = await events.next()

        assert _seen([first]) == [("ADDED", "two")]

    async def test_a_watch_of_a_namespace_hears_nothing_of_others(self, api: Api) -> None:
        everywhere = api.path("contract.upkeep.dev/v1/widgets", namespace="")
        outside = api.path("contract.upkeep.dev/v1/widgets", namespace="default")
        version = await _version(api)
        name = f"other-{api.suffix}"
        await api.made(outside, widget(name))
        await api.made(api.widgets, widget("ours"))

        async with api.watch(api.widgets, resourceVersion=version) as events:
            ours = await events.next()
        async with api.watch(everywhere, resourceVersion=version) as events:
            both = await events.take(2)
        await api.delete(f"{outside}/{name}")

        assert _seen([ours]) == [("ADDED", "ours")]
        assert _seen(both) == [("ADDED", name), ("ADDED", "ours")]

    async def test_a_watch_without_a_version_starts_with_what_is_there(self, api: Api) -> None:
        await api.made(api.widgets, widget("b"))
        await api.made(api.widgets, widget("a"))

        async with api.watch(api.widgets) as events:
            state = await events.take(2)
            await api.made(api.widgets, widget("c"))
            new = await events.next()

        assert sorted(_seen(state)) == [("ADDED", "a"), ("ADDED", "b")]
        assert _seen([new]) == [("ADDED", "c")]

    async def test_a_bookmark_ends_the_initial_events_of_who_asks(self, api: Api) -> None:
        made = await api.made(api.widgets, widget("one"))

        async with api.watch(
            api.widgets,
            sendInitialEvents="true",
            resourceVersionMatch="NotOlderThan",
            allowWatchBookmarks="true",
        ) as events:
            added, bookmark = await _until_initial_end(events)

        assert added == {"type": "ADDED", "object": made.body}
        assert bookmark["object"]["kind"] == "Widget"
        assert bookmark["object"]["metadata"]["annotations"] == {_INITIAL_END: "true"}
        assert int(bookmark["object"]["metadata"]["resourceVersion"]) >= made.version

    async def test_a_watch_ends_without_a_word_when_its_time_is_up(self, api: Api) -> None:
        version = await _version(api)
        await api.made(api.widgets, widget("one"))

        async with api.watch(api.widgets, resourceVersion=version, timeoutSeconds="1") as events:
            everything = await events.rest()

        assert _seen(everything) == [("ADDED", "one")]

    async def test_a_version_that_is_too_old_is_an_event_not_an_answer(self, api: Api) -> None:
        await api.made(api.widgets, widget("one"))

        async with api.watch(api.widgets, resourceVersion="1") as events:
            everything = await events.rest()

        assert [event["type"] for event in everything] == ["ERROR"]
        status = everything[0]["object"]
        assert (status["kind"], status["code"], status["reason"]) == ("Status", 410, "Expired")
        assert status["message"].startswith("too old resource version: 1 (")

    async def test_a_version_that_is_no_number_is_refused(self, api: Api) -> None:
        answer = await api.get(api.widgets, watch="true", resourceVersion="abc")

        assert answer.code == 500
