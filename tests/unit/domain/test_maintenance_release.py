"""Out of maintenance mode: everything goes back that is still ours, and nothing else is touched."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import jsonpatch
import pytest

from unit.domain.maintenance_ingress import (
    FREEZE,
    SUNDAY,
    SUNDAY_END,
    Ingress,
    backends,
    ingress,
    page_of,
    path,
    rule,
    service,
    shop,
    touched,
    written,
)
from upkeep.domain.maintenance import (
    GRACE,
    MODE_LABEL,
    Holder,
    Release,
    UndoRecordError,
    forget_ownership,
    holders,
    release,
    semantically_equal,
    stale_holders,
    swap,
)


def held_by(*who: Holder, item: Ingress | None = None) -> Ingress:
    item = item or shop()
    for holder in who:
        patch = swap(item, holder)
        assert isinstance(patch, list), patch
        item = written(item, patch)
    return item


def released(item: Ingress, *uids: str) -> tuple[Ingress, Release]:
    answer = release(item, *uids)
    assert answer.patch is not None
    return written(item, answer.patch), answer


def paths(item: Ingress) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = item["spec"]["rules"][0]["http"]["paths"]
    return found


def test_the_last_holder_leaves_it_exactly_as_it_was() -> None:
    after, answer = released(held_by(SUNDAY), SUNDAY.uid)

    assert semantically_equal(shop(), after)
    assert answer.restored
    assert answer.conflicts == ()
    assert "labels" not in after["metadata"]
    assert "annotations" not in after["metadata"]


def test_labels_and_annotations_of_others_are_still_there() -> None:
    before = ingress(rule("a", path("/", service("web"))), labels={"app": "shop"}, annotations={"team": "web"})

    after, _ = released(held_by(SUNDAY, item=before), SUNDAY.uid)

    assert semantically_equal(before, after)


def test_one_of_two_leaves_and_the_page_stays() -> None:
    after, answer = released(held_by(SUNDAY, FREEZE), FREEZE.uid)

    assert holders(after) == (SUNDAY,)
    assert backends(after) == [page_of(SUNDAY)] * 3
    assert not answer.restored


def test_when_the_window_leaves_whose_page_is_shown_another_page_takes_its_place() -> None:
    """Otherwise users would be led to a Service that is removed with its window."""
    after, _ = released(held_by(SUNDAY, FREEZE), SUNDAY.uid)

    assert holders(after) == (FREEZE,)
    assert backends(after) == [page_of(FREEZE)] * 3

    back, answer = released(after, FREEZE.uid)

    assert semantically_equal(shop(), back)
    assert answer.conflicts == ()


def test_several_can_leave_at_once() -> None:
    after, answer = released(held_by(SUNDAY, FREEZE), SUNDAY.uid, FREEZE.uid)

    assert answer.restored
    assert semantically_equal(shop(), after)


def test_who_does_not_hold_it_has_nothing_to_release() -> None:
    assert release(shop(), SUNDAY.uid) == Release(patch=None)
    assert release(held_by(FREEZE), SUNDAY.uid) == Release(patch=None)
    assert release(held_by(FREEZE)) == Release(patch=None)


def test_a_change_in_between_refuses_the_patch() -> None:
    read = held_by(SUNDAY)
    patch = release(read, SUNDAY.uid).patch

    with pytest.raises(jsonpatch.JsonPatchTestFailed):
        written(touched(read), patch or [])


def test_a_backend_that_somebody_changed_is_left_and_reported() -> None:
    item = held_by(SUNDAY)
    paths(item)[1]["backend"] = service("api-v2", 9090)

    after, answer = released(item, SUNDAY.uid)

    assert backends(after) == [service("fallback"), service("web", "http"), service("api-v2", 9090)]
    assert answer.restored
    (conflict,) = answer.conflicts
    assert "shop.example.com/api" in conflict
    assert "Service api-v2:9090" in conflict
    assert "before: Service api:8080" in conflict


def test_a_backend_that_somebody_put_back_already_is_no_conflict() -> None:
    """A `kubectl apply` or a GitOps sync in the middle brings back what stands in Git, and leaves the annotations."""
    item = held_by(SUNDAY)
    item["spec"] = shop()["spec"]

    after, answer = released(item, SUNDAY.uid)

    assert semantically_equal(shop(), after)
    assert answer.conflicts == ()


def test_a_rule_inserted_in_front_does_no_harm() -> None:
    item = held_by(SUNDAY)
    new = rule("new.example.com", path("/", service("new")))
    item["spec"]["rules"].insert(0, new)

    after, answer = released(item, SUNDAY.uid)

    assert after["spec"]["rules"] == [new, *shop()["spec"]["rules"]]
    assert answer.conflicts == ()


def test_what_was_removed_is_simply_gone() -> None:
    item = held_by(SUNDAY)
    del paths(item)[0]
    del item["spec"]["defaultBackend"]

    after, answer = released(item, SUNDAY.uid)

    assert backends(after) == [service("api", 8080)]
    assert answer.conflicts == ()


def test_a_host_that_was_renamed_meanwhile_gets_its_backends_back() -> None:
    item = held_by(SUNDAY)
    item["spec"]["rules"][0]["host"] = "www.example.com"

    after, answer = released(item, SUNDAY.uid)

    assert backends(after) == backends(shop())
    assert answer.conflicts == ()


def test_paths_that_were_renamed_meanwhile_get_their_backends_back_in_their_order() -> None:
    item = held_by(SUNDAY)
    paths(item)[0]["path"], paths(item)[1]["path"] = "/de", "/api/v1"
    paths(item)[1]["pathType"] = "Exact"

    after, answer = released(item, SUNDAY.uid)

    assert backends(after) == backends(shop())
    assert answer.conflicts == ()


def test_a_path_that_somebody_else_led_to_the_page_is_said_because_nobody_knows_where_it_belongs() -> None:
    item = held_by(SUNDAY)
    paths(item).append(path("/copied", page_of(SUNDAY)))

    after, answer = released(item, SUNDAY.uid)

    assert backends(after) == [*backends(shop()), page_of(SUNDAY)]
    (conflict,) = answer.conflicts
    assert "shop.example.com/copied" in conflict
    assert "page-sunday:80" in conflict


def test_the_same_place_twice_gets_both_backends_back() -> None:
    before = ingress(rule("a", path("/", service("one"))), rule("a", path("/", service("two"))))
    item = held_by(SUNDAY, item=before)
    item["spec"]["rules"].insert(1, rule("a", path("/", service("three"))))

    after, answer = released(item, SUNDAY.uid)

    assert backends(after) == [service("one"), service("three"), service("two")]
    assert answer.conflicts == ()


def test_a_flag_that_somebody_removed_does_not_hinder() -> None:
    item = held_by(SUNDAY, item=ingress(rule("a", path("/", service("web"))), labels={"app": "shop"}))
    del item["metadata"]["labels"][MODE_LABEL]

    after, _ = released(item, SUNDAY.uid)

    assert after["metadata"]["labels"] == {"app": "shop"}


def test_a_record_that_somebody_removed_is_said() -> None:
    item = held_by(SUNDAY)
    del item["metadata"]["annotations"]

    answer = release(item, SUNDAY.uid)

    assert answer.patch is None
    assert "upkeep.dev/undo" in answer.conflicts[0]


def test_windows_that_are_gone_or_overdue_are_stale() -> None:
    item = held_by(SUNDAY, FREEZE)
    both = {SUNDAY.uid, FREEZE.uid}

    assert stale_holders(item, now=SUNDAY_END, live=both) == ()
    assert stale_holders(item, now=SUNDAY_END + GRACE, live=both) == ()
    assert stale_holders(item, now=SUNDAY_END + GRACE + timedelta(seconds=1), live=both) == (SUNDAY,)
    assert stale_holders(item, now=SUNDAY_END, live={SUNDAY.uid}) == (FREEZE,)
    assert stale_holders(shop(), now=SUNDAY_END, live=both) == ()


def test_an_unreadable_record_is_an_error_for_the_sweep_too() -> None:
    item = held_by(SUNDAY)
    item["metadata"]["annotations"]["upkeep.dev/undo"] = "?"

    with pytest.raises(UndoRecordError):
        stale_holders(item, now=SUNDAY_END, live=set())


def owned_by(*managers: str) -> Ingress:
    item = shop()
    item["metadata"]["managedFields"] = [{"manager": name, "operation": "Update"} for name in managers]
    return item


def test_only_our_ownership_is_given_up() -> None:
    item = owned_by("upkeep", "argocd-controller", "upkeep", "kubectl")

    after = written(item, forget_ownership(item) or [])

    assert [entry["manager"] for entry in after["metadata"]["managedFields"]] == ["argocd-controller", "kubectl"]


def test_an_ingress_that_only_we_own_is_reset() -> None:
    item = owned_by("upkeep")

    after = written(item, forget_ownership(item) or [])

    assert after["metadata"]["managedFields"] == [{}], "an empty list would be ignored by the API server"


def test_ownership_is_kept_while_it_is_in_maintenance_and_left_alone_where_there_is_none() -> None:
    held = held_by(SUNDAY)
    held["metadata"]["managedFields"] = [{"manager": "upkeep", "operation": "Update"}]

    assert forget_ownership(held) is None
    assert forget_ownership(owned_by("kubectl")) is None
    assert forget_ownership(shop()) is None


def test_equality_looks_at_what_people_declare_and_not_at_what_the_server_keeps() -> None:
    before = shop()
    after = touched(before) | {"status": {"loadBalancer": {}}}
    after["metadata"]["labels"] = {}

    assert semantically_equal(before, after)
    assert not semantically_equal(before, held_by(SUNDAY))
    assert not semantically_equal(before, ingress(*before["spec"]["rules"], default=service("other")))


def test_a_window_that_comes_back_can_hold_it_again() -> None:
    first, _ = released(held_by(SUNDAY), SUNDAY.uid)
    again, answer = released(held_by(replace(SUNDAY, until=SUNDAY_END + timedelta(days=7)), item=first), SUNDAY.uid)

    assert semantically_equal(shop(), again)
    assert answer.conflicts == ()
