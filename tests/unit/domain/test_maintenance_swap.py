"""Into maintenance mode: what is swapped, what is not, what is written beside it, and when it is refused."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
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
    MODE_LABEL,
    UNDO_ANNOTATION,
    UNTIL_ANNOTATION,
    WINDOW_ANNOTATION,
    Holder,
    Patch,
    Refusal,
    UndoRecordError,
    holders,
    refusal,
    release,
    swap,
)
from upkeep.domain.maintenance.patch import escaped


def accepted(item: Ingress, holder: Holder) -> Patch:
    answer = swap(item, holder)
    assert isinstance(answer, list), answer
    return answer


def held_by(*who: Holder, item: Ingress | None = None) -> Ingress:
    item = item or shop()
    for holder in who:
        item = written(item, accepted(item, holder))
    return item


def refused(item: Ingress, holder: Holder = SUNDAY) -> Refusal:
    answer = swap(item, holder)
    assert isinstance(answer, Refusal), answer
    return answer


def test_every_backend_leads_to_the_page_whatever_it_led_to_before() -> None:
    bucket = {"resource": {"apiGroup": "storage.example.com", "kind": "Bucket", "name": "assets"}}
    before = ingress(
        rule("shop.example.com", path("/", service("web", "http")), path("/assets", bucket)),
        rule(None, path("/", service("web"), "ImplementationSpecific")),
        default=service("fallback"),
    )

    after = held_by(SUNDAY, item=before)

    assert backends(after) == [page_of(SUNDAY)] * 4


def test_people_can_see_and_select_what_is_in_maintenance() -> None:
    metadata = held_by(SUNDAY)["metadata"]

    assert metadata["labels"] == {MODE_LABEL: "on"}
    assert metadata["annotations"][WINDOW_ANNOTATION] == "sunday"
    assert metadata["annotations"][UNTIL_ANNOTATION] == "2026-11-29T04:00:00Z"


def test_labels_and_annotations_of_others_stay() -> None:
    before = ingress(
        rule("a", path("/", service("web"))), labels={"app": "shop"}, annotations={"cert-manager.io/issuer": "ca"}
    )

    metadata = held_by(SUNDAY, item=before)["metadata"]

    assert metadata["labels"] == {"app": "shop", MODE_LABEL: "on"}
    assert metadata["annotations"]["cert-manager.io/issuer"] == "ca"


def test_certificates_can_be_renewed_meanwhile() -> None:
    challenge = path("/.well-known/acme-challenge/token", service("solver", 8089), "Exact")

    after = held_by(SUNDAY, item=ingress(rule("a", challenge, path("/", service("web")))))

    assert backends(after) == [service("solver", 8089), page_of(SUNDAY)]


def test_a_rule_without_paths_is_nobodys_problem() -> None:
    before = ingress({"host": "a"}, {"host": "b", "http": None}, default=service("web"))

    assert backends(held_by(SUNDAY, item=before)) == [page_of(SUNDAY)]


def test_a_change_in_between_refuses_the_patch_and_not_the_ingress() -> None:
    read = shop()
    patch = accepted(read, SUNDAY)

    with pytest.raises(jsonpatch.JsonPatchTestFailed):
        written(touched(read), patch)


def test_the_patch_itself_sees_when_a_backend_is_not_the_one_that_was_read() -> None:
    read = shop()
    other = shop()
    other["spec"]["rules"][0]["http"]["paths"][1]["backend"] = service("api-v2")

    with pytest.raises(jsonpatch.JsonPatchTestFailed):
        written(other, accepted(read, SUNDAY))


def test_doing_it_again_is_nothing_to_do() -> None:
    assert swap(held_by(SUNDAY), SUNDAY) is None
    assert swap(held_by(SUNDAY, FREEZE), SUNDAY) is None


def test_the_same_end_in_another_zone_or_with_fractions_is_the_same_end() -> None:
    berlin = SUNDAY_END.astimezone(timezone(timedelta(hours=1))) + timedelta(microseconds=5)

    assert swap(held_by(SUNDAY), replace(SUNDAY, until=berlin)) is None


def test_a_second_window_only_enters_itself() -> None:
    before = held_by(SUNDAY)

    after = held_by(FREEZE, item=before)

    assert holders(after) == (SUNDAY, FREEZE)
    assert after["spec"] == before["spec"]
    assert after["metadata"]["annotations"][WINDOW_ANNOTATION] == "freeze", "the one that ends last"
    assert after["metadata"]["annotations"][UNTIL_ANNOTATION] == "2026-11-29T06:00:00Z"


def test_a_second_window_that_ends_first_does_not_show() -> None:
    after = held_by(FREEZE, SUNDAY)

    assert after["metadata"]["annotations"][WINDOW_ANNOTATION] == "freeze"


def test_an_extended_window_moves_the_end_and_nothing_else() -> None:
    before = held_by(SUNDAY)
    later = replace(SUNDAY, until=SUNDAY_END + timedelta(hours=1))

    after = held_by(later, item=before)

    assert holders(after) == (later,)
    assert after["metadata"]["annotations"][UNTIL_ANNOTATION] == "2026-11-29T05:00:00Z"
    assert after["spec"] == before["spec"]


def test_a_window_whose_page_has_a_new_service_moves_there() -> None:
    moved = replace(SUNDAY, service="page-sunday-2")

    after = held_by(moved, item=held_by(SUNDAY))

    assert backends(after) == [page_of(moved)] * 3


def test_a_key_becomes_one_token_of_a_pointer() -> None:
    assert escaped("upkeep.dev/a~b") == "upkeep.dev~1a~0b"


def test_what_the_record_keeps_survives_names_that_need_escaping() -> None:
    before = ingress(rule("*.example.com", path("/a~1b/ü", service("web"), "ImplementationSpecific")))

    after = held_by(SUNDAY, item=before)
    patch = release(after, SUNDAY.uid).patch

    assert patch is not None
    assert written(after, patch)["spec"] == before["spec"]


@pytest.mark.parametrize(
    ("annotation", "value", "reason"),
    [
        ("nginx.ingress.kubernetes.io/ssl-passthrough", "true", "TLSPassthrough"),
        ("haproxy.org/ssl-passthrough", "true", "TLSPassthrough"),
        ("haproxy-ingress.github.io/ssl-passthrough", "true", "TLSPassthrough"),
        ("nginx.ingress.kubernetes.io/backend-protocol", "HTTPS", "BackendProtocol"),
        ("nginx.ingress.kubernetes.io/backend-protocol", "GRPC", "BackendProtocol"),
        ("nginx.ingress.kubernetes.io/backend-protocol", "AUTO_HTTP", "BackendProtocol"),
        ("nginx.org/grpc-services", "web", "BackendProtocol"),
        ("haproxy-ingress.github.io/backend-protocol", "h2-ssl", "BackendProtocol"),
        ("haproxy.org/server-ssl", "true", "BackendProtocol"),
        ("haproxy.org/server-proto", "h2", "BackendProtocol"),
        ("traefik.ingress.kubernetes.io/service.serversscheme", "h2c", "BackendProtocol"),
        ("projectcontour.io/upstream-protocol.h2c", "8080", "BackendProtocol"),
        ("alb.ingress.kubernetes.io/backend-protocol", "HTTPS", "BackendProtocol"),
        ("alb.ingress.kubernetes.io/backend-protocol-version", "GRPC", "BackendProtocol"),
        ("alb.ingress.kubernetes.io/target-type", "instance", "BackendTargetType"),
    ],
)
def test_what_a_page_cannot_answer_is_refused_and_says_why(annotation: str, value: str, reason: str) -> None:
    item = ingress(rule("a", path("/", service("web"))), annotations={annotation: value})

    answer = refused(item)

    assert answer.reason == reason
    assert "Ingress shop/shop" in answer.message
    assert annotation in answer.message
    assert answer == refusal(item)


@pytest.mark.parametrize(
    ("annotation", "value"),
    [
        ("nginx.ingress.kubernetes.io/ssl-passthrough", "false"),
        ("nginx.ingress.kubernetes.io/backend-protocol", "HTTP"),
        ("nginx.org/ssl-services", "web"),
        ("haproxy-ingress.github.io/backend-protocol", "h1"),
        ("haproxy.org/server-ssl", "false"),
        ("alb.ingress.kubernetes.io/backend-protocol-version", "HTTP1"),
        ("alb.ingress.kubernetes.io/target-type", "ip"),
        ("nginx.ingress.kubernetes.io/rewrite-target", "/$1"),
    ],
)
def test_what_a_page_can_answer_is_not_refused(annotation: str, value: str) -> None:
    assert refusal(ingress(rule("a", path("/", service("web"))), annotations={annotation: value})) is None


@pytest.mark.parametrize(
    "item",
    [
        ingress(),
        ingress({"host": "a"}),
        ingress(rule("a", path("/.well-known/acme-challenge/", service("solver")))),
    ],
    ids=["no rules", "no paths", "only challenges"],
)
def test_an_ingress_without_anything_to_swap_is_refused(item: Ingress) -> None:
    assert refused(item).reason == "NoBackend"


def test_a_page_is_never_taken_for_the_original() -> None:
    """Given a backup restored without annotations, or an annotation removed by hand, the real backends are unknown."""
    stripped = held_by(SUNDAY)
    del stripped["metadata"]["annotations"]

    assert refused(stripped).reason == "UndoRecordMissing"
    assert refused(stripped, FREEZE).reason == "UndoRecordMissing"

    del stripped["metadata"]["labels"]

    assert refused(stripped).reason == "AlreadyOnPage"


def test_an_ingress_too_large_for_a_record_is_refused_before_anything_is_written() -> None:
    many = [path(f"/{number}/{'x' * 80}", service("web")) for number in range(2000)]

    answer = refused(ingress(rule("a", *many)))

    assert answer.reason == "UndoRecordTooLarge"
    assert "262144" in answer.message


def test_a_large_ingress_that_fits_is_accepted() -> None:
    many = [path(f"/{number}", service("web")) for number in range(1000)]

    assert set(map(json.dumps, backends(held_by(SUNDAY, item=ingress(rule("a", *many)))))) == {
        json.dumps(page_of(SUNDAY))
    }


def _record(**changes: Any) -> str:  # noqa: ANN401 - any JSON value is what it is about
    record = json.loads(held_by(SUNDAY)["metadata"]["annotations"][UNDO_ANNOTATION])
    return json.dumps(record | changes)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "null",
        "[]",
        "{}",
        "[" * 100_000,
        _record(version=2),
        _record(holders=[]),
        _record(holders=[{"uid": "u"}]),
        _record(applied={}),
        _record(fields=[{"host": "a", "original": {"service": "web"}}]),
        _record(fields=[{"host": "a", "original": {}}]),
        _record(unknown=True),
    ],
    ids=str,
)
def test_a_garbled_record_is_said_and_crashes_nobody(text: str) -> None:
    item = held_by(SUNDAY)
    item["metadata"]["annotations"][UNDO_ANNOTATION] = text

    with pytest.raises(UndoRecordError, match="Ingress shop/shop cannot be read"):
        holders(item)
    assert refused(item).reason == "UndoRecordUnreadable"
    answer = release(item, SUNDAY.uid)
    assert (answer.patch, answer.restored) == (None, False)
    assert "cannot be read" in answer.conflicts[0]


def test_an_ingress_that_nobody_holds_has_no_holders() -> None:
    assert holders(shop()) == ()


def test_holders_are_read_back_as_they_were_written() -> None:
    assert holders(held_by(SUNDAY, FREEZE)) == (SUNDAY, FREEZE)
    assert holders(held_by(SUNDAY))[0].until == datetime(2026, 11, 29, 4, tzinfo=UTC)
