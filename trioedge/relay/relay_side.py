"""One socket of a relay: it is read into its peer, and keeps the bytes of the peer that it could not take.

| event | while | action |
| --- | --- | --- |
| readable | | read up to 4 buffers into the peer; if there may be more, ask for another turn |
| it takes less than it is given | | the rest is its `backlog`; the peer is not read until that is gone |
| writable | there is a backlog | write it; once it is gone, read the peer, whose event has passed |
| reads an end | the peer has not ended | it has `ended`; half-close the peer, or reset both if that fails |
| reads an end | the peer has ended | it has `ended`; the session finishes |
| reads an end | it takes no more | the session ends; the peer is reset, or closed if it got bytes since |
| a read fails | | the session ends with a reset |
| a write fails | it has not ended | `refused_at`: it takes no more; read it to its end, and the peer not at all |
| a write fails | it has ended | the session ends, both are closed |
| a write fails | the peer takes no more either | the session ends with a reset |
| reset | it is not read | the session ends with a reset |
| the allowance is used up | | the relay pauses: neither side is read until it is lifted |

It is not read while its peer has a backlog or takes no more, once it has ended, and during a pause.
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
"""Buffers that one direction moves before other sockets have a turn."""


class RelaySide:
    """One socket of a relay.

    Attributes:
        sock: the socket.
        peer: the other side.
        meter: counts the service's bytes to this socket.
        backlog: bytes of the peer that this socket has not taken yet, at most one buffer; None if there are none.
        moved: bytes that this socket has taken.
        piece: the most bytes that it is given at a time, because of a low rate; 0 for no bound.
        ended: it has sent its last byte, and the peer is half-closed.
        queued: it has asked the reactor for another turn.
        read_on: it is read until nothing is left, because no further event will say that there is more.
        refused_at: the bytes that the peer had taken when a write to this socket failed; None while it takes bytes.
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
            if mask & FAILED and self._is_unread() and self._is_dead():
                return
        if self.backlog is not None and mask & WRITABLE:
            self._flush(self.backlog)
        if mask & ~WRITABLE:
            self.read()

    def _is_unread(self) -> bool:
        """Tell whether no read will notice a reset."""
        peer = self.peer
        return self.ended or peer.backlog is not None or peer.refused_at is not None or self._relay.paused

    def _is_dead(self) -> bool:
        """End the session if this socket was reset."""
        if code := self.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            self._relay.end(Completed(Reason.RESET, os.strerror(code)), hard=True)
        return code != 0

    def resume(self) -> None:
        self.queued = False
        self.read()

    def read(self) -> None:
        """Read into the peer, a few buffers at most, and ask for another turn if there may be more."""
        if self.queued or self.ended:
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
            # A short read has emptied the socket, and later bytes are a new event.
            if count < BUFFER_BYTES and not self.read_on and allowance is None:
                return
        self.ask_again()

    def ask_again(self) -> None:
        """Ask the reactor for another turn after the other sockets; a second call has no effect."""
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
        """Write once and count; bytes for a socket that takes no more count as written."""
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
        """Write what the socket takes, each piece as a packet of its own, so that another rate applies soon."""
        count, piece = 0, self.piece
        while count < len(data):
            try:
                count += self.sock.send(data[count : count + piece], socket.MSG_EOR)
            except OSError:  # BlockingIOError too
                if not count:
                    raise
                break  # the next write raises it again
        return count

    def _finish(self) -> None:
        """Handle the end of its bytes: half-close the peer, or end the session if the peer has ended too."""
        self.ended = True
        peer = self.peer
        if self.refused_at is not None:
            # A reset could take from the peer an answer that it got since the write failed.
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
        """Handle a failed write: the socket takes no more, but an answer in it is read first."""
        self.refused_at = self.peer.moved
        neither_takes = self.peer.refused_at is not None
        if self.ended or neither_takes:
            self._relay.end(Completed(Reason.RESET), hard=neither_takes)
        else:
            self.read_on = True
            self.ask_again()

    def release(self) -> None:
        """Drop every reference but the count, so that no cycle is left for the garbage collector."""
        self.ended = True
        self.backlog = None
        del self.peer, self._relay, self._session

    def crashed(self, fault: BaseException) -> None:
        relay: Relay | None = getattr(self, "_relay", None)  # None once the session is over
        if relay is not None:
            relay.crashed(fault)
