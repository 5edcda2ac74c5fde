"""Checks of create, get and replace."""

import re

from fakeapi.contract.api import Api, config_map, widget


class ObjectContract:
    async def test_a_new_object_gets_an_identity_and_loses_its_status(self, api: Api) -> None:
        answer = await api.post(api.widgets, widget("one", labels={"a": "b"}))

        assert answer.code == 201
        metadata = answer.body["metadata"]
        assert (metadata["name"], metadata["namespace"], metadata["generation"]) == ("one", api.namespace, 1)
        assert re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", metadata["uid"])
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", metadata["creationTimestamp"])
        assert answer.body["spec"] == widget("one")["spec"]
        assert "status" not in answer.body
        assert (await api.get(api.widget("one"))).body == answer.body

    async def test_versions_are_global_and_only_grow(self, api: Api) -> None:
        first = await api.made(api.widgets, widget("one"))
        second = await api.made(api.path("v1/configmaps"), config_map("two"))
        third = await api.merge(api.widget("one"), {"spec": {"size": 2}})

        assert first.version < second.version < third.version

    async def test_a_name_is_taken_once(self, api: Api) -> None:
        await api.made(api.widgets, widget("one"))

        answer = await api.post(api.widgets, widget("one"))

        assert answer.code == 409
        assert answer.body == {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": 'widgets.contract.upkeep.dev "one" already exists',
            "reason": "AlreadyExists",
            "details": {"name": "one", "group": "contract.upkeep.dev", "kind": "widgets"},
            "code": 409,
        }

    async def test_a_generated_name_ends_in_five_random_characters(self, api: Api) -> None:
        body = {**widget(""), "metadata": {"generateName": "made-"}}

        names = {(await api.made(api.widgets, body)).body["metadata"]["name"] for _ in range(3)}

        assert len(names) == 3
        assert all(re.fullmatch(r"made-[bcdfghjklmnpqrstvwxz2456789]{5}", name) for name in names)

    async def test_what_cannot_be_created_is_refused_with_the_reason(self, api: Api) -> None:
        elsewhere = api.path("contract.upkeep.dev/v1/widgets", namespace=f"missing-{api.suffix}")

        nameless = await api.post(api.widgets, {**widget(""), "metadata": {}})
        misplaced = await api.post(api.widgets, widget("one", namespace="other"))
        versioned = await api.post(api.widgets, widget("one", resourceVersion="12"))
        homeless = await api.post(elsewhere, widget("one"))
        broken = await api.post(api.widgets, b"{broken")

        assert (nameless.code, nameless.body["reason"]) == (422, "Invalid")
        assert nameless.body["details"]["causes"][0]["field"] == "metadata.name"
        assert (misplaced.code, misplaced.body["reason"]) == (400, "BadRequest")
        assert versioned.code == 500
        assert (homeless.code, homeless.body["details"]["kind"]) == (404, "namespaces")
        assert (broken.code, broken.body["reason"]) == (400, "BadRequest")

    async def test_what_does_not_exist_is_not_found(self, api: Api) -> None:
        core = await api.get(api.path("v1/configmaps", "none"))
        grouped = await api.get(api.widget("none"))
        kindless = await api.get("/apis/contract.upkeep.dev/v1/doodads")

        assert (core.code, core.body["message"]) == (404, 'configmaps "none" not found')
        assert core.body["details"] == {"name": "none", "kind": "configmaps"}
        assert grouped.body["message"] == 'widgets.contract.upkeep.dev "none" not found'
        assert (kindless.code, kindless.body.strip()) == (404, "404 page not found")

    async def test_collections_do_not_take_every_verb(self, api: Api) -> None:
        posted = await api.post(api.path("v1/configmaps", namespace=""), config_map("one"))
        patched = await api.merge(api.path("v1/configmaps"), {})

        assert (posted.code, posted.body["reason"]) == (405, "MethodNotAllowed")
        assert patched.code == 405

    async def test_a_replacement_needs_the_version_it_replaces(self, api: Api) -> None:
        made = await api.made(api.widgets, widget("one"))
        changed = await api.merge(api.widget("one"), {"spec": {"size": 2}})

        blind = await api.put(api.widget("one"), widget("one"))
        stale = await api.put(api.widget("one"), made.body)
        right = await api.put(api.widget("one"), {**changed.body, "spec": {"size": 3}})

        assert (blind.code, blind.body["details"]["causes"][0]["field"]) == (422, "metadata.resourceVersion")
        assert (stale.code, stale.body["reason"]) == (409, "Conflict")
        assert stale.body["message"] == (
            'Operation cannot be fulfilled on widgets.contract.upkeep.dev "one": the object has been modified; '
            "please apply your changes to the latest version and try again"
        )
        assert (right.code, right.body["spec"], right.body["metadata"]["generation"]) == (200, {"size": 3}, 3)
        assert right.body["metadata"]["uid"] == made.body["metadata"]["uid"]

    async def test_some_kinds_are_replaced_without_a_version_but_never_for_another_object(self, api: Api) -> None:
        configs = api.path("v1/configmaps")
        await api.made(configs, config_map("one"))

        replaced = await api.put(f"{configs}/one", {**config_map("one"), "data": {"other": "value"}})
        stranger = await api.put(f"{configs}/one", config_map("one", uid="00000000-0000-0000-0000-000000000000"))
        misnamed = await api.put(f"{configs}/one", config_map("two"))

        assert (replaced.code, replaced.body["data"]) == (200, {"other": "value"})
        assert (stranger.code, stranger.body["reason"]) == (409, "Conflict")
        assert misnamed.code == 400

    async def test_only_some_kinds_are_created_by_a_replacement(self, api: Api) -> None:
        lease = {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {"name": "one"},
            "spec": {"holderIdentity": "me"},
        }

        made = await api.put(api.path("coordination.k8s.io/v1/leases", "one"), lease)
        blind = await api.put(api.path("coordination.k8s.io/v1/leases", "one"), lease)
        missing = await api.put(api.widget("one"), widget("one", resourceVersion="1"))

        assert (made.code, made.body["spec"]) == (201, {"holderIdentity": "me"})
        assert blind.code == 422
        assert missing.code == 404
