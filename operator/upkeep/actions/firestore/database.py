"""A Firestore database as Google's admin API (version 1) shows it, with errors that say what to do about them."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from upkeep.actions.connections import FirestoreTarget
from upkeep.actions.contract import ActionError, Context
from upkeep.actions.firestore.answer import BusyError, answer, patiently, quoted
from upkeep.actions.firestore.credential import Tokens
from upkeep.actions.http.session import CONNECT_SECONDS, trust

if TYPE_CHECKING:
    from httpx import AsyncClient

_SECONDS: Final = 30.0
_PATIENCE_SECONDS: Final = 300.0
_STATES: Final = {
    1: "CANCELLED",
    3: "INVALID_ARGUMENT",
    5: "NOT_FOUND",
    7: "PERMISSION_DENIED",
    8: "RESOURCE_EXHAUSTED",
    9: "FAILED_PRECONDITION",
    13: "INTERNAL",
    14: "UNAVAILABLE",
    16: "UNAUTHENTICATED",
}
"""Of google.rpc.Code, those that have something to do with what is done here."""
_STORAGE: Final = ("storage.", "bucket", "gs://")
_REGION: Final = ("region", "location")
_STORAGE_ADVICE: Final = {
    "PERMISSION_DENIED": "grant roles/storage.admin on the bucket, also to the Firestore service agent "
    "(service-PROJECT_NUMBER@gcp-sa-firestore.iam.gserviceaccount.com)",
    "NOT_FOUND": "create the bucket, or correct its name",
    "INVALID_ARGUMENT": "check that the bucket, and what is named in it, is there",
    "FAILED_PRECONDITION": "check that the bucket, and what is named in it, is there",
}
_ADVICE: Final = {
    "PERMISSION_DENIED": "grant the service account roles/datastore.importExportAdmin in the project",
    "UNAUTHENTICATED": "the token is refused: check the service account and its key",
    "NOT_FOUND": "check project and database of the connection",
    "RESOURCE_EXHAUSTED": "a quota is used up (20 exports and imports a minute, 50 at once): run it later",
    "CANCELLED": "somebody cancelled it: run it again",
}

Object = Mapping[str, Any]


@dataclass(slots=True, kw_only=True)
class Database:
    """A database.

    Attributes:
        target: which one.
        patience: for how many seconds a question without an answer is asked again.
    """

    target: FirestoreTarget
    client: "AsyncClient"
    tokens: Tokens
    patience: float

    @property
    def name(self) -> str:
        """As it is confirmed: `PROJECT/DATABASE`."""
        return f"{self.target.project}/{self.target.database}"

    @property
    def path(self) -> str:
        """As the API names it."""
        return f"projects/{self.target.project}/databases/{self.target.database}"

    async def ask(self, method: str, path: str, *, body: Object | None = None, **parameters: str) -> Object:
        """One request, asked once.

        Args:
            method: GET or POST.
            path: behind the version, for example `projects/p/databases/d:exportDocuments`.
            body: JSON.
            parameters: of the query.

        Raises:
            BusyError: there is no answer now.
            ActionError: the answer is an error.
        """
        url = f"{self.target.endpoint}/v1/{quote(path, safe='/:()')}"
        for attempt in range(2):
            token = await self.tokens.current(self.client)
            headers = {"Authorization": f"Bearer {token}"}
            status, found = await answer(self.client, method, url, json=body, params=parameters, headers=headers)
            if status != HTTPStatus.UNAUTHORIZED or attempt:
                break
            self.tokens.forget()
        if status == HTTPStatus.OK and isinstance(found, dict):
            return found
        match found:
            case {"error": {} as error}:
                msg = self.explained(error, token)
                if status == HTTPStatus.TOO_MANY_REQUESTS:
                    raise BusyError(msg)
                raise ActionError(msg)
        msg = f"{self.target.endpoint} does not answer as Firestore does (status {status}): check endpoint"
        raise BusyError(msg) if status == HTTPStatus.TOO_MANY_REQUESTS else ActionError(msg)

    async def look(self, path: str, **parameters: str) -> Object:
        """What is there, asked again while nobody answers.

        Raises:
            ActionError: the answer is an error, or there was none.
        """
        return await patiently(lambda: self.ask("GET", path, body=None, **parameters), seconds=self.patience)

    def explained(self, error: Object, *secrets: str) -> str:
        """What Google said (google.rpc.Status), and what to do about it."""
        text = str(error.get("message") or "")
        state = str(error.get("status") or _STATES.get(error.get("code") or 0, f"code {error.get('code')}"))
        said = quoted(f"{state}: {text}" if text else state, *secrets)
        return f"{self.name}: {said}: {self._advice(state, text.lower(), _reasons(error))}"

    def _advice(self, state: str, text: str, reasons: frozenset[str]) -> str:
        if "SERVICE_DISABLED" in reasons:
            return f"enable the Firestore API (firestore.googleapis.com) in project {self.target.project}"
        if "BILLING_DISABLED" in reasons or "billing" in text:
            return f"enable billing for project {self.target.project}: exports and imports need it"
        if any(sign in text for sign in _REGION):
            return "use a bucket in the location of the database, or near it"
        known = _STORAGE_ADVICE if any(sign in text for sign in _STORAGE) else {}
        return known.get(state) or _ADVICE.get(state, "see the operation in Google's console")


@asynccontextmanager
async def database(context: Context, name: str) -> AsyncIterator[Database]:
    """The database of a connection.

    Raises:
        ActionError: no such connection or Secret, or a Secret without a usable key.
    """
    import httpx  # noqa: PLC0415 - a driver is loaded only when an action runs

    target = context.target(name, FirestoreTarget)
    patience = min(_PATIENCE_SECONDS, context.remaining / 2)
    tokens = Tokens.of(context, name, patience=patience)
    timeout = httpx.Timeout(_SECONDS, connect=CONNECT_SECONDS)
    async with httpx.AsyncClient(timeout=timeout, verify=trust("https:"), trust_env=False) as client:
        yield Database(target=target, client=client, tokens=tokens, patience=patience)


def _reasons(error: Object) -> frozenset[str]:
    details = error.get("details")
    listed = details if isinstance(details, list) else []
    return frozenset(str(each.get("reason")) for each in listed if isinstance(each, dict))
