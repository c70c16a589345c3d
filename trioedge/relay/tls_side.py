"""One socket of a relay that speaks TLS.

It does what `relay_side` says, and more:

| event | while | action |
| --- | --- | --- |
| any | its socket has more, and the peer takes it | read on: no event tells of bytes that TLS holds |
| writable | TLS has records that the kernel has not taken | send them |
| the peer ends | close_notify finds no room | it is sent with the next event that there is room |
| a reset | close_notify was said | the next read tells: the peer's own close_notify, or a cut |
| both have ended | close_notify finds no room | the session waits until it is sent, within its idle limit |
"""

from contextlib import suppress
from typing import Final

from ..loop.reactor import WRITABLE
from .relay_side import READS_PER_TURN, RelaySide
from .tls_socket import TlsSocket

RECORD_OVERHEAD: Final = 29
"""The most bytes that a record has besides its data (TLS 1.2 with AES-GCM: RFC 5246 6.2.3.3, RFC 5288 3)."""


class TlsSide(RelaySide):
    """One socket of a relay that speaks TLS."""

    __slots__ = ()

    sock: TlsSocket

    def on_ready(self, fd: int, mask: int) -> None:
        if mask & WRITABLE and self.backlog is None:
            self._send_kept()
        super().on_ready(fd, mask)
        if not self.ended and self.sock.more:
            self.read()

    def _send_kept(self) -> None:
        """Send the records that are no backlog: close_notify, an answer of TLS."""
        if self.sock.unsent:
            with suppress(OSError):  # the next read or write fails too
                self.sock.flush()

    def read(self) -> None:
        for _ in range(READS_PER_TURN):
            super().read()
            if self.queued or self.ended or not self.sock.more or self.peer.backlog is not None or self._relay.paused:
                return
        self.ask_again()

    def _note_reset(self) -> None:
        """Leave a reset to the next read, if it may answer our close_notify: see :meth:`TlsSocket.shutdown`."""
        if self.ended or self._relay.paused or not self.sock.said_end:
            super()._note_reset()

    def look_first(self) -> None:
        """Have the reactor call it soon, because TLS may hold bytes; a task may call this."""
        self.reported = True
        self._reactor.repeat(self.fd)


def says_end(side: RelaySide) -> bool:
    """Say the end of TLS before a close; false if close_notify has to wait for room. A plain socket needs no words."""
    if type(side) is TlsSide:
        try:
            side.sock.shutdown()
        except BlockingIOError:
            return False
        except OSError:  # its host is gone
            pass
    return True
