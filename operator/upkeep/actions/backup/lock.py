"""Whose locks on a repository may be removed.

restic calls a lock stale when its process on the same host is gone, or when it was not renewed for 30 minutes. In
Kubernetes every run has a Pod, and so a host, of its own: what one leaves that was killed would lock everybody out for
half an hour. The lock of somebody who may still be there must never be removed.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

_LONGEST_BASE: Final = 58
"""Of a Pod's name that the API server makes; five random characters follow (apiserver/pkg/storage/names)."""
_RANDOM: Final = "[a-z0-9]{5}"


@dataclass(frozen=True, slots=True)
class Departed:
    """Jobs whose Pods are known to be gone."""

    jobs: Sequence[str] = ()

    def left(self, lock: dict[str, Any]) -> bool:
        """Whether the Pod of one of them has left this lock."""
        return self.known(str(lock.get("hostname")))

    def known(self, host: str) -> bool:
        """Whether the host was the Pod of one of them."""
        bases = (f"{job}-"[:_LONGEST_BASE] for job in self.jobs)
        return any(re.fullmatch(f"{re.escape(base)}{_RANDOM}", host) for base in bases)
