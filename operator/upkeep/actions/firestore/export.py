"""Has Google export a Firestore database to a bucket, and says what has arrived there.

It must never begin a second export while the same is under way, nor count one that has nothing in it.
"""

import re
from datetime import UTC, datetime
from typing import ClassVar, Final

from upkeep.actions.contract import Action, ActionError, Context, Outcome, Result
from upkeep.actions.fields import LabelName
from upkeep.actions.firestore.database import database
from upkeep.actions.firestore.operation import Operation, Transfer, carry_out
from upkeep.actions.firestore.place import Collections, Prefix
from upkeep.actions.text import readable

_STAMP: Final = "%Y%m%dT%H%M%SZ"
_STAMPED: Final = re.compile(r"[0-9]{8}T[0-9]{6}Z")


class FirestoreExport(Action):
    """Has Google export a Firestore database to a Cloud Storage bucket, and waits until that is done.

    Each export gets a directory of its own by its time, such as `20260301T020000Z`. One of the same collections to the
    same place that a killed run left under way is taken over; one whose step is stopped is cancelled. An export without
    documents is a failure. A document that is written meanwhile may be in it or not. Old exports are removed by a
    lifecycle rule of the bucket, not by Upkeep. Google counts one read for each document. Locks: none.
    Privileges: none in Kubernetes; the service account needs roles/datastore.importExportAdmin in the project, and
    roles/storage.admin on the bucket.
    """

    action_name: ClassVar[str] = "firestoreExport"

    connection: LabelName
    """Name of a firestore connection."""
    to: Prefix
    """Where the directory of the export is made, for example `gs://shop-exports/nightly`."""
    collection_ids: Collections | None = None
    """Ids of collections and of subcollections that are exported. Left out: all."""

    async def run(self, context: Context) -> Result:
        """Export, and wait.

        Raises:
            ActionError: it cannot be begun, or it has failed; says what to do.
        """
        place = f"{self.to}/{datetime.now(UTC):{_STAMP}}"
        ids = sorted(set(self.collection_ids or ()))
        wanted = Transfer(
            verb="exportDocuments",
            place="outputUriPrefix",
            body={"outputUriPrefix": place, **({"collectionIds": ids} if ids else {})},
            same=lambda other: self._ours(other.place) and other.collections == frozenset(ids),
        )
        async with database(context, self.connection) as store:
            done, taken_over = await carry_out(store, wanted)
            return self._result(store.name, done, taken_over=taken_over)

    def _ours(self, place: str) -> bool:
        """Whether an export to there is one of this step."""
        parent, _, stamp = place.rstrip("/").rpartition("/")
        return parent == self.to and _STAMPED.fullmatch(stamp) is not None

    @staticmethod
    def _result(name: str, done: Operation, *, taken_over: bool) -> Result:
        place = readable(done.place)
        if not done.documents:
            msg = f"the export of {name} to {place} has no documents: check database and collectionIds"
            raise ActionError(msg)
        message = f"{done.documents} documents of {name} exported to {place}"
        if taken_over:
            message += ", by an export that was under way already"
        return Result(
            outcome=Outcome.CHANGED,
            message=message,
            metrics={"documents": float(done.documents), "bytes": float(done.bytes)},
            facts={"output_uri_prefix": place},
        )
