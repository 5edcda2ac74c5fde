"""Certificates in Secrets and at servers: when they end, and whether they work."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from integration.bench import Bench, eventually
from integration.issuer import Issuer, Pair
from lab.port import free_port
from upkeep.actions.certificate.consistency import CertificateConsistency
from upkeep.actions.certificate.expiry import CertificateExpiry
from upkeep.actions.contract import Outcome, Severity

EXPIRY = CertificateExpiry(connection="site")
CONSISTENCY = CertificateConsistency(connection="site")
LOOPBACK = "IP:127.0.0.1"


@pytest.fixture(scope="module")
def issuer(tmp_path_factory: pytest.TempPathFactory) -> Issuer:
    return Issuer(tmp_path_factory.mktemp("issuer") / "authority")


@asynccontextmanager
async def serving(pair: Pair, directory: Path) -> AsyncIterator[int]:
    """A server on loopback that shows the certificate; gives its port."""
    (directory / "served.crt").write_text(pair.certificate)
    (directory / "served.key").write_text(pair.key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(directory / "served.crt", directory / "served.key")
    server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0, ssl=context)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


def secret(pair: Pair, issuer: Issuer) -> dict[str, str]:
    return {"tls.crt": pair.certificate, "tls.key": pair.key, "ca.crt": issuer.certificate}


async def test_a_certificate_that_lasts_is_no_finding(issuer: Issuer, bench: Bench, tmp_path: Path) -> None:
    pair = issuer.issue(LOOPBACK, days=90)
    async with serving(pair, tmp_path) as port:
        bench.connect_tls(host="127.0.0.1", port=port, keys={"tls.crt": pair.certificate})
        report = await bench.report(EXPIRY)
    assert (report.outcome, report.findings) == (Outcome.OK, []), report.steps
    assert report.steps[0].metrics["certificates"] == 2
    assert 89 < report.steps[0].metrics["days_left"] <= 90
    assert "'shop' of 'Test Authority' is valid from " in report.steps[0].message


@pytest.mark.parametrize(("days", "severity", "threshold"), [(20, Severity.WARNING, 30), (5, Severity.CRITICAL, 7)])
async def test_a_stored_certificate_that_ends_soon_is_a_finding(
    issuer: Issuer, bench: Bench, days: int, severity: Severity, threshold: float
) -> None:
    bench.connect_tls(keys={"tls.crt": issuer.issue(days=days).certificate})
    (finding,) = (await bench.report(EXPIRY)).findings
    assert (finding.check_id, finding.severity, finding.threshold) == ("certificate.expiry", severity, threshold)
    assert finding.object == "Secret site-tls: shop"
    assert days - 1 < finding.observed <= days


async def test_a_served_certificate_that_has_ended_is_critical(issuer: Issuer, bench: Bench, tmp_path: Path) -> None:
    async with serving(issuer.issue(LOOPBACK, days=-1), tmp_path) as port:
        bench.connect_tls(host="127.0.0.1", port=port)
        (finding,) = (await bench.report(EXPIRY)).findings
    assert (finding.severity, finding.object) == (Severity.CRITICAL, f"127.0.0.1:{port}: shop")
    assert finding.observed < 0
    assert finding.recommendation.startswith("it has ended at ")
    assert "renew it at 'Test Authority'" in finding.recommendation


async def test_every_certificate_of_a_chain_is_looked_at(issuer: Issuer, bench: Bench) -> None:
    chain = issuer.issue(days=90).certificate + issuer.issue(subject="/CN=old", days=10).certificate
    bench.connect_tls(keys={"tls.crt": chain, "ca.crt": issuer.issue(subject="/O=Old", days=3).certificate})
    report = await bench.report(EXPIRY)
    assert {finding.object for finding in report.findings} == {
        "Secret site-tls: old",
        "Secret site-tls ca.crt: Old",
    }


async def test_a_pair_that_works_is_no_finding(issuer: Issuer, bench: Bench, tmp_path: Path) -> None:
    pair = issuer.issue(LOOPBACK, "DNS:shop.example")
    async with serving(pair, tmp_path) as port:
        bench.connect_tls(host="127.0.0.1", port=port, keys=secret(pair, issuer))
        report = await bench.report(CONSISTENCY)
        bench.connections.clear()
        bench.connect_tls(host="127.0.0.1", port=port, serverName="shop.example", keys=secret(pair, issuer))
        renamed = await bench.report(CONSISTENCY)
    assert (report.outcome, report.findings) == (Outcome.OK, []), report.steps
    assert renamed.findings == []


async def found(bench: Bench) -> list[str]:
    return sorted(finding.check_id.rpartition(".")[2] for finding in (await bench.report(CONSISTENCY)).findings)


async def test_a_key_of_another_certificate_is_a_finding(issuer: Issuer, bench: Bench) -> None:
    bench.connect_tls(keys=secret(Pair(issuer.issue().certificate, issuer.issue().key), issuer))
    assert await found(bench) == ["key"]


async def test_a_chain_that_nobody_trusts_is_a_finding(issuer: Issuer, bench: Bench, tmp_path: Path) -> None:
    pair = issuer.issue(LOOPBACK)
    async with serving(pair, tmp_path) as port:
        bench.connect_tls(host="127.0.0.1", port=port, keys={"tls.crt": pair.certificate, "tls.key": pair.key})
        report = await bench.report(CONSISTENCY)
    assert [finding.check_id for finding in report.findings] == ["certificate.consistency.chain"] * 2
    assert "unable to get local issuer certificate" in report.findings[0].recommendation


async def test_another_name_is_a_finding_at_both_ends(issuer: Issuer, bench: Bench, tmp_path: Path) -> None:
    pair = issuer.issue("DNS:other.example", "IP:127.0.0.9")
    async with serving(pair, tmp_path) as port:
        bench.connect_tls(host="127.0.0.1", port=port, keys=secret(pair, issuer))
        report = await bench.report(CONSISTENCY)
    assert [finding.check_id for finding in report.findings] == ["certificate.consistency.name"] * 2
    assert "not for '127.0.0.1' but for other.example, 127.0.0.9" in report.findings[0].recommendation


async def test_one_that_has_ended_has_still_its_name(issuer: Issuer, bench: Bench, tmp_path: Path) -> None:
    pair = issuer.issue(LOOPBACK, days=-1)
    async with serving(pair, tmp_path) as port:
        bench.connect_tls(host="127.0.0.1", port=port, keys=secret(pair, issuer))
        report = await bench.report(CONSISTENCY)
    assert [finding.check_id for finding in report.findings] == ["certificate.consistency.chain"] * 2
    assert "certificate has expired: renew it" in report.findings[0].recommendation


async def test_renewed_but_not_reloaded_is_a_finding(issuer: Issuer, bench: Bench, tmp_path: Path) -> None:
    old, new = issuer.issue(LOOPBACK, days=20), issuer.issue(LOOPBACK, days=90)
    async with serving(old, tmp_path) as port:
        bench.connect_tls(host="127.0.0.1", port=port, keys=secret(new, issuer))
        (finding,) = (await bench.report(CONSISTENCY)).findings
    assert (finding.check_id, finding.severity) == ("certificate.consistency.not-loaded", Severity.CRITICAL)
    assert "renewed, but not reloaded" in finding.recommendation


async def test_a_secret_that_lags_behind_the_server_is_a_finding(issuer: Issuer, bench: Bench, tmp_path: Path) -> None:
    old, new = issuer.issue(LOOPBACK, days=-1), issuer.issue(LOOPBACK)
    async with serving(new, tmp_path) as port:
        bench.connect_tls(host="127.0.0.1", port=port, keys=secret(old, issuer))
        kinds = await found(bench)
    assert kinds == ["chain", "not-stored"]


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({}, "Secret 'site-tls' of connection 'site' does not exist in this namespace: create it"),
        ({"tls.key": "x"}, "Secret 'site-tls' of connection 'site' has no key 'tls.crt': add the key"),
        ({"tls.crt": "hello"}, "key 'tls.crt' of Secret 'site-tls' is no certificate in PEM form: replace it"),
        (
            {"tls.crt": "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"},
            "key 'tls.crt' of Secret 'site-tls' is no certificate in PEM form: replace it",
        ),
    ],
)
async def test_a_secret_that_cannot_be_read_is_explained(bench: Bench, keys: dict[str, str], message: str) -> None:
    bench.connect_tls(keys=keys)
    for action in (EXPIRY, CONSISTENCY):
        step = await bench.step(action)
        assert (step.outcome, step.message) == (Outcome.FAILED, message)


async def test_a_key_that_cannot_be_read_is_explained(issuer: Issuer, bench: Bench) -> None:
    bench.connect_tls(keys={"tls.crt": issuer.issue().certificate, "tls.key": "secret-canary"})
    step = await bench.step(CONSISTENCY)
    assert step.outcome is Outcome.FAILED
    assert "tls.key has to be an unencrypted private key in PEM form" in step.message
    assert "canary" not in step.message


async def test_a_server_that_cannot_be_asked_is_explained(bench: Bench) -> None:
    def greet(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 hello\r\n")
        writer.close()

    plain = await asyncio.start_server(greet, "127.0.0.1", 0)
    bench.connect_tls(host="127.0.0.1", port=free_port())
    nobody = await bench.step(EXPIRY)
    bench.connections.clear()
    bench.connect_tls(host="127.0.0.1", port=plain.sockets[0].getsockname()[1])
    no_tls = await bench.step(EXPIRY)
    plain.close()
    assert "nothing listens there" in nobody.message
    assert "check that the server speaks TLS on this port" in no_tls.message
    assert {nobody.outcome, no_tls.outcome} == {Outcome.FAILED}


@pytest.mark.parametrize("subject", ['/CN="; DROP TABLE users', "/CN=größe-日本", "/CN=-rf", "/CN=a\u202egnp"])
async def test_hostile_names_are_shown_harmlessly(issuer: Issuer, bench: Bench, subject: str) -> None:
    bench.connect_tls(keys={"tls.crt": issuer.issue(subject=subject, days=1).certificate})
    (finding,) = (await bench.report(EXPIRY)).findings
    assert finding.object == f"Secret site-tls: {subject[4:]}".replace("\u202e", "\\u202e")


async def test_a_stopped_step_ends_its_handshake(bench: Bench) -> None:
    callers: list[asyncio.StreamWriter] = []
    silent = await asyncio.start_server(lambda _, writer: callers.append(writer), "127.0.0.1", 0)
    bench.connect_tls(host="127.0.0.1", port=silent.sockets[0].getsockname()[1])
    running = asyncio.create_task(bench.step(EXPIRY))
    await eventually(lambda: callers)
    running.cancel()
    step = await running
    silent.close()
    callers[0].close()
    await callers[0].wait_closed()
    assert (step.outcome, "SIGTERM" in step.message) == (Outcome.FAILED, True)


async def test_certificates_in_files_of_a_volume_are_looked_at(issuer: Issuer, bench: Bench, tmp_path: Path) -> None:
    # given files of all sorts, some certificates among them, and links to one outside
    volume = bench.connect_volume()
    pair, old = issuer.issue("DNS:a", days=90), issuer.issue("DNS:b", subject="/CN=old", days=5)
    (volume / "web").mkdir()
    (volume / "web" / "chain.pem").write_text(pair.certificate + issuer.certificate)
    (volume / "web" / "key.pem").write_text(pair.key)
    (volume / "old.crt").write_text(old.certificate)
    (volume / "notes.txt").write_text(old.certificate)
    (tmp_path / "outside.crt").write_text(old.certificate)
    (volume / "link.crt").symlink_to(tmp_path / "outside.crt")
    report = await bench.report(CertificateExpiry(connection="logs"))
    assert report.outcome is Outcome.OK, report.steps
    assert report.steps[0].metrics["certificates"] == 3
    found = {finding.object: finding.severity for finding in report.findings}
    assert found["logs old.crt: old"] is Severity.CRITICAL, found
    assert set(found) <= {"logs old.crt: old", "logs web/chain.pem: Test Authority"}
    assert "logs old.crt: 'old' of 'Test Authority' is valid from " in report.steps[0].message
    # and where only one directory is asked for, only that
    only = await bench.report(CertificateExpiry(connection="logs", path="web"))
    assert only.steps[0].metrics["certificates"] == 2
    assert "old" not in {finding.object.rpartition(" ")[2] for finding in only.findings}


async def test_a_file_that_cannot_be_read_is_unknown_and_none_at_all_too(issuer: Issuer, bench: Bench) -> None:
    volume = bench.connect_volume()
    assert (await bench.step(CertificateExpiry(connection="logs"))).outcome is Outcome.UNKNOWN
    (volume / "good.crt").write_text(issuer.issue("DNS:a").certificate)
    (volume / "bad.crt").write_text("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    step = await bench.step(CertificateExpiry(connection="logs"))
    assert step.outcome is Outcome.UNKNOWN
    assert "1 files could not be read: bad.crt: it is damaged: replace it; logs good.crt: " in step.message
