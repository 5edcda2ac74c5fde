"""Where a server listens: on IPv4 and IPv6 alike, whatever the machine has."""

import socket


def listener(host: str | None, port: int) -> socket.socket:
    """A listening socket; for all addresses one that takes IPv4 and IPv6, where the machine has both.

    Args:
        host: address to listen on; None for all of them.
        port: 0 for a free one.

    Raises:
        OSError: the port is taken.
    """
    if host is not None:
        return socket.create_server((host, port))
    try:
        return socket.create_server(("", port), family=socket.AF_INET6, dualstack_ipv6=True)
    except (OSError, ValueError):
        return socket.create_server(("", port))
