"""Carry bytes between two plain sockets, both ways, in the reactor.

Every byte goes on in the order it came, or the session ends with a reset. A direction holds back at most one
buffer: while its reader is slow its writer is not read, and the kernel tells the writer. A side that has
finished sending is passed on as a half-close and still gets its answer.
"""

import os
import socket
from math import inf
from typing import Final, Protocol

from ..loop.reactor import BUFFER_BYTES, FAILED, READ_ON, WRITABLE, Reactor
from ..loop.sockets import pace, reset, unacknowledged_bytes, unsent_bytes
from ..session.allowance import Allowance
from ..session.meter import Meter
from ..session.session import Session
from ..session.verdict import Completed, Outcome, Reason

READS_PER_TURN: Final = 4
"""Buffers that one direction moves before others have a turn."""

LINGER_SECONDS: Final = 0.1
"""When a session that is over for both sides is first asked whether the kernel has sent what it took."""

LINGER_BYTES: Final = 16_384
"""A session that moved less is not asked: the kernel sends the first packets of a connection unpaced."""

MAX_LINGER_SECONDS: Final = 1.6
"""Then it is asked after twice as long each time, up to this: thousands may wait for clients that read late."""

_family = socket.SocketType.family.__get__  # `sock.family` makes an enum of it, each time, for a microsecond
_LOCAL: Final = int(socket.AF_UNIX)


class Ended(Protocol):
    """Who is told that a session has ended and its sockets are closed."""

    def __call__(self, session: Session, outcome: Outcome, /) -> None: ...


class Half:
    """One socket of a relay: reads it into its peer, and keeps what could not be written to it."""

    __slots__ = ("_reactor", "_relay", "_session", "backlog", "ended", "meter", "moved", "peer", "piece",
                 "queued", "read_on", "refused_at", "sock")  # fmt: skip

    def __init__(self, relay: "Relay", session: Session, reactor: Reactor, sock: socket.socket, meter: Meter) -> None:
        self._relay = relay
        self._session = session
        self._reactor = reactor
        self.meter = meter
        """The service's, of bytes that go this way."""
        self.sock = sock
        self.peer: Half = self
        self.backlog: memoryview | None = None
        """What the peer sent and this socket has not taken yet; the peer is not read meanwhile."""
        self.moved = 0
        """Bytes this socket has taken."""
        self.piece = 0
        """Bytes it takes at a time, for the sake of a low rate; 0 for all there are."""
        self.ended = False
        """It has sent all it will, and the peer knows."""
        self.queued = False
        """It has asked to be called again."""
        self.read_on = False
        """Read until there is nothing, for no further event will say that there is more."""
        self.refused_at: int | None = None
        """It takes no more bytes since the peer had taken so many; it may still have some to give."""

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
        """End the session if this socket was reset while nobody reads it."""
        if code := self.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            self._relay.end(Completed(Reason.RESET, os.strerror(code)), hard=True)
        return code != 0

    def resume(self) -> None:
        self.queued = False
        self.read()

    def read(self) -> None:
        """Read and pass on, a few buffers at most, and ask to be called again if there may be more."""
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
        """Be called again after everybody else; asking twice is asking once."""
        if not self.queued:
            self.queued = True
            self._reactor.again(self)

    def write(self, data: memoryview) -> None:
        """Pass `data` to this socket, and keep a copy of what it does not take."""
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
        """Write once and count; what a socket refuses for good is as good as gone."""
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
        """Write as much as the socket takes, each piece as a packet of its own, so that a new rate holds soon."""
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
        """It has sent everything: tell the peer, or end if the peer had finished too."""
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
        """It takes no more bytes. An answer may still lie in it, so it is read to its end before that counts."""
        self.refused_at = self.peer.moved
        neither_takes = self.peer.refused_at is not None
        if self.ended or neither_takes:
            self._relay.end(Completed(Reason.RESET), hard=neither_takes)
        else:
            self.read_on = True
            self.ask_again()

    def let_go(self) -> None:
        """Forget everything but the count, so that no cycle is left for the collector."""
        self.ended = True
        self.backlog = None
        del self.peer, self._relay, self._session

    def crashed(self, fault: Exception) -> None:
        relay: Relay | None = getattr(self, "_relay", None)  # gone once the session is over
        if relay is not None:
            relay.crashed(fault)


class Relay:
    """Two halves and what they share: the session, its idle limit and its end."""

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
        self, session: Session, reactor: Reactor, down: socket.socket, up: socket.socket,
        meters: tuple[Meter, Meter], ended: Ended,
    ) -> None:  # fmt: skip
        """Take two connected, non-blocking sockets, which are the relay's from now on.

        Args:
            session: whose bytes they are; its idle limits are read here, once.
            reactor: where `up` is registered already, and `down` will be.
            down: the client's socket.
            up: the upstream's socket.
            meters: the service's bytes up and down.
            ended: called once, when both sockets are closed.
        """
        self._session = session
        self.paused = False
        """The allowance is used up, so that nobody is read."""
        self.allowance = session.allowance
        """What it may move before its device is known; None for no bound."""
        self.pacing = ""
        """``kernel`` once a rate was set."""
        self._reactor = reactor
        self._ended = ended
        self._over = False
        self._half_closed = False
        self._linger = 0.0
        """Seconds until it is asked again whether all is sent; 0 while there is more to come."""
        self._unsent = (0, 0)
        self.active_at = self.began_at = reactor.now
        self.up = Half(self, session, reactor, up, meters[0])
        self.down = Half(self, session, reactor, down, meters[1])
        self.up.peer, self.down.peer = self.down, self.up
        self.down.read_on = not session.source_bytes  # a local socket, see `start`
        # By the shorter limit, so that a half-close sets no deadline anew; `expire` knows which one holds.
        soonest = min(session.idle_seconds, session.half_closed_seconds)
        self._tick = reactor.set_deadline(self, reactor.now + soonest)
        if session.down_rate != inf or session.up_rate != inf:
            self.pace(session.down_rate, session.up_rate)

    def start(self, early: bytes = b"", *, greeted: bool = False) -> None:
        """Begin.

        Args:
            early: what a middleware read from the client and the upstream shall get first.
            greeted: the upstream has spoken already, and its event has passed; or it is a local socket, whose short
                reads do not mean that it is empty (a message may have carried descriptors).
        """
        self._reactor.hand_over(self.up.sock.fileno(), self.up)
        self._reactor.add(self.down.sock.fileno(), self.down)
        if early:
            self.up.write(memoryview(early))
        if greeted:
            self.up.read_on = True
            self.up.ask_again()

    @property
    def bytes_up(self) -> int:
        """Bytes the upstream has taken."""
        return self.up.moved

    @property
    def bytes_down(self) -> int:
        """Bytes the client has taken."""
        return self.down.moved

    def pace(self, down_rate: float, up_rate: float) -> None:
        """Have the kernel send no faster, from now on, in bytes a second; the relay itself is never slowed.

        The kernel paces TCP. A session over a local socket that has a rate from the start is a stream relay's; one that
        lives when the rate comes is not held back on that side.
        """
        self.pacing = ""
        for half, rate in ((self.down, down_rate), (self.up, up_rate)):
            if _family(half.sock) != _LOCAL:
                try:
                    half.piece = pace(half.sock, rate)
                except OSError:  # dead already
                    continue
                if rate != inf:
                    self.pacing = "kernel"

    def count_by(self, meters: tuple[Meter, Meter]) -> None:
        """Count what moves from now on for another service."""
        self.up.meter, self.down.meter = meters

    def queued(self) -> tuple[int, int]:
        """Bytes to the client and to the upstream that the kernel has not sent yet."""
        return (0, 0) if self._over else (unsent_bytes(self.down.sock), unsent_bytes(self.up.sock))

    def pause(self, allowance: Allowance) -> None:
        """Read neither side until the allowance is lifted, or the session is cut."""
        if not self.paused:
            self.paused = True
            allowance.wait(self._go_on)

    def _go_on(self) -> None:
        """The device is known: no bound holds any more, and the events that passed meanwhile are made good."""
        self.paused = False
        self.allowance = None
        self.active_at = self._reactor.now
        for half in (self.down, self.up):
            self._reactor.repeat(half.sock.fileno())  # the reactor may sleep: this is no call of its

    def half_closed(self) -> None:
        """One side has finished: the shorter idle limit holds from now on."""
        self._half_closed = True
        self.active_at = self._reactor.now

    def finish(self, last: Half) -> None:
        """Both sides have sent all they will; `last` is yet to hear of it.

        What a rate still holds back in the kernel is the session's: it lives until that has been sent. Else a client
        that reads late would be beyond every limit and eviction, and its service beyond its rate.
        """
        if not self.pacing or self.up.moved + self.down.moved < LINGER_BYTES or not any(self.queued()):
            self.end(Completed())
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
        """The idle limit may have passed; a session that moved bytes since gets the rest of its time."""
        if self._over:
            return
        if self._linger and not any(self.queued()):
            self.end(Completed())
            return
        session = self._session
        limit = session.idle_seconds
        if self._half_closed:
            limit = min(limit, session.half_closed_seconds)
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
        """Tell whether a slow reader took something from the kernel's buffers since this was last asked."""
        before = self._unsent
        self._unsent = unacknowledged_bytes(self.down.sock), unacknowledged_bytes(self.up.sock)
        return self._unsent != before

    def cut(self, reason: Reason) -> None:
        """Reset both sockets now; they are closed when this returns."""
        self.end(Completed(reason), hard=True)

    def crashed(self, fault: Exception) -> None:
        """A bug of ours costs this session and no other."""
        self.end(Completed(Reason.FAULT, repr(fault)), hard=True)

    def end(self, outcome: Completed, *, hard: bool = False) -> None:
        """Close both sockets and say so, once.

        Args:
            outcome: how it ended.
            hard: with resets; else what was written is still delivered.
        """
        if self._over:
            return
        self._over = True
        if self.paused and self.allowance is not None:
            self.allowance.forget(self._go_on)
        reactor = self._reactor
        reactor.drop_deadline(self, self._tick)
        for half in (self.down, self.up):
            half.let_go()
            sock = half.sock
            reactor.forget(sock.fileno())
            if hard:
                reset(sock)
            else:
                sock.close()
        session, ended = self._session, self._ended
        del self._session, self._ended
        ended(session, outcome)
