"""What looks like a secret, and what only sounds like one."""

import pytest

from upkeep.actions.kubernetes.suspicion import suspicion, suspicions, tells_of_secret

RANDOM = "Zk9#vT2qLw8!xR4m"
TOKEN = "a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6q7R8"  # noqa: S105 - made up


@pytest.mark.parametrize(
    "name",
    [
        *("PASSWORD", "DB_PASSWORD", "db.password", "dbPassword", "POSTGRES_PASS", "apiKey", "API_KEY", "APIKEY"),
        *(
            "AWS_SECRET_ACCESS_KEY",
            "clientSecret",
            "token",
            "GITHUB_TOKEN2",
            "private-key",
            "smtp_pwd",
            "SECRET_KEY_BASE",
        ),
    ],
)
def test_names_of_secrets(name: str) -> None:
    assert tells_of_secret(name)


@pytest.mark.parametrize(
    "name",
    [
        *(
            "PASSWORD_FILE",
            "SECRET_NAME",
            "TOKEN_ENDPOINT",
            "TOKEN_TTL",
            "PASSWORD_MIN_LENGTH",
            "METALLB_ML_SECRET_KEY_PATH",
        ),
        *("PUBLIC_KEY", "KEY", "PRIMARY_KEY", "passenger", "compass", "bypass", "author", "ACCESS_KEY_ID", "", "42"),
    ],
)
def test_names_that_only_sound_like_it(name: str) -> None:
    assert not tells_of_secret(name)


@pytest.mark.parametrize(
    ("name", "value", "severity"),
    [
        ("DB_PASSWORD", RANDOM, "critical"),
        ("DB_PASSWORD", "hunter2", "warning"),
        ("DB_PASSWORD", "correct horse battery staple", "warning"),
        ("COLOUR", "-----BEGIN RSA PRIVATE KEY-----\nMIIE", "critical"),
        ("COLOUR", "-----BEGIN PRIVATE KEY-----", "critical"),
        ("COLOUR", "AKIA" + "IOSFODNN7EXAMPLE", "critical"),
        ("COLOUR", "ghp_" + TOKEN, "critical"),
        ("COLOUR", "xoxb-" + TOKEN, "critical"),
        ("COLOUR", f"eyJ{TOKEN}.eyJ{TOKEN}.{TOKEN}", "critical"),
        ("COLOUR", f"Authorization: Bearer {TOKEN}", "critical"),
        ("COLOUR", f'{{"auths": {{"r": {{"auth": "{TOKEN}"}}}}}}', "critical"),
        ("DATABASE_URL", "postgres://app:s3cret@db:5432/shop", "critical"),
        ("REDIS_URL", "redis://:s3cret@cache:6379/0", "critical"),
        ("SEED", "q8Zr2LtVw5XbN7yKd3Hs9PmJ4GfTc6Ra", "info"),
    ],
)
def test_what_looks_like_a_secret(name: str, value: str, severity: str) -> None:
    found = suspicion(name, value)

    assert found is not None
    assert found.severity == severity
    assert not [part for part in (value, *value.split("@")) if part in found.reason]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DB_PASSWORD", ""),
        ("DB_PASSWORD", "$(OTHER)"),
        ("DB_PASSWORD", "${OTHER}"),
        ("DB_PASSWORD", "changeme"),
        ("DB_PASSWORD", "<password>"),
        ("DB_PASSWORD", "********"),
        ("DB_PASSWORD", "/run/secrets/password"),
        ("DB_PASSWORD", "vault:secret/data/db#password"),
        ("USE_PASSWORD", "true"),
        ("API_TOKEN", "3600s"),
        ("TOKEN", "https://login.example.com/token"),
        ("DATABASE_URL", "postgres://app@db:5432/shop"),
        ("DATABASE_URL", "postgres://app:$(DB_PASSWORD)@db:5432/shop"),
        ("DATABASE_URL", "postgres://app:<password>@db:5432/shop"),
        ("IMAGE", "registry/app@sha256:" + "0123456789abcdef" * 4),
        ("COMMIT", "da39a3ee5e6b4b0d3255bfef95601890afd80709"),
        ("REQUEST", "0f8fad5b-d9cb-469f-a165-70867728950e"),
        ("JAVA_OPTS", "-Xmx512m -XX:+UseG1GC -Dfile.encoding=UTF-8"),
        ("SESSION_ID", "q8Zr2LtVw5XbN7yKd3Hs9PmJ4GfTc6Ra"),
        ("CLASSPATH", "/opt/app/lib/a.jar:/opt/app/lib/b.jar"),
        ("GREETING", "Welcome to the shop, have a nice day"),
    ],
)
def test_what_is_none(name: str, value: str) -> None:
    assert suspicion(name, value) is None


def test_a_file_is_read_line_by_line_and_only_names_and_forms_are_told() -> None:
    text = f"""\
# settings of the shop
spring.datasource.password={RANDOM}
spring.datasource.url=jdbc:postgresql://db/shop
password: "hunter2",
  "apiKey": "{TOKEN}",
export SMTP_PASSWORD='hunter2'
token.ttl = 3600
colour: q8Zr2LtVw5XbN7yKd3Hs9PmJ4GfTc6Ra
url=amqp://app:{RANDOM.replace("#", "")}@mq
"""

    found = [(each.place, each.line, each.severity.value) for each in suspicions("app.conf", text)]

    assert found == [
        ("spring.datasource.password", 2, "critical"),
        ("password", 4, "warning"),
        ("apiKey", 5, "critical"),
        ("SMTP_PASSWORD", 6, "warning"),
        ("a URL with a password", 9, "critical"),
    ]
    assert [found.place for found in suspicions("SMTP_PASSWORD", "hunter2")] == [""]


@pytest.mark.parametrize(
    "text", ["", "\0" * 1000, "=" * 100_000, ": " * 50_000, "a" * 200_000, "://:@" * 30_000, "\n" * 1000]
)
def test_no_text_takes_long_or_fails(text: str) -> None:
    assert list(suspicions("data", text)) == []
