"""What the workers of one test run share: who comes first brings it, who leaves last removes it."""

import fcntl
import json
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Together:
    """Something in the cluster that several processes of one test run use at the same time.

    Attributes:
        run: the test run's own name, the same in all of its processes.
        name: what is shared.
    """

    run: str
    name: str

    @contextmanager
    def holding(
        self, *, present: Callable[[], bool], bring: Callable[[], None], remove: Callable[[], None]
    ) -> Iterator[None]:
        """Bring it, and remove it after the last holder has left, unless it was there before the first came."""
        with self._holders() as known:
            known.setdefault("present", present())
            known["holders"] = known.get("holders", 0) + 1
            bring()
        try:
            yield
        finally:
            with self._holders() as known:
                known["holders"] -= 1
                if not known["holders"] and not known["present"]:
                    remove()

    @contextmanager
    def _holders(self) -> Iterator[dict[str, int]]:
        """Who is there; nobody else looks meanwhile."""
        path = Path(tempfile.gettempdir()) / f"upkeep-{self.run}-{self.name}.json"
        with path.open("a+", encoding="utf-8") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            file.seek(0)
            known = json.loads(file.read() or "{}")
            yield known
            file.seek(0)
            file.truncate()
            if known["holders"]:
                file.write(json.dumps(known))
            else:
                path.unlink()
