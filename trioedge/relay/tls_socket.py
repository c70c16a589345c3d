"""TLS over a plain socket, with a socket's own methods, so that the reactor and its relay carry it as any other.

OpenSSL works on memory: bytes of the kernel are written into it, and what it has to say is sent from here. So bytes
that a stage has read ahead can be given to it, and the kernel's pacing works below it. `tls_reader` has the table of
receiving; that of sending:

| call | event | action |
| --- | --- | --- |
| send | the kernel takes the records | the count of the bytes |
| send | it takes a part of them | one byte less; the rest is kept, and the last byte counts once it is gone |
| send | a rest is kept | send that first; ``BlockingIOError`` while it is not gone |
| shutdown | the kernel takes close_notify | end the connection's sending half too; receiving goes on |
| shutdown | it does not | ``BlockingIOError``: call it again |
| close | | as shutdown, at once or not at all; no word after ``SO_LINGER`` of 0 s, which resets |

A direction keeps at most 88 KiB: one write of 64 KiB as records, and the memory in which one of them was made; or
32 KiB of the kernel, and one record. A client may not renegotiate: OpenSSL 3 refuses it, and TLS 1.3 has it no more.
"""

import errno
import socket
import ssl
from contextlib import suppress
from typing import Any, Final

import attrs

from ..session.verdict import Reason
from .tls_info import TlsError, TlsInfo, error_of, info_of, words_of
from .tls_reader import READ_BYTES, TlsReader

RECORD_BYTES: Final = 16_384
"""The most bytes in a record (RFC 8446 5.1)."""

MAX_HANDSHAKE_BYTES: Final = 65_536
"""The most bytes of a peer's handshake: a chain of certificates has some thousand."""

_recv = socket.SocketType.recv
_send = socket.SocketType.send
_LINGER: Final = b"\x01\x00\x00\x00\x00\x00\x00\x00"  # on, for 0 s


class TlsSocket(TlsReader):
    """A connected, non-blocking socket that speaks TLS."""

    __slots__ = ("_took",)

    def __init__(
        self, sock: socket.SocketType, context: ssl.SSLContext, received: bytes = b"", *,
        server_name: str | None = None, client: bool = False,
    ) -> None:  # fmt: skip
        """Take over a socket, which the caller does not have any more.

        Args:
            sock: connected and non-blocking.
            context: a server's, or a client's.
            received: bytes of the peer that were read from it.
            server_name: of a client, the name that the server's certificate must have.
            client: whether this is the client's side.

        Raises:
            OSError, ValueError: of the context or the name, or the socket speaks TLS already; the caller still has it.
        """
        super().__init__(sock, context, received, server_name=server_name, client=client)
        self._took = len(received)  # bytes of the peer in the handshake

    def handshake(self) -> bool:
        """Go on with the handshake, and tell whether it is done; if not, call it again after the next event.

        Raises:
            TlsError: it came to nothing; the peer has been told why.
            OSError: the connection was reset.
        """
        while True:
            try:
                self._tls.do_handshake()
                done = True
            except ssl.SSLWantReadError:
                done = False
            except ssl.SSLError as error:
                with suppress(OSError):
                    self.flush()
                raise error_of(error) from None
            if self._unsent or self._outgoing.pending:
                try:  # noqa: SIM105 - in each session
                    self.flush()
                except BlockingIOError:
                    pass
            if done:
                self.more = True
                return True
            self._full = False
            try:
                data = _recv(self, READ_BYTES)
            except BlockingIOError:
                return False
            if not data:
                raise TlsError(Reason.HANDSHAKE, "TLS: the peer left")
            self._incoming.write(data)
            self._full = len(data) == READ_BYTES
            self._took += len(data)
            if self._took > MAX_HANDSHAKE_BYTES:
                raise TlsError(Reason.PROTOCOL, f"TLS: a handshake of more than {MAX_HANDSHAKE_BYTES:,} bytes")

    def info(self, server_name: str | None = None) -> TlsInfo:
        """Tell what the handshake has agreed on.

        Args:
            server_name: the name that the client asked for.
        """
        return attrs.evolve(info_of(self._tls), server_name=server_name)

    @property
    def unsent(self) -> bool:
        """Whether the kernel has yet to take records, which :meth:`flush` sends."""
        return bool(self._unsent or self._outgoing.pending)

    def send(self, data: Any, flags: int = 0) -> int:
        """Send, and give how many bytes count as sent: all, or all but the last one, which is owed then.

        Args:
            data: a memoryview, or bytes. After a call that did not take all, the next one begins with the rest.
            flags: of the kernel's send.

        Raises:
            BlockingIOError: none was taken.
            OSError: the connection was reset, or its sending half is closed.
        """
        if self._unsent or self._outgoing.pending:
            self.flush()
        size = len(data)
        done = 1 if self._owed and size else 0
        self._owed = False
        if done == size:
            return size
        try:
            if size - done <= RECORD_BYTES:
                self._tls.write(data[done:] if done else data)
                records = self._outgoing.read()
            else:
                return self._send_records(data, done, flags)
        except ssl.SSLError as error:
            raise OSError(errno.EPROTO, words_of(error)) from None
        try:
            count = _send(self, records, flags)
        except BlockingIOError:
            count = 0
        return size if count == len(records) else self._owe(records[count:], size)

    def _send_records(self, data: Any, done: int, flags: int) -> int:
        """Send more bytes than one record has; each is made by itself, so that OpenSSL keeps the memory of one."""
        records, size = [], len(data)
        while done < size:
            done += self._tls.write(data[done : done + RECORD_BYTES])
            records.append(self._outgoing.read())
        try:
            count = self.sendmsg(records, (), flags)
        except BlockingIOError:
            count = 0
        return size if count == sum(map(len, records)) else self._owe(b"".join(records)[count:], size)

    def _owe(self, rest: bytes, size: int) -> int:
        """Keep the rest of some records; the last byte in them counts as sent once they are."""
        self._unsent = rest
        self._owed = True
        if size == 1:
            raise BlockingIOError
        return size - 1

    def flush(self) -> None:
        """Send the records that the kernel has not taken; behind close_notify the sending half is closed.

        Raises:
            BlockingIOError: it does not take all of them now.
            OSError: the connection was reset.
        """
        while self._unsent or self._outgoing.pending:
            if not self._unsent:
                self._unsent = self._outgoing.read()
            count = _send(self, self._unsent)
            self._unsent = self._unsent[count:]
        if self._said_end:
            self._end_sending()

    @property
    def said_end(self) -> bool:
        """Whether it has said close_notify."""
        return self._said_end

    def _end_sending(self) -> None:
        """End the connection's sending half.

        A peer that has said its close_notify may close before ours comes (RFC 8446 section 6.1), and answers it with a
        reset. The next read has its last words, or else the reset.
        """
        try:
            super().shutdown(socket.SHUT_WR)
        except OSError as error:
            if error.errno != errno.ENOTCONN:
                raise

    def shutdown(self, how: int = socket.SHUT_WR, /) -> None:  # noqa: ARG002 - a socket's shape
        """Say close_notify, and close the sending half; a second call sends what the first one could not.

        Args:
            how: the sending half, whatever it says; the other one stays open.

        Raises:
            BlockingIOError: the kernel does not take close_notify now.
            OSError: the connection was reset.
        """
        if not self._said_end:
            self._said_end = True
            while pending := self._tls.pending():
                self._ahead += self._tls.read(pending)
            held = self._incoming.read()  # or OpenSSL would look there for the peer's close_notify, and drop data
            with suppress(ssl.SSLError):
                self._tls.unwrap()
            self._incoming.write(held)
        self.flush()

    def close(self) -> None:
        """Close; say close_notify before, if it was not said, the kernel takes it, and the close is to be no reset."""
        if self.fileno() >= 0:
            with suppress(OSError):
                if self.getsockopt(socket.SOL_SOCKET, socket.SO_LINGER, 8) != _LINGER:
                    self.shutdown()
        super().close()
