"""Messages go out by real SMTP and HTTP; what became of each is known, and no credential is ever said."""

import io
import logging
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from integration.receivers import Hook, Mailbox, hook, mailbox
from upkeep.configuration import ConfigurationError
from upkeep.domain.notices import Delivery, Message, Receipt
from upkeep.notify.channels import Channel, read_channels
from upkeep.notify.sender import send

pytestmark = pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")  # a plugin of Apprise

SECRET: Final = "xoxb-canary-7f3a"  # noqa: S105 - made up, and looked for afterwards
MESSAGE: Final = Message(
    subject="Maintenance shop/sunday opens in 1 hour",
    body="Maintenance shop/sunday opens in 1 hour.\n\nAffected: Ingress <shop> & more",
)


@pytest.fixture
def mails() -> Iterator[Mailbox]:
    with mailbox() as made:
        yield made


@pytest.fixture
def posts() -> Iterator[Hook]:
    with hook() as made:
        yield made


def channel(url: str) -> Channel:
    return Channel(name="ops", url=url)


def test_a_message_arrives_by_mail_as_it_was_written(mails: Mailbox) -> None:
    delivery = send(channel(mails.url("ops@shop.example")), MESSAGE)

    assert delivery == Delivery(Receipt.SENT)
    ((recipients, mail),) = mails.mails
    assert recipients == ["ops@shop.example"]
    assert mail["Subject"] == MESSAGE.subject
    content = mail.get_payload(decode=True)
    assert isinstance(content, bytes)
    assert content.decode().replace("\r\n", "\n").strip() == MESSAGE.body


def test_a_message_arrives_by_http_as_it_was_written(posts: Hook) -> None:
    delivery = send(channel(posts.url()), MESSAGE)

    assert delivery == Delivery(Receipt.SENT)
    (body,) = posts.bodies
    assert (body["title"], body["message"]) == (MESSAGE.subject, MESSAGE.body)


@pytest.mark.parametrize("status", [400, 404, 429, 500, 503])
def test_what_a_server_refuses_is_refused(posts: Hook, status: int) -> None:
    posts.status = status

    assert send(channel(posts.url()), MESSAGE) == Delivery(Receipt.REFUSED, f"its server answered {status}")


def test_a_mail_that_the_server_does_not_take_is_refused(mails: Mailbox) -> None:
    mails.reply = "451 try again later"

    delivery = send(channel(mails.url("ops@shop.example")), MESSAGE)

    assert delivery == Delivery(Receipt.REFUSED, "its mail server answered 451")


def test_a_mail_that_some_recipients_got_is_not_offered_again(mails: Mailbox) -> None:
    mails.refused = {"gone@shop.example"}

    delivery = send(channel(mails.url("ops@shop.example", "gone@shop.example")), MESSAGE)

    assert delivery == Delivery(Receipt.SENT, "some of its recipients were refused")
    assert len(mails.mails) == 1


def test_where_nobody_listens_it_is_refused() -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        port = nobody.getsockname()[1]

        by_http = send(channel(f"json://127.0.0.1:{port}"), MESSAGE)
        by_mail = send(channel(f"mailto://127.0.0.1:{port}?from=a@shop.example&to=b@shop.example"), MESSAGE)

    assert by_http == by_mail == Delivery(Receipt.REFUSED, "no connection to its server")


def test_where_the_connection_breaks_after_the_message_nobody_knows(posts: Hook) -> None:
    posts.status = 0

    delivery = send(channel(posts.url()), MESSAGE)

    assert delivery.receipt is Receipt.UNKNOWN
    assert len(posts.bodies) == 1


def test_where_no_answer_comes_in_time_nobody_knows(posts: Hook) -> None:
    posts.answers.clear()

    delivery = send(channel(f"{posts.url()}?rto=0.2"), MESSAGE)

    assert delivery.receipt is Receipt.UNKNOWN


def test_a_url_that_is_none_of_apprise_is_refused_without_being_shown() -> None:
    delivery = send(channel(f"nosuchservice://{SECRET}"), MESSAGE)

    assert delivery.receipt is Receipt.REFUSED
    assert SECRET not in delivery.message


@pytest.fixture
def journal() -> Iterator[io.StringIO]:
    """All that an operator logs which logs everything."""
    written, root = io.StringIO(), logging.getLogger()
    handler, level = logging.StreamHandler(written), root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    yield written
    root.setLevel(level)
    root.removeHandler(handler)


@pytest.mark.parametrize("status", [200, 403, 0])
def test_no_credential_is_logged_or_told(posts: Hook, status: int, journal: io.StringIO) -> None:
    posts.status = status
    secret = channel(f"json://user:{SECRET}@127.0.0.1:{posts.port}/{SECRET}?+X-Token={SECRET}")

    delivery = send(secret, MESSAGE)

    assert len(posts.bodies) == 1
    assert SECRET not in delivery.message
    assert SECRET not in journal.getvalue()
    assert SECRET not in repr(secret)


def test_channels_are_read_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "channels.yaml"
    file.write_text("ops-slack: {url: 'slack://a/b/c'}\nteam-mail: {url: 'mailto://x', namespaces: [shop]}\n")

    found = read_channels(file)

    assert found["ops-slack"].serves("anything")
    assert found["team-mail"].serves("shop")
    assert not found["team-mail"].serves("other")


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (f"ops: slack://{SECRET}", "ops: Input should be"),
        (f"ops: {{address: 'slack://{SECRET}'}}", "ops.url: Field required"),
        (f"ops: {{url: '{SECRET}'}}", "ops.url: String should match"),
        (f"Ops Slack: {{url: 'slack://{SECRET}'}}", "Ops Slack"),
        (f"ops: [{SECRET}", "is not YAML"),
        (f"ops: {{url: 'slack://there', 'slack://{SECRET}': now}}", "ops.…: Extra inputs"),
        (f"'slack://{SECRET}': {{url: 'slack://there'}}", "…: String should match"),
    ],
)
def test_a_wrong_file_is_told_without_what_stands_in_it(tmp_path: Path, content: str, complaint: str) -> None:
    file = tmp_path / "channels.yaml"
    file.write_text(content)

    with pytest.raises(ConfigurationError) as problem:
        read_channels(file)

    assert complaint in str(problem.value)
    assert SECRET not in str(problem.value)


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_channels(tmp_path / "channels.yaml")
