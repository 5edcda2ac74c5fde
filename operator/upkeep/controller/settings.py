"""Settings of the operator, from its environment."""

import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self


class SettingsError(ValueError):
    """A setting is missing or wrong; the message names it and says what to set."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How the operator runs.

    Attributes:
        image: image of Jobs and pages (UPKEEP_IMAGE).
        namespace: where its Lease is (UPKEEP_NAMESPACE).
        identity: its name as a candidate for the Lease (UPKEEP_POD_NAME, else the host's name).
        watch_namespaces: namespaces it serves; empty for all (UPKEEP_WATCH_NAMESPACES, comma separated).
        metrics_prefix: first part of every metric's name (UPKEEP_METRICS_PREFIX).
        log_level: debug, info, warning or error (UPKEEP_LOG_LEVEL).
        log_format: json or text (UPKEEP_LOG_FORMAT).
        port: of metrics and probes (UPKEEP_PORT).
        page_replicas: Pods of a maintenance page (UPKEEP_PAGE_REPLICAS).
    """

    image: str
    namespace: str
    identity: str
    watch_namespaces: tuple[str, ...] = ()
    metrics_prefix: str = "upkeep"
    log_level: str = "info"
    log_format: str = "json"
    port: int = 8080
    page_replicas: int = 2

    @classmethod
    def read(cls, environment: Mapping[str, str] = os.environ) -> Self:
        """The settings of this process.

        Raises:
            SettingsError: one is missing or wrong.
        """
        return cls(
            image=_required(environment, "UPKEEP_IMAGE", "the image that Jobs and maintenance pages use"),
            namespace=_required(environment, "UPKEEP_NAMESPACE", "the namespace of the operator's Lease"),
            identity=environment.get("UPKEEP_POD_NAME") or f"{socket.gethostname()}-{os.getpid()}",
            watch_namespaces=tuple(
                name.strip() for name in environment.get("UPKEEP_WATCH_NAMESPACES", "").split(",") if name.strip()
            ),
            metrics_prefix=environment.get("UPKEEP_METRICS_PREFIX") or "upkeep",
            log_level=_choice(environment, "UPKEEP_LOG_LEVEL", ("info", "debug", "warning", "error")),
            log_format=_choice(environment, "UPKEEP_LOG_FORMAT", ("json", "text")),
            port=_number(environment, "UPKEEP_PORT", 8080),
            page_replicas=_number(environment, "UPKEEP_PAGE_REPLICAS", 2),
        )


def _required(environment: Mapping[str, str], name: str, meaning: str) -> str:
    value = environment.get(name, "")
    if not value:
        msg = f"{name} is not set: set it to {meaning}"
        raise SettingsError(msg)
    return value


def _choice(environment: Mapping[str, str], name: str, choices: tuple[str, ...]) -> str:
    value = environment.get(name) or choices[0]
    if value not in choices:
        msg = f"{name}={value!r} is not one of {', '.join(choices)}"
        raise SettingsError(msg)
    return value


def _number(environment: Mapping[str, str], name: str, default: int) -> int:
    value = environment.get(name) or str(default)
    if not value.isdigit():
        msg = f"{name}={value!r} is not a number"
        raise SettingsError(msg)
    return int(value)
