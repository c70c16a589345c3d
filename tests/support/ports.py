"""Ports of this machine on which nothing answers."""

import socket


def closed_port() -> int:
    """Give a TCP port of 127.0.0.1 that refuses connections: it was free a moment ago."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])
