"""Has Google import an export into a Firestore database.

It must never begin before the database was named twice: documents there are overwritten.
"""

from typing import Annotated, ClassVar

from pydantic import Field

from upkeep.actions.contract import Action, ActionError, Context, Outcome, Result
from upkeep.actions.fields import LabelName
from upkeep.actions.firestore.database import database
from upkeep.actions.firestore.operation import Transfer, carry_out
from upkeep.actions.firestore.place import Collections, Export


class FirestoreImport(Action):
    """Has Google import an export into a Firestore database, and waits until that is done.

    Documents of the export overwrite those of the same name; others stay as they are. An import of the same that a
    killed run left under way is taken over; one whose step is stopped is cancelled, and what it has written by then
    stays. Locks: none; stop what writes there first. Privileges: none in Kubernetes; the service account needs
    roles/datastore.importExportAdmin in the project, and roles/storage.admin on the bucket.
    """

    action_name: ClassVar[str] = "firestoreImport"

    connection: LabelName
    """Name of a firestore connection."""
    from_: Annotated[Export, Field(alias="from")]
    """The export, as the fact output_uri_prefix of firestoreExport has it."""
    collection_ids: Collections | None = None
    """Ids of collections that are imported. Left out: all of the export."""
    confirm: Annotated[str, Field(min_length=1, max_length=200)]
    """`PROJECT/DATABASE` of the connection, once more, for example `shop-prod/(default)`."""

    async def run(self, context: Context) -> Result:
        """Import, and wait.

        Raises:
            ActionError: not confirmed, it cannot be begun, or it has failed; says what to do.
        """
        ids = sorted(set(self.collection_ids or ()))
        wanted = Transfer(
            verb="importDocuments",
            place="inputUriPrefix",
            body={"inputUriPrefix": self.from_, **({"collectionIds": ids} if ids else {})},
            same=lambda other: other.place.rstrip("/") == self.from_ and other.collections == frozenset(ids),
        )
        async with database(context, self.connection) as store:
            if self.confirm != store.name:
                msg = f"documents of {store.name} would be overwritten: set confirm to {store.name!r} if that is wanted"
                raise ActionError(msg)
            done, taken_over = await carry_out(store, wanted)
            name = store.name
        if not done.documents:
            msg = f"nothing was imported into {name}: check that {self.from_} has these collections"
            raise ActionError(msg)
        message = f"{done.documents} documents of {self.from_} imported into {name}"
        if taken_over:
            message += ", by an import that was under way already"
        return Result(
            outcome=Outcome.CHANGED,
            message=message,
            metrics={"documents": float(done.documents), "bytes": float(done.bytes)},
        )
