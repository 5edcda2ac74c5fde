"""Log lines as JSON on standard output, one an event, so that the full findings outlive the termination message.

Every line passes through the redaction; no other handler may be added.
"""

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Final

from upkeep.runner.redaction import Redaction

FIELDS: Final = "fields"
"""Name of the `extra` that carries an event's own fields."""


class _Lines(logging.Formatter):
    def __init__(self, redaction: Redaction) -> None:
        super().__init__()
        self._redaction = redaction

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, tz=UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "message": record.getMessage(),
            **getattr(record, FIELDS, {}),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(self._redaction.fields(line), ensure_ascii=False, default=str)


def start(redaction: Redaction) -> None:
    """Send everything that is logged from now on to standard output."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(_Lines(redaction))
    logging.basicConfig(handlers=[handler], level=logging.INFO, force=True)
    logging.getLogger("httpx").setLevel(logging.WARNING)  # it logs whole URLs
