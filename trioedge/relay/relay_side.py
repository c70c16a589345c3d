"""One socket of a relay: it is read into its peer, and keeps the bytes of the peer that it could not take.

| event | while | action |
| --- | --- | --- |
| readable | | read up to 4 buffers into the peer; if there may be more, ask for another turn |
| it takes less than it is given | | the rest is its `backlog`; the peer is not read until that is gone |
| writable | there is a backlog | write it; once it is gone, read the peer, whose event has passed |
| reads an end | it takes bytes, the peer has not ended | it has `ended`; half-close the peer |
| reads an end | it takes bytes, the peer has ended | it has `ended`; the session finishes |
| reads an end | it takes no more | it is lost: see the endings of a session in `socket_relay` |
| a read fails | | its bytes have all been read; it takes no more, and is lost |
| a write or its half-close fails | it has not ended | it takes no more (`failure`); read what it has: an answer |
| nothing is left to read | it takes no more | it is lost; but the host of a local socket may still send |
| the same | it has ended | it is lost |
| reset | | it takes no more; what has arrived is read, at once or once the peer takes it, but not in a pause |
| the allowance is used up | | the relay pauses: neither side is read until it is lifted |
| it takes no more | it has a backlog | the backlog is dropped; read the peer, whose event has passed |
| it takes bytes | its service may move no more | the session is cut; the bytes in hand are dropped |
| readable | the peer takes no more | read and drop the bytes: they are not counted, and are no life |

It is not read while its peer has a backlog, once it has ended, and during a pause.
"""

import os
import socket
from functools import cache
from typing import TYPE_CHECKING, Final

from ..loop.reactor import BUFFER_BYTES, FAILED, READ_ON, WRITABLE, Reactor
from ..loop.sockets import is_local, send_in_pieces
from ..session.evictions import cut_now
from ..session.meter import Meter
from ..session.session import Session
from ..session.verdict import Completed, Reason

if TYPE_CHECKING:
    from .socket_relay import Relay

_SOCKET: Final = int(socket.SOL_SOCKET)
_ERROR: Final = int(socket.SO_ERROR)

READS_PER_TURN: Final = 4
"""Buffers that one direction moves before other sockets have a turn."""


@cache
def reset_outcome(code: int) -> Completed:
    """Give the outcome of a session one of whose sides failed with this errno; one object for each errno."""
    return Completed(Reason.RESET, os.strerror(code))


class RelaySide:
    """One socket of a relay.

    Attributes:
        sock: the socket, and `fd` its descriptor.
        peer: the other side.
        meter: counts the service's bytes to this socket.
        backlog: bytes of the peer that this socket has not taken yet, at most one buffer; None if there are none.
        moved: bytes that this socket has taken.
        piece: the most bytes that it is given at a time, because of a low rate; 0 for no bound.
        ended: no more bytes of it are read: it has sent its last one, or was reset.
        failure: the outcome of the session, because this socket takes no more bytes; None while it takes them.
        reported: the reactor reports when it takes bytes again, from its first backlog on.
        queued: it has asked the reactor for another turn.
        read_on: it is read until nothing is left, because no further event will say that there is more.
    """

    __slots__ = ("_reactor", "_relay", "_session", "backlog", "ended", "failure", "fd", "meter", "moved", "peer",
                 "piece", "queued", "read_on", "reported", "sock")  # fmt: skip

    def __init__(
        self, relay: "Relay", session: Session, reactor: Reactor, sock: socket.SocketType, meter: Meter
    ) -> None:
        self._relay = relay
        self._session = session
        self._reactor = reactor
        self.meter = meter
        self.sock = sock
        self.fd = sock.fileno()
        self.peer: RelaySide = self
        self.backlog: memoryview | None = None
        self.moved = self.piece = 0
        self.ended = self.queued = self.read_on = self.reported = False
        self.failure: Completed | None = None

    def on_ready(self, fd: int, mask: int) -> None:  # noqa: ARG002 - the reactor's shape
        if mask & READ_ON:
            self.read_on = True
            if mask & FAILED:
                self._note_reset()
                if self.ended:
                    return
        if self.backlog is not None and mask & WRITABLE:
            self._flush(self.backlog)
        if mask & ~WRITABLE:
            self.read()

    def _note_reset(self) -> None:
        """Handle a reset, if there was one: the event may be one of the descriptor's former owner.

        A read would tell too, but not during a pause, and by an exception, which takes longer than this call.
        """
        code = self.sock.getsockopt(_SOCKET, _ERROR)
        if not code:
            return
        if self._relay.paused:
            self._lose(code)  # the bytes that it still has are more than the session may move
        elif self.ended or self.peer.backlog is not None:
            self._refuse(code)
        elif self.failure is None:  # and it is read next
            self._fail(code)
            self._relay.half_closed()

    def resume(self) -> None:
        self.queued = False
        self.read()

    def read(self) -> None:
        """Read into the peer, a few buffers at most, and ask for another turn if there may be more."""
        if self.queued or self.ended:
            return
        relay, reactor, peer = self._relay, self._reactor, self.peer
        allowance = relay.allowance
        if allowance is not None and allowance.lifted:
            allowance = relay.allowance = None
        for _ in range(READS_PER_TURN):
            if self.ended or peer.backlog is not None:
                return
            if peer.failure is not None:
                self.drop()
                return
            try:
                if allowance is None:
                    count = self.sock.recv_into(reactor.buffer)
                elif allowance.left > 0:
                    count = self.sock.recv_into(reactor.buffer, min(allowance.left, BUFFER_BYTES))
                    allowance.left -= count
                else:
                    relay.pause(allowance)
                    return
            except BlockingIOError:
                if self.failure is not None and not is_local(self.sock):
                    self._lose(0)
                return
            except OSError as error:
                self._lose(error.errno or 0)
                return
            if not count:
                self._finish()
                return
            relay.active_at = reactor.now
            peer.write(reactor.buffer[:count])
            # A short read has emptied the socket, and later bytes are a new event.
            if count < BUFFER_BYTES and not self.read_on and allowance is None:
                return
        self.ask_again()

    def drop(self) -> None:
        """Read and drop bytes, because the peer takes no more: its host is not kept from reading the last ones."""
        for _ in range(READS_PER_TURN):
            try:
                count = self.sock.recv_into(self._reactor.buffer)
            except BlockingIOError:
                return
            except OSError as error:
                self._lose(error.errno or 0)
                return
            if not count:
                self._finish()
                return
        self.ask_again()

    def ask_again(self) -> None:
        """Ask the reactor for another turn after the other sockets; a second call has no effect."""
        if not self.queued:
            self.queued = True
            self._reactor.again(self)

    def write(self, data: memoryview) -> None:
        """Write `data` to this socket and count it; keep a copy of the bytes that it does not take."""
        try:
            count = send_in_pieces(self.sock, data, self.piece) if self.piece else self.sock.send(data)
        except BlockingIOError:
            count = 0
        except OSError as error:
            self._refuse(error.errno or 0)
            return
        if count:
            self.moved += count
            meter = self.meter
            meter.bytes += count
            meter.total.bytes += count
            if meter.quiet:
                meter.wake()
                if meter.refusal is not None:  # the quota of its service is used up
                    cut_now(self._session, meter.refusal)
                    return
            if self._session.quiet:
                self._session.wake()
        if count < len(data):
            self.backlog = memoryview(bytes(data[count:]))
            self._relay.await_room(self)

    def _flush(self, backlog: memoryview) -> None:
        """Write the backlog; once it is gone, read the peer again, whose event has passed."""
        relay, peer = self._relay, self.peer
        relay.active_at = self._reactor.now
        self.backlog = None
        self.write(backlog)
        if self.backlog is not None:
            return
        if peer.ended and peer.failure is not None:
            relay.lose(peer, peer.failure)
        else:
            peer.read()

    def _finish(self) -> None:
        """Handle the end of its bytes: half-close the peer, or end the session if the peer has ended too."""
        self.ended = True
        peer = self.peer
        if self.failure is not None:
            self._relay.lose(self, self.failure)
        elif peer.failure is not None:
            return  # the peer is read to its end, into this side
        elif peer.ended:
            self._relay.finish(peer)
        else:
            self._relay.half_closed()
            try:
                peer.sock.shutdown(socket.SHUT_WR)
            except BlockingIOError:  # close_notify waits for room
                self._relay.await_room(peer)
            except OSError as error:
                peer._refuse(error.errno or 0)

    def _refuse(self, code: int) -> None:
        """Handle that it takes no more bytes; an answer in it is read first."""
        if self.failure is not None:
            return
        failure = self._fail(code)
        if self.ended or self.peer.failure is not None:
            self._relay.lose(self, failure)
        else:
            self._relay.half_closed()
            self.read_on = True
            self.ask_again()

    def _fail(self, code: int) -> Completed:
        """Take no more bytes. The peer's are dropped from now on, and events of some may have passed."""
        self.failure = failure = reset_outcome(code)
        if self.backlog is not None:
            self.backlog = None
            self.peer.ask_again()
        return failure

    def _lose(self, code: int) -> None:
        """Handle that it takes no more bytes and has no more either."""
        self.ended = True
        self._relay.lose(self, self.failure or self._fail(code))

    def release(self) -> None:
        """Drop every reference but the count, so that no cycle is left for the garbage collector."""
        self.ended = True
        self.backlog = None
        del self.peer, self._relay, self._session

    def crashed(self, fault: BaseException) -> None:
        relay: Relay | None = getattr(self, "_relay", None)  # None once the session is over
        if relay is not None:
            relay.crashed(fault)
