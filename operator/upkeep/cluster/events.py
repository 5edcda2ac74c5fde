"""Kubernetes Events: what `kubectl describe` tells a person. Losing one never loses anything else."""

import hashlib
import logging
from datetime import UTC, datetime
from typing import Final

from upkeep.cluster.client import Client, Urgency
from upkeep.cluster.errors import ApiError
from upkeep.cluster.resources import BY_KIND, EVENTS
from upkeep.domain.decision import Announce
from upkeep.domain.identity import Identity
from upkeep.domain.instants import write_instant

logger = logging.getLogger(__name__)

COMPONENT: Final = "upkeep"
_MAX_MESSAGE: Final = 1024


async def announce(client: Client, about: Identity, event: Announce, *, instance: str) -> None:
    """Write one Event on a resource; a failure is logged and forgotten."""
    now = datetime.now(UTC)
    moment = write_instant(now)
    digest = hashlib.sha256(f"{about.uid}{event.reason}{event.message}{now.timestamp()}".encode()).hexdigest()[:10]
    body = {
        "apiVersion": EVENTS.api_version,
        "kind": EVENTS.kind,
        "metadata": {"namespace": about.namespace, "name": f"{about.name[:240]}.{digest}"},
        "involvedObject": {
            "apiVersion": BY_KIND[about.kind].api_version,
            "kind": about.kind,
            "namespace": about.namespace,
            "name": about.name,
            "uid": about.uid,
        },
        "type": str(event.type),
        "reason": event.reason,
        "message": event.message[:_MAX_MESSAGE],
        "source": {"component": COMPONENT},
        "reportingComponent": COMPONENT,
        "reportingInstance": instance,
        "firstTimestamp": moment,
        "lastTimestamp": moment,
        "count": 1,
    }
    try:
        await client.create(EVENTS, body, urgency=Urgency.EVENT)
    except ApiError as problem:
        logger.warning("An Event could not be written: %s", problem, extra={"event": event.reason})
