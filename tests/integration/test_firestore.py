"""Exports and imports that Google carries out: begun once, waited for, stopped, and told as they ended."""

import asyncio
import logging
import re
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from integration.bench import Bench
from integration.firestoreserver import PATH, Firestore, Object, done, error_of, serving_firestore
from lab.port import free_port
from upkeep.actions.connections import Connection
from upkeep.actions.contract import Outcome
from upkeep.actions.firestore.export import FirestoreExport
from upkeep.actions.firestore.import_ import FirestoreImport
from upkeep.domain.report import StepReport

PLACE = "gs://shop-exports/nightly"
EXPORTED = f"{PLACE}/20260301T020000Z"
NAME = "shop-prod/(default)"


@pytest_asyncio.fixture
async def server() -> AsyncIterator[Firestore]:
    async with serving_firestore() as serving:
        yield serving


@pytest.fixture
def shop(bench: Bench, server: Firestore) -> Bench:
    """A bench whose connection `shop` is the server's database."""
    _connect(bench, server, key=server.key())
    return bench


def _connect(bench: Bench, server: Firestore, *, key: str | None, **changes: str) -> None:
    secret = {"secretRef": {"name": "shop-firestore"}} if key is not None else {}
    target = {"project": "shop-prod", "endpoint": server.url, **secret, **changes}
    bench.connections[:] = [Connection.model_validate({"name": "shop", "firestore": target})]
    if key is not None:
        (bench.credentials / "shop").mkdir(exist_ok=True)
        (bench.credentials / "shop" / "key.json").write_text(key)


def export(**changes: Any) -> FirestoreExport:  # noqa: ANN401 - parameters of any kind
    return FirestoreExport.model_validate({"connection": "shop", "to": PLACE, **changes})


def bring_in(**changes: Any) -> FirestoreImport:  # noqa: ANN401 - parameters of any kind
    return FirestoreImport.model_validate({"connection": "shop", "from": EXPORTED, "confirm": NAME, **changes})


async def step(bench: Bench, action: FirestoreExport | FirestoreImport, *, seconds: float = 20) -> StepReport:
    return (await bench.report(action, seconds=seconds)).steps[0]


async def test_an_export_is_begun_waited_for_and_counted(shop: Bench, server: Firestore) -> None:
    server.script = [{"metadata": {"progressDocuments": {"completedWork": "10"}}}, done(4200, 9_000_000_000)]

    told = await step(shop, export())

    assert told.outcome is Outcome.CHANGED, told.message
    (body,) = server.begun
    assert re.fullmatch(rf"{PLACE}/[0-9]{{8}}T[0-9]{{6}}Z", body["outputUriPrefix"])
    assert set(body) == {"outputUriPrefix"}
    assert told.message == f"4200 documents of {NAME} exported to {body['outputUriPrefix']}"
    assert told.metrics == {"documents": 4200, "bytes": 9_000_000_000}
    assert told.facts == {"output_uri_prefix": body["outputUriPrefix"]}
    assert server.cancelled == []


async def test_only_the_collections_that_are_named_are_exported(shop: Bench, server: Firestore) -> None:
    server.script = [done(1)]
    hostile = ['"; DROP', "größe", "-x", "a\nb", "x" * 1500]
    await step(shop, export(collectionIds=hostile))
    assert server.begun[0]["collectionIds"] == sorted(hostile)


async def test_an_import_is_begun_and_counted(shop: Bench, server: Firestore) -> None:
    server.script = [done(7, 70)]

    told = await step(shop, bring_in(collectionIds=["orders"]))

    assert server.begun == [{"inputUriPrefix": EXPORTED, "collectionIds": ["orders"]}]
    assert (told.outcome, told.message) == (Outcome.CHANGED, f"7 documents of {EXPORTED} imported into {NAME}")
    assert told.metrics == {"documents": 7, "bytes": 70}


async def test_an_import_into_what_was_not_confirmed_is_not_begun(shop: Bench, server: Firestore) -> None:
    told = await step(shop, bring_in(confirm="shop-prod/other"))
    assert told.outcome is Outcome.FAILED
    assert told.message == f"documents of {NAME} would be overwritten: set confirm to '{NAME}' if that is wanted"
    assert (server.begun, server.tokens) == ([], set())


@pytest.mark.parametrize(
    ("action", "message"), [(export(), "has no documents: check database"), (bring_in(), "nothing was imported into")]
)
async def test_nothing_is_a_failure(
    shop: Bench, server: Firestore, action: FirestoreExport | FirestoreImport, message: str
) -> None:
    server.script = [done(0)]
    told = await step(shop, action)
    assert told.outcome is Outcome.FAILED
    assert message in told.message


@pytest.mark.parametrize("action", [export(), bring_in()])
async def test_what_a_killed_run_left_under_way_is_taken_over(
    shop: Bench, server: Firestore, action: FirestoreExport | FirestoreImport
) -> None:
    # given an operation under way among others, on a page of its own
    kind = "output" if isinstance(action, FirestoreExport) else "input"
    for place in ("gs://other/20260301T020000Z", PLACE, f"{PLACE}/deeper/20260301T020000Z"):
        server.under_way(place, kind=kind)
    server.under_way(EXPORTED, kind=kind, collectionIds=["orders"])
    server.under_way(EXPORTED, kind=kind, operationState="CANCELLING")
    server.operations[server.under_way(EXPORTED, kind=kind)]["done"] = True
    server.under_way(EXPORTED, kind=kind)
    server.script = [done(12)]

    # when the step runs
    told = await step(shop, action)

    # then it begins nothing, and waits for that one
    assert server.begun == []
    assert told.outcome is Outcome.CHANGED
    assert told.message.endswith("that was under way already")
    assert told.facts == ({"output_uri_prefix": EXPORTED} if kind == "output" else {})


async def test_an_export_of_others_does_not_keep_one_from_beginning(shop: Bench, server: Firestore) -> None:
    server.under_way(EXPORTED, collectionIds=["orders"])
    server.under_way("gs://other/nightly/20260301T020000Z")
    server.script = [done(1)]
    assert (await step(shop, export())).outcome is Outcome.CHANGED
    assert len(server.begun) == 1


async def test_what_was_begun_without_an_answer_is_not_begun_again(shop: Bench, server: Firestore) -> None:
    server.operations[server.under_way(EXPORTED)]["done"] = True
    server.lost, server.script = 1, [done(3)]
    told = await step(shop, export())
    assert (told.outcome, len(server.begun)) == (Outcome.CHANGED, 1)


@pytest.mark.parametrize("verb", ["POST exportDocuments", "GET /operations", "GET /operations/"])
@pytest.mark.parametrize("answer", [(503, {}), (429, error_of(429, "RESOURCE_EXHAUSTED", "Quota.")), (0, {})])
async def test_it_goes_on_after_a_moment_without_answers(
    shop: Bench, server: Firestore, verb: str, answer: tuple[int, Object]
) -> None:
    server.script = [done(3)]
    server.refusals = {verb: [answer, answer]}
    told = await step(shop, export())
    assert (told.outcome, len(server.begun)) == (Outcome.CHANGED, 1)
    assert server.refusals == {verb: []}


async def test_a_token_that_is_refused_is_replaced_once(shop: Bench, server: Firestore) -> None:
    server.script = [done(3)]
    refused = (401, error_of(401, "UNAUTHENTICATED", "expired"))
    server.refusals = {"GET /operations/": [refused]}
    assert (await step(shop, export())).outcome is Outcome.CHANGED
    assert len(server.tokens) == 2
    server.refusals = {"GET /operations": [refused] * 2}
    told = await step(shop, export())
    assert "UNAUTHENTICATED: expired: the token is refused: check the service account and its key" in told.message


async def test_a_token_about_to_end_is_replaced(shop: Bench, server: Firestore) -> None:
    server.life, server.script = 1, [done(3)]
    assert (await step(shop, export())).outcome is Outcome.CHANGED
    assert len(server.tokens) == 3


@pytest.mark.parametrize(
    ("verb", "answer", "message"),
    [
        (
            "GET /operations",
            error_of(403, "PERMISSION_DENIED", "The caller does not have permission"),
            "grant the service account roles/datastore.importExportAdmin in the project",
        ),
        (
            "GET /operations",
            error_of(403, "PERMISSION_DENIED", "Cloud Firestore API has not been used", "SERVICE_DISABLED"),
            r"enable the Firestore API \(firestore.googleapis.com\) in project shop-prod",
        ),
        (
            "POST exportDocuments",
            error_of(403, "PERMISSION_DENIED", "This API method requires billing to be enabled.", "BILLING_DISABLED"),
            "enable billing for project shop-prod",
        ),
        (
            "POST exportDocuments",
            error_of(403, "PERMISSION_DENIED", "upkeep does not have storage.buckets.get access to shop-exports"),
            "grant roles/storage.admin on the bucket, also to the Firestore service agent",
        ),
        (
            "POST exportDocuments",
            error_of(404, "NOT_FOUND", "Google Cloud Storage bucket does not exist: gs://shop-exports"),
            "create the bucket, or correct its name",
        ),
        (
            "POST exportDocuments",
            error_of(400, "INVALID_ARGUMENT", "Bucket shop-exports is in location US, the database in eur3."),
            "use a bucket in the location of the database",
        ),
        ("GET /operations", error_of(404, "NOT_FOUND", "No database."), "check project and database of the conn"),
        (
            "POST exportDocuments",
            error_of(400, "INVALID_ARGUMENT", "Bad\x1b[31m " + "y" * 999),
            r"Bad\\x1b\[31m y+…: see",
        ),
        ("POST exportDocuments", {"name": "no operation"}, "does not answer as Firestore does"),
        ("GET /operations", {"error": "text"}, r"does not answer as Firestore does \(status 418\): check endpoint"),
    ],
)
async def test_a_refusal_says_what_to_do(
    shop: Bench, server: Firestore, verb: str, answer: Object, message: str
) -> None:
    status = answer["error"]["code"] if isinstance(answer.get("error"), dict) else 418
    server.refusals = {verb: [(status, answer)]}
    told = await step(shop, export())
    assert told.outcome is Outcome.FAILED
    assert re.search(message, told.message)
    assert server.begun == []


async def test_a_quota_that_stays_used_up_is_told(shop: Bench, server: Firestore) -> None:
    server.refusals = {"POST exportDocuments": [(429, error_of(429, "RESOURCE_EXHAUSTED", "Too many."))] * 99}
    told = await step(shop, export(), seconds=6)
    assert told.outcome is Outcome.FAILED
    assert "Too many.: a quota is used up (20 exports and imports a minute, 50 at once): run it later" in told.message


async def test_an_operation_of_which_nobody_says_how_it_goes_is_told(shop: Bench, server: Firestore) -> None:
    server.refusals = {"GET /operations/": [(502, {})] * 99}
    told = await step(shop, export(), seconds=6)
    assert told.outcome is Outcome.FAILED
    assert told.message.startswith(f"{PATH}/operations/op0 goes on at Google, but nobody says how: ")


@pytest.mark.parametrize(
    ("end", "message"),
    [
        (
            done(5, state="FAILED", error={"code": 7, "message": "no storage.objects.create on gs://shop-exports"}),
            "PERMISSION_DENIED: no storage.objects.create on gs://shop-exports: grant roles/storage.admin",
        ),
        (done(5, state="CANCELLED", error={"code": 1, "message": "gone"}), "CANCELLED: gone: somebody cancelled it"),
        (done(5, state="CANCELLED"), "CANCELLED: it has ended as CANCELLED: somebody cancelled it: run it again"),
        (done(5, state="FAILED", error={"code": 99}), "code 99: see the operation in Google's console"),
    ],
)
async def test_an_operation_that_failed_is_told_with_its_reason(
    shop: Bench, server: Firestore, end: Object, message: str
) -> None:
    server.script = [end]
    told = await step(shop, export())
    assert told.outcome is Outcome.FAILED
    assert message in told.message
    assert told.message.endswith("; 5 documents were done before")


@pytest.mark.parametrize("action", [export(), bring_in()])
async def test_a_step_that_is_stopped_cancels_its_operation(
    shop: Bench, server: Firestore, action: FirestoreExport | FirestoreImport
) -> None:
    running = asyncio.create_task(step(shop, action))
    await asyncio.wait_for(server.polled.wait(), 15)
    running.cancel()
    assert (await running).message.startswith("stopped: ")
    assert server.cancelled == [f"{PATH}/operations/op0"]


async def test_a_step_that_is_stopped_while_it_begins_leaves_nothing_under_way(shop: Bench, server: Firestore) -> None:
    server.held.clear()
    running = asyncio.create_task(step(shop, export()))
    await asyncio.wait_for(server.begin.wait(), 15)
    running.cancel()
    server.held.set()
    assert (await running).message.startswith("stopped: ")
    assert server.cancelled == [f"{PATH}/operations/op0"]


async def test_an_export_that_takes_too_long_is_cancelled_and_told(shop: Bench, server: Firestore) -> None:
    told = await step(shop, export(), seconds=6)
    assert told.outcome is Outcome.FAILED
    assert f"({PATH}/operations/op0 was cancelled, and what it has done before stays)" in told.message
    assert server.cancelled == [f"{PATH}/operations/op0"]


async def test_what_cannot_be_cancelled_is_told(shop: Bench, server: Firestore) -> None:
    server.refusals = {"POST cancel": [(403, error_of(403, "PERMISSION_DENIED", "no"))]}
    told = await step(shop, export(), seconds=6)
    assert "op0 goes on at Google: it could not be cancelled" in told.message


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"private_key_id": None, "client_email": ""}, "has no client_email and no private_key_id: store the file of"),
        ({"type": "authorized_user"}, "is not of the type service_account: store the file of"),
        ({"private_key": "SECRET-BUT-NO-KEY"}, "is not an RSA key in PEM form: make a new key"),
        ({"private_key": 7}, "has no private_key: store"),
        (
            {"token_uri": "http://elsewhere.example/token"},
            "token_uri in key 'key.json' of Secret 'shop-firestore' is not",
        ),
        ({"token_uri": "https://user:password@elsewhere/"}, "is not an https URL"),
        ({"number": 1}, "(invalid_grant: Invalid JWT Signature.): the key was revoked"),
        ({"client_email": "other@x"}, "account not found): the key was revoked, or the service account is gone"),
    ],
)
async def test_a_key_that_gives_no_token_is_told_without_it(
    bench: Bench, server: Firestore, changes: Object, message: str
) -> None:
    _connect(bench, server, key=server.key(**changes))
    told = await step(bench, export())
    assert told.outcome is Outcome.FAILED
    assert message in told.message
    assert "SECRET" not in told.message
    assert server.begun == []


@pytest.mark.parametrize("key", ["", "no json", "[" * 100_000, "[]", '"text"'])
async def test_a_file_that_is_no_key_is_told(bench: Bench, server: Firestore, key: str) -> None:
    _connect(bench, server, key=key)
    told = await step(bench, export())
    assert told.message.startswith("key 'key.json' of Secret 'shop-firestore' is not ")
    assert told.message.endswith(
        "store the file of a service account's key under 'key.json' in Secret 'shop-firestore'"
    )


async def test_a_missing_key_is_told(shop: Bench) -> None:
    (shop.credentials / "shop" / "key.json").unlink()
    told = await step(shop, export())
    assert told.message == "Secret 'shop-firestore' of connection 'shop' does not exist in this namespace: create it"


async def test_a_clock_that_is_wrong_is_told(shop: Bench, server: Firestore) -> None:
    server.clock = -7200
    told = await step(shop, export())
    assert "short-lived token" in told.message
    assert told.message.endswith("the clock of this node is wrong: let it be set by NTP")


async def test_without_a_secret_the_metadata_server_gives_the_token(
    bench: Bench, server: Firestore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GCE_METADATA_HOST", server.url.removeprefix("http://"))
    _connect(bench, server, key=None)
    server.script = [done(3)]
    assert (await step(bench, export())).outcome is Outcome.CHANGED

    server.metadata = False
    told = await step(bench, export())
    assert told.message.startswith("no token from the metadata server (status 404): on GKE bind the task's Service")


async def test_without_a_metadata_server_it_is_told_what_to_name(
    bench: Bench, server: Firestore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GCE_METADATA_HOST", f"127.0.0.1:{free_port()}")
    _connect(bench, server, key=None)
    told = await step(bench, export(), seconds=3)
    assert "no token from the metadata server: 127.0.0.1 cannot be asked" in told.message
    assert told.message.endswith("elsewhere name a Secret with a key in secretRef of the connection")


async def test_neither_keys_nor_tokens_are_logged(
    shop: Bench, server: Firestore, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    token = "ya29.secret-token-0"  # noqa: S105 - of the test's server
    server.refusals = {"POST exportDocuments": [(400, error_of(400, "INVALID_ARGUMENT", f"your {token} is odd"))]}
    told = await step(shop, export())
    assert "your … is odd" in told.message
    shown = "\n".join(f"{record.getMessage()} {record.__dict__}" for record in caplog.records)
    assert token not in shown
    assert "PRIVATE KEY" not in shown


async def test_a_project_that_is_another_is_told(bench: Bench, server: Firestore) -> None:
    _connect(bench, server, key=server.key(), project="shop-test", database="orders")
    told = await step(bench, export())
    assert told.message.startswith("shop-test/orders: NOT_FOUND: The database does not exist.: check project and")
