"""Which Alertmanagers there are: read from a file that says what is wrong with it, and never what is secret in it."""

from pathlib import Path

import pytest

from upkeep.alertmanager.configuration import read_endpoints
from upkeep.configuration import ConfigurationError


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "password").write_text("correct-horse")
    (tmp_path / "token").write_text("correct-battery")
    (tmp_path / "not-a-certificate").write_text("staple")
    return tmp_path / "alertmanagers.yaml"


def test_no_file_and_an_empty_one_name_none(file: Path) -> None:
    assert read_endpoints(file) == {}
    file.write_text("# none yet\n")
    assert read_endpoints(file) == {}


def test_each_has_a_name_an_address_and_files_beside_the_configuration(file: Path) -> None:
    file.write_text(
        "main: {url: 'https://alertmanager:9093/am/', basicAuth: {username: upkeep, passwordFile: password}}\n"
        "infra: {url: 'http://10.0.0.7:9093', bearerTokenFile: token, namespaceLabel: ''}\n"
    )

    main, infra = read_endpoints(file).values()

    assert (main.name, main.url) == ("main", "https://alertmanager:9093/am")
    assert (main.username, main.password, main.token) == ("upkeep", file.parent / "password", None)
    assert (infra.token, infra.username) == (file.parent / "token", None)


def test_silences_are_tied_to_their_namespace_unless_the_platform_says_otherwise(file: Path) -> None:
    file.write_text("main: {url: 'http://a'}\ninfra: {url: 'http://b', namespaceLabel: ''}\n")

    main, infra = read_endpoints(file).values()

    assert (main.namespace_label, infra.namespace_label) == ("namespace", "")


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("{", "is not YAML"),
        ("- main", "should be a valid dictionary"),
        ("Main: {url: 'http://a'}", "Main"),
        ("main: {}", r"main\.url: Field required"),
        ("main: {url: 'alertmanager:9093'}", r"main\.url"),
        ("main: {url: 'http://upkeep:correct-horse@a'}", r"main\.url"),
        ("main: {url: 'http://a', password: correct-horse}", r"main\.password"),
        ("main: {url: 'http://a', namespaceLabel: 'not a label'}", r"main\.namespaceLabel"),
        (
            "main: {url: 'http://a', bearerTokenFile: token, basicAuth: {username: u, passwordFile: password}}",
            "basicAuth and bearerTokenFile exclude each other",
        ),
        (
            "main: {url: 'http://a', bearerTokenFile: elsewhere}",
            "bearerTokenFile of Alertmanager 'main': .*does not exist",
        ),
        ("main: {url: 'https://a', caFile: not-a-certificate}", "caFile of Alertmanager 'main': .*no certificate"),
    ],
)
def test_what_is_wrong_is_named_without_what_stands_there(file: Path, text: str, complaint: str) -> None:
    file.write_text(text)

    with pytest.raises(ConfigurationError, match=complaint) as raised:
        read_endpoints(file)

    assert str(file) in str(raised.value) or "Alertmanager 'main'" in str(raised.value)
    assert "correct-horse" not in str(raised.value)
