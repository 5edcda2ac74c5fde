"""Parameters that cannot hold together are refused with the sentence that the API server says too."""

from typing import Any

import pytest
from pydantic import ValidationError

from upkeep.actions.registry import find, step_actions

_CASES = [
    ("postgresVacuum", {"connection": "db", "full": True}, "set allowDowntime: true as well"),
    ("postgresVacuum", {"connection": "db", "full": True, "allowDowntime": True}, "say how much disk space is free"),
    (
        "postgresVacuum",
        {
            "connection": "db",
            "full": True,
            "allowDowntime": True,
            "freeMebibytes": 100,
            "freeSpace": {"connection": "metrics", "query": "up"},
        },
        "by freeMebibytes or by freeSpace",
    ),
    ("postgresVacuum", {"connection": "db", "tables": []}, "at least 1 item"),
    ("postgresVacuum", {"connection": "db", "minDeadRatio": 2}, "less than or equal to 1"),
    ("postgresVacuum", {"connection": "db", "lockTimeout": "5 seconds"}, "is not a duration: write for example 30s"),
    ("postgresVacuum", {"connection": "db", "table": ["orders"]}, "Extra inputs are not permitted"),
    ("postgresDeadTuples", {"connection": "db", "warningRatio": 0.5}, "criticalRatio must not be below warningRatio"),
    ("postgresBloat", {"connection": "db", "threshold": 0.5}, "greater than or equal to 1"),
    ("postgresConnections", {"connection": "db", "warningPercent": 99}, "criticalPercent must not be below"),
    ("postgresLocks", {"connection": "db", "warningAfter": "2m"}, "criticalAfter must not be below warningAfter"),
    ("postgresLongTransactions", {"connection": "db", "criticalAfter": "1m"}, "criticalAfter must not be below"),
    ("postgresReindex", {"connection": "db", "concurrently": False}, "set allowDowntime: true as well"),
    ("postgresVacuum", {"connection": "db", "highChurn": 0}, "greater than or equal to 1"),
    ("postgresKillQueries", {"connection": "db"}, "Field required"),
    (
        "postgresKillQueries",
        {"connection": "db", "olderThan": "5m", "state": "IdleInTransaction"},
        "has no statement to cancel: set method: Terminate",
    ),
    ("postgresQuery", {"connection": "db", "sql": "SELECT 1"}, "say what is expected: equals, minimum"),
    ("postgresWraparound", {"connection": "db", "warningAge": 1_500_000_000}, "criticalAge must not be below"),
    ("postgresPurge", {"connection": "db", "table": "t", "key": "id"}, "Field required"),
    (
        "postgresPurge",
        {"connection": "db", "table": "t", "key": "id", "select": "SELECT 1", "maxShare": 0},
        "greater than or equal to",
    ),
    ("postgresReplication", {"connection": "db", "warningAfter": "1h"}, "criticalAfter must not be below"),
    ("postgresWalArchive", {"connection": "db", "criticalAfter": "1m"}, "criticalAfter must not be below"),
    ("postgresApplyIndexes", {"connection": "db", "indexes": []}, "at least 1 item"),
    (
        "postgresApplyIndexes",
        {"connection": "db", "indexes": [{"name": "x" * 64, "table": "t", "columns": ["c"]}]},
        "at most 63 characters",
    ),
    ("postgresSlowQueries", {"connection": "db", "warningAfter": "1d"}, "criticalAfter must not be below"),
    ("redisMemory", {"connection": "c", "warningPercent": 99}, "criticalPercent must not be below warningPercent"),
    ("redisPing", {"connection": "c", "warningMilliseconds": 2000}, "criticalMilliseconds must not be below"),
    ("redisInfo", {"connection": "c", "criticalClientsPercent": 50}, "criticalClientsPercent must not be below"),
    ("redisSlowlog", {"connection": "c", "criticalMilliseconds": 50}, "criticalMilliseconds must not be below"),
    ("redisHitRatio", {"connection": "c", "criticalPercent": 90}, "criticalPercent must not be above warningPercent"),
    ("redisStaleKeys", {"connection": "c"}, "prefix"),
    ("redisStaleKeys", {"connection": "c", "prefix": ""}, "at least 1 character"),
    ("redisStaleKeys", {"connection": "c", "prefix": "s:", "expireAfter": "0s"}, "expireAfter must be at least 1m"),
    ("redisStaleKeys", {"connection": "c", "prefix": "s:", "idleFor": "59m"}, "idleFor must be at least 1h"),
    ("redisStaleKeys", {"connection": "c", "prefix": "s:", "idleFor": "200d"}, "idleFor must be at most 180d"),
    ("redisStaleKeys", {"connection": "c", "prefix": "s:", "maxSharePercent": 51}, "less than or equal to 50"),
    ("redisConfig", {"connection": "c", "settings": [{"name": "requirepass", "value": "x"}]}, "hold secrets"),
    ("redisConfig", {"connection": "c", "settings": [{"name": "dir", "value": "/etc"}]}, "name files"),
    ("redisConfig", {"connection": "c", "settings": [{"name": "protected-mode", "value": "no"}]}, "open the server"),
    ("redisConfig", {"connection": "c", "settings": [{"name": "*", "value": ""}]}, "should match pattern"),
    ("redisConfig", {"connection": "c", "settings": [{"name": "hz", "value": "1"}] * 2}, "'hz' is there twice"),
    ("redisConfig", {"connection": "c", "settings": [{"name": "hz", "value": "1"}], "persist": True}, "apply: true"),
    ("httpWarm", {"connection": "c", "paths": []}, "at least 1 item"),
    ("httpWarm", {"connection": "c", "paths": ["//elsewhere/"]}, "should match pattern"),
    ("httpWarm", {"connection": "c", "paths": ["http://elsewhere/"]}, "should match pattern"),
    ("certificateExpiry", {"connection": "c", "criticalDays": 31}, "criticalDays must not be above warningDays"),
    ("httpCheck", {"url": "http://shop/", "warningAfter": "3s"}, "criticalAfter must not be below warningAfter"),
    ("httpCheck", {"url": "http://shop/", "method": "HEAD", "bodyContains": "ok"}, "a HEAD request has no body"),
    ("httpCheck", {"url": "http://shop/", "method": "POST"}, "'GET' or 'HEAD'"),
    ("httpCheck", {"url": "http://shop/", "samples": 51}, "less than or equal to 50"),
    ("httpCheck", {"url": "ftp://shop/"}, "should match pattern"),
    ("httpCheck", {"url": "http://user:password@shop/"}, "should match pattern"),
    ("httpCheck", {"url": "http://"}, "should match pattern"),
    ("httpCheck", {"url": "http://shop/a b"}, "should match pattern"),
    ("httpCheck", {"url": "http://shop:99999/"}, "is not a URL: Port out of range 0-65535"),
    ("httpCheck", {"url": "http://shop:0/"}, "is not a URL: there is no port 0"),
    ("httpCheck", {"url": "http://shop:port/"}, "is not a URL: Port could not be cast to integer"),
    ("httpHeaders", {"url": "http://[::1/"}, "is not a URL: Invalid IPv6 URL"),
    ("httpHeaders", {"url": "http://user:password@shop/"}, "should match pattern"),
    ("httpHeaders", {"url": "http://shop/", "ignore": ["Server"]}, "'Permissions-Policy'"),
    ("tcpCheck", {"host": "shop", "port": 0}, "greater than or equal to 1"),
    ("tcpCheck", {"host": "-shop", "port": 80}, "should match pattern"),
    ("tcpCheck", {"host": "shop; DROP", "port": 80}, "should match pattern"),
    ("prometheusQuery", {"connection": "c", "query": "up"}, "say from which value on it is a finding"),
    ("prometheusQuery", {"connection": "c", "query": "", "warning": 1}, "at least 1 character"),
    ("prometheusQuery", {"connection": "c", "query": "up", "warning": 2, "critical": 1}, "must not be milder"),
    (
        "prometheusQuery",
        {"connection": "c", "query": "up", "warning": 1, "critical": 2, "when": "Below"},
        "with when: Below not above it",
    ),
    ("alertsFiring", {"connection": "c", "matchers": ["namespace=shop"]}, "should match pattern"),
    ("alertTest", {"connection": "c", "labels": {"a-b": "c"}}, "should match pattern"),
    ("alertTest", {"connection": "c", "path": "alerts"}, "should match pattern"),
    ("rotateCredential", {"secret": "s"}, "exactly one of these must be set: postgres, key"),
    ("rotateCredential", {"secret": "s", "postgres": {"connection": "db", "roles": ["a"]}}, "at least 2 items"),
    ("rotateCredential", {"secret": "s", "key": {"url": "http://a/", "header": "a b"}}, "should match pattern"),
    ("alertsFiring", {"connection": "c", "matchers": ['a="b",c="d"']}, "should match pattern"),
    ("alertsFiring", {"connection": "c", "matchers": ['a="b"} or vector(1) or x{a="b"']}, "should match pattern"),
    ("tcpCheck", {"host": "shop", "port": 80, "warningMilliseconds": 2000}, "criticalMilliseconds must not be below"),
]


@pytest.mark.parametrize(("name", "parameters", "message"), _CASES)
def test_a_mistake_is_explained(name: str, parameters: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError) as refusal:
        find(name).model_validate(parameters)
    assert message in str(refusal.value)


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("postgresVacuum", {"connection": "db"}),
        ("postgresVacuum", {"connection": "db", "full": True, "allowDowntime": True, "freeMebibytes": 100}),
        (
            "postgresVacuum",
            {"connection": "db", "full": True, "allowDowntime": True, "freeSpace": {"connection": "m", "query": "up"}},
        ),
        ("postgresDeadTuples", {"connection": "db", "warningRatio": 0.2, "criticalRatio": 0.2}),
        ("postgresBloat", {"connection": "db"}),
        ("postgresConnections", {"connection": "db"}),
        ("postgresLocks", {"connection": "db", "warningAfter": "1s", "criticalAfter": "1d"}),
        ("postgresLongTransactions", {"connection": "db", "ignoreApplications": ["pg_dump"]}),
        ("postgresAnalyze", {"connection": "db", "minChangedRatio": 0.1}),
        ("postgresReindex", {"connection": "db", "concurrently": False, "allowDowntime": True}),
        ("postgresReindex", {"connection": "db", "indexes": ["public.by_*"], "onlyInvalid": True}),
        ("postgresKillQueries", {"connection": "db", "olderThan": "5m", "dryRun": False}),
        ("postgresQuery", {"connection": "db", "sql": "SELECT 1", "minimum": 1.5, "severity": "info"}),
        ("postgresReady", {"connection": "db", "role": "Primary", "within": "5m", "minVersion": 15}),
        ("postgresWraparound", {"connection": "db"}),
        (
            "postgresApplyIndexes",
            {"connection": "db", "indexes": [{"name": "i", "table": "t", "columns": ["c"], "method": "brin"}]},
        ),
        ("postgresUnusedIndexes", {"connection": "db", "replicas": ["standby"]}),
        ("postgresMissingIndexes", {"connection": "db"}),
        ("postgresPurge", {"connection": "db", "table": "t", "key": "id", "select": "SELECT 1", "pause": "1s"}),
        ("postgresReplication", {"connection": "db", "minStandbys": 2}),
        ("postgresWalArchive", {"connection": "db", "maxWalMebibytes": 100}),
        ("postgresSlowQueries", {"connection": "db", "resetAfterwards": True, "limit": 5}),
        ("redisMemory", {"connection": "cache"}),
        ("redisPing", {"connection": "cache", "warningMilliseconds": 0.5}),
        ("redisInfo", {"connection": "cache", "restartedWithin": "0s"}),
        ("redisSlowlog", {"connection": "cache", "since": "1h"}),
        ("redisHitRatio", {"connection": "cache", "over": "5m", "criticalPercent": 80}),
        ("redisPurge", {"connection": "cache", "minIdleMebibytes": 0}),
        ("redisRewriteAof", {"connection": "cache", "minGrowthPercent": 50}),
        ("redisStaleKeys", {"connection": "cache", "prefix": "größe:*", "idleFor": "180d", "dryRun": False}),
        ("redisConfig", {"connection": "cache", "settings": [{"name": "maxmemory", "value": "1gb"}], "apply": True}),
        ("certificateExpiry", {"connection": "site", "warningDays": 30, "criticalDays": 7}),
        ("certificateConsistency", {"connection": "site"}),
        ("httpWarm", {"connection": "shop", "paths": ["/", "/products?page=1"], "requestsPerSecond": 0.5}),
        ("httpCheck", {"url": "https://shop.shop.svc:8443/health?deep=1#top", "criticalAfter": "1m", "samples": 50}),
        ("httpCheck", {"url": "http://[::1]:8080"}),
        ("httpHeaders", {"url": "https://shop/", "ignore": ["Strict-Transport-Security", "Permissions-Policy"]}),
        ("prometheusQuery", {"connection": "c", "query": "up", "warning": 1, "critical": 1}),
        ("prometheusQuery", {"connection": "c", "query": "up", "critical": 0.5, "warning": 1, "when": "Below"}),
        ("alertsFiring", {"connection": "c"}),
        ("alertsFiring", {"connection": "c", "matchers": ['a="b"', r'c!~"d\\.\"e"'], "fails": True}),
        ("tcpCheck", {"host": "2001:db8::1", "port": 65535, "samples": 50}),
        ("alertTest", {"connection": "am", "labels": {"severity": "critical"}, "receivers": ["Ops (mail)"]}),
        ("rotateCredential", {"secret": "s", "postgres": {"connection": "db", "roles": ["a", "b"]}}),
        ("rotateCredential", {"secret": "s", "key": {"url": "http://api/x"}, "workloads": [{"name": "web"}]}),
    ],
)
def test_what_is_right_survives_the_way_to_the_job(name: str, parameters: dict[str, Any]) -> None:
    action = find(name).model_validate(parameters)
    assert find(name).model_validate_json(action.model_dump_json(by_alias=True, exclude_none=True)) == action


def test_every_rule_of_an_action_has_a_message_for_people() -> None:
    ruled = {name: action.rules() for name, action in step_actions().items() if action.rules()}
    assert {"postgresVacuum", "postgresDeadTuples", "redisMemory", "redisPing", "httpCheck"} <= set(ruled)
    for rules in ruled.values():
        assert all(rule["rule"] and rule["message"] for rule in rules)
