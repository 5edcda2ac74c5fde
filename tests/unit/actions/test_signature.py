"""Requests are signed as in the examples of Amazon's documentation ("Signature Calculations: Examples")."""

from datetime import UTC, datetime
from typing import Final

import pytest

from upkeep.actions.backup.signature import Keys, Request

NOW: Final = datetime(2013, 5, 24, tzinfo=UTC)
ENDPOINT: Final = "https://examplebucket.s3.amazonaws.com"
KEYS: Final = Keys(
    access="AKIAIOSFODNN7EXAMPLE",
    secret="wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",  # noqa: S106 - of the documentation
    region="us-east-1",
)


@pytest.mark.parametrize(
    ("request_", "signature"),
    [
        (
            Request(method="GET", endpoint=ENDPOINT, path="/test.txt", query={}, headers={"range": "bytes=0-9"}),
            "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41",
        ),
        (
            Request(
                method="PUT",
                endpoint=ENDPOINT,
                path="/test$file.text",
                query={},
                headers={"date": "Fri, 24 May 2013 00:00:00 GMT", "x-amz-storage-class": "REDUCED_REDUNDANCY"},
                digest="44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072",
            ),
            "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd",
        ),
        (
            Request(method="GET", endpoint=ENDPOINT, path="/", query={"max-keys": "2", "prefix": "J"}, headers={}),
            "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7",
        ),
    ],
)
def test_a_request_is_signed_as_documented(request_: Request, signature: str) -> None:
    headers = request_.signed(KEYS, NOW)
    assert headers["authorization"].endswith(f"Signature={signature}")
    assert KEYS.secret not in str(headers)


def test_names_that_need_quotes_are_quoted_once() -> None:
    request = Request(method="GET", endpoint=ENDPOINT, path="/ä b/c+d", query={"prefix": "a/b c"}, headers={})
    assert request.url == f"{ENDPOINT}/%C3%A4%20b/c%2Bd?prefix=a%2Fb%20c"
