"""Long-running operations of Firestore: what is under way is found, begun only once, waited for, and stopped.

Google carries them out whether anybody waits or not: a run that is killed leaves one behind, and the next run has to
find it. Nothing but what an operation says itself may be reported of it.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final

from upkeep.actions.contract import ActionError
from upkeep.actions.firestore.answer import Pauses, patiently
from upkeep.actions.firestore.database import Database

_PAGE: Final = "100"
_PAGES: Final = 50
_STOP_SECONDS: Final = 8.0
"""Of the 30 that a Pod is given to end."""
_CANCELLED: Final = 1

Object = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One operation.

    Attributes:
        name: as the API names it.
        place: where it exports to or imports from; empty for any other kind.
        collections: those that were asked for; empty: all.
        state: as Google says, for example PROCESSING.
        done: whether it is over.
        documents: how many it has handled.
        bytes: how many.
        error: why it failed (google.rpc.Status).
    """

    name: str
    place: str
    collections: frozenset[str]
    state: str
    done: bool
    documents: int
    bytes: int
    error: Object = field(default_factory=dict)

    @property
    def under_way(self) -> bool:
        """Whether it will still come to an end of its own; one that is being cancelled will not."""
        return not self.done and self.state != "CANCELLING"

    @classmethod
    def read(cls, found: object, place: str) -> "Operation | None":
        """An operation of the API, with its place under this key; None where it is none."""
        match found:
            case {"name": str(name), **rest}:
                raw = rest.get("metadata")
                metadata: Object = raw if isinstance(raw, dict) else {}
                listed = metadata.get("collectionIds")
                error = rest.get("error")
                return cls(
                    name=name,
                    place=str(metadata.get(place) or ""),
                    collections=frozenset(map(str, listed if isinstance(listed, list) else [])),
                    state=str(metadata.get("operationState") or ""),
                    done=rest.get("done") is True,
                    documents=_work(metadata.get("progressDocuments")),
                    bytes=_work(metadata.get("progressBytes")),
                    error=error if isinstance(error, dict) else {},
                )
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Transfer:
    """An export or an import that is wanted.

    Attributes:
        verb: of the API, for example `exportDocuments`.
        place: the key under which an operation has its place.
        body: of the request.
        same: whether an operation does what is wanted here.
    """

    verb: str
    place: str
    body: Object
    same: Callable[[Operation], bool]


async def carry_out(store: Database, wanted: Transfer) -> tuple[Operation, bool]:
    """Begin it, or take over the same that is under way; wait until it is over.

    Cancelled, it cancels the operation too and leaves a note of that.

    Returns:
        The operation, which has not failed, and whether it was taken over.

    Raises:
        ActionError: it could not be begun, it has failed, or nobody says how it goes.
    """
    listed = await _listed(store, wanted)
    running = next((each for each in listed if each.under_way and wanted.same(each)), None)
    begun = running or await _begun(store, wanted, frozenset(each.name for each in listed))
    try:
        done = await _over(store, wanted, begun)
    except asyncio.CancelledError as stopped:
        stopped.add_note(await _stopped(store, begun.name))
        raise
    if done.error or done.state in {"FAILED", "CANCELLED"}:
        error = done.error or {"message": f"it has ended as {done.state}", "code": _CANCELLED}
        msg = f"{wanted.verb} of {store.explained(error)}; {done.documents} documents were done before"
        raise ActionError(msg)
    return done, running is not None


async def _begun(store: Database, wanted: Transfer, known: frozenset[str]) -> Operation:
    """Begin it, once: before it is asked for again, it is looked whether it was begun without a word of that."""
    asked = False

    async def attempt() -> Operation:
        nonlocal asked
        if asked:
            ours = (each for each in await _listed(store, wanted) if each.name not in known and wanted.same(each))
            if (found := next(ours, None)) is not None:
                return found
        asked = True
        return _readable(store, wanted, await _posted(store, f"{store.path}:{wanted.verb}", wanted.body))

    return await patiently(attempt, seconds=store.patience)


async def _posted(store: Database, path: str, body: Object) -> Object:
    """Ask for an operation; when told to stop meanwhile, cancel what may have come of it."""
    posting = asyncio.create_task(store.ask("POST", path, body=body))
    try:
        return await asyncio.shield(posting)
    except asyncio.CancelledError as stopped:
        with suppress(ActionError, TimeoutError):
            found = await asyncio.wait_for(posting, _STOP_SECONDS)
            stopped.add_note(await _stopped(store, str(found.get("name"))))
        raise


async def _over(store: Database, wanted: Transfer, operation: Operation) -> Operation:
    pauses = Pauses()
    while not operation.done:
        await asyncio.sleep(pauses.next())
        try:
            operation = _readable(store, wanted, await store.look(operation.name))
        except ActionError as error:
            msg = f"{operation.name} goes on at Google, but nobody says how: {error}"
            raise ActionError(msg) from error
    return operation


async def _stopped(store: Database, name: str) -> str:
    """Cancel it; what came of that."""
    try:
        async with asyncio.timeout(_STOP_SECONDS):
            await patiently(lambda: store.ask("POST", f"{name}:cancel", body={}), seconds=_STOP_SECONDS)
    except (ActionError, TimeoutError):
        return f"{name} goes on at Google: it could not be cancelled"
    return f"{name} was cancelled, and what it has done before stays"


async def _listed(store: Database, wanted: Transfer) -> Sequence[Operation]:
    """The operations of the database that have a place of this kind."""
    found: list[Operation] = []
    token = ""
    for _ in range(_PAGES):
        page = await store.look(f"{store.path}/operations", pageSize=_PAGE, **({"pageToken": token} if token else {}))
        listed = page.get("operations")
        read = (Operation.read(each, wanted.place) for each in (listed if isinstance(listed, list) else []))
        found += [each for each in read if each is not None and each.place]
        token = str(page.get("nextPageToken") or "")
        if not token:
            return found
    msg = f"{store.name} has more than {_PAGES} pages of operations: check endpoint"
    raise ActionError(msg)


def _readable(store: Database, wanted: Transfer, found: Object) -> Operation:
    operation = Operation.read(found, wanted.place)
    if operation is None or not operation.name.startswith(f"{store.path}/operations/"):
        msg = f"{store.target.endpoint} does not answer with an operation of {store.name}: check endpoint"
        raise ActionError(msg)
    return operation


def _work(found: object) -> int:
    """What is done, as a number; the API writes numbers of 64 bits as text, and leaves out 0."""
    done = found.get("completedWork") if isinstance(found, dict) else None
    text = str(done)
    return int(text) if text.isascii() and text.isdigit() else 0
