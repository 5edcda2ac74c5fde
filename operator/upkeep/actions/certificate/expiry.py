"""Tells how long certificates are still valid: in a Secret, in files of a volume, and the one that a server shows."""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Annotated, ClassVar, Final

from pydantic import Field

from upkeep.actions.certificate.session import label, served, stored
from upkeep.actions.certificate.x509 import BEGIN, Certificate
from upkeep.actions.connections import TLSTarget, VolumeTarget
from upkeep.actions.contract import Action, Context, Finding, Outcome, Result, Severity, UncheckableError
from upkeep.actions.fields import LabelName
from upkeep.actions.thresholds import Graded
from upkeep.actions.volume.tree import FilePattern, InnerPath, Tree, matches, named, work_in

_DAY_SECONDS: Final = 86400
_AUTHORITY: Final = "ca.crt"
_LARGEST: Final = 4 * 1024 * 1024
"""Bytes of a file that are read; bundles of authorities have a quarter of a MiB."""


class CertificateExpiry(Action, Graded):
    """Reports issuer, dates and days left of certificates in a Secret, in files of a volume, or shown by a server.

    In a Secret every certificate of `tls.crt` is looked at, also those of issuers, and `ca.crt` where there is one; of
    a volume every certificate in PEM form in files with these names. Symbolic links are not followed. Locks: none.
    Privileges: none in Kubernetes; Secret or volume are mounted into the Pod of the run, and group 65532 may read the
    files. Source of the defaults:
    certificates of 90 days are renewed 30 days before their end (Let's Encrypt, cert-manager's two thirds): whatever is
    closer to its end has not been renewed.
    """

    action_name: ClassVar[str] = "certificateExpiry"
    check: ClassVar[bool] = True
    graded_by: ClassVar[tuple[str, str]] = ("warning_days", "critical_days")
    rising: ClassVar[bool] = False
    finds: ClassVar[Mapping[str, str]] = {
        "certificate.expiry": "a certificate that ends soon, or has ended",
        "certificate.expiry.not-yet": "a certificate that is not valid yet",
    }

    connection: LabelName
    """Name of a tls or a volume connection."""
    path: InnerPath = ""
    """Directory in the volume; left out: all of it. Directories below are looked through too."""
    files: Annotated[list[FilePattern], Field(min_length=1, max_length=32)] = Field(
        default_factory=lambda: ["*.crt", "*.pem", "*.cer"]
    )
    """Names of files in the volume; `*` stands for any characters, `?` for one. Left out: `*.crt`, `*.pem`, `*.cer`."""
    warning_days: Annotated[float, Field(ge=0, le=3650)] = 30
    """Days left from which on it is a warning."""
    critical_days: Annotated[float, Field(ge=0, le=3650)] = 7
    """Days left from which on it is critical."""

    async def run(self, context: Context) -> Result:
        """Read the dates.

        Raises:
            ActionError: no such Secret, no certificate in it, or the server shows none.
        """
        found, problems = await self._found(context)
        if not found:
            why = f"; {len(problems)} files could not be read: {named(problems)}" if problems else ""
            msg = f"no certificate in PEM form was found in connection {self.connection!r}{why}: check path and files"
            raise UncheckableError(msg)
        now = datetime.now(UTC)
        where, first = min(found, key=lambda pair: pair[1].ends)
        return Result(
            outcome=Outcome.UNKNOWN if problems else Outcome.OK,
            message=(f"{len(problems)} files could not be read: {named(problems)}; " if problems else "")
            + f"{where}: {first.subject!r} of {first.issuer!r} is valid from {first.begins:%Y-%m-%d} to "
            f"{first.ends:%Y-%m-%d}, {_days(first, now):.0f} days left"
            + (f" (the first of {len(found)} to end)" if len(found) > 1 else ""),
            findings=[finding for where, one in found for finding in self._judged(where, one, now)],
            metrics={"certificates": float(len(found)), "days_left": round(_days(first, now), 2)},
        )

    async def _found(self, context: Context) -> tuple[list[tuple[str, Certificate]], list[str]]:
        """Every certificate with the place where it is; and the files that could not be read, safe to show."""
        known = context.connections.get(self.connection)
        if known is not None and isinstance(known.target, VolumeTarget):
            return await work_in(context, self.connection, self.path, self._in_files)
        target = context.target(self.connection, TLSTarget)
        found: list[tuple[str, Certificate]] = []
        if target.secret_ref is not None:
            found += [(f"Secret {target.secret_ref.name}", one) for one in stored(context, self.connection)]
            if (context.credentials / self.connection / _AUTHORITY).is_file():
                where = f"Secret {target.secret_ref.name} {_AUTHORITY}"
                found += [(where, one) for one in stored(context, self.connection, _AUTHORITY)]
        if target.host is not None:
            found.append((label(target), (await served(context, self.connection))[0]))
        return found, []

    def _in_files(self, tree: Tree) -> tuple[list[tuple[str, Certificate]], list[str]]:
        found: list[tuple[str, Certificate]] = []
        problems: list[str] = []
        for entry in tree.walk():
            if not entry.regular or not matches(entry.name, self.files):
                continue
            try:
                text = entry.content(_LARGEST).decode("ascii", "replace")
                # Keys have such names too.
                if BEGIN in text:
                    found += [(f"{self.connection} {entry.path}", one) for one in Certificate.all_of_pem(text)]
            except ValueError:
                problems.append(f"{entry.path}: it is damaged: replace it")
            except OSError as error:
                problems.append(f"{entry.path}: {error.strerror}: let the group 65532 read it")
        problems += [f"{directory}: let the group 65532 read it" for directory in tree.unreadable]
        return found, problems

    def _judged(self, where: str, certificate: Certificate, now: datetime) -> Iterator[Finding]:
        holder = f"{where}: {certificate.subject}"
        if certificate.begins > now:
            yield Finding(
                check_id="certificate.expiry.not-yet",
                severity=Severity.CRITICAL,
                object=holder,
                observed=round((certificate.begins - now).total_seconds() / _DAY_SECONDS, 2),
                threshold=0,
                unit="days",
                recommendation=f"it is valid only from {certificate.begins:%Y-%m-%d %H:%M} UTC: check the clocks",
            )
        left = _days(certificate, now)
        if left > self.warning_days:
            return
        critical = left <= self.critical_days
        state = "has ended" if left <= 0 else "ends"
        yield Finding(
            check_id="certificate.expiry",
            severity=Severity.CRITICAL if critical else Severity.WARNING,
            object=holder,
            observed=round(left, 2),
            threshold=self.critical_days if critical else self.warning_days,
            unit="days",
            recommendation=f"it {state} at {certificate.ends:%Y-%m-%d %H:%M} UTC: renew it at {certificate.issuer!r} "
            "and let the server load it",
        )


def _days(certificate: Certificate, now: datetime) -> float:
    return (certificate.ends - now).total_seconds() / _DAY_SECONDS
