"""Serve TLS over the stream of a session that has a task: over its socket if it has one, else over any stream."""

import ssl
from typing import Any

import trio

from .streams import BareReplayStream, PlainStream, replaying
from .tls_info import TlsError, TlsInfo, error_of, info_of
from .tls_socket import TlsSocket


async def start_tls(
    stream: trio.abc.Stream, context: ssl.SSLContext, received: bytes
) -> tuple[PlainStream | BareReplayStream, TlsInfo]:
    """Serve TLS from the next byte of the client on, and do its handshake.

    A stream over a socket goes on as itself. Another one has `trio.SSLStream` around it then, which has no half-close:
    a relay ends both directions where one ends. After a cancel or an error the stream is only good to be closed.

    Args:
        stream: the client's.
        context: a server's.
        received: bytes of the client that were read ahead.

    Returns:
        The stream in clear, and what was agreed on.

    Raises:
        TlsError: the handshake came to nothing.
        trio.BrokenResourceError: the client has left.
    """
    if isinstance(stream, PlainStream):
        return stream, await _over_its_socket(stream, context, received)
    below = stream if isinstance(stream, BareReplayStream) else replaying(stream)
    below.unread(received)
    above: Any = trio.SSLStream(below, context, server_side=True)
    try:
        await above.do_handshake()
    except trio.BrokenResourceError as error:
        if isinstance(error.__cause__, ssl.SSLError):
            raise error_of(error.__cause__) from None
        raise
    return replaying(above), info_of(above)


async def _over_its_socket(stream: PlainStream, context: ssl.SSLContext, received: bytes) -> TlsInfo:
    sock, unread = stream.detach()
    try:
        sock = secured = TlsSocket(sock, context, received + unread)
    finally:
        stream.adopt(sock)
    try:
        while not secured.handshake():
            wait = trio.lowlevel.wait_writable if secured.unsent else trio.lowlevel.wait_readable
            await wait(secured)
    except TlsError:
        raise
    except OSError as error:
        raise trio.BrokenResourceError(str(error)) from error
    await trio.lowlevel.checkpoint()
    return secured.info()
