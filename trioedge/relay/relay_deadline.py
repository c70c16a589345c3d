"""The deadline of a relay over sockets: its idle limit, and the wait for the last bytes that the kernel owes.

| a session | when its deadline passes | action |
| --- | --- | --- |
| waits for the last byte | the kernel has delivered it | end |
| any | a byte moved, or the kernel delivered one, within the limit | set the next deadline |
| is paused | | the limit begins anew |
| any | no byte for the limit | end, ``idle`` |

One deadline serves all. It is looked at rarely while all bytes are delivered, :data:`LOOKS` times within the limit
while a reader is slow, and after 0.1 s to 1.6 s while the last byte is waited for.
"""

from typing import Final

from ..errors import quote_fault
from ..loop.reactor import Reactor
from ..loop.sockets import is_owed, probe, unacknowledged_bytes, unsent_bytes
from ..session.session import Session
from ..session.verdict import FINISHED, Completed, Reason
from .idle import idle_limit
from .relay_side import RelaySide
from .tls_side import says_end

LINGER_SECONDS: Final = 0.1
"""When the kernel is first asked whether it has delivered the last byte of a session that waits for it."""

MAX_LINGER_SECONDS: Final = 1.6
"""It is asked again after twice as long each time, up to this: thousands may wait for clients that read late."""

LOOKS: Final = 8
"""How often within the idle limit the kernel is asked whether a slow reader takes bytes."""


class RelayDeadline:
    """The part of a relay that ends it in time.

    Attributes:
        down: the client's side.
        up: the upstream's side.
        active_at: when the last byte moved, or was delivered to a slow reader.
        paused: the allowance is used up, so neither side is read.
    """

    __slots__ = ("_delivered", "_half_closed", "_last", "_linger", "_looked_at", "_outcome", "_over", "_probed",
                 "_reactor", "_session", "_tick", "_watched", "active_at", "down", "paused", "up")  # fmt: skip

    _tick: int
    down: RelaySide
    up: RelaySide

    def __init__(self, session: Session, reactor: Reactor) -> None:
        """Set no deadline yet: the relay sets the first one as soon as it can be cut."""
        self._session = session
        self._reactor = reactor
        self._over = False
        self._half_closed = False
        self._linger = 0.0  # seconds until the kernel is asked again for the last byte; 0 while it is not waited for
        self._outcome = FINISHED  # once the last byte is delivered; `_last` is the side that it goes to
        self._last: RelaySide | None = None
        self._delivered = (0, 0)  # bytes that each side has acknowledged, when the kernel was last asked
        self._probed = False  # the kernel probes a silent upstream
        self._watched = False  # a reader is slow, so the kernel is asked often
        self.paused = False
        self.active_at = self._looked_at = reactor.now

    def end(self, outcome: Completed, *, hard: bool = False, reset_up: bool = False) -> None:
        """Close both sockets, once."""
        raise NotImplementedError

    def crashed(self, fault: BaseException) -> None:
        """End the session after an exception in a callback, so that a bug costs this session and no other."""
        self.end(Completed(Reason.FAULT, quote_fault(fault)), hard=True)

    def half_closed(self) -> None:
        """Apply the shorter idle limit from now on, because one side has ended or takes no more."""
        self._half_closed = True
        self.active_at = self._reactor.now

    def queued(self) -> tuple[int, int]:
        """Bytes to the client and to the upstream that the kernel has not sent yet."""
        return (0, 0) if self._over else (unsent_bytes(self.down.sock), unsent_bytes(self.up.sock))

    def _end_delivered(self, last: RelaySide) -> None:
        """End the session: its last byte is delivered, and an upload that was cut short is seen as one."""
        self.end(self._outcome, reset_up=last is self.up)

    def _await_delivery(self) -> None:
        """Ask the kernel again and again whether the last byte is delivered."""
        self._half_closed = True
        self._linger = LINGER_SECONDS
        self.active_at = self._reactor.now
        self._reactor.drop_deadline(self, self._tick)
        self._tick = self._reactor.set_deadline(self, self.active_at + self._linger)

    def await_room(self, side: RelaySide) -> None:
        """Have the reactor report when a side takes bytes again, and the idle limit look at what its host takes."""
        self.watch()
        if not side.reported:
            side.reported = True
            self._reactor.repeat(side.fd)

    def watch(self) -> None:
        """Ask the kernel soon how much of its buffers a slow reader takes, so that the idle limit is kept."""
        if not self._watched:
            self._watched = True
            self._reactor.drop_deadline(self, self._tick)
            self._tick = self._reactor.set_deadline(self, self._reactor.now + (self._linger or self._step()))

    def _step(self) -> float:
        return min(self._session.idle_seconds, self._session.half_closed_seconds) / LOOKS

    def expire(self, now: float) -> None:
        """End the session if its last byte is delivered or its idle limit has passed; else set the next deadline."""
        if self._over:
            return
        last = self._last
        if self._linger and not (self._is_delaying() if last is None else is_owed(last.sock)):
            if last is None:
                self.end(FINISHED)
            else:
                self._end_delivered(last)
            return
        session = self._session
        if not self._probed:  # not before, because most sessions are shorter, and the options cost 2.4 µs
            self._probed = True
            probe(self.up.sock)
        self._look(now)
        limit = idle_limit(session, half_closed=self._half_closed)
        due = self.active_at + limit
        if due <= now:
            self.end(Completed(Reason.IDLE, f"no byte for {limit:g} s"), hard=True)
        else:
            self._linger = min(2 * self._linger, MAX_LINGER_SECONDS)
            soon = self._linger or (self._step() if self._watched else session.half_closed_seconds)
            self._tick = self._reactor.set_deadline(self, min(due, now + soon))

    def _is_delaying(self) -> bool:
        """Tell whether a side still waits for room to say its end, or for its rate."""
        return not (says_end(self.down) & says_end(self.up)) or any(self.queued())

    def _look(self, now: float) -> None:
        """Note when the session last had a sign of life: in a pause now, else when the kernel delivered a byte.

        Bytes that the relay wrote since the last look fill the kernel's buffers and those of the reader's host, which
        is no sign that the reader takes any; so these count for when they were written.
        """
        if self.paused:
            self.active_at = now
        down, up = unacknowledged_bytes(self.down.sock), unacknowledged_bytes(self.up.sock)
        delivered = self.down.moved - down, self.up.moved - up
        owed = down > 0 or up > 0
        if delivered != self._delivered and (owed or self._watched):
            wrote = self.active_at >= self._looked_at
            self.active_at = max(self.active_at, now - self._step() if wrote else now)
        self._delivered, self._watched, self._looked_at = delivered, owed, now
