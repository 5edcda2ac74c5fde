"""Checks of deletion, finalizers, owners and namespaces."""

from fakeapi.contract.api import Api, config_map, owner, widget

_FINALIZER = "contract.upkeep.dev/wait"


class DeletionContract:
    async def test_a_deleted_object_is_gone_and_its_uid_is_told(self, api: Api) -> None:
        made = await api.made(api.widgets, widget("one"))

        answer = await api.delete(api.widget("one"))
        again = await api.delete(api.widget("one"))

        assert (answer.code, answer.body["status"]) == (200, "Success")
        assert answer.body["details"] == {
            "name": "one",
            "group": "contract.upkeep.dev",
            "kind": "widgets",
            "uid": made.body["metadata"]["uid"],
        }
        assert again.code == 404

    async def test_a_name_can_be_used_again_under_another_uid(self, api: Api) -> None:
        first = await api.made(api.widgets, widget("one"))
        await api.delete(api.widget("one"))

        second = await api.made(api.widgets, widget("one"))

        assert second.body["metadata"]["uid"] != first.body["metadata"]["uid"]

    async def test_preconditions_protect_another_object_and_a_newer_version(self, api: Api) -> None:
        made = await api.made(api.widgets, widget("one"))
        uid, version = made.body["metadata"]["uid"], str(made.version)
        changed = await api.merge(api.widget("one"), {"spec": {"size": 2}})

        other = await api.delete(api.widget("one"), {"preconditions": {"uid": "another"}})
        stale = await api.delete(api.widget("one"), {"preconditions": {"uid": uid, "resourceVersion": version}})
        right = await api.delete(
            api.widget("one"), {"preconditions": {"uid": uid, "resourceVersion": str(changed.version)}}
        )

        assert (other.code, other.body["reason"]) == (409, "Conflict")
        assert other.body["message"] == (
            'Operation cannot be fulfilled on Widget.contract.upkeep.dev "one": the UID in the precondition '
            f"(another) does not match the UID in record ({uid}). "
            "The object might have been deleted and then recreated"
        )
        assert (stale.code, stale.body["reason"]) == (409, "Conflict")
        assert right.code == 200

    async def test_finalizers_hold_an_object_until_the_last_is_gone(self, api: Api) -> None:
        made = await api.made(api.widgets, widget("one", finalizers=[_FINALIZER]))

        marked = await api.delete(api.widget("one"))
        again = await api.delete(api.widget("one"))
        late = await api.merge(api.widget("one"), {"metadata": {"finalizers": [_FINALIZER, "late.example/x"]}})
        released = await api.merge(api.widget("one"), {"metadata": {"finalizers": []}})

        assert marked.code == 200
        assert marked.body["metadata"]["deletionTimestamp"]
        assert marked.body["metadata"]["generation"] == made.body["metadata"]["generation"] + 1
        assert again.body == marked.body
        assert (late.code, late.body["details"]["causes"][0]["field"]) == (422, "metadata.finalizers")
        assert (released.code, "finalizers" in released.body["metadata"]) == (200, False)
        assert (await api.get(api.widget("one"))).code == 404

    async def test_a_watch_sees_the_mark_and_then_the_state_that_was_stored(self, api: Api) -> None:
        made = await api.made(api.widgets, widget("one", finalizers=[_FINALIZER]))
        marked = await api.delete(api.widget("one"))
        await api.merge(api.widget("one"), {"metadata": {"finalizers": None}})

        async with api.watch(api.widgets, resourceVersion=str(made.version)) as events:
            modified, deleted = await events.take(2)

        assert (modified["type"], modified["object"]) == ("MODIFIED", marked.body)
        assert deleted["type"] == "DELETED"
        assert deleted["object"]["metadata"]["finalizers"] == [_FINALIZER]
        assert int(deleted["object"]["metadata"]["resourceVersion"]) > marked.version

    async def test_an_object_goes_with_its_only_owner(self, api: Api) -> None:
        configs = api.path("v1/configmaps")
        parent = await api.made(configs, config_map("parent"))
        child = await api.made(configs, config_map("child", ownerReferences=[owner(parent)]))
        await api.made(configs, config_map("grandchild", ownerReferences=[owner(child)]))

        await api.delete(f"{configs}/parent")

        await api.gone(configs, "child")
        await api.gone(configs, "grandchild")

    async def test_an_object_stays_with_its_other_owner(self, api: Api) -> None:
        configs = api.path("v1/configmaps")
        one = await api.made(configs, config_map("one"))
        two = await api.made(configs, config_map("two"))
        child = await api.made(configs, config_map("child", ownerReferences=[owner(one), owner(two)]))

        await api.delete(f"{configs}/one")
        left = await api.changed(configs, "child", since=child.version)

        assert [entry["name"] for entry in left["metadata"]["ownerReferences"]] == ["two"]

    async def test_an_object_whose_owner_never_was_goes_at_once(self, api: Api) -> None:
        configs = api.path("v1/configmaps")
        parent = await api.made(configs, config_map("parent"))
        stranger = {**owner(parent), "uid": "00000000-0000-0000-0000-000000000000"}

        await api.made(configs, config_map("child", ownerReferences=[stranger]))

        await api.gone(configs, "child")

    async def test_a_foreground_deletion_waits_for_dependents_that_block(self, api: Api) -> None:
        configs = api.path("v1/configmaps")
        parent = await api.made(configs, config_map("parent"))
        reference = owner(parent, blocks=True)
        child = await api.made(configs, config_map("child", ownerReferences=[reference], finalizers=[_FINALIZER]))

        answer = await api.delete(f"{configs}/parent", {"propagationPolicy": "Foreground"})
        marked = await api.changed(configs, "child", since=child.version)
        waiting = await api.get(f"{configs}/parent")
        await api.merge(f"{configs}/child", {"metadata": {"finalizers": None}})

        assert answer.body["metadata"]["finalizers"] == ["foregroundDeletion"]
        assert "deletionTimestamp" in marked["metadata"]
        assert waiting.code == 200
        await api.gone(configs, "parent")

    async def test_orphans_stay_without_their_owner(self, api: Api) -> None:
        configs = api.path("v1/configmaps")
        parent = await api.made(configs, config_map("parent"))
        child = await api.made(configs, config_map("child", ownerReferences=[owner(parent)]))

        await api.delete(f"{configs}/parent", propagationPolicy="Orphan")
        left = await api.changed(configs, "child", since=child.version)

        assert "ownerReferences" not in left["metadata"]
        await api.gone(configs, "parent")

    async def test_a_job_orphans_its_dependents_unless_told_otherwise(self, api: Api) -> None:
        jobs, configs = api.path("batch/v1/jobs"), api.path("v1/configmaps")
        body = {
            "apiVersion": "batch/v1",
            "kind": "Job",
            "spec": {
                "suspend": True,
                "template": {
                    "spec": {"restartPolicy": "Never", "containers": [{"name": "main", "image": "example.invalid/x"}]}
                },
            },
        }
        one = await api.made(jobs, {**body, "metadata": {"name": "one"}})
        two = await api.made(jobs, {**body, "metadata": {"name": "two"}})
        kept = await api.made(configs, config_map("kept", ownerReferences=[owner(one)]))
        await api.made(configs, config_map("lost", ownerReferences=[owner(two)]))

        await api.delete(f"{jobs}/one")
        await api.delete(f"{jobs}/two", {"propagationPolicy": "Background"})

        left = await api.changed(configs, "kept", since=kept.version)
        assert "ownerReferences" not in left["metadata"]
        await api.gone(configs, "lost")

    async def test_a_collection_is_deleted_by_selector(self, api: Api) -> None:
        await api.made(api.widgets, widget("one", labels={"a": "1"}))
        await api.made(api.widgets, widget("two", labels={"a": "2"}))

        answer = await api.delete(api.widgets, labelSelector="a=1")

        assert (answer.code, answer.names) == (200, ["one"])
        assert (await api.get(api.widgets)).names == ["two"]

    async def test_a_service_is_returned_when_it_is_deleted(self, api: Api) -> None:
        services = api.path("v1/services")
        body = {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "one"},
            "spec": {"ports": [{"port": 80}]},
        }
        made = await api.made(services, body)

        answer = await api.delete(f"{services}/one")

        assert (answer.code, answer.body["kind"]) == (200, "Service")
        assert answer.body["metadata"]["uid"] == made.body["metadata"]["uid"]

    async def test_a_namespace_takes_all_along_and_takes_in_nothing_new(self, api: Api) -> None:
        name = f"going-{api.suffix}"
        namespaces = api.path("v1/namespaces", namespace="")
        inside = api.path("contract.upkeep.dev/v1/widgets", namespace=name)
        made = await api.made(namespaces, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
        await api.made(inside, widget("free"))
        await api.made(inside, widget("held", finalizers=[_FINALIZER]))

        going = await api.delete(f"{namespaces}/{name}")
        refused = await api.post(inside, widget("new"))
        await api.gone(inside, "free")
        await api.merge(f"{inside}/held", {"metadata": {"finalizers": None}})

        assert made.body["metadata"]["labels"] == {"kubernetes.io/metadata.name": name}
        assert going.body["status"]["phase"] == "Terminating"
        assert (refused.code, refused.body["reason"]) == (403, "Forbidden")
        assert refused.body["details"]["causes"][0]["reason"] == "NamespaceTerminating"
        await api.gone(namespaces, name)
