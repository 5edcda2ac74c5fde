"""What is not found is told apart: a Certificate, or cert-manager as a whole."""

import pytest

from upkeep.actions.certificate.renew import absence
from upkeep.actions.kubernetes.session import AbsentError


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ('certificates.cert-manager.io "web" not found', "Certificate 'web' is not there: create it"),
        ("404 page not found", "cert-manager is not installed in this cluster: install it"),
        ("the server could not find the requested resource", "cert-manager is not installed in this cluster"),
    ],
)
def test_what_is_not_there_is_named(said: str, told: str) -> None:
    assert str(absence("Certificate 'web'", AbsentError(said))).startswith(told)
