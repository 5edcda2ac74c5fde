"""A repository in a bucket, on Amazon S3 or any server that speaks its protocol.

restic does the work. What is asked here besides is signed here too, because restic tries again for a quarter of an hour
where a name or a key is wrong, and makes buckets that are missing. Credentials travel in a file that only this user can
read, never in an argument or a variable.
"""

import json
from base64 import b64decode, b64encode
from binascii import Error as NotBase64Error
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from contextlib import aclosing, contextmanager
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, Self
from urllib.parse import quote, urlsplit
from xml.etree import ElementTree as ET

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema, model_validator

from upkeep.actions.backup.signature import EMPTY, Keys, Request
from upkeep.actions.backup.storage import REPOSITORY_VARIABLE, STORAGE_NAME, File, GoneError, UnreachableError
from upkeep.actions.backup.webstore import Body, WebStore, private_file
from upkeep.actions.connections import SecretReference, readable_url
from upkeep.actions.contract import ActionError, Context
from upkeep.actions.fields import Model, Rule

if TYPE_CHECKING:
    from httpx import Response

_ACCESS_KEY: Final = ("accessKeyId", "AWS_ACCESS_KEY_ID")
_SECRET_KEY: Final = ("secretAccessKey", "AWS_SECRET_ACCESS_KEY")
_CREDENTIALS_FILE: Final = "s3-credentials.json"
_NOWHERE: Final = "us-east-1"
"""The region of requests where none is named; servers other than Amazon's mostly take any."""
_UNREADABLE: Final = "not-xml"
_INSIDE: Final[Rule] = {
    "rule": "!has(self.prefix) || !self.prefix.contains('..')",
    "message": "prefix must not contain '..'",
}
_GONE: Final = "NoSuchKey"
_LOG: Final = "look into the server's log"
_ADVICE: Final = {
    "InvalidObjectState": "it was archived: thaw it, and let no lifecycle rule archive what is not in data/",
    "InvalidStorageClass": "the server has no such class: name one that it has",
}
_STORE_SECONDS: Final = 300.0
"""How long a server may be silent that takes a whole pack of restic, or copies one."""


class StorageClass(StrEnum):
    """Classes whose objects can be read at once; what has to be thawed first cannot be verified."""

    STANDARD = "STANDARD"
    STANDARD_IA = "STANDARD_IA"
    ONEZONE_IA = "ONEZONE_IA"
    INTELLIGENT_TIERING = "INTELLIGENT_TIERING"
    GLACIER_IR = "GLACIER_IR"


def _readable_at_once(value: object) -> object:
    if value not in list(StorageClass):
        raise ValueError(_READABLE["message"])
    return value


_READABLE: Final[Rule] = {
    "rule": f"self in [{', '.join(repr(str(each)) for each in StorageClass)}]",
    "message": f"must be one of {', '.join(StorageClass)}. A repository that has to be thawed first cannot be worked "
    "with: for GLACIER and DEEP_ARCHIVE use spec.coldCopy",
}
"""A rule and no enumeration, because the API server answers to one with the enumeration alone."""

ReadableClass = Annotated[
    StorageClass,
    BeforeValidator(_readable_at_once),
    WithJsonSchema({"type": "string", "maxLength": 32, "x-kubernetes-validations": [_READABLE]}),
]


class S3Place(Model):
    """A place in a bucket of Amazon S3, or of a server that speaks its protocol."""

    endpoint: Annotated[str, Field(max_length=2048, pattern=r"^https?://[^\t-\r /?#@]+$"), AfterValidator(readable_url)]
    """Scheme, host and port, for example `https://s3.eu-central-1.amazonaws.com` or `http://minio.storage:9000`."""
    bucket: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$")]
    """Name of the bucket. It has to be there."""
    prefix: Annotated[str | None, Field(max_length=256, pattern=r"^[A-Za-z0-9._][A-Za-z0-9._/-]*$")] = None
    """Where in the bucket. Left out: at its top, so that the bucket can hold nothing else."""
    region: Annotated[str | None, Field(max_length=64, pattern=r"^[a-z0-9-]+$")] = None
    """Region of the bucket, for example eu-central-1. Left out: whatever the server says."""
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


class S3Location(S3Place):
    """A repository in a bucket of Amazon S3, or of a server that speaks its protocol."""

    storage_class: ReadableClass | None = None
    """Storage class of new data: STANDARD, STANDARD_IA, ONEZONE_IA, INTELLIGENT_TIERING or GLACIER_IR. Left out: the
    bucket's default."""


class Bucket(WebStore):
    """The repository, with its credentials."""

    def __init__(
        self, location: S3Place, context: Context, *, directory: str = STORAGE_NAME, field: str = "s3"
    ) -> None:
        """Find the credentials.

        Args:
            location: where it is.
            context: of the step.
            directory: sub-directory of the credentials in which its Secret is mounted.
            field: where `location` stands in a policy, for messages.

        Raises:
            ActionError: the Secret is missing, or has not both keys.
        """
        self._location = location
        self._field = field
        self._prefix = f"{location.prefix.strip('/')}/" if location.prefix else ""
        secret = location.secret_ref.name
        self._keys = [_secret(context, names, secret, directory) for names in (_ACCESS_KEY, _SECRET_KEY)]
        self._region = location.region or _NOWHERE
        self.url = location.endpoint
        authority = context.credentials / directory / "ca.crt"
        self.authority = authority if authority.is_file() else None
        self.name = f"s3:{location.endpoint}/{location.bucket}/{self._prefix}".rstrip("/")
        self.room = f"bucket {location.bucket} takes no more: raise its quota, or give the server more room"

    @property
    def options(self) -> Sequence[str]:
        """Region, also where only the server said it, class and authority."""
        location = self._location
        options = [f"--option=s3.region={self._region}"] if location.region or self._region != _NOWHERE else []
        if isinstance(location, S3Location) and location.storage_class:
            options += [f"--option=s3.storage-class={location.storage_class}"]
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
            answer = await self._asked(self._request("GET", query=query))
            document = _document(answer)
            now = parsedate_to_datetime(answer.headers["date"]) if "date" in answer.headers else datetime.now(UTC)
            for each in document.iter("Contents"):
                name = each.findtext("Key", "").removeprefix(self._prefix)
                made = datetime.fromisoformat(each.findtext("LastModified", ""))
                found[name] = File(
                    bytes=int(each.findtext("Size", "0")),
                    age=(now - made).total_seconds(),
                    storage_class=each.findtext("StorageClass", ""),
                )
            token = document.findtext("NextContinuationToken")
            if not token or document.findtext("IsTruncated") != "true":
                return found
            query["continuation-token"] = token

    async def content(self, name: str) -> AsyncGenerator[bytes, None]:
        """As the server sends it; why it does not, it says in an answer to another request."""
        request = self._request("GET", f"{self._prefix}{name}")
        async with aclosing(self.received(request.url, self._signature(request))) as pieces:
            async for piece in pieces:
                yield piece

    async def read(self, name: str) -> bytes | None:
        """A small object; None where there is none.

        Raises:
            ActionError: it cannot be read, for example because it is archived.
        """
        answer = await self._asked(self._request("GET", f"{self._prefix}{name}"))
        return answer.content if answer.is_success else None

    async def put(self, name: str) -> None:
        """An empty object."""
        await self._asked(self._request("PUT", f"{self._prefix}{name}"))

    async def store(self, name: str, body: Body, *, size: int, digest: str, storage_class: str | None = None) -> None:
        """Make an object, which the server keeps only if what arrived has this SHA-256.

        Args:
            name: of the object.
            body: makes its content.
            size: of the content.
            digest: its SHA-256, in hex.
            storage_class: of the object; None for the bucket's default.

        Raises:
            ActionError: it could not be made.
        """
        headers = {
            "content-length": str(size),
            "x-amz-checksum-sha256": b64encode(bytes.fromhex(digest)).decode(),
            **_class_header(storage_class),
        }
        request = self._request("PUT", f"{self._prefix}{name}", headers=headers, digest=digest)
        await self._asked(request, body)

    async def adopt(self, other: "Bucket", name: str, *, storage_class: str | None = None) -> str | None:
        """Let the server copy an object of another of its buckets; the SHA-256 of the copy, None where it says none.

        Raises:
            GoneError: it is not there.
            ActionError: it could not be copied.
        """
        source = quote(f"/{other.bucket}/{other.prefix}{name}", safe="/-_.~")
        headers = {
            "x-amz-copy-source": source,
            "x-amz-checksum-algorithm": "SHA256",
            **_class_header(storage_class),
        }
        document = _document(await self._asked(self._request("PUT", f"{self._prefix}{name}", headers=headers)))
        if document.tag == "Error" and document.findtext("Code") == _GONE:
            msg = f"file {name} of repository {other.name} has gone: run this again"
            raise GoneError(msg)
        if document.tag == "Error":
            # A copy that fails after it was begun is answered by an error that looks like a success.
            msg = f"cannot copy into {self.name}: {document.findtext('Code')}: {document.findtext('Message')}"
            raise UnreachableError(msg)
        try:
            return b64decode(document.findtext("ChecksumSHA256") or "").hex() or None
        except NotBase64Error:
            return None

    async def remove(self, name: str) -> None:
        """Delete the object."""
        await self._asked(self._request("DELETE", f"{self._prefix}{name}"))

    @property
    def bucket(self) -> str:
        """Its name."""
        return self._location.bucket

    @property
    def prefix(self) -> str:
        """What all names of its objects begin with."""
        return self._prefix

    def same_server(self, other: "Bucket") -> bool:
        """Whether one server with the same credentials keeps both, so that it can copy from one to the other."""
        mine, its = self._location, other._location  # noqa: SLF001 - of the same class
        return (mine.endpoint, mine.region, self._keys) == (its.endpoint, its.region, other._keys)  # noqa: SLF001

    async def _asked(self, request: Request, body: Body | None = None) -> "Response":
        """The good answer to a request; a server that wants another region is asked again with that one."""
        answer = await self._answer(request, body)
        code, document = _refusal(answer)
        region = document.findtext("Region") if document is not None else answer.headers.get("x-amz-bucket-region")
        region = region or answer.headers.get("x-amz-bucket-region")
        if code and region and region != self._region and self._location.region is None:
            self._region = region
            answer = await self._answer(request, body)
            code, document = _refusal(answer)
        if code and code != _GONE:
            said = (document.findtext("Message") if document is not None else None) or f"HTTP {answer.status_code}"
            msg = f"cannot use repository {self.name}: {self._explained(code, said, region)}"
            raise ActionError(msg)
        return answer

    async def _answer(self, request: Request, body: Body | None) -> "Response":
        seconds = {"seconds": _STORE_SECONDS} if request.headers else {}
        return await self.request(request.method, request.url, self._signature(request), body, **seconds)

    def _request(
        self,
        method: str,
        key: str = "",
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        digest: str = EMPTY,
    ) -> Request:
        path = f"/{self._location.bucket}/{key}" if key else f"/{self._location.bucket}"
        return Request(
            method=method,
            endpoint=self._location.endpoint,
            path=path,
            query=query or {},
            headers=headers or {},
            digest=digest,
        )

    def _signature(self, request: Request) -> Mapping[str, str]:
        access_key, secret_key = self._keys
        return request.signed(Keys(access=access_key, secret=secret_key, region=self._region), datetime.now(UTC))

    def _explained(self, code: str, said: str, region: str | None) -> str:
        """What the server refuses, and what to do about it."""
        location = self._location
        secret = f"Secret {location.secret_ref.name!r}"
        match code:
            case "NoSuchBucket":
                return f"there is no bucket {location.bucket!r}: create it, or correct {self._field}.bucket"
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
                field = self._field
                return (
                    f"the bucket is in another region ({where}): correct {field}.region, and {field}.endpoint where it "
                    "names one"
                )
            case _ if code == _UNREADABLE:
                return f"what answers is no S3 server ({said}): check {self._field}.endpoint"
            case _:
                return f"{code}: {said.rstrip('.')}: {_ADVICE.get(code, _LOG)}"


def _class_header(storage_class: str | None) -> Mapping[str, str]:
    return {"x-amz-storage-class": storage_class} if storage_class else {}


def _secret(context: Context, names: Sequence[str], secret: str, directory: str) -> str:
    """The value of the first of these keys that is there."""
    name = next((name for name in names if (context.credentials / directory / name).is_file()), names[0])
    path = context.secret_file(directory, name, holder="the repository", secret=secret)
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
        document = ET.fromstring(answer.content.strip())  # noqa: S314 - of the server that is trusted with the backups
    except ET.ParseError as error:
        msg = f"{urlsplit(str(answer.url)).netloc} does not answer like an S3 server: check s3.endpoint"
        raise ActionError(msg) from error
    for element in document.iter():
        element.tag = element.tag.rpartition("}")[2]
    return document
