"""What it means that restic failed: its exit code, and its words where the code does not tell.

The codes are those of restic's documentation ("Scripting"): 3 partial, 10 no repository, 11 locked, 12 wrong password;
restic before 0.17 answers 1 instead of the last three and is understood by its words.
"""

import json
import re
from dataclasses import dataclass
from typing import Any, Final

from upkeep.actions.backup.process import Finished
from upkeep.actions.backup.storage import WRITABLE, Storage, Volume

PARTIAL: Final = 3
NO_REPOSITORY: Final = 10
LOCKED: Final = 11
WRONG_PASSWORD: Final = 12
NO_SPACE: Final = "no space left"

_EMPTY: Final = "snapshot is empty"
_LOCK_WORDS: Final = "repository is already locked"
_WORDS: Final = (
    ("Is there a repository at the following location", NO_REPOSITORY),
    (_LOCK_WORDS, LOCKED),
    ("wrong password or no key found", WRONG_PASSWORD),
)
_REQUEST: Final = re.compile(r'(?:Get|Put|Head|Post|Delete) "https?://|(?:dial|read|write) tcp |lookup \S+: ')
"""Go writes so of a request that got no answer."""
_UNREACHABLE: Final = "the server does not answer: check the network to it, and that it runs"
_DENIED: Final = "allow the credentials to read, write and delete there"
_SERVER: Final = (
    ("QuotaExceeded", None),
    ("StorageFull", None),
    ("Insufficient Storage", None),
    ("Access Denied", _DENIED),
    ("403 Forbidden", _DENIED),
    ("401 Unauthorized", _DENIED),
    ("bucket does not exist", "the bucket is gone: restore it, or correct s3.bucket"),
    ("SlowDown", _BUSY := "the server has trouble: look into its log"),
    ("Service Unavailable", _BUSY),
    ("Bad Gateway", _BUSY),
    ("Gateway Timeout", _BUSY),
    ("internal error", _BUSY),
    ("Internal Server Error", _BUSY),
    ("difference between the request time", "set the clocks of this node and of the server (NTP)"),
)
"""What a server says, and what to do; None: it has no room."""
_VOLUME: Final = (("permission denied", WRITABLE), ("read-only file system", WRITABLE))
_REFUSALS: Final = (
    (NO_SPACE, "the volume is full: enlarge it"),
    ("disk quota exceeded", "the volume is full: enlarge it"),
    ("operation not permitted", "only root may make such a file: leave it out by `paths`, and restore it by restic"),
    ("permission denied", "let the user of the Pod (the policy's runAsUser, or 65532) write there"),
    ("read-only file system", "the volume is mounted read-only: use one that can be written to"),
    ("file name too long", "the volume takes no such names: use another file system"),
)
"""What a volume says that does not take a file, and what to do."""
_QUOTED: Final = 200
_SCRATCH: Final = "the scratch volume is full: raise scratchSize"


@dataclass(frozen=True, slots=True, kw_only=True)
class Complaint:
    """A call of restic that has ended, for one storage."""

    finished: Finished
    storage: Storage

    @property
    def meaning(self) -> int:
        """The exit code as restic 0.17 and later would give it; 0 where nothing is wrong."""
        return meaning(self.finished)

    @property
    def explained(self) -> bool:
        """Whether something else than the content of the repository explains it."""
        known = self.meaning in {LOCKED, WRONG_PASSWORD} or self._cause() is not None
        return known or self.meaning < 0  # a signal ended it: that says nothing about the repository

    def advice(self, *, secret: str) -> str:
        """What is wrong, and what to do about it.

        Args:
            secret: name of the Secret with the password.
        """
        words, waited = self.words, ""
        if self.finished.waited:
            waited = f" (waited {self.finished.waited:.0f}s for its end)"
        match self.meaning:
            case 3:
                return f"only a part was backed up: {words}: the snapshot is not complete, run it again"
            case 10:
                return f"there is no repository: the first backup makes it; check {self._place()}"
            case 11:
                return f"{words}{waited}: wait until the other run has ended, then run this again"
            case 12:
                return f"wrong password (or a damaged key file): check the Secret {secret!r}"
            case code if code < 0:
                return f"signal {-code} ended restic, by a lack of memory or by somebody: run it again"
            case _:
                return f"{words}: {self._cause() or self.storage.advice}"

    def _cause(self) -> str | None:
        """What to do about what surrounds the repository, where that is what is wrong."""
        errors = self.finished.errors
        if _EMPTY in errors:
            return "exclude leaves out everything: correct it"
        if isinstance(self.storage, Volume):
            known = (*_VOLUME, (NO_SPACE, self.storage.room))
            return next((advice for words, advice in known if words in errors), None)
        if NO_SPACE in errors:
            return _SCRATCH
        for words, advice in _SERVER:
            if words in errors:
                return advice or self.storage.room
        return _UNREACHABLE if _REQUEST.search(errors) else None

    def _place(self) -> str:
        return "the volume and path" if isinstance(self.storage, Volume) else "its address"

    @property
    def words(self) -> str:
        """What restic says was wrong; with --json newer versions say it as a document."""
        finished = self.finished
        messages = [
            str(document["message"])
            for document in documents(finished.errors)
            if document.get("message_type") == "exit_error"
        ]
        locks = [line for line in finished.errors.splitlines() if _LOCK_WORDS in line]
        return next((line.removeprefix("Fatal: ") for line in [*messages, *locks]), finished.complaint)


def meaning(finished: Finished) -> int:
    """The exit code as restic 0.17 and later would give it."""
    if finished.code != 1:
        return finished.code
    known = next((code for words, code in _WORDS if words in finished.errors), 1)
    # restic asks where the repository is whatever kept it from reading the config.
    return 1 if known == NO_REPOSITORY and _prevented(finished.errors) else known


def refused(finished: Finished) -> str:
    """Why the volume that files were to be restored to did not take them, and what to do; empty where it is not that.

    What restic says of a repository names it otherwise: these are the words of system calls on files.
    """
    for line in finished.errors.splitlines():
        for words, advice in _REFUSALS:
            if words in line.lower():
                return f"{line.strip()[:_QUOTED]}: {advice}"
    return ""


def _prevented(errors: str) -> bool:
    known = any(words in errors for words, _ in (*_SERVER, *_VOLUME))
    return known or _REQUEST.search(errors) is not None


def documents(text: str) -> list[dict[str, Any]]:
    """The lines that are JSON objects."""
    found = []
    for line in text.splitlines():
        if line.startswith("{"):
            try:
                found.append(json.loads(line))
            except ValueError:
                continue
    return found
