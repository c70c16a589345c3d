"""Edges of one protocol each: `python -m tests.bench.protocol_edges KIND LISTEN UPSTREAM FOLDER`.

Each has the stage of its protocol and no other, so that a ratio is of the stage alone; `bare` has none. Clients name
their destination in `socks` and `tunnel`. FOLDER has the certificate of `tls`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import trioedge as te
from tests.bench.asgi_app import app
from tests.bench.talks import SERVER_NAME

MAX_HANDSHAKES = 10_000
"""More than `half` has clients, so that none gives way."""


def bare(listen: str, upstream: str, folder: Path) -> te.Edge:
    """Relay."""
    return te.Edge(listen, [], te.Forward(upstream))


def proxy(listen: str, upstream: str, folder: Path) -> te.Edge:
    """Relay for a balancer that sends PROXY headers."""
    return te.Edge(listen, [te.ProxyProtocol(trusted=["127.0.0.1"])], te.Forward(upstream))


def socks(listen: str, upstream: str, folder: Path) -> te.Edge:
    """Serve SOCKS without a login."""
    return te.Edge(listen, [te.Socks()], te.Forward(allow=["loopback"]))


def half(listen: str, upstream: str, folder: Path) -> te.Edge:
    """Serve SOCKS to clients that stay in the middle of their handshake."""
    return te.Edge(listen, [te.Socks()], te.Forward(allow=["loopback"]), max_handshakes=MAX_HANDSHAKES)


def tunnel(listen: str, upstream: str, folder: Path) -> te.Edge:
    """Serve CONNECT without a login."""
    return te.Edge(listen, [te.HttpConnect()], te.Forward(allow=["loopback"]))


def sni(listen: str, upstream: str, folder: Path) -> te.Edge:
    """Route by server name."""
    return te.Edge(listen, [te.SniRoute({SERVER_NAME: upstream})], te.Forward(allow=["loopback"]))


def tls(listen: str, upstream: str, folder: Path) -> te.Edge:
    """Terminate TLS."""
    return te.Edge(listen, [te.Tls([(folder / "chain.pem", folder / "key.pem")])], te.Forward(upstream))


def asgi(listen: str, upstream: str, folder: Path) -> te.Edge:
    """Answer requests by an application."""
    return te.Edge(listen, [], te.Asgi(app))


KINDS: dict[str, Callable[[str, str, Path], te.Edge]] = {
    "bare": bare,
    "proxy": proxy,
    "socks": socks,
    "half": half,
    "tunnel": tunnel,
    "sni": sni,
    "tls": tls,
    "asgi": asgi,
}

if __name__ == "__main__":
    kind, listen, upstream, folder = sys.argv[1:5]
    te.run(KINDS[kind](listen, upstream, Path(folder)))
