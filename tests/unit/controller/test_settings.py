"""The settings of the operator: every wrong value is named at the start, together with what to set instead."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from upkeep.controller.settings import Settings, SettingsError

NEEDED = {"UPKEEP_IMAGE": "localhost/upkeep", "UPKEEP_NAMESPACE": "upkeep-system"}
NUMBERS = ("UPKEEP_PORT", "UPKEEP_PAGE_REPLICAS", "UPKEEP_LEASE_DURATION")
SECONDS = (
    "UPKEEP_LEASE_RENEW_DEADLINE",
    "UPKEEP_LEASE_CALL_TIMEOUT",
    "UPKEEP_LEASE_RETRY_PERIOD",
    "UPKEEP_API_TIMEOUT",
    "UPKEEP_RELIST_INTERVAL",
    "UPKEEP_SWEEP_INTERVAL",
)
OPTIONAL = (
    *NUMBERS,
    *SECONDS,
    "UPKEEP_POD_NAME",
    "UPKEEP_WATCH_NAMESPACES",
    "UPKEEP_METRICS_PREFIX",
    "UPKEEP_LOG_LEVEL",
    "UPKEEP_LOG_FORMAT",
)


def test_with_what_is_needed_the_rest_is_as_documented() -> None:
    read = Settings.read(NEEDED | {"UPKEEP_POD_NAME": "upkeep-0"})

    assert read == Settings(image="localhost/upkeep", namespace="upkeep-system", identity="upkeep-0")


def test_what_is_set_to_nothing_counts_as_not_set() -> None:
    """Given a chart that renders a value that is empty."""
    empty = NEEDED | dict.fromkeys(OPTIONAL, "") | {"UPKEEP_POD_NAME": "upkeep-0"}

    assert Settings.read(empty) == Settings.read(NEEDED | {"UPKEEP_POD_NAME": "upkeep-0"})


def test_two_processes_without_names_are_different_candidates_for_the_lease() -> None:
    identity = Settings.read(NEEDED).identity

    assert identity.rpartition("-")[2].isdigit()
    assert len(identity.rpartition("-")[0]) > 0


def test_everything_can_be_set() -> None:
    read = Settings.read(
        NEEDED
        | {
            "UPKEEP_WATCH_NAMESPACES": "shop, team-1 ,,shop",
            "UPKEEP_METRICS_PREFIX": "rinawarp",
            "UPKEEP_LOG_LEVEL": "debug",
            "UPKEEP_LOG_FORMAT": "text",
            "UPKEEP_PORT": "0",
            "UPKEEP_PAGE_REPLICAS": "3",
            "UPKEEP_LEASE_DURATION": "30",
            "UPKEEP_LEASE_RENEW_DEADLINE": "20",
            "UPKEEP_LEASE_CALL_TIMEOUT": "8.5",
            "UPKEEP_LEASE_RETRY_PERIOD": "0.5",
            "UPKEEP_API_TIMEOUT": "5",
            "UPKEEP_RELIST_INTERVAL": "1",
            "UPKEEP_SWEEP_INTERVAL": "2.5",
        }
    )

    assert read.watch_namespaces == ("shop", "team-1")
    assert (read.metrics_prefix, read.log_level, read.log_format) == ("rinawarp", "debug", "text")
    assert (read.port, read.page_replicas) == (0, 3)
    assert (read.lease.duration, read.lease.renew_deadline) == (30, 20)
    assert (read.lease.call_timeout, read.lease.retry_period) == (8.5, 0.5)
    assert (read.api_timeout, read.relist_interval, read.sweep_interval) == (5, 1, 2.5)


@pytest.mark.parametrize("name", ["UPKEEP_IMAGE", "UPKEEP_NAMESPACE"])
@pytest.mark.parametrize("value", [None, ""])
def test_what_is_missing_is_named_with_what_it_means(name: str, value: str | None) -> None:
    environment = {key: text for key, text in (NEEDED | {name: value}).items() if text is not None}

    with pytest.raises(SettingsError, match=f"^{name} is not set: set it to the "):
        Settings.read(environment)


@pytest.mark.parametrize(
    ("name", "value", "advice"),
    [
        ("UPKEEP_NAMESPACE", "Upkeep System", "lower-case letters, digits and hyphens"),
        ("UPKEEP_WATCH_NAMESPACES", "shop team", "lower-case letters, digits and hyphens"),
        ("UPKEEP_WATCH_NAMESPACES", "shop,Team", "lower-case letters, digits and hyphens"),
        ("UPKEEP_WATCH_NAMESPACES", "team-*", "lower-case letters, digits and hyphens"),
        ("UPKEEP_WATCH_NAMESPACES", "!kube-system", "lower-case letters, digits and hyphens"),
        ("UPKEEP_WATCH_NAMESPACES", "a" * 64, "lower-case letters, digits and hyphens"),
        ("UPKEEP_METRICS_PREFIX", "my-team", "use letters, digits and underscores"),
        ("UPKEEP_METRICS_PREFIX", "1st", "use letters, digits and underscores"),
        ("UPKEEP_METRICS_PREFIX", "team\n", "use letters, digits and underscores"),
        ("UPKEEP_LOG_LEVEL", "INFO", "info, debug, warning, error"),
        ("UPKEEP_LOG_FORMAT", "yaml", "json, text"),
        ("UPKEEP_PORT", "65536", "a number from 0 to 65535"),
        ("UPKEEP_PORT", "http", "a number from 0 to 65535"),
        ("UPKEEP_PAGE_REPLICAS", "0", "a number from 1 to 100"),
        ("UPKEEP_PAGE_REPLICAS", "101", "a number from 1 to 100"),
        ("UPKEEP_LEASE_DURATION", "0", "a number from 1 to 3600"),
        ("UPKEEP_LEASE_DURATION", "15s", "a number from 1 to 3600"),
        ("UPKEEP_LEASE_DURATION", "9" * 5000, "a number from 1 to 3600"),
    ],
)
def test_what_is_wrong_is_named_with_its_value_and_what_to_set(name: str, value: str, advice: str) -> None:
    with pytest.raises(SettingsError) as refusal:
        Settings.read(NEEDED | {name: value})

    assert str(refusal.value).startswith(f"{name}=")
    assert advice in str(refusal.value)


@pytest.mark.parametrize("name", NUMBERS)
@pytest.mark.parametrize(
    "value", ["-1", "1.5", " 5", "1e3", "\N{ARABIC-INDIC DIGIT FIVE}", "\N{SUPERSCRIPT TWO}", "0x10", "x"]
)
def test_what_is_no_whole_number_is_refused(name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=f"^{name}=.* is not a number from "):
        Settings.read(NEEDED | {name: value})


@pytest.mark.parametrize("name", SECONDS)
@pytest.mark.parametrize("value", ["0", "-1", "nan", "inf", "1e999", "10s", "ten", "1,5"])
def test_what_is_no_time_is_refused(name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=f"^{name}=.* is not a number of seconds: set it to 15 or 0.5"):
        Settings.read(NEEDED | {name: value})


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"UPKEEP_LEASE_DURATION": "10"}, "must hold"),
        ({"UPKEEP_LEASE_CALL_TIMEOUT": "12"}, "must hold"),
        ({"UPKEEP_LEASE_RETRY_PERIOD": "5"}, "must hold"),
        ({"UPKEEP_LEASE_RETRY_PERIOD": "3"}, "leaves no time for a renewal"),
    ],
)
def test_times_that_would_let_two_replicas_act_at_once_are_refused(changes: dict[str, str], says: str) -> None:
    with pytest.raises(SettingsError, match=rf"^UPKEEP_LEASE_\*: .*{says}"):
        Settings.read(NEEDED | changes)


@settings(max_examples=200, deadline=None)
@given(name=st.sampled_from([*NEEDED, *OPTIONAL]), value=st.text(max_size=12))
def test_whatever_is_set_it_is_used_or_named(name: str, value: str) -> None:
    try:
        Settings.read(NEEDED | {name: value})
    except SettingsError as refusal:
        family = "UPKEEP_LEASE_*" if name.startswith("UPKEEP_LEASE_") else name
        if not str(refusal).startswith((name, family)):
            raise
