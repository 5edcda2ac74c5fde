"""The one error the lab raises on purpose, so that a person reads a sentence and not a traceback.

It must never be used to hide a defect of the lab itself: those stay ordinary exceptions.
"""

from __future__ import annotations


class LabError(Exception):
    """Something about this machine or this call stops the lab.

    The message says what was being done to what, what happened, and what the reader can do about it.
    """
