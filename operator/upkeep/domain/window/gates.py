"""What may hold an opening back, or call it off, although its time has come.

Every gate is asked before the page of an opening comes up, and again until the window opens. A gate is a pure function
of what was seen; adding one is a module with the function, and a line here.
"""

from collections.abc import Callable, Sequence
from typing import Final

from upkeep.api.window import WindowSpec
from upkeep.domain.account import Cause
from upkeep.domain.openings import Opening
from upkeep.domain.window.approval import approval_gate
from upkeep.domain.window.backend import backend_gate
from upkeep.domain.window.checklist import checklist_gate
from upkeep.domain.window.freeze import freeze_gate
from upkeep.domain.window.held import Held
from upkeep.domain.window.requires import requires
from upkeep.domain.window.snapshot import WindowSnapshot

Gate = Callable[[WindowSnapshot, WindowSpec, Opening], Held | Cause | None]

GATES: Final[Sequence[Gate]] = (freeze_gate, approval_gate, checklist_gate, requires, backend_gate)


def verdict(snapshot: WindowSnapshot, spec: WindowSpec, opening: Opening) -> Held | Cause | None:
    """What stands in the way of an opening; what calls it off comes before what only holds it back."""
    answers = [answer for gate in GATES if (answer := gate(snapshot, spec, opening)) is not None]
    refusals = [answer for answer in answers if isinstance(answer, Cause)]
    return next(iter(refusals or answers), None)
