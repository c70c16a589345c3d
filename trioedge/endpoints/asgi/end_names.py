"""The ends of a session's connection, as an application is told of them."""

from typing import TypeAlias

import attrs
import trio

from ...addresses.address import parse_address
from ...relay.streams import PlainStream
from ...relay.tls_info import TlsInfo
from ...session.session import Session

End: TypeAlias = tuple[str, int | None]


@attrs.frozen
class EndNames:
    """The names of one session.

    Attributes:
        client: the client's address and port, as stages know it; None for a local socket.
        server: the address and port that it reached, or the path of a local socket and None.
        alpn: the protocol that TLS agreed on, ``http/1.1`` if it agreed on none; None without TLS.
    """

    client: End | None
    server: End
    alpn: str | None

    @classmethod
    def of(cls, session: Session) -> "EndNames":
        """Give the names of a session that has a stream."""
        client = (session.source, session.source_port) if session.source_bytes else None
        return cls(client, _server(session), _alpn(session))


def _server(session: Session) -> End:
    """Give the edge's end of the connection, which a listener on all addresses does not tell."""
    accepted = session.accepted
    if isinstance(accepted, PlainStream):
        where = accepted.socket.getsockname()
        if isinstance(where, tuple):
            return where[0], where[1]
        if where and isinstance(where, str):
            return where, None
    listener = parse_address(session.listener, listening=True)
    return (listener.host, listener.port) if listener.scheme == "tcp" else (listener.path, None)


def _alpn(session: Session) -> str | None:
    info = session.state.get(TlsInfo)
    if info is not None:
        return info.alpn or "http/1.1"
    stream = session.stream
    if isinstance(stream, trio.SSLStream):
        return stream.selected_alpn_protocol() or "http/1.1"
    return None
