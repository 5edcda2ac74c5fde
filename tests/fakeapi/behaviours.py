"""How the Pods of simulated Jobs fare.

It exists so that a test says in one line what happens to a Job. It must never know the store.
"""

from collections.abc import Callable
from dataclasses import dataclass

from fakeapi.objects import Json

Outcome = Callable[[Json], tuple[int, str]]
"""Takes the Job and gives the exit code and the termination message of its Pod."""


def succeeds(_: Json) -> tuple[int, str]:
    """Exit with 0 and say nothing."""
    return 0, ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finish:
    """The Pod runs to its end.

    Attributes:
        outcome: its exit code and termination message; asked when it ends.
        pending: seconds until it runs.
        running: seconds that it runs.
    """

    outcome: Outcome = succeeds
    pending: float = 0.0
    running: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ImagePullError:
    """The Pod stays Pending, for its image cannot be had.

    Attributes:
        message: what the kubelet says about it.
        reason: `ErrImagePull` or `ImagePullBackOff`.
    """

    message: str = 'failed to pull and unpack image "example.invalid/no-such-image:1": not found'
    reason: str = "ErrImagePull"


@dataclass(frozen=True, slots=True, kw_only=True)
class NeverFinish:
    """The Pod runs and runs.

    Attributes:
        pending: seconds until it runs.
    """

    pending: float = 0.0


Behaviour = Finish | ImagePullError | NeverFinish
Choice = Behaviour | Callable[[Json], Behaviour]
"""One behaviour for all Jobs, or a function that takes the Job and chooses."""


def choose(choice: Choice, job: Json) -> Behaviour:
    """Return how a Job fares."""
    return choice if isinstance(choice, Finish | ImagePullError | NeverFinish) else choice(job)
