"""Settings of the operator, from its environment."""

import os
import re
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Self

from upkeep.alertmanager.configuration import Endpoint, read_endpoints
from upkeep.cluster.lease import LeaseTimes, LeaseTimesError
from upkeep.configuration import ConfigurationError

_NAMESPACE: Final = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_WHOLE: Final = re.compile(r"[0-9]{1,9}")


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
        approval_policy: whether the cluster refuses approvals and ticks in the name of another
            (UPKEEP_APPROVAL_POLICY, true or false).
        metrics_prefix: first part of every metric's name (UPKEEP_METRICS_PREFIX).
        log_level: debug, info, warning or error (UPKEEP_LOG_LEVEL).
        log_format: json or text (UPKEEP_LOG_FORMAT).
        port: of metrics and probes; 0 for any that is free (UPKEEP_PORT).
        page_replicas: Pods of a maintenance page (UPKEEP_PAGE_REPLICAS).
        channels_file: where the channels to people stand; None: there are none (UPKEEP_CHANNELS_FILE).
        lease: how fast leadership moves (UPKEEP_LEASE_DURATION, in whole seconds, UPKEEP_LEASE_RENEW_DEADLINE,
            UPKEEP_LEASE_CALL_TIMEOUT, UPKEEP_LEASE_RETRY_PERIOD, in seconds, each shorter than the one before).
        api_timeout: seconds that a request to the API server may take (UPKEEP_API_TIMEOUT).
        relist_interval: seconds between two full lists, for what the watches did not tell (UPKEEP_RELIST_INTERVAL).
        sweep_interval: seconds between two looks for Ingresses on a page that nobody holds (UPKEEP_SWEEP_INTERVAL).
        alertmanagers: those of the platform, by the names that windows use, read once (UPKEEP_ALERTMANAGERS_FILE, a
            YAML file).
    """

    image: str
    namespace: str
    identity: str
    watch_namespaces: tuple[str, ...] = ()
    approval_policy: bool = False
    metrics_prefix: str = "upkeep"
    log_level: str = "info"
    log_format: str = "json"
    port: int = 8080
    page_replicas: int = 2
    channels_file: Path | None = None
    lease: LeaseTimes = field(default_factory=LeaseTimes)
    api_timeout: float = 10.0
    relist_interval: float = 600.0
    sweep_interval: float = 60.0
    alertmanagers: Mapping[str, Endpoint] = field(default_factory=dict)

    @classmethod
    def read(cls, environment: Mapping[str, str] = os.environ) -> Self:
        """The settings of this process.

        Raises:
            SettingsError: one is missing or wrong.
        """
        return cls(
            image=_required(environment, "UPKEEP_IMAGE", "the image that Jobs and maintenance pages use"),
            namespace=_namespace(
                "UPKEEP_NAMESPACE", _required(environment, "UPKEEP_NAMESPACE", "the namespace of the operator's Lease")
            ),
            identity=environment.get("UPKEEP_POD_NAME") or f"{socket.gethostname()}-{os.getpid()}",
            watch_namespaces=_namespaces(environment, "UPKEEP_WATCH_NAMESPACES"),
            approval_policy=_choice(environment, "UPKEEP_APPROVAL_POLICY", ("false", "true")) == "true",
            metrics_prefix=_prefix(environment, "UPKEEP_METRICS_PREFIX"),
            log_level=_choice(environment, "UPKEEP_LOG_LEVEL", ("info", "debug", "warning", "error")),
            log_format=_choice(environment, "UPKEEP_LOG_FORMAT", ("json", "text")),
            port=_number(environment, "UPKEEP_PORT", 8080, least=0, most=65535),
            page_replicas=_number(environment, "UPKEEP_PAGE_REPLICAS", 2, most=100),
            channels_file=Path(environment["UPKEEP_CHANNELS_FILE"])
            if environment.get("UPKEEP_CHANNELS_FILE")
            else None,
            lease=_lease(environment),
            api_timeout=_seconds(environment, "UPKEEP_API_TIMEOUT", 10.0),
            relist_interval=_seconds(environment, "UPKEEP_RELIST_INTERVAL", 600.0),
            sweep_interval=_seconds(environment, "UPKEEP_SWEEP_INTERVAL", 60.0),
            alertmanagers=_alertmanagers(environment.get("UPKEEP_ALERTMANAGERS_FILE", "")),
        )


def _alertmanagers(file: str) -> Mapping[str, Endpoint]:
    try:
        return read_endpoints(Path(file)) if file else {}
    except ConfigurationError as problem:
        msg = f"UPKEEP_ALERTMANAGERS_FILE: {problem}"
        raise SettingsError(msg) from problem


def _lease(environment: Mapping[str, str]) -> LeaseTimes:
    usual = LeaseTimes()
    try:
        return LeaseTimes(
            duration=_number(environment, "UPKEEP_LEASE_DURATION", usual.duration, most=3600),
            renew_deadline=_seconds(environment, "UPKEEP_LEASE_RENEW_DEADLINE", usual.renew_deadline),
            call_timeout=_seconds(environment, "UPKEEP_LEASE_CALL_TIMEOUT", usual.call_timeout),
            retry_period=_seconds(environment, "UPKEEP_LEASE_RETRY_PERIOD", usual.retry_period),
        )
    except LeaseTimesError as problem:
        msg = f"UPKEEP_LEASE_*: {problem}"
        raise SettingsError(msg) from problem


def _required(environment: Mapping[str, str], name: str, meaning: str) -> str:
    value = environment.get(name, "")
    if not value:
        msg = f"{name} is not set: set it to {meaning}"
        raise SettingsError(msg)
    return value


def _namespaces(environment: Mapping[str, str], name: str) -> tuple[str, ...]:
    parts = (part.strip() for part in environment.get(name, "").split(","))
    return tuple(dict.fromkeys(_namespace(name, part) for part in parts if part))


def _namespace(name: str, value: str) -> str:
    if not _NAMESPACE.fullmatch(value):
        msg = f"{name}={value!r} is not a namespace: use up to 63 lower-case letters, digits and hyphens, no pattern"
        raise SettingsError(msg)
    return value


def _choice(environment: Mapping[str, str], name: str, choices: tuple[str, ...]) -> str:
    value = environment.get(name) or choices[0]
    if value not in choices:
        msg = f"{name}={value!r} is not one of {', '.join(choices)}"
        raise SettingsError(msg)
    return value


def _prefix(environment: Mapping[str, str], name: str) -> str:
    value = environment.get(name) or "upkeep"
    if not re.fullmatch(r"[a-zA-Z_][a-zA-Z0-9_]*", value):
        msg = f"{name}={value!r} cannot begin the name of a metric: use letters, digits and underscores"
        raise SettingsError(msg)
    return value


def _number(environment: Mapping[str, str], name: str, default: int, *, least: int = 1, most: int) -> int:
    value = environment.get(name) or str(default)
    if not (_WHOLE.fullmatch(value) and least <= int(value) <= most):
        msg = f"{name}={value!r} is not a number from {least} to {most}"
        raise SettingsError(msg)
    return int(value)


def _seconds(environment: Mapping[str, str], name: str, default: float) -> float:
    value = environment.get(name) or str(default)
    try:
        seconds = float(value)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        msg = f"{name}={value!r} is not a number of seconds: set it to 15 or 0.5, for example"
        raise SettingsError(msg)
    return seconds
