"""Keeps copies of certificates and their keys on a volume, by date, for the day when a Secret is gone or overwritten.

It must never write a file of a Secret that is not encrypted, nor count one that cannot be opened again.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Annotated, ClassVar

from pydantic import Field

from upkeep.actions.certificate.bundle import Bundle, passphrase, same, sealed, unsealed
from upkeep.actions.certificate.exports import STAMP, SUFFIX, DirectoryName, prune, within, written
from upkeep.actions.connections import TLSTarget
from upkeep.actions.contract import Action, ActionError, Context, Finding, Outcome, Result, Severity
from upkeep.actions.fields import LabelName
from upkeep.actions.text import readable
from upkeep.actions.volume.tree import Tree, advice, named, work_in


@dataclass(slots=True, kw_only=True)
class _Tally:
    """What was done; `problems` has what could not be, safe to show."""

    exported: int = 0
    removed: int = 0
    problems: list[str] = field(default_factory=list)


class CertificateExport(Action):
    """Exports certificates with their keys to a volume, encrypted, into a directory for each run.

    A Secret becomes a file `NAME.p12` (PKCS #12, AES-256) with its certificates and its key, in
    `certificates/20260301T020000Z`, beside checksums (`SHA256SUMS`). Each is read back and opened with the passphrase
    before the export counts and old ones go. Keep the passphrase elsewhere too: without it nothing can be restored.
    Locks: none. Privileges: none in Kubernetes; the Secrets are mounted into the Pod of the run. Group 65532 may write
    to the volume.
    """

    action_name: ClassVar[str] = "certificateExport"
    finds: ClassVar[Mapping[str, str]] = {
        "certificate.export.failed": "a certificate that was not exported",
    }

    connection: LabelName
    """Name of a volume connection whose Secret has the passphrase."""
    certificates: Annotated[list[LabelName], Field(min_length=1, max_length=64)]
    """Names of tls connections with a Secret."""
    directory: DirectoryName = "certificates"
    """Directory at the top of the volume; it is made where it is missing."""
    keep: Annotated[int, Field(ge=1, le=1000)] = 30
    """How many exports are kept, the newest ones. None is removed by a run that could not export all."""

    def connection_names(self) -> Sequence[str]:
        """The volume, and the certificates."""
        return [self.connection, *self.certificates]

    async def run(self, context: Context) -> Result:
        """Export all, read them back, and remove the oldest.

        Raises:
            ActionError: no passphrase, the volume cannot be opened or written, or none could be exported.
        """
        phrase = passphrase(context, self.connection)
        bundles, problems = self._bundles(context)
        stamp = f"{datetime.now(UTC):{STAMP}}"
        tally = _Tally(problems=problems)
        await work_in(context, self.connection, "", lambda tree: self._work(tree, stamp, bundles, phrase, tally))
        message = f"{tally.exported} certificates exported to {self.directory}/{stamp} and read back"
        if tally.removed:
            message = f"{message}, {tally.removed} old exports removed"
        outcome = Outcome.CHANGED
        if tally.problems:
            outcome = Outcome.FAILED
            message = f"{len(tally.problems)} certificates not exported: {named(tally.problems)}; {message}"
        metrics = {"exported": float(tally.exported), "removed_exports": float(tally.removed)}
        return Result(outcome=outcome, message=message, findings=[*_findings(tally.problems)], metrics=metrics)

    def _bundles(self, context: Context) -> tuple[Mapping[str, Bundle], list[str]]:
        """What is to be exported, by the name of its Secret; and what cannot be."""
        found: dict[str, Bundle] = {}
        problems: list[str] = []
        for name in self.certificates:
            secret = context.target(name, TLSTarget).secret_name
            if secret is None:
                problems.append(f"connection {name}: it has no secretRef: name the Secret")
                continue
            try:
                files = {key: _content(context, name, key) for key in ("tls.crt", "tls.key")}
            except ActionError as error:
                problems.append(f"Secret {secret}: {error}")
                continue
            authority = context.credentials / name / "ca.crt"
            found[secret] = Bundle(
                certificate=files["tls.crt"],
                key=files["tls.key"],
                authority=authority.read_bytes() if authority.is_file() else b"",
            )
        return found, problems

    def _work(self, tree: Tree, stamp: str, bundles: Mapping[str, Bundle], phrase: bytes, tally: _Tally) -> None:
        files: dict[str, bytes] = {}
        for secret, bundle in bundles.items():
            tree.see_whether_stopped()
            try:
                files[f"{secret}{SUFFIX}"] = sealed(bundle, secret, phrase)
            except (ValueError, TypeError) as error:
                tally.problems.append(f"Secret {secret}: {readable(str(error))}: store a pair that belongs together")
        if not files:
            msg = f"no certificate could be exported: {named(tally.problems)}"
            raise ActionError(msg)
        try:
            with within(tree, self.directory) as parent:
                for name, data in written(tree, parent, stamp, files).items():
                    if not same(unsealed(data, phrase), bundles[name.removesuffix(SUFFIX)]):
                        msg = f"{self.directory}/{stamp}/{name} is not what was written: look at the disk"
                        raise ActionError(msg)
                    tally.exported += 1
                tally.removed = 0 if tally.problems else prune(parent, self.keep)
        except (OSError, ValueError) as error:
            why = advice(error) if isinstance(error, OSError) else "it cannot be opened again: look at the disk"
            msg = f"cannot export to {self.directory}: {why}"
            raise ActionError(msg) from error


def _content(context: Context, name: str, key: str) -> bytes:
    path = context.secret_file(name, key, holder=f"connection {name!r}", secret=context.secret_name(name))
    return path.read_bytes()


def _findings(problems: Sequence[str]) -> Iterator[Finding]:
    for problem in problems:
        where, _, why = problem.partition(": ")
        yield Finding(
            check_id="certificate.export.failed",
            severity=Severity.CRITICAL,
            object=where,
            observed=0,
            threshold=1,
            unit="",
            recommendation=why,
        )
