"""The receiving half of a socket that speaks TLS; `tls_socket` has the other one.

| call | event | action |
| --- | --- | --- |
| recv_into | bytes are held | decrypt them; the kernel is not asked |
| recv_into | the kernel has bytes | decrypt them; answers to messages of TLS are sent (a new key, an alert) |
| recv_into | close_notify | the end: 0 bytes |
| recv_into | the connection ends without it | ``ConnectionResetError``: the cut may have taken data (RFC 8446 6.1) |
| recv_into | a record that is not one | send the alert; ``OSError``, EPROTO |
| recv_into | messages of TLS and no data, more than :data:`MAX_BARREN_BYTES` | the same, without an alert |

No event of the kernel tells of bytes that are held here: a reader goes on while :attr:`TlsReader.more` is true. A short
read with `more` false means what it means of a plain socket: later bytes are a new event.
"""

import errno
import socket
import ssl
from contextlib import suppress
from typing import Any, Final

from .tls_info import words_of

READ_BYTES: Final = 32_768
"""The most bytes that one call takes from the kernel, and the most that it gives."""

MAX_UNSENT: Final = 98_304
"""Records that are kept for a peer that reads nothing: one write, and answers to its messages of TLS."""

MAX_BARREN_BYTES: Final = 65_536
"""Bytes of a peer in a row that hold no data, as new keys do: each has its price, and a record has at most 16 KiB."""

_recv_into = socket.SocketType.recv_into


class TlsReader(socket.socket):
    """A connected, non-blocking socket whose bytes are decrypted.

    Attributes:
        more: bytes, or the end, may be here, of which no event will tell; only a read does.
    """

    __slots__ = ("_ahead", "_barren", "_ended", "_full", "_incoming", "_outgoing", "_owed", "_said_end", "_tls",
                 "_unsent", "more")  # fmt: skip

    def __init__(
        self, sock: socket.SocketType, context: ssl.SSLContext, received: bytes, *, server_name: str | None,
        client: bool,
    ) -> None:  # fmt: skip
        if isinstance(sock, TlsReader):
            raise ValueError("TLS was begun twice: a connection has one TLS: begin it once")
        if client and context.check_hostname and not server_name:  # OpenSSL would check no name then
            raise ValueError("the certificate has no name to be checked for: write server_name=")
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, not client, server_name)
        if received:
            self._incoming.write(received)
        super().__init__(int(sock.family), int(socket.SOCK_STREAM | socket.SOCK_NONBLOCK), sock.proto, sock.fileno())
        sock.detach()
        # `_unsent` has records that the kernel has not taken, which precede those in `_outgoing`; if `_owed` is true
        # the first byte of the next write is in them. `_ahead` has plain bytes that were looked at.
        self._ahead = self._unsent = b""
        self._owed = False
        self._said_end = self._ended = False  # close_notify, ours and the peer's
        self._barren = 0  # bytes of the peer since the last data
        self._full = True  # the kernel may have more: the last read of it was not short
        self.more = False

    def flush(self) -> None:
        """Send the records that the kernel has not taken."""
        raise NotImplementedError

    def recv_into(self, buffer: Any, nbytes: int = 0, flags: int = 0) -> int:  # noqa: ARG002 - a socket's shape
        """Receive at most 32 KiB, and 0 at the end.

        Args:
            buffer: a memoryview; the bytes of the kernel are read into it too, so it should have 32 KiB.
            nbytes: at most so many; 0 for the length of the buffer.
            flags: none is known here.

        Raises:
            BlockingIOError: there is nothing now.
            OSError: the connection was reset, or cut without close_notify, or the bytes are no TLS.
        """
        room = min(nbytes or len(buffer), READ_BYTES)
        if self._ahead:
            return self._give_ahead(buffer, room)
        if self.more and (given := self._decrypt(buffer, room)):
            self.more = self.more or self._full
            return given
        asked = min(len(buffer), READ_BYTES)
        while not self._ended:
            self._full = False
            count = _recv_into(self, buffer, asked)
            if not count:
                self._said_end = True  # no word is left to say to it
                raise ConnectionResetError(errno.ECONNRESET, "TLS: cut without close_notify")
            self._incoming.write(buffer[:count])
            given = self._decrypt(buffer, room)
            if count == asked:
                self.more = self._full = True
            if given:
                self._barren = 0
                return given
            self._barren += count
            if self._barren > MAX_BARREN_BYTES:
                raise OSError(errno.EPROTO, "TLS: too many messages without data")
            if not self.more:
                raise BlockingIOError
        self.more = False
        return 0

    def _decrypt(self, buffer: Any, room: int) -> int:
        """Decrypt what is held, at most `room` bytes, and note whether there may be more."""
        read, incoming = self._tls.read, self._incoming
        total = 0
        self.more = True
        try:
            while total < room:
                asked = room - total
                count: int = read(asked, buffer[total:] if total else buffer)  # type: ignore[assignment]
                total += count
                if not count:
                    self._ended = True
                    break
                if not incoming.pending and count < asked:  # it was a whole record
                    self.more = False
                    break
        except ssl.SSLWantReadError:
            self.more = False
        except ssl.SSLZeroReturnError:
            self._ended = True
        except ssl.SSLError as error:
            if not total:
                with suppress(OSError):
                    self.flush()  # the alert
                raise OSError(errno.EPROTO, words_of(error)) from None
        if self._outgoing.pending:
            self._answer()
        return total

    def _answer(self) -> None:
        """Send what OpenSSL answers to a message of TLS; behind close_notify nothing is."""
        if self._said_end:
            self._outgoing.read()
            return
        with suppress(BlockingIOError):
            self.flush()
        if len(self._unsent) + self._outgoing.pending > MAX_UNSENT:
            raise OSError(errno.ENOBUFS, "TLS: the peer asks for answers and does not read them")

    def _give_ahead(self, buffer: Any, room: int) -> int:
        data, self._ahead = self._ahead[:room], self._ahead[room:]
        buffer[: len(data)] = data
        self.more = True
        return len(data)

    def recv(self, bufsize: int, flags: int = 0) -> bytes:
        """Receive at most 32 KiB, and none at the end; raises as :meth:`recv_into` does.

        Args:
            bufsize: at most so many bytes.
            flags: with ``MSG_PEEK`` the next call gives the same bytes again.
        """
        buffer = memoryview(bytearray(READ_BYTES))
        data = bytes(buffer[: self.recv_into(buffer, bufsize)])
        if flags & socket.MSG_PEEK:
            self._ahead = data + self._ahead
            self.more = True
        return data
