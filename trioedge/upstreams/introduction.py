"""The header of the PROXY protocol that an upstream gets before the first byte of its client.

| a session | its header names |
| --- | --- |
| of a TCP listener | its source, and the address at which it was accepted |
| that came with a header of its own | its source, and the destination in that header |
| of a local socket | version 1: ``UNKNOWN``; version 2: local sockets, with the listener's path |
| whose two ends are not both of one kind | version 1: ``UNKNOWN``; version 2: an unspecified family |
| none: a check of the edge's own | version 1: ``UNKNOWN``; version 2: ``LOCAL`` |

Its bytes are the edge's own, so neither the session nor its service counts them.
"""

import socket
from functools import lru_cache
from typing import Literal

import attrs
import trio

from ..addresses.address import UNIX_SOURCE, normalise_source, parse_address
from ..loop.sockets import send_now
from ..relay.stream_relay import close_hard
from ..relay.streams import PlainStream
from ..session.session import Session
from ..session.verdict import Reason
from ..wire.proxy_protocol import ProxyHeader, write_header
from .errors import UpstreamError


@attrs.frozen
class Introduction:
    """Introduces sessions to their upstreams.

    Attributes:
        version: of the header, 1 or 2.
    """

    version: Literal[1, 2]

    def header(self, session: Session | None, down: socket.SocketType | None) -> bytes:
        """Write the header of a session; a few microseconds.

        Args:
            session: has the source; None for a connection of the edge's own, such as a health check.
            down: the client's socket, which has the address at which it was accepted; None for that of the listener.
        """
        if session is None:
            return write_header(ProxyHeader(self.version, local=self.version == 2))
        came_with = session.state.get(ProxyHeader)
        source = session.source
        if came_with is not None and came_with.destination:
            destination, port = came_with.destination, came_with.destination_port
            if source == UNIX_SOURCE and came_with.source.startswith(UNIX_SOURCE):
                source = came_with.source  # with its path
        else:
            destination, port = _listener_end(session.listener) if down is None else _accepted_end(down)
        return write_header(ProxyHeader(self.version, False, source, session.source_port, destination, port))

    def begin(self, session: Session, down: socket.SocketType, up: socket.SocketType) -> bytes:
        """Send the header on a fresh socket, and give the rest that it does not take: it must be written first.

        A fresh socket takes all, unless it has failed or the kernel has no memory; a rest is counted as the client's.
        """
        return send_now(up, self.header(session, down))

    async def send(self, session: Session | None, up: trio.abc.HalfCloseableStream) -> None:
        """Send the header on a fresh stream, which is closed if this raises.

        Raises:
            UpstreamError: the upstream has closed the connection.
        """
        accepted = None if session is None else session.accepted
        try:
            await up.send_all(self.header(session, accepted.socket if isinstance(accepted, PlainStream) else None))
        except BaseException as error:
            await close_hard(up)
            if isinstance(error, trio.BrokenResourceError):
                raise UpstreamError(Reason.RESET, f"the upstream took no header: {error}") from error
            raise


def _accepted_end(down: socket.SocketType) -> tuple[str, int]:
    """Give the address and the port of a socket's near end."""
    name = down.getsockname()
    if isinstance(name, tuple):
        return _plain(name[0]), name[1]
    return (f"unix://{name}" if name and isinstance(name, str) else UNIX_SOURCE), 0


@lru_cache(64)
def _listener_end(listener: str) -> tuple[str, int]:
    """Give the address and the port of a listener; an empty address for a name, which may have several."""
    address = parse_address(listener, listening=True)
    if address.scheme == "unix":
        return listener, 0
    return (_plain(address.host), address.port) if address.literal else ("", 0)


@lru_cache(64)
def _plain(host: str) -> str:
    """Write an IP address as sources are written: without a scope, and IPv4-mapped IPv6 as IPv4."""
    return normalise_source(host)[0]
