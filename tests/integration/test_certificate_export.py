"""Certificates are kept on a volume by date, encrypted, and are read again only whole."""

import hashlib
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from integration.bench import Bench, powerless, small_volume
from integration.issuer import Issuer, Pair
from upkeep.actions.certificate.export import CertificateExport
from upkeep.actions.certificate.restore import CertificateRestore
from upkeep.actions.connections import Connection
from upkeep.actions.contract import Outcome
from upkeep.domain.report import StepReport

PASSPHRASE = "correct horse battery"  # noqa: S105 - of a test
NO_API = "this Pod has no access to the Kubernetes API"
"""What a restore says here once all of the export was found to be right."""


@pytest.fixture(scope="module")
def issuer(tmp_path_factory: pytest.TempPathFactory) -> Issuer:
    return Issuer(tmp_path_factory.mktemp("issuer") / "authority")


@pytest.fixture
def pair(issuer: Issuer) -> Pair:
    return issuer.issue("DNS:shop.example.com")


@pytest.fixture
def safe(bench: Bench) -> Path:
    return _safe(bench)


def _safe(bench: Bench, passphrase: str = PASSPHRASE) -> Path:
    """The connection `safe`; returns the directory of its volume."""
    volume = {"claimName": "shop-safe", "secretRef": {"name": "safe-passphrase"}}
    bench.connections.append(Connection.model_validate({"name": "safe", "volume": volume}))
    bench.secret("safe", passphrase=passphrase)
    directory = bench.volumes / "safe"
    directory.mkdir(parents=True)
    return directory


def _store(bench: Bench, pair: Pair, *, name: str = "shop", authority: str = "") -> None:
    """The connection with this name, to the Secret `NAME-tls`."""
    tls = {"secretRef": {"name": f"{name}-tls"}}
    bench.connections.append(Connection.model_validate({"name": name, "tls": tls}))
    files = {"tls.crt": pair.certificate, "tls.key": pair.key, **({"ca.crt": authority} if authority else {})}
    (bench.credentials / name).mkdir(exist_ok=True)
    for key, content in files.items():
        (bench.credentials / name / key).write_text(content)


def export(*names: str, **changes: Any) -> CertificateExport:  # noqa: ANN401 - parameters of any kind
    wanted = {"connection": "safe", "certificates": list(names or ("shop",)), **changes}
    return CertificateExport.model_validate(wanted)


async def restored(bench: Bench, **changes: Any) -> StepReport:  # noqa: ANN401 - parameters of any kind
    wanted = {"connection": "safe", "secret": "shop-tls", "confirm": "shop-tls", **changes}
    return await bench.step(CertificateRestore.model_validate(wanted))


def exports(safe: Path) -> list[Path]:
    return sorted((safe / "certificates").iterdir())


def everything(directory: Path) -> bytes:
    return b"".join(path.read_bytes() for path in directory.rglob("*") if path.is_file())


async def test_what_is_exported_opens_with_any_tool_and_only_with_the_passphrase(
    safe: Path, bench: Bench, issuer: Issuer, pair: Pair
) -> None:
    _store(bench, pair, authority=issuer.certificate)
    step = await bench.step(export())
    assert step.outcome is Outcome.CHANGED, step.message
    (folder,) = exports(safe)
    assert sorted(path.name for path in folder.iterdir()) == ["SHA256SUMS", "shop-tls.p12"]
    assert f"1 certificates exported to certificates/{folder.name} and read back" in step.message
    # then it is what it was
    opened = _openssl(folder / "shop-tls.p12", PASSPHRASE)
    assert opened.returncode == 0, opened.stderr
    assert _body(pair.certificate) in opened.stdout
    assert _body(issuer.certificate) in opened.stdout
    assert "PRIVATE KEY" in opened.stdout
    assert _openssl(folder / "shop-tls.p12", "something else").returncode != 0
    assert _sums_hold(folder)
    # and nothing of the Secret, nor the passphrase, is on the volume in the clear, nor in what is told
    for secret in (_body(pair.key), _body(pair.certificate), PASSPHRASE):
        assert secret.encode() not in everything(safe)
        assert secret not in step.message
    assert (folder / "shop-tls.p12").stat().st_mode & 0o777 == 0o640


async def test_only_the_newest_exports_are_kept(safe: Path, bench: Bench, pair: Pair) -> None:
    _store(bench, pair)
    for day in range(1, 6):
        (safe / "certificates" / f"2026010{day}T000000Z").mkdir(parents=True)
    (safe / "certificates" / "mine").mkdir()
    step = await bench.step(export(keep=3))
    assert step.metrics == {"exported": 1, "removed_exports": 3}
    assert [path.name for path in exports(safe)][:2] == ["20260104T000000Z", "20260105T000000Z"]
    assert exports(safe)[-1].name == "mine"


async def test_what_cannot_be_exported_is_named_and_removes_nothing(
    safe: Path, bench: Bench, issuer: Issuer, pair: Pair
) -> None:
    # given a good one, one with the key of another, one that is damaged, and one that is not there
    _store(bench, pair)
    _store(bench, Pair(certificate=pair.certificate, key=issuer.issue("DNS:other.example.com").key), name="mixed")
    _store(bench, Pair(certificate="no certificate", key=pair.key), name="damaged")
    bench.connections.append(Connection.model_validate({"name": "gone", "tls": {"secretRef": {"name": "gone-tls"}}}))
    bench.connections.append(Connection.model_validate({"name": "served", "tls": {"host": "127.0.0.1"}}))
    (safe / "certificates" / "20260101T000000Z").mkdir(parents=True)
    report = await bench.report(export("shop", "mixed", "damaged", "gone", "served", keep=1))
    (step,) = report.steps
    assert step.outcome is Outcome.FAILED
    assert step.metrics == {"exported": 1, "removed_exports": 0}
    assert "4 certificates not exported" in step.message
    told = {finding.object: finding.recommendation for finding in report.findings}
    assert "tls.key is not the key of tls.crt" in told["Secret mixed-tls"]
    assert "does not exist in this namespace: create it" in told["Secret gone-tls"]
    assert "name the Secret" in told["connection served"]
    assert "Secret damaged-tls" in told
    assert len(exports(safe)) == 2


@pytest.mark.parametrize("passphrase", ["", "short"])
async def test_a_passphrase_that_protects_nothing_is_refused(bench: Bench, pair: Pair, passphrase: str) -> None:
    _safe(bench, passphrase)
    _store(bench, pair)
    step = await bench.step(export())
    assert step.outcome is Outcome.FAILED
    assert "key 'passphrase' of Secret 'safe-passphrase' is too short: take at least 12 characters" in step.message


async def test_without_a_passphrase_nothing_is_written(bench: Bench, pair: Pair) -> None:
    volume = bench.connect_volume()
    _store(bench, pair)
    step = await bench.step(export(connection="logs"))
    assert step.outcome is Outcome.FAILED
    assert "connection 'logs' has no secretRef: name a Secret with the key 'passphrase'" in step.message
    assert list(volume.iterdir()) == []


async def test_a_full_volume_and_one_that_may_not_be_written_are_left_as_they_were(
    safe: Path, bench: Bench, pair: Pair, reachable_bench: Bench
) -> None:
    _store(bench, pair)
    with small_volume(safe):
        (safe / "certificates").mkdir()
        (safe / "big").write_bytes(b"x" * (1024 * 1024 - 4096))
        full = await bench.step(export())
        assert exports(safe) == []
    assert full.outcome is Outcome.FAILED
    assert "cannot export to certificates: No space left on device: free room on the volume" in full.message
    locked = _safe(reachable_bench)
    _store(reachable_bench, pair)
    with powerless():
        refused = await reachable_bench.step(export())
    assert refused.outcome is Outcome.FAILED
    assert "Permission denied: let the group 65532 read and write it" in refused.message
    assert list(locked.iterdir()) == []


async def test_a_link_in_the_place_of_the_directory_leads_nowhere(
    safe: Path, bench: Bench, pair: Pair, tmp_path: Path
) -> None:
    (tmp_path / "outside").mkdir()
    (safe / "certificates").symlink_to(tmp_path / "outside")
    _store(bench, pair)
    step = await bench.step(export())
    assert step.outcome is Outcome.FAILED
    assert list((tmp_path / "outside").iterdir()) == []


async def test_the_newest_export_up_to_a_day_or_an_instant_is_read(safe: Path, bench: Bench, pair: Pair) -> None:
    # given exports of three days, the middle one of which does not have it
    _store(bench, pair)
    await bench.step(export())
    (made,) = exports(safe)
    for stamp in ("20260101T020000Z", "20260103T020000Z"):
        (safe / "certificates" / stamp).mkdir()
        for file in made.iterdir():
            os.link(file, safe / "certificates" / stamp / file.name)
    (safe / "certificates" / "20260102T020000Z").mkdir()
    for at in (None, "2026-01-01", "2026-01-02", "2026-01-01T02:00:00Z"):
        assert NO_API in (await restored(bench, **({"at": at} if at else {}))).message
    for at in ("2025-12-31", "2026-01-01T01:59:59Z"):
        assert f"has no export of Secret 'shop-tls' up to {at}" in (await restored(bench, at=at)).message
    missing = await restored(bench, secret="other", confirm="other")  # noqa: S106 - a name
    assert "certificates has no export of Secret 'other': check directory, secret and at" in missing.message


async def test_what_was_damaged_or_is_of_another_passphrase_is_not_restored(
    safe: Path, bench: Bench, pair: Pair
) -> None:
    _store(bench, pair)
    await bench.step(export())
    (folder,) = exports(safe)
    bench.secret("safe", passphrase="another passphrase")  # noqa: S106 - of a test
    other = await restored(bench)
    bench.secret("safe", passphrase=PASSPHRASE)
    file = folder / "shop-tls.p12"
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    flipped = await restored(bench)
    # also where the checksum was made to fit
    (folder / "SHA256SUMS").write_text(f"{hashlib.sha256(content).hexdigest()}  shop-tls.p12\n")
    forged = await restored(bench)
    assert {step.outcome for step in (other, flipped, forged)} == {Outcome.FAILED}
    assert "cannot be opened: the passphrase is another than that of the export, or it is damaged" in other.message
    assert "the checksum of shop-tls.p12" in flipped.message
    assert "choose an earlier one by `at`" in flipped.message
    assert "cannot be opened" in forged.message


def _openssl(file: Path, passphrase: str) -> subprocess.CompletedProcess[str]:
    argv = ["openssl", "pkcs12", "-in", str(file), "-passin", f"pass:{passphrase}", "-nodes"]
    return subprocess.run(argv, capture_output=True, text=True, check=False)


def _body(pem: str) -> str:
    """The middle of a PEM text, which nothing else has."""
    return pem.split("-----")[2].strip().splitlines()[1]


def _sums_hold(folder: Path) -> bool:
    argv = ["sha256sum", "--check", "--strict", "SHA256SUMS"]
    return subprocess.run(argv, cwd=folder, capture_output=True, check=False).returncode == 0
