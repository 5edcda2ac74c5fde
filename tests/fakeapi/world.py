"""The rest of the cluster, simulated and opt-in: without it nothing runs and nothing becomes ready.

It exists so that a test of the operator needs no kubelet. It must never go through HTTP: what the world does is no
request of a client.
"""

from fakeapi.behaviours import Choice, Finish
from fakeapi.jobs import JobController
from fakeapi.store import Store
from fakeapi.timers import Timers
from fakeapi.workloads import WorkloadControllers

_DEFAULT = Finish()


class World:
    """The simulated controllers of one fake cluster.

    Args:
        store: what they act on.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._timers = Timers()
        self._jobs: JobController | None = None

    def jobs(self, behaviour: Choice = _DEFAULT, *, backoff: float = 0.0) -> None:
        """Run Jobs from now on, those that exist included; called again, change how Pods fare that start later.

        Args:
            behaviour: how their Pods fare; one for all, or a function that takes the Job and chooses.
            backoff: seconds between a failed Pod and the next one of the same Job.
        """
        if self._jobs is None:
            self._jobs = JobController(self._store, self._timers, behaviour, backoff=backoff)
        else:
            self._jobs.choice = behaviour

    def deployments(self, *, ready_after: float | None = 0.0) -> None:
        """Make Deployments available and give their Services endpoints, from now on.

        Args:
            ready_after: seconds until a new or changed Deployment is available, None for never.
        """
        WorkloadControllers(self._store, self._timers, ready_after=ready_after)

    def stop(self) -> None:
        """Let nothing more happen.

        Raises:
            Exception: what went wrong inside the world, for example in a test's own outcome.
        """
        self._timers.stop()
        if self._timers.failure is not None:
            raise self._timers.failure
