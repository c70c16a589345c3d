"""One socket of a relay: it is read into its peer, and keeps the bytes that it could not take.

what happens                         then
readable                             read up to 4 buffers into the peer, then let others have a turn
the peer takes less than it is given the rest is the peer's `backlog`; this side is not read until that is gone
writable, with a backlog             write it; once it is gone, read the peer again, whose event has passed
reads an end                         `ended`; the peer gets a half-close, or the session is over if it had ended too
read fails                           the session ends with a reset
write fails                          `refused_at`: it takes no more; its last bytes are read, then the session ends
reset while it is not read           the session ends with a reset
the allowance is used up             neither side is read until it is lifted
"""

import os
import socket
from typing import TYPE_CHECKING, Final

from ..loop.reactor import BUFFER_BYTES, FAILED, READ_ON, WRITABLE, Reactor
from ..session.meter import Meter
from ..session.session import Session
from ..session.verdict import Completed, Reason

if TYPE_CHECKING:
    from .socket_relay import Relay

READS_PER_TURN: Final = 4
"""Buffers that one direction moves before others have a turn."""


class RelaySide:
    """One socket of a relay.

    Attributes:
        sock: the socket.
        peer: the other side.
        meter: the service's bytes that go to this socket.
        backlog: bytes of the peer that this socket has not taken yet; the peer is not read meanwhile.
        moved: bytes that this socket has taken.
        piece: bytes that it is given at a time, because of a low rate; 0 for all there are.
        ended: it has sent its last byte, and the peer was told.
        queued: it has asked to be called again.
        read_on: read until nothing is left, because no further event will say that there is more.
        refused_at: its write failed when the peer had taken so many bytes; None as long as it takes them.
    """

    __slots__ = ("_reactor", "_relay", "_session", "backlog", "ended", "meter", "moved", "peer", "piece",
                 "queued", "read_on", "refused_at", "sock")  # fmt: skip

    def __init__(self, relay: "Relay", session: Session, reactor: Reactor, sock: socket.socket, meter: Meter) -> None:
        self._relay = relay
        self._session = session
        self._reactor = reactor
        self.meter = meter
        self.sock = sock
        self.peer: RelaySide = self
        self.backlog: memoryview | None = None
        self.moved = 0
        self.piece = 0
        self.ended = False
        self.queued = False
        self.read_on = False
        self.refused_at: int | None = None

    def on_ready(self, fd: int, mask: int) -> None:  # noqa: ARG002 - the reactor's shape
        if mask & READ_ON:
            self.read_on = True
            unread = self.ended or self.peer.backlog is not None or self._relay.paused
            if mask & FAILED and unread and self._is_dead():
                return
        if self.backlog is not None and mask & WRITABLE:
            self._flush(self.backlog)
        if mask & ~WRITABLE:
            self.read()

    def _is_dead(self) -> bool:
        """End the session if this socket was reset while it is not read."""
        if code := self.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            self._relay.end(Completed(Reason.RESET, os.strerror(code)), hard=True)
        return code != 0

    def resume(self) -> None:
        self.queued = False
        self.read()

    def read(self) -> None:
        """Read into the peer, a few buffers at most, and ask to be called again if there may be more."""
        if self.queued or self.ended:  # queued: its turn will come, once
            return
        peer, allowance = self.peer, self._relay.allowance
        if allowance is not None and allowance.lifted:
            allowance = self._relay.allowance = None
        for _ in range(READS_PER_TURN):
            if self.ended or peer.backlog is not None or peer.refused_at is not None:
                return
            try:
                if allowance is None:
                    count = self.sock.recv_into(self._reactor.buffer)
                elif allowance.left > 0:
                    count = self.sock.recv_into(self._reactor.buffer, min(allowance.left, BUFFER_BYTES))
                    allowance.left -= count
                else:
                    self._relay.pause(allowance)
                    return
            except BlockingIOError:
                return
            except OSError as error:
                self._relay.end(Completed(Reason.RESET, str(error)), hard=True)
                return
            if not count:
                self._finish()
                return
            self._relay.active_at = self._reactor.now
            peer.write(self._reactor.buffer[:count])
            # A short read has emptied the socket, and what comes later is a new event.
            if count < BUFFER_BYTES and not self.read_on and allowance is None:
                return
        self.ask_again()

    def ask_again(self) -> None:
        """Be called again after the other sockets; asking twice is asking once."""
        if not self.queued:
            self.queued = True
            self._reactor.again(self)

    def write(self, data: memoryview) -> None:
        """Write `data` to this socket, and keep a copy of the bytes that it does not take."""
        count = self._send(data)
        if count < len(data):
            self.backlog = memoryview(bytes(data[count:]))

    def _flush(self, backlog: memoryview) -> None:
        """Write the backlog; once it is gone, read the peer again, whose event has passed."""
        peer, self._relay.active_at = self.peer, self._reactor.now
        count = self._send(backlog)
        if count < len(backlog):
            self.backlog = backlog[count:]
        else:
            self.backlog = None
            peer.read()

    def _send(self, data: memoryview) -> int:
        """Write once and count; bytes that a socket refuses for good count as taken."""
        try:
            count = self._send_in_pieces(data) if self.piece else self.sock.send(data)
        except BlockingIOError:
            return 0
        except OSError:
            self._refuse()
            return len(data)
        self.moved += count
        meter = self.meter
        meter.bytes += count
        meter.total.bytes += count
        if meter.quiet:
            meter.wake()
        if self._session.quiet:
            self._session.wake()
        return count

    def _send_in_pieces(self, data: memoryview) -> int:
        """Write as much as the socket takes, each piece as a packet of its own, so that a new rate applies soon."""
        count, piece = 0, self.piece
        while count < len(data):
            try:
                count += self.sock.send(data[count : count + piece], socket.MSG_EOR)
            except OSError:  # BlockingIOError too
                if not count:
                    raise
                break  # the next write meets it again
        return count

    def _finish(self) -> None:
        """It has sent its last byte: half-close the peer, or end if the peer had ended too."""
        self.ended = True
        peer = self.peer
        if self.refused_at is not None:
            # Reset the peer too, unless it got an answer since, which a reset might take from it again.
            self._relay.end(Completed(Reason.RESET), hard=peer.moved == self.refused_at)
        elif peer.ended:
            self._relay.finish(peer)
        else:
            self._relay.half_closed()
            try:
                peer.sock.shutdown(socket.SHUT_WR)
            except OSError as error:
                self._relay.end(Completed(Reason.RESET, str(error)), hard=True)

    def _refuse(self) -> None:
        """It takes no more bytes. An answer may still lie in it, so it is read to its end first."""
        self.refused_at = self.peer.moved
        neither_takes = self.peer.refused_at is not None
        if self.ended or neither_takes:
            self._relay.end(Completed(Reason.RESET), hard=neither_takes)
        else:
            self.read_on = True
            self.ask_again()

    def release(self) -> None:
        """Forget everything but the count, so that no reference cycle is left for the garbage collector."""
        self.ended = True
        self.backlog = None
        del self.peer, self._relay, self._session

    def crashed(self, fault: Exception) -> None:
        relay: Relay | None = getattr(self, "_relay", None)  # gone once the session is over
        if relay is not None:
            relay.crashed(fault)
