"""Carry bytes between two plain sockets, both ways, in the reactor.

Bytes are written in the order in which they were read, or the session ends with a reset. A direction keeps at most one
buffer of them: while a reader is slow its writer is not read, so the kernel slows the writer down. `relay_side` has the
events of one socket; the states of both together are these:

| state | event | action |
| --- | --- | --- |
| relaying | one side ends | half-close the other; half-closed |
| relaying | no byte for `idle_seconds` | reset both, ``idle`` |
| half-closed | the other side ends | close both, ``finished``; or lingering |
| half-closed, lingering | no byte for the shorter of the two limits | reset both, ``idle`` |
| lingering | the kernel has sent the last byte | close both, ``finished`` |
| relaying, half-closed | the allowance is used up | read neither side, without an idle limit, until it is lifted |
| any | the limit has passed, but a slow reader took bytes out of the kernel | the limit begins anew |
| any | one side takes no more bytes | read it to its end, then close or reset the other, ``reset`` |
| any | a read or a half-close fails, or neither side takes bytes | reset both, ``reset`` |
| any | a cut | reset both, with its reason |
| any | a callback raises an exception | reset both, ``fault`` |

Lingering: both sides have sent their last byte, and a rate still delays some of them in the kernel.
"""

import socket
from math import inf
from typing import Final, Protocol

from ..errors import quote_fault
from ..loop.reactor import Reactor
from ..loop.sockets import pace, reset, unacknowledged_bytes, unsent_bytes
from ..session.allowance import Allowance
from ..session.session import Session
from ..session.verdict import FINISHED, Completed, Outcome, Reason
from .idle import idle_limit
from .relay_side import RelaySide

LINGER_SECONDS: Final = 0.1
"""When a lingering session is first asked whether the kernel has sent its last byte."""

LINGER_BYTES: Final = 16_384
"""A session that moved less does not linger: the kernel sends the first packets of a connection unpaced."""

MAX_LINGER_SECONDS: Final = 1.6
"""It is asked again after twice as long each time, up to this: thousands may wait for clients that read late."""

_family = socket.SocketType.family.__get__  # `sock.family` makes an enum of it, each time, for a microsecond
_LOCAL: Final = int(socket.AF_UNIX)


class Ended(Protocol):
    """Called when a session has ended and its sockets are closed."""

    def __call__(self, session: Session, outcome: Outcome, /) -> None: ...


class Relay:
    """The carrier of one session over two sockets: its two sides, its idle limit and its end.

    Attributes:
        down: the client's side.
        up: the upstream's side.
        active_at: when the last byte moved.
        began_at: when the relay began.
        allowance: bytes that it may move before its device is known; None for no bound.
        paused: the allowance is used up, so neither side is read.
        pacing: ``kernel`` once a rate was set.
    """

    __slots__ = (
        "_ended",
        "_half_closed",
        "_linger",
        "_over",
        "_reactor",
        "_session",
        "_tick",
        "_unsent",
        "active_at",
        "allowance",
        "began_at",
        "down",
        "pacing",
        "paused",
        "up",
    )

    phase = "relaying"

    def __init__(
        self, session: Session, reactor: Reactor, down: socket.socket, up: socket.socket, ended: Ended
    ) -> None:
        """Take two connected, non-blocking sockets, which the relay closes from now on.

        Args:
            session: has the limits, the rates, the allowance, and the service whose meters count the bytes.
            reactor: serves both sockets from :meth:`start` on.
            down: the client's socket.
            up: the upstream's socket.
            ended: called once, when both sockets are closed.
        """
        self._session = session
        self.paused = False
        self.allowance = session.allowance
        self.pacing = ""
        self._reactor = reactor
        self._ended = ended
        self._over = False
        self._half_closed = False
        self._linger = 0.0  # seconds until a lingering session is asked again; 0 while it does not linger
        self._unsent = (0, 0)
        self.active_at = self.began_at = reactor.now
        service = session.service
        self.up = RelaySide(self, session, reactor, up, service.up)
        self.down = RelaySide(self, session, reactor, down, service.down)
        self.up.peer, self.down.peer = self.down, self.up
        self.down.read_on = not session.peer_bytes  # a local socket, see `start`
        if session.down_rate != inf or session.up_rate != inf:
            self.pace(session.down_rate, session.up_rate)
        # By the shorter limit, so that a half-close sets no other deadline; `expire` knows which limit applies. Set
        # last, because nothing would cancel the deadline of a relay that could not be made.
        soonest = min(session.idle_seconds, session.half_closed_seconds)
        self._tick = reactor.set_deadline(self, reactor.now + soonest)

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
        (self._reactor.hand_over if registered else self._reactor.add)(self.up.sock.fileno(), self.up)
        self._reactor.add(self.down.sock.fileno(), self.down)
        if prefetched:
            self.up.write(memoryview(prefetched))
        if readable:
            self.up.read_on = True
            self.up.ask_again()

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
            if _family(side.sock) != _LOCAL:
                try:
                    side.piece = pace(side.sock, rate)
                except OSError:  # dead already
                    continue
                if rate != inf:
                    self.pacing = "kernel"

    def queued(self) -> tuple[int, int]:
        """Bytes to the client and to the upstream that the kernel has not sent yet."""
        return (0, 0) if self._over else (unsent_bytes(self.down.sock), unsent_bytes(self.up.sock))

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
        for side in (self.down, self.up):
            self._reactor.repeat(side.sock.fileno())  # wakes the reactor, which did not call this

    def half_closed(self) -> None:
        """Apply the shorter idle limit from now on, because one side has ended."""
        self._half_closed = True
        self.active_at = self._reactor.now

    def finish(self, last: RelaySide) -> None:
        """End the session, because both sides have ended; `last` has no half-close yet.

        A session whose rate still delays bytes in the kernel lives until they are sent. Otherwise no limit and no
        eviction would reach a client that reads late, and its service would exceed its rate.
        """
        if not self.pacing or self.up.moved + self.down.moved < LINGER_BYTES or not any(self.queued()):
            self.end(FINISHED)
            return
        try:
            last.sock.shutdown(socket.SHUT_WR)
        except OSError as error:
            self.end(Completed(Reason.RESET, str(error)), hard=True)
            return
        self._linger = LINGER_SECONDS
        self.active_at = self._reactor.now
        self._reactor.drop_deadline(self, self._tick)
        self._tick = self._reactor.set_deadline(self, self.active_at + self._linger)

    def expire(self, now: float) -> None:
        """End the session if its idle limit has passed; else set the deadline for the rest of it."""
        if self._over:
            return
        if self._linger and not any(self.queued()):
            self.end(FINISHED)
            return
        session = self._session
        limit = idle_limit(session, half_closed=self._half_closed)
        due = self.active_at + limit
        if due <= now and (self.paused or self._drains()):
            self.active_at, due = now, now + limit
        if due <= now:
            self.end(Completed(Reason.IDLE, f"no byte for {limit:g} s"), hard=True)
        else:
            self._linger = min(2 * self._linger, MAX_LINGER_SECONDS)
            soon = self._linger or session.half_closed_seconds
            self._tick = self._reactor.set_deadline(self, min(due, now + soon))

    def _drains(self) -> bool:
        """Tell whether a slow reader took bytes out of the kernel's buffers since the last call."""
        before = self._unsent
        self._unsent = unacknowledged_bytes(self.down.sock), unacknowledged_bytes(self.up.sock)
        return self._unsent != before

    def cut(self, reason: Reason) -> None:
        """Reset both sockets now; they are closed when this returns."""
        self.end(Completed(reason), hard=True)

    def crashed(self, fault: BaseException) -> None:
        """End the session after an exception in a callback, so that a bug costs this session and no other."""
        self.end(Completed(Reason.FAULT, quote_fault(fault)), hard=True)

    def end(self, outcome: Completed, *, hard: bool = False) -> None:
        """Close both sockets and call `ended`, once.

        Args:
            outcome: how it ended.
            hard: with resets; otherwise written bytes are still delivered.
        """
        if self._over:
            return
        self._over = True
        if self.paused and self.allowance is not None:
            self.allowance.forget(self._go_on)
        reactor = self._reactor
        reactor.drop_deadline(self, self._tick)
        for side in (self.down, self.up):
            side.release()
            sock = side.sock
            reactor.forget(sock.fileno())
            if hard:
                reset(sock)
            else:
                sock.close()
        session, ended = self._session, self._ended
        del self._session, self._ended
        ended(session, outcome)
