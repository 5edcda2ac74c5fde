"""What libpq says, in words that name the cure. The texts are libpq's own."""

import pytest

from upkeep.actions.postgres.errors import connect_error

_AT = 'connection failed: connection to server at "10.0.0.7", port 5432 failed: '


@pytest.mark.parametrize(
    ("reason", "expected"),
    [
        (
            _AT + 'FATAL:  password authentication failed for user "upkeep"',
            "password authentication failed for user \"upkeep\": check the Secret 'shop-db'",
        ),
        (
            _AT + 'FATAL:  database "shop" does not exist',
            "database \"shop\" does not exist: check `database` of connection 'shop'",
        ),
        (
            _AT + "Connection refused\n\tIs the server running on that host and accepting TCP/IP connections?",
            "Connection refused: nothing listens there: check host and port, and that the server runs",
        ),
        (
            _AT + 'FATAL:  no pg_hba.conf entry for host "10.0.0.9", user "upkeep", database "shop", no encryption',
            (
                'no pg_hba.conf entry for host "10.0.0.9", user "upkeep", database "shop", no encryption: '
                "allow this user and database in the server's pg_hba.conf, or check sslMode"
            ),
        ),
        (
            _AT + "SSL error: certificate verify failed",
            "SSL error: certificate verify failed: check `ca.crt` in the Secret 'shop-db' and the server's certificate",
        ),
        (
            _AT + 'server certificate for "db" does not match host name "shop-db.demo"',
            (
                'server certificate for "db" does not match host name "shop-db.demo": set `host` to a name in the '
                "server's certificate, or use sslMode verify-ca"
            ),
        ),
        (
            _AT + "FATAL:  the database system is starting up",
            "the database system is starting up: wait until the server has started, then run this again",
        ),
        (
            _AT + "FATAL:  sorry, too many clients already",
            "sorry, too many clients already: free or raise max_connections at the server",
        ),
        (
            (
                "connection failed: Multiple connection attempts failed. All failures were:\n"
                "- host: shop-db, port: 5432, hostaddr: ::1: connection failed: "
                'connection to server at "::1", port 5432 failed: Connection refused\n'
                "- host: shop-db, port: 5432, hostaddr: 127.0.0.1: connection failed: connection to server at "
                '"127.0.0.1", port 5432 failed: FATAL:  password authentication failed for user "upkeep"'
            ),
            "password authentication failed for user \"upkeep\": check the Secret 'shop-db'",
        ),
        ("something new", "something new: check host, port and the Secret 'shop-db'"),
        ("", "no reason given: check host, port and the Secret 'shop-db'"),
    ],
)
def test_each_cause_comes_with_its_cure(reason: str, expected: str) -> None:
    error = connect_error(reason=reason, server="shop-db.demo:5432", connection="shop", secret="shop-db")  # noqa: S106
    assert str(error) == f"cannot connect to PostgreSQL shop-db.demo:5432: {expected}"
