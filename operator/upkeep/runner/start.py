"""Starts a run quickly: a check of seconds should not take half of them to begin."""

import gc
from collections.abc import Callable


def loaded() -> Callable[..., int]:
    """What executes a run, loaded without what only the makers of the CRDs need.

    Nothing that is loaded becomes garbage, and looking for it takes a tenth of the time.
    """
    gc.disable()
    from upkeep.actions.fields import leave_out_descriptions  # noqa: PLC0415 - before any model is made

    leave_out_descriptions()
    from upkeep.runner.command import main  # noqa: PLC0415 - it loads the models

    gc.freeze()
    gc.enable()
    return main
