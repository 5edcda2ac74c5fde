"""Checks of lists: selectors, pages and versions."""

import pytest

from fakeapi.contract.api import Api, config_map, widget

_WIDGETS = "contract.upkeep.dev/v1/widgets"


async def _make(api: Api, *names: str) -> None:
    for name in names:
        await api.made(api.widgets, widget(name))


class ListContract:
    async def test_a_list_has_a_version_and_objects_by_name(self, api: Api) -> None:
        await _make(api, "b", "c", "a")

        answer = await api.get(api.widgets)

        assert (answer.code, answer.body["kind"]) == (200, "WidgetList")
        assert answer.body["apiVersion"] == "contract.upkeep.dev/v1"
        assert answer.names == ["a", "b", "c"]
        assert answer.version >= max(int(item["metadata"]["resourceVersion"]) for item in answer.body["items"])

    async def test_only_items_of_custom_kinds_say_what_they_are(self, api: Api) -> None:
        await _make(api, "one")
        await api.made(api.path("v1/configmaps"), config_map("one", labels={"ours": "yes"}))

        custom = await api.get(api.widgets)
        built_in = await api.get(api.path("v1/configmaps"), labelSelector="ours=yes")

        assert custom.body["items"][0]["kind"] == "Widget"
        assert not {"kind", "apiVersion"} & built_in.body["items"][0].keys()
        assert built_in.body["items"][0]["data"] == {"key": "value"}

    async def test_a_list_is_of_one_namespace_or_of_all(self, api: Api) -> None:
        await _make(api, "one")

        ours = await api.get(api.widgets)
        everywhere = await api.get(api.path(_WIDGETS, namespace=""))
        elsewhere = await api.get(api.path(_WIDGETS, namespace="default"))

        assert ours.names == ["one"]
        assert (api.namespace, "one") in {
            (item["metadata"]["namespace"], item["metadata"]["name"]) for item in everywhere.body["items"]
        }
        assert (elsewhere.code, elsewhere.body["items"]) == (200, [])

    @pytest.mark.parametrize(
        ("selector", "expected"),
        [
            ("tier=web", ["a", "b"]),
            ("tier==web,size=big", ["b"]),
            ("tier!=web", ["c", "d"]),
            ("tier", ["a", "b", "c"]),
            ("!tier", ["d"]),
            ("tier in (web, db)", ["a", "b", "c"]),
            ("tier notin (web),tier", ["c"]),
            ("tier notin (web)", ["c", "d"]),
            ("size in (big),tier in (web)", ["b"]),
            ("tier=", []),
            ("example.com/x=y", ["a"]),
        ],
    )
    async def test_label_selectors_choose(self, api: Api, selector: str, expected: list[str]) -> None:
        labels: dict[str, dict[str, str]] = {
            "a": {"tier": "web", "example.com/x": "y"},
            "b": {"tier": "web", "size": "big"},
            "c": {"tier": "db"},
            "d": {},
        }
        for name, given in labels.items():
            await api.made(api.widgets, widget(name, labels=given))

        assert (await api.get(api.widgets, labelSelector=selector)).names == expected

    @pytest.mark.parametrize("selector", ["tier in (web", "tier in web)", "=web", "tier web"])
    async def test_a_label_selector_that_cannot_be_parsed_is_refused(self, api: Api, selector: str) -> None:
        answer = await api.get(api.widgets, labelSelector=selector)

        assert (answer.code, answer.body["reason"]) == (400, "BadRequest")

    async def test_field_selectors_choose_by_name_and_namespace(self, api: Api) -> None:
        await _make(api, "a", "b")
        everywhere = api.path(_WIDGETS, namespace="")

        named = await api.get(api.widgets, fieldSelector="metadata.name=b")
        both = await api.get(everywhere, fieldSelector=f"metadata.name=a,metadata.namespace={api.namespace}")
        other = await api.get(api.widgets, fieldSelector="metadata.name!=a")
        unknown = await api.get(api.widgets, fieldSelector="spec.size=1")

        assert (named.names, both.names, other.names) == (["b"], ["a"], ["b"])
        assert (unknown.code, unknown.body["message"]) == (400, "field label not supported: spec.size")

    async def test_events_are_chosen_by_what_they_are_about(self, api: Api) -> None:
        events = api.path("v1/events")
        for name in ("one", "two"):
            about = {"kind": "ConfigMap", "name": name, "namespace": api.namespace}
            body = {"apiVersion": "v1", "kind": "Event", "involvedObject": about, "reason": "R", "type": "Normal"}
            await api.made(events, {**body, "metadata": {"name": f"event-{name}"}})

        answer = await api.get(events, fieldSelector="involvedObject.name=two,involvedObject.kind=ConfigMap")

        assert answer.names == ["event-two"]

    async def test_pages_show_one_moment_whatever_happens_meanwhile(self, api: Api) -> None:
        await _make(api, "a", "b", "c", "d", "e")

        first = await api.get(api.widgets, limit="2")
        await api.delete(api.widget("c"))
        await api.merge(api.widget("d"), {"spec": {"size": 9}})
        await _make(api, "b2", "f")
        second = await api.get(api.widgets, limit="2", continue_=first.body["metadata"]["continue"])
        third = await api.get(api.widgets, limit="2", continue_=second.body["metadata"]["continue"])

        assert first.names + second.names + third.names == ["a", "b", "c", "d", "e"]
        assert second.body["items"][1]["spec"]["size"] == 1
        assert [page.body["metadata"].get("remainingItemCount") for page in (first, second, third)] == [3, 1, None]
        assert first.version == second.version == third.version
        assert third.body["metadata"]["continue"] == ""

    async def test_a_page_with_a_selector_does_not_know_what_remains(self, api: Api) -> None:
        for name in ("a", "b", "c"):
            await api.made(api.widgets, widget(name, labels={"x": "y"}))

        first = await api.get(api.widgets, limit="2", labelSelector="x=y")

        assert first.names == ["a", "b"]
        assert first.body["metadata"]["continue"]
        assert "remainingItemCount" not in first.body["metadata"]

    async def test_a_list_from_the_cache_knows_no_pages(self, api: Api) -> None:
        await _make(api, "a", "b", "c")

        answer = await api.get(api.widgets, limit="1", resourceVersion="0")

        assert answer.names == ["a", "b", "c"]
        assert answer.body["metadata"]["continue"] == ""

    async def test_a_list_can_be_of_an_exact_version(self, api: Api) -> None:
        before = await api.made(api.widgets, widget("a"))
        await api.delete(api.widget("a"))
        await _make(api, "b")

        answer = await api.get(api.widgets, resourceVersion=str(before.version), resourceVersionMatch="Exact")

        assert (answer.names, answer.version) == (["a"], before.version)

    async def test_what_makes_no_sense_is_refused(self, api: Api) -> None:
        await _make(api, "a", "b")
        first = await api.get(api.widgets, limit="1")
        token = first.body["metadata"]["continue"]

        garbage = await api.get(api.widgets, continue_="garbage")
        both = await api.get(api.widgets, continue_=token, resourceVersion=str(first.version))
        wrong = await api.get(api.widgets, resourceVersion="abc")

        assert (garbage.code, both.code) == (400, 400)
        assert wrong.code >= 400

    async def test_a_version_from_the_future_times_out(self, api: Api) -> None:
        answer = await api.get(api.widgets, resourceVersion=str(10**9))

        assert (answer.code, answer.body["reason"]) == (504, "Timeout")
        assert answer.body["details"]["causes"][0]["reason"] == "ResourceVersionTooLarge"
