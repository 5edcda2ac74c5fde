"""Alerts and silences of a real Alertmanager: asked for, made, found again, changed and ended."""

from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import pytest

from integration.alertmanagerserver import AlertmanagerServer, running_alertmanager
from integration.certificate import Certificate
from integration.observability import PASSWORD, USER
from lab.port import free_port
from upkeep.alertmanager.client import Alertmanager, AlertmanagerError
from upkeep.alertmanager.configuration import read_endpoints
from upkeep.alertmanager.silence import end, keep
from upkeep.api.window.gating import AlertMatcher, SilenceState
from upkeep.domain.alerts import EndSilence, KeepSilence
from upkeep.domain.instants import read_instant

NOW: Final = datetime.now(UTC).replace(microsecond=0)
DOWN: Final = AlertMatcher(name="alertname", value="ShopDown|ShopSlow", is_regex=True)
WANTED: Final = KeepSilence(
    alertmanager="main",
    marker="upkeep:7f1c/2026-03-01T02:00:00Z",
    id="",
    matchers=(DOWN,),
    start=NOW,
    until=NOW + timedelta(hours=2),
    planned=NOW + timedelta(hours=2),
    comment="MaintenanceWindow shop/weekly [upkeep:7f1c/2026-03-01T02:00:00Z]",
)


@pytest.fixture
def server() -> Iterator[AlertmanagerServer]:
    with running_alertmanager() as running:
        yield running


@pytest.fixture
async def client(server: AlertmanagerServer, tmp_path: Path) -> AsyncIterator[Alertmanager]:
    made = server.client(tmp_path)
    yield made
    await made.close()


async def kept(client: Alertmanager, wanted: KeepSilence = WANTED) -> str:
    report = await keep(client, wanted, namespace="shop")
    assert (report.state, report.until) == (SilenceState.ACTIVE, wanted.until)
    return report.id


def ending(identifier: str = "") -> EndSilence:
    return EndSilence(alertmanager="main", marker=WANTED.marker, id=identifier, until=WANTED.until)


def only(found: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON
    (one,) = found
    assert isinstance(one, dict)
    return one


async def test_only_alerts_count_that_fire_and_that_nobody_has_silenced_or_inhibited(
    server: AlertmanagerServer, client: Alertmanager
) -> None:
    server.fire("ShopSlow", severity="critical", namespace="shop")
    server.fire("BatchLate", severity="warning")
    server.fire("Resolved", severity="critical", seconds=0)
    server.fire("ClusterDown", severity="page")
    server.fire("ShopDown", severity="critical")

    critical = [AlertMatcher(name="severity", value="critical")]

    others = [AlertMatcher(name="severity", value="critical|page", is_equal=False, is_regex=True)]
    assert [alert.name for alert in await client.firing(critical)] == ["ShopSlow"]
    assert [alert.name for alert in await client.firing(others)] == ["BatchLate"]
    await kept(client)
    assert await client.firing(critical) == []


async def test_an_alert_is_told_from_others_of_its_name_and_says_since_when_it_fires(
    server: AlertmanagerServer, client: Alertmanager
) -> None:
    for shop in ("one", "two"):
        server.fire("ShopSlow", severity="minor", shop=shop)
    minor = [AlertMatcher(name="severity", value="minor")]

    found = await client.firing(minor)
    server.fire("ShopSlow", severity="minor", shop="one")
    again = await client.firing(minor)

    assert len({alert.fingerprint for alert in found}) == 2
    assert {alert.fingerprint: alert.since for alert in again} == {alert.fingerprint: alert.since for alert in found}
    assert all(abs(datetime.now(UTC) - alert.since) < timedelta(minutes=1) for alert in found)


async def test_values_with_quotes_and_backslashes_arrive_as_they_are(
    server: AlertmanagerServer, client: Alertmanager
) -> None:
    odd = 'a "quoted"\\path, {x}=~ü'
    server.fire("Odd", path=odd)

    assert [alert.name for alert in await client.firing([AlertMatcher(name="path", value=odd)])] == ["Odd"]
    assert await client.firing([AlertMatcher(name="path", value=odd + '"')]) == []


async def test_a_silence_says_who_made_it_what_for_and_when_it_ends(
    server: AlertmanagerServer, client: Alertmanager
) -> None:
    identifier = await kept(client)

    made = only(server.silences())
    assert made["id"] == identifier
    assert made["createdBy"] == "upkeep"
    assert made["comment"] == WANTED.comment
    assert read_instant(made["endsAt"]) == WANTED.until
    assert {(each["name"], each["value"], each["isRegex"], each["isEqual"]) for each in made["matchers"]} == {
        ("alertname", "ShopDown|ShopSlow", True, True),
        ("namespace", "shop", False, True),
    }


async def test_a_platform_may_let_silences_reach_alerts_of_any_namespace(
    server: AlertmanagerServer, tmp_path: Path
) -> None:
    client = server.client(tmp_path, label="")
    await kept(client)
    await client.close()

    assert [each["name"] for each in only(server.silences())["matchers"]] == ["alertname"]


async def test_after_a_crash_before_its_id_was_written_the_same_silence_is_found_again(
    server: AlertmanagerServer, client: Alertmanager
) -> None:
    first = await kept(client)

    assert await kept(client) == first
    assert await kept(client, replace(WANTED, id=first)) == first
    assert only(server.silences())["id"] == first


async def test_of_two_silences_for_one_opening_one_is_left(server: AlertmanagerServer, client: Alertmanager) -> None:
    for number in range(2):
        extra = AlertMatcher(name="try", value=str(number))
        await client.put(matchers=[DOWN, extra], start=NOW, end=WANTED.until, comment=WANTED.comment)

    identifier = await kept(client)

    assert only(server.silences())["id"] == identifier


async def test_a_window_that_is_extended_keeps_its_silence(server: AlertmanagerServer, client: Alertmanager) -> None:
    identifier = await kept(client)
    later = WANTED.until + timedelta(minutes=30)

    assert await kept(client, replace(WANTED, id=identifier, until=later)) == identifier
    assert read_instant(only(server.silences())["endsAt"]) == later


async def test_changed_matchers_replace_the_silence(server: AlertmanagerServer, client: Alertmanager) -> None:
    first = await kept(client)
    other = AlertMatcher(name="alertname", value="BatchLate")

    second = await kept(client, replace(WANTED, id=first, matchers=(other,)))

    assert only(server.silences())["id"] == second != first
    # The new id was never written down.
    assert await kept(client, replace(WANTED, id=first, matchers=(other,))) == second


@pytest.mark.parametrize("id_known", [True, False])
async def test_what_somebody_has_expired_is_not_made_again(
    server: AlertmanagerServer, client: Alertmanager, *, id_known: bool
) -> None:
    identifier = await kept(client)
    server.expire(identifier)

    again = replace(WANTED, id=identifier if id_known else "")
    report = await keep(client, again, namespace="shop")

    assert report.state is SilenceState.EXPIRED_BY_HAND
    assert server.silences() == []


async def test_one_that_alertmanager_has_lost_is_made_anew(tmp_path: Path) -> None:
    port = free_port()
    with running_alertmanager(port=port) as before:
        client = before.client(tmp_path)
        first = await kept(client)
        await client.close()
    with running_alertmanager(port=port) as after:
        client = after.client(tmp_path)
        second = await kept(client, replace(WANTED, id=first))
        await client.close()
        assert only(after.silences())["id"] == second != first


async def test_one_that_has_run_out_before_its_window_was_extended_is_made_anew(
    server: AlertmanagerServer, client: Alertmanager
) -> None:
    first = await kept(client)
    server.expire(first)
    ran_out = read_instant(only(server.silences(state="expired"))["endsAt"])

    second = await kept(client, replace(WANTED, id=first, planned=ran_out))

    assert only(server.silences())["id"] == second != first


@pytest.mark.parametrize("id_known", [True, False])
async def test_it_ends_with_the_window_and_others_stay(
    server: AlertmanagerServer, client: Alertmanager, *, id_known: bool
) -> None:
    identifier = await kept(client)
    other = await client.put(matchers=[DOWN], start=NOW, end=WANTED.until, comment="a person's own")

    for _ in range(2):
        report = await end(client, ending(identifier if id_known else ""))
        assert report.state is SilenceState.ENDED

    assert only(server.silences())["id"] == other


async def test_to_end_what_was_never_made_is_no_error(server: AlertmanagerServer, client: Alertmanager) -> None:
    report = await end(client, ending("0d8a2f6e-6a50-4b5e-9d0a-000000000000"))

    assert report.state is SilenceState.ENDED
    assert server.silences() == []


async def test_an_alertmanager_that_does_not_answer_is_named(tmp_path: Path) -> None:
    gone = AlertmanagerServer(url=f"http://127.0.0.1:{free_port()}").client(tmp_path)

    with pytest.raises(AlertmanagerError, match=r"Alertmanager 'main', asking which alerts fire: .*connection"):
        await gone.firing([DOWN])
    await gone.close()


async def test_an_expression_that_it_cannot_read_is_its_answer(client: Alertmanager) -> None:
    with pytest.raises(AlertmanagerError, match="400"):
        await client.firing([AlertMatcher(name="alertname", value="(", is_regex=True)])


async def test_over_tls_with_a_password_that_may_be_rotated(tmp_path: Path) -> None:
    certificate = Certificate.make(tmp_path)
    password = tmp_path / "password"
    password.write_text("an old one\n")
    with running_alertmanager(certificate=certificate) as server:
        client = server.client(tmp_path, login=f"basicAuth: {{username: {USER}, passwordFile: password}}")
        with pytest.raises(AlertmanagerError, match="401") as refused:
            await client.firing([DOWN])
        password.write_text(f"{PASSWORD}\n")
        assert await client.firing([DOWN]) == []
        await client.close()
    assert "an old one" not in str(refused.value)


async def test_a_certificate_that_nobody_vouches_for_is_refused(tmp_path: Path) -> None:
    with running_alertmanager(certificate=Certificate.make(tmp_path)) as server:
        file = tmp_path / "alertmanagers.yaml"
        file.write_text(f"main: {{url: '{server.url}'}}\n")
        client = Alertmanager(read_endpoints(file)["main"])
        with pytest.raises(AlertmanagerError, match="CERTIFICATE_VERIFY_FAILED"):
            await client.firing([DOWN])
        await client.close()
