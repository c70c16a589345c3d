"""Carry bytes between two plain sockets, both ways, in the reactor.

Bytes are written in the order in which they were read. A direction keeps at most one buffer of them: while a reader is
slow its writer is not read, so the kernel slows the writer down. `relay_side` has the events of one socket. No ending
loses a byte that was read, unless the session is cut. The endings of a session, S being the side that ends and P the
other one:

| S | then P | P is closed with | outcome |
| --- | --- | --- | --- |
| ends, P has not ended | gets all bytes, and is read into S | a half-close; half-closed | |
| ends, P has ended | gets all bytes; those that a rate delays are waited for | a close | ``finished`` |
| is lost: the upstream | gets all bytes; its own are dropped | a half-close; a close once they are there | ``reset`` |
| is lost: the client | gets all bytes; its own are dropped | a reset once they are there | ``reset`` |
| is lost, P takes no more | | a reset | ``reset`` |
| any, no byte for the limit | | resets of both | ``idle`` |
| any, a cut | | resets of both, at once | its reason |
| any, a callback raises | | resets of both, at once | ``fault`` |

So a client gets its download and then an end; an upload that was cut short stays visible to the upstream as a reset.
A side is *lost* when it takes no more bytes (it was reset, or a write to it failed) and has been read to its end: the
kernel keeps what had arrived before a reset. In a pause it is not read; what has not been read then is given up. A
local socket has no reset, so its host sees an end; and all bytes that it was given are with it already.

The idle limit is the shorter of the two once a side has ended or takes no more. A byte that the kernel delivers from
its buffers to a slow reader is life. While a used-up allowance pauses the session there is no limit.
"""

import socket
from math import inf
from typing import Final, Protocol

from ..loop.reactor import BUFFER_BYTES, Reactor
from ..loop.sockets import close, is_local, is_owed, pace, received_bytes, reset
from ..session.allowance import Allowance
from ..session.session import Session
from ..session.verdict import FINISHED, Completed, Outcome, Reason
from .relay_deadline import RelayDeadline
from .relay_side import RelaySide, reset_outcome
from .tls_side import RECORD_OVERHEAD, TlsSide, says_end
from .tls_socket import TlsSocket

LINGER_BYTES: Final = 16_384
"""A finished session that moved less does not wait: the kernel sends the first packets of a connection unpaced."""


class Ended(Protocol):
    """Called when a session has ended and its sockets are closed."""

    def __call__(self, session: Session, outcome: Outcome, /) -> None: ...


class Relay(RelayDeadline):
    """The carrier of one session over two sockets: its two sides, its idle limit and its end.

    Attributes:
        down: the client's side.
        up: the upstream's side.
        active_at: when the last byte moved, or was delivered to a slow reader.
        began_at: when the relay began.
        allowance: bytes that it may move before its device is known; None for no bound.
        paused: the allowance is used up, so neither side is read.
        pacing: ``kernel`` once a rate was set.
    """

    __slots__ = ("_ended", "allowance", "began_at", "pacing")

    phase = "relaying"

    def __init__(
        self, session: Session, reactor: Reactor, down: socket.SocketType, up: socket.SocketType, ended: Ended
    ) -> None:
        """Take two connected, non-blocking sockets, which the relay closes from now on.

        Args:
            session: has the limits, the rates, the allowance, and the service whose meters count the bytes.
            reactor: serves both sockets from :meth:`start` on.
            down: the client's socket.
            up: the upstream's socket.
            ended: called once, when both sockets are closed.
        """
        super().__init__(session, reactor)
        self._ended = ended
        self.allowance = session.allowance
        self.pacing = ""
        self.began_at = reactor.now
        service = session.service
        self.up = (RelaySide if type(up) is not TlsSocket else TlsSide)(self, session, reactor, up, service.up)
        self.down = (RelaySide if type(down) is not TlsSocket else TlsSide)(self, session, reactor, down, service.down)
        self.up.peer, self.down.peer = self.down, self.up
        self.down.read_on = not session.peer_bytes  # a local socket, see `start`
        if session.is_paced():
            self.pace(session.down_rate, session.up_rate)
        # By the shorter limit, so that a half-close sets no other deadline. Set last, because nothing would cancel the
        # deadline of a relay that could not be made.
        self._tick = reactor.set_deadline(self, reactor.now + self._step())

    def start(self, prefetched: bytes = b"", *, readable: bool = False, registered: bool = True) -> None:
        """Begin. If this raises, the caller must :meth:`cut` the relay.

        Args:
            prefetched: bytes that a stage has read from the client; the upstream gets them first.
            readable: the upstream has sent bytes already, and their event has passed; or it is a local socket, whose
                short reads do not mean that it is empty (a message may have carried descriptors).
            registered: whether the upstream's socket is in the reactor already.

        Raises:
            OSError: the kernel has no memory left to watch a socket.
        """
        reactor, up, down = self._reactor, self.up, self.down
        if registered:
            reactor.hand_over(up.fd, up)
            up.reported = True
        else:
            reactor.add_reader(up.fd, up)
        reactor.add_reader(down.fd, down)
        if prefetched:
            up.write(memoryview(self._with_more(prefetched)))
        else:
            down.read()  # most clients have spoken already, and then its event is not waited for
        if readable and not self._over:
            up.read_on = True
            up.ask_again()
        for side in (down, up):
            if type(side) is TlsSide and not self._over and side.sock.more:
                side.look_first()

    def _with_more(self, prefetched: bytes) -> bytes:
        """Add what waits behind bytes that were read ahead, so that both leave in one packet and one system call.

        Not of TLS, of which a part of a record may wait: that has no byte to give.
        """
        more = 0 if self.allowance is not None or type(self.down) is TlsSide else received_bytes(self.down.sock)
        room = BUFFER_BYTES - len(prefetched)
        return prefetched + self.down.sock.recv(min(more, room)) if more and room > 0 else prefetched

    @property
    def bytes_up(self) -> int:
        """Bytes that the upstream has taken."""
        return self.up.moved

    @property
    def bytes_down(self) -> int:
        """Bytes that the client has taken."""
        return self.down.moved

    def pace(self, down_rate: float, up_rate: float) -> None:
        """Limit the rates at which the kernel sends from now on, in bytes a second; the relay itself is never slowed.

        The kernel paces TCP only. A session over a local socket that has a rate when it begins gets a stream relay; one
        that gets its rate later stays unpaced on that side.
        """
        self.pacing = ""
        for side, rate in ((self.down, down_rate), (self.up, up_rate)):
            if not is_local(side.sock):
                try:
                    overhead = RECORD_OVERHEAD if type(side) is TlsSide else 0
                    side.piece = max(0, pace(side.sock, rate) - overhead)
                except OSError:  # dead already
                    continue
                if rate != inf:
                    self.pacing = "kernel"

    def pause(self, allowance: Allowance) -> None:
        """Read neither side until the allowance is lifted or the session is cut."""
        if not self.paused:
            self.paused = True
            allowance.wait(self._go_on)

    def _go_on(self) -> None:
        """Read both sides again, now that the device is known; the reactor repeats the events of the pause."""
        self.paused = False
        self.allowance = None
        self.active_at = self._reactor.now
        try:
            for side in (self.down, self.up):
                self._reactor.repeat(side.fd)  # wakes the reactor, which did not call this
        except OSError as fault:  # the stage that lifts the allowance has other sessions to go on with
            self.crashed(fault)

    def finish(self, last: RelaySide) -> None:
        """End the session, because both sides have ended; `last` has no half-close yet.

        A session whose rate still delays bytes in the kernel lives until they are sent. Otherwise no limit and no
        eviction would reach a client that reads late, and its service would exceed its rate. So does one whose
        close_notify (TLS) has no room yet.
        """
        delayed = self.pacing and self.up.moved + self.down.moved >= LINGER_BYTES and any(self.queued())
        said = says_end(last) & says_end(last.peer)
        if said and not delayed:
            self.end(FINISHED)
            return
        try:
            last.sock.shutdown(socket.SHUT_WR)
        except BlockingIOError:  # close_notify waits for room
            pass
        except OSError as error:
            self.lose(last, reset_outcome(error.errno or 0))
            return
        self._await_delivery()

    def lose(self, lost: RelaySide, outcome: Completed) -> None:
        """End the session, because a side is lost, once the other one has its bytes: see the table of endings."""
        if self._over:
            return
        last = lost.peer
        if last.failure is not None:
            self.end(outcome, hard=True)
            return
        self._outcome = outcome
        self.paused = False  # so that the idle limit applies
        if self.allowance is not None:
            self.allowance.forget(self._go_on)
        if last.backlog is not None:
            self.half_closed()
            return  # `last` calls this again once it is written
        delivered = not is_owed(last.sock)
        if last is self.down:
            try:
                last.sock.shutdown(socket.SHUT_WR)
            except OSError:
                delivered = True  # it is lost too
            if not last.ended:
                last.drop()  # bytes that are unread at a close make it a reset
        if delivered:
            self.end(outcome, reset_up=last is self.up)
        elif not self._over:
            self._last = last
            last.ask_again()  # its bytes are dropped from now on, and their events may have passed
            self._await_delivery()

    def cut(self, reason: Reason) -> None:
        """Reset both sockets now; they are closed when this returns."""
        self.end(Completed(reason), hard=True)

    def end(self, outcome: Completed, *, hard: bool = False, reset_up: bool = False) -> None:
        """Close both sockets and call `ended`, once.

        Args:
            outcome: how it ended.
            hard: with resets; otherwise written bytes are still delivered.
            reset_up: with a reset of the upstream alone.
        """
        if self._over:
            return
        self._over = True
        if self.allowance is not None:
            self.allowance.forget(self._go_on)
        reactor = self._reactor
        reactor.drop_deadline(self, self._tick)
        down, up = self.down, self.up
        down.release()
        up.release()
        self._last = None
        reactor.forget(down.fd)
        reactor.forget(up.fd)
        (reset if hard else close)(down.sock)
        (reset if hard or reset_up else close)(up.sock)
        session, ended = self._session, self._ended
        del self._session, self._ended
        ended(session, outcome)
