"""A repository on a REST server of restic (rest-server, rclone serve restic).

Credentials travel in a file that only this user can read, never in an argument or a variable.
"""

from base64 import b64encode
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final
from urllib.parse import quote, urlsplit

from pydantic import AfterValidator, Field

from upkeep.actions.backup.storage import STORAGE_NAME, File
from upkeep.actions.backup.webstore import WebStore, private_file
from upkeep.actions.connections import SecretReference, readable_url
from upkeep.actions.contract import ActionError, Context
from upkeep.actions.fields import Model

if TYPE_CHECKING:
    from httpx import Response

_LOCATION_FILE: Final = "rest-location"
_SIZES: Final = {"Accept": "application/vnd.x.restic.rest.v2"}
_PARTS: Final = ("data", "index", "keys", "locks", "snapshots")
_CONFIG: Final = "config"
_NOT_FOUND: Final = 404
_REFUSED: Final = frozenset({401, 403})


class RestLocation(Model):
    """A repository on a REST server of restic."""

    url: Annotated[
        str,
        Field(max_length=2048, pattern=r"^https?://[^\t-\r /?#@]+(/[A-Za-z0-9._~/-]*)?$"),
        AfterValidator(readable_url),
    ]
    """Address with the path of the repository, for example `https://backups.example.com:8000/shop`; without user name
    or password."""
    secret_ref: SecretReference | None = None
    """Secret with the keys `username` and `password`, and `ca.crt` where the authority of an https server is not one of
    the system's. Left out: no authentication."""


class RestServer(WebStore):
    """The repository, with its credentials."""

    def __init__(self, location: RestLocation, context: Context) -> None:
        """Find the credentials.

        Raises:
            ActionError: the Secret is missing, or has not both keys.
        """
        self.url = f"{location.url.rstrip('/')}/"
        self._secret = location.secret_ref.name if location.secret_ref else ""
        self._login = _login(context, self._secret) if self._secret else None
        authority = context.credentials / STORAGE_NAME / "ca.crt"
        self.authority = authority if authority.is_file() else None
        self.name = f"rest:{self.url}".rstrip("/")
        self.room = "the server takes no more: give it more room, or raise its --max-size"

    @property
    def options(self) -> Sequence[str]:
        """The authority."""
        return [f"--cacert={self.authority}"] if self.authority else []

    @contextmanager
    def credentials(self, scratch: Path) -> Iterator[Mapping[str, str]]:
        """A file with the address as restic wants it."""
        place = urlsplit(self.url)
        login = ":".join(quote(word, safe="") for word in self._login) + "@" if self._login else ""
        location = f"rest:{place.scheme}://{login}{place.netloc}{place.path}"
        with private_file(scratch / _LOCATION_FILE, location) as path:
            yield {"RESTIC_REPOSITORY_FILE": str(path)}

    async def files(self, part: str = "") -> Mapping[str, File]:
        """Directory by directory; the server does not tell how old a file is, so all are new."""
        found: dict[str, File] = {}
        for directory in _PARTS:
            if not f"{directory}/".startswith(part):
                continue
            for each in _listed(await self._asked("GET", f"{directory}/")):
                found[f"{directory}/{each['name']}"] = File(bytes=int(each.get("size", 0)), age=0.0)
        if _CONFIG.startswith(part):
            answer = await self._asked("HEAD", _CONFIG)
            if answer.status_code != _NOT_FOUND:
                found[_CONFIG] = File(bytes=int(answer.headers.get("content-length", 0)), age=0.0)
        return found

    def content(self, name: str) -> AsyncGenerator[bytes, None]:
        """As the server sends it."""
        return self.received(f"{self.url}{name}", self._headers)

    async def put(self, name: str) -> None:
        """Nothing: the server takes only files of restic, and itself refuses a second config."""

    async def remove(self, name: str) -> None:
        """Delete the file; also an append-only server lets locks be deleted."""
        await self._asked("DELETE", name)

    @property
    def _headers(self) -> Mapping[str, str]:
        if not self._login:
            return _SIZES
        return {**_SIZES, "Authorization": f"Basic {b64encode(':'.join(self._login).encode()).decode()}"}

    async def _asked(self, method: str, name: str) -> "Response":
        """The answer to a request: good, or that there is no such file."""
        answer = await self.request(method, f"{self.url}{name}", self._headers)
        if answer.is_success or answer.status_code == _NOT_FOUND:
            return answer
        if answer.status_code in _REFUSED:
            where = f"keys 'username' and 'password' of Secret {self._secret!r}" if self._secret else "rest.secretRef"
            msg = f"cannot use repository {self.name}: access denied (HTTP {answer.status_code}): check {where}"
            raise ActionError(msg)
        msg = f"cannot use repository {self.name}: HTTP {answer.status_code}: check rest.url and the server's log"
        raise ActionError(msg)


def _login(context: Context, secret: str) -> tuple[str, str]:
    files = [
        context.secret_file(STORAGE_NAME, key, holder="the repository", secret=secret)
        for key in ("username", "password")
    ]
    username, password = (path.read_text(errors="replace").strip() for path in files)
    return username, password


def _listed(answer: "Response") -> Sequence[Mapping[str, Any]]:
    """The files of a directory; a server of the first version of the protocol tells only their names.

    Raises:
        ActionError: it is no such server.
    """
    if answer.status_code == _NOT_FOUND:
        return []
    try:
        found = answer.json() or []
        return [each if isinstance(each, dict) else {"name": str(each)} for each in found]
    except (ValueError, TypeError) as error:
        msg = f"{urlsplit(str(answer.url)).netloc} does not answer like a REST server of restic: check rest.url"
        raise ActionError(msg) from error
