"""Sends one message on one channel, by Apprise, which blocks; call it on a thread.

What Apprise and the libraries below it have to say may hold URLs and tokens. It is looked at here to find out what
happened, and nothing of it is passed on or logged.
"""

import logging
import re
from typing import Final

from apprise import Apprise, AppriseAsset, NotifyFormat, PersistentStoreMode

from upkeep.domain.notices import Delivery, Message, Receipt
from upkeep.notify.channels import Channel

_TALKATIVE: Final = ("apprise", "urllib3", "requests", "requests_oauthlib", "oauthlib")
_STATUS: Final = re.compile(r"\berror=([1-5]\d\d)\b")
_SMTP: Final = re.compile(r"\(([45]\d\d), b['\"]")
_UNREACHABLE: Final = re.compile(
    r"NewConnectionError|NameResolutionError|ConnectTimeout|connect timeout|Connection refused|Name or service not"
    r"|name resolution|No route to host|unreachable|^Socket Exception: timed out$|SSLError|CERTIFICATE_VERIFY|\[SSL",
    re.IGNORECASE,
)
_BROKEN: Final = re.compile(r"Socket Exception|connection error", re.IGNORECASE)
_DELIVERED: Final = re.compile(r"^Sent ")

_NOT_A_URL: Final = "its URL is not one that Apprise understands: correct it in the file of channels"
_UNREACHED: Final = "no connection to its server"
_BROKE: Final = "the connection broke, or no answer came in time"
_PARTLY: Final = "some of its recipients were refused"
_DECLINED: Final = "its server did not take the message"


def send(channel: Channel, message: Message) -> Delivery:
    """Send a message; it takes as long as the channel's timeouts allow.

    Returns:
        SENT where the channel took it, REFUSED where it certainly did not, UNKNOWN where nobody can tell.
    """
    asset = AppriseAsset(
        app_id="Upkeep",
        app_desc="Upkeep",
        async_mode=False,
        secure_logging=True,
        pgp_autogen=False,
        pem_autogen=False,
        storage_mode=PersistentStoreMode.MEMORY,
        service_timeout=0,
    )
    _hush()
    service = Apprise(asset=asset)
    if not service.add(channel.url):
        return Delivery(Receipt.REFUSED, _NOT_A_URL)
    with service.notify(
        title=message.subject, body=message.body, body_format=NotifyFormat.TEXT, log_level=logging.DEBUG
    ) as result:
        if result:
            return Delivery(Receipt.SENT)
        return _explained([entry.message for each in result.results for entry in each.logs()])


def _explained(said: list[str]) -> Delivery:
    """What happened, from what the library said about it."""
    text = "\n".join(said)
    if any(_DELIVERED.match(line) for line in said):
        return Delivery(Receipt.SENT, _PARTLY)
    if status := _STATUS.search(text):
        return Delivery(Receipt.REFUSED, f"its server answered {status[1]}")
    if code := _SMTP.search(text):
        return Delivery(Receipt.REFUSED, f"its mail server answered {code[1]}")
    if any(_UNREACHABLE.search(line) for line in said):
        return Delivery(Receipt.REFUSED, _UNREACHED)
    if _BROKEN.search(text):
        return Delivery(Receipt.UNKNOWN, _BROKE)
    return Delivery(Receipt.REFUSED, _DECLINED)


def _hush() -> None:
    """Keep what these libraries say out of our logs, also where they log everything."""
    for name in _TALKATIVE:
        logger = logging.getLogger(name)
        logger.propagate = False
    logging.getLogger("apprise").setLevel(logging.DEBUG)
