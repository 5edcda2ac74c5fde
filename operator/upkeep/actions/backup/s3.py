"""A repository in a bucket, on Amazon S3 or any server that speaks its protocol.

restic does the work. What is asked here besides is signed as the protocol's documentation says ("Signature Version 4"),
because restic tries again for a quarter of an hour where a name or a key is wrong, and makes buckets that are missing.
Credentials travel in a file that only this user can read, never in an argument or a variable.
"""

import hashlib
import hmac
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, Self
from urllib.parse import quote, urlsplit
from xml.etree import ElementTree as ET

from pydantic import AfterValidator, Field, model_validator

from upkeep.actions.backup.storage import REPOSITORY_VARIABLE, STORAGE_NAME, File
from upkeep.actions.backup.webstore import WebStore, private_file
from upkeep.actions.connections import SecretReference, readable_url
from upkeep.actions.contract import ActionError, Context
from upkeep.actions.fields import Model, Rule

if TYPE_CHECKING:
    from httpx import Response

_ACCESS_KEY: Final = ("accessKeyId", "AWS_ACCESS_KEY_ID")
_SECRET_KEY: Final = ("secretAccessKey", "AWS_SECRET_ACCESS_KEY")
_CREDENTIALS_FILE: Final = "s3-credentials.json"
_EMPTY: Final = hashlib.sha256(b"").hexdigest()
_NOWHERE: Final = "us-east-1"
"""The region of requests where none is named; servers other than Amazon's mostly take any."""
_UNREADABLE: Final = "not-xml"
_INSIDE: Final[Rule] = {
    "rule": "!has(self.prefix) || !self.prefix.contains('..')",
    "message": "prefix must not contain '..'",
}
_GONE: Final = "NoSuchKey"


class StorageClass(StrEnum):
    """Classes whose objects can be read at once; what has to be thawed first cannot be verified."""

    STANDARD = "STANDARD"
    STANDARD_IA = "STANDARD_IA"
    ONEZONE_IA = "ONEZONE_IA"
    INTELLIGENT_TIERING = "INTELLIGENT_TIERING"
    GLACIER_IR = "GLACIER_IR"


class S3Location(Model):
    """A repository in a bucket of Amazon S3, or of a server that speaks its protocol."""

    endpoint: Annotated[str, Field(max_length=2048, pattern=r"^https?://[^\s/?#@]+$"), AfterValidator(readable_url)]
    """Scheme, host and port, for example `https://s3.eu-central-1.amazonaws.com` or `http://minio.storage:9000`."""
    bucket: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$")]
    """Name of the bucket. It has to be there."""
    prefix: Annotated[str | None, Field(max_length=256, pattern=r"^[A-Za-z0-9._][A-Za-z0-9._/-]*$")] = None
    """Where in the bucket. Left out: at its top, so that the bucket can hold nothing else."""
    region: Annotated[str | None, Field(max_length=64, pattern=r"^[a-z0-9-]+$")] = None
    """Region of the bucket, for example eu-central-1. Left out: whatever the server says."""
    storage_class: StorageClass | None = None
    """Storage class of new data. Left out: the bucket's default."""
    secret_ref: SecretReference
    """Secret with the keys `accessKeyId` and `secretAccessKey` (or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY), and
    `ca.crt` where the authority of an https endpoint is not one of the system's."""

    @classmethod
    def rules(cls) -> Sequence[Rule]:
        """A prefix means what it says."""
        return (_INSIDE,)

    @model_validator(mode="after")
    def _stays_inside(self) -> Self:
        if self.prefix and ".." in self.prefix:
            raise ValueError(_INSIDE["message"])
        return self


class Bucket(WebStore):
    """The repository, with its credentials."""

    def __init__(self, location: S3Location, context: Context) -> None:
        """Find the credentials.

        Raises:
            ActionError: the Secret is missing, or has not both keys.
        """
        self._location = location
        self._prefix = f"{location.prefix.strip('/')}/" if location.prefix else ""
        self._keys = [_secret(context, names, location.secret_ref.name) for names in (_ACCESS_KEY, _SECRET_KEY)]
        self._region = location.region or _NOWHERE
        authority = context.credentials / STORAGE_NAME / "ca.crt"
        self.authority = authority if authority.is_file() else None
        self.name = f"s3:{location.endpoint}/{location.bucket}/{self._prefix}".rstrip("/")
        self.room = f"bucket {location.bucket} takes no more: raise its quota, or give the server more room"

    @property
    def options(self) -> Sequence[str]:
        """Region, also where only the server said it, class and authority."""
        location = self._location
        options = [f"--option=s3.region={self._region}"] if location.region or self._region != _NOWHERE else []
        options += [f"--option=s3.storage-class={location.storage_class}"] if location.storage_class else []
        return [*options, *([f"--cacert={self.authority}"] if self.authority else [])]

    @contextmanager
    def credentials(self, scratch: Path) -> Iterator[Mapping[str, str]]:
        """A file in the form of MinIO's client, which can hold any key; Amazon's could not hold all."""
        access_key, secret_key = self._keys
        host = {"url": self._location.endpoint, "accessKey": access_key, "secretKey": secret_key, "api": "s3v4"}
        content = json.dumps({"version": "9", "hosts": {"s3": host}})
        with private_file(scratch / _CREDENTIALS_FILE, content) as path:
            yield {
                REPOSITORY_VARIABLE: self.name,
                "MINIO_SHARED_CREDENTIALS_FILE": str(path),
                "MINIO_ALIAS": "s3",
            }

    async def files(self, part: str = "") -> Mapping[str, File]:
        """Page by page."""
        found: dict[str, File] = {}
        query = {"list-type": "2", "prefix": f"{self._prefix}{part}"}
        while True:
            answer = await self._asked("GET", "", query)
            document = _document(answer)
            now = parsedate_to_datetime(answer.headers["date"]) if "date" in answer.headers else datetime.now(UTC)
            for each in document.iter("Contents"):
                name = each.findtext("Key", "").removeprefix(self._prefix)
                made = datetime.fromisoformat(each.findtext("LastModified", ""))
                found[name] = File(bytes=int(each.findtext("Size", "0")), age=(now - made).total_seconds())
            token = document.findtext("NextContinuationToken")
            if not token or document.findtext("IsTruncated") != "true":
                return found
            query["continuation-token"] = token

    async def put(self, name: str) -> None:
        """An empty object."""
        await self._asked("PUT", f"{self._prefix}{name}")

    async def remove(self, name: str) -> None:
        """Delete the object."""
        await self._asked("DELETE", f"{self._prefix}{name}")

    async def _asked(self, method: str, key: str, query: Mapping[str, str] | None = None) -> "Response":
        """The good answer to a request; a server that wants another region is asked again with that one."""
        answer = await self._signed(method, key, query or {})
        code, document = _refusal(answer)
        region = document.findtext("Region") if document is not None else answer.headers.get("x-amz-bucket-region")
        region = region or answer.headers.get("x-amz-bucket-region")
        if code and region and region != self._region and self._location.region is None:
            self._region = region
            answer = await self._signed(method, key, query or {})
            code, document = _refusal(answer)
        if code and code != _GONE:
            said = (document.findtext("Message") if document is not None else None) or f"HTTP {answer.status_code}"
            msg = f"cannot use repository {self.name}: {self._explained(code, said, region)}"
            raise ActionError(msg)
        return answer

    async def _signed(self, method: str, key: str, query: Mapping[str, str]) -> "Response":
        place = urlsplit(self._location.endpoint)
        path = quote(f"/{self._location.bucket}/{key}" if key else f"/{self._location.bucket}", safe="/-_.~")
        asked = "&".join(f"{quote(name, safe='-_.~')}={quote(query[name], safe='-_.~')}" for name in sorted(query))
        now = datetime.now(UTC)
        headers = {"host": place.netloc, "x-amz-content-sha256": _EMPTY, "x-amz-date": f"{now:%Y%m%dT%H%M%SZ}"}
        signed = ";".join(headers)
        lines = [method, path, asked, *(f"{name}:{value}" for name, value in headers.items()), "", signed, _EMPTY]
        scope = f"{now:%Y%m%d}/{self._region}/s3/aws4_request"
        digest = hashlib.sha256("\n".join(lines).encode()).hexdigest()
        text = f"AWS4-HMAC-SHA256\n{headers['x-amz-date']}\n{scope}\n{digest}"
        access_key, secret_key = self._keys
        secret = f"AWS4{secret_key}".encode()
        for word in scope.split("/"):
            secret = hmac.digest(secret, word.encode(), "sha256")
        signature = hmac.digest(secret, text.encode(), "sha256").hex()
        credential = f"Credential={access_key}/{scope}, SignedHeaders={signed}, Signature={signature}"
        url = f"{self._location.endpoint}{path}{f'?{asked}' if asked else ''}"
        return await self.request(method, url, {**headers, "authorization": f"AWS4-HMAC-SHA256 {credential}"})

    def _explained(self, code: str, said: str, region: str | None) -> str:
        """What the server refuses, and what to do about it."""
        location = self._location
        secret = f"Secret {location.secret_ref.name!r}"
        match code:
            case "NoSuchBucket":
                return f"there is no bucket {location.bucket!r}: create it, or correct s3.bucket"
            case "InvalidAccessKeyId" | "XAdminUserNotFound":
                return f"the server does not know the access key: check key {_ACCESS_KEY[0]!r} of {secret}"
            case "SignatureDoesNotMatch":
                return f"the secret key is wrong: check key {_SECRET_KEY[0]!r} of {secret}"
            case "AccessDenied" | "AllAccessDisabled":
                actions = "s3:ListBucket on the bucket, and s3:GetObject, s3:PutObject and s3:DeleteObject in it"
                return f"access denied: allow the access key in {secret} {actions}"
            case "RequestTimeTooSkewed":
                return f"the clocks of this node and of the server differ ({said}): set them (NTP)"
            case "AuthorizationHeaderMalformed" | "PermanentRedirect" | "TemporaryRedirect" | "InvalidRegionName":
                where = f"it is in {region}" if region else said.rstrip(".")
                return (
                    f"the bucket is in another region ({where}): correct s3.region, and s3.endpoint where it names one"
                )
            case _ if code == _UNREADABLE:
                return f"what answers is no S3 server ({said}): check s3.endpoint"
            case _:
                return f"{code}: {said.rstrip('.')}: look into the server's log"


def _secret(context: Context, names: Sequence[str], secret: str) -> str:
    """The value of the first of these keys that is there."""
    directory = context.credentials / STORAGE_NAME
    name = next((name for name in names if (directory / name).is_file()), names[0])
    path = context.secret_file(STORAGE_NAME, name, holder="the repository", secret=secret)
    return path.read_text(errors="replace").strip()


def _refusal(answer: "Response") -> "tuple[str, ET.Element | None]":
    """Why the server refuses, by its code; empty where it does not."""
    if answer.is_success:
        return "", None
    try:
        document = _document(answer)
    except ActionError:
        return _UNREADABLE, None
    return document.findtext("Code") or _UNREADABLE, document


def _document(answer: "Response") -> ET.Element:
    """The XML of an answer, without namespaces.

    Raises:
        ActionError: it is no XML.
    """
    try:
        document = ET.fromstring(answer.content)  # noqa: S314 - of the server that is trusted with the backups
    except ET.ParseError as error:
        msg = f"{urlsplit(str(answer.url)).netloc} does not answer like an S3 server: check s3.endpoint"
        raise ActionError(msg) from error
    for element in document.iter():
        element.tag = element.tag.rpartition("}")[2]
    return document
