"""The counts, the rates and the allowance of a session that an application answers: its carrier.

A plain TCP socket is paced by the kernel on its way to the client. All else, and every upload, has a timeline.
"""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from math import inf
from socket import AF_UNIX
from typing import Any

import trio

from ...loop.reactor import Reactor
from ...loop.sockets import pace, send_in_pieces, unsent_bytes
from ...relay.direction import BROKEN, wait_until_lifted
from ...relay.streams import PlainStream
from ...relay.timeline import Timeline
from ...session.allowance import Allowance
from ...session.evictions import cut_now
from ...session.meter import Meter
from ...session.session import Session
from ...session.verdict import Reason


class CountedClient:
    """A client whose bytes are counted and paced.

    Attributes:
        began_at: when the endpoint began.
        pacing: ``kernel``, ``timeline``, or an empty text for neither.
        bytes_up: bytes that the client has sent.
        bytes_down: bytes that the client's socket has taken.
        active_at: when a byte last moved, or a wait of its own was over.
        paused: how many directions wait for a rate or for the allowance.
        gone: the client has reset the connection, or takes no more bytes.
        detail: why it is gone, for people.
        piece: the most bytes of one send of a paced socket; 0 for no bound.
    """

    __slots__ = (
        "_beneath",
        "_meters",
        "_reactor",
        "_rests",
        "_session",
        "active_at",
        "began_at",
        "bytes_down",
        "bytes_up",
        "detail",
        "down",
        "gone",
        "pacing",
        "paused",
        "piece",
        "plain",
        "stream",
        "up",
    )  # fmt: skip

    phase = "relaying"

    def __init__(self, session: Session, reactor: Reactor) -> None:
        """Move nothing yet.

        Args:
            session: has the stream, the rates, the allowance, and the service whose meters count the bytes.
            reactor: has the clock.
        """
        self._session, self._reactor = session, reactor
        self.stream: Any = session.stream
        self.plain: PlainStream | None = self.stream if isinstance(self.stream, PlainStream) else None
        self._beneath = accepted if isinstance(accepted := session.accepted, PlainStream) else None
        self._meters = session.service.up, session.service.down
        self.up, self.down = Timeline(), Timeline()
        self._rests: dict[Timeline, trio.CancelScope] = {}
        self.bytes_up = self.bytes_down = self.paused = self.piece = 0
        self.gone = False
        self.detail = ""
        self.active_at = self.began_at = reactor.refresh()
        self.pacing = ""
        if session.is_paced():
            self.pace(session.down_rate, session.up_rate)

    def queued(self) -> tuple[int, int]:
        """Bytes to the client that the kernel has not sent yet, and 0."""
        plain = self.plain
        with suppress(trio.ClosedResourceError):
            return (0 if plain is None else unsent_bytes(plain.socket)), 0
        return 0, 0

    def pace(self, down_rate: float, up_rate: float) -> None:
        """Apply other rates, also to bytes that wait."""
        self.pacing = "" if down_rate == inf == up_rate else "timeline"
        if self.plain is not None:
            with suppress(OSError, trio.ClosedResourceError):  # dead already
                if self.plain.socket.family != AF_UNIX:
                    self.piece = pace(self.plain.socket, down_rate)
                    if down_rate != inf:
                        self.pacing = "kernel"
        now = self._reactor.refresh()
        for timeline, rest in self._rests.items():
            rest.deadline = now + timeline.retune(down_rate if timeline is self.down else up_rate, now)

    def cut(self, reason: Reason) -> None:  # noqa: ARG002 - the session has it
        """Reset the socket; the session's scope ends its tasks, which close a stream of another kind."""
        if self.plain is not None:
            self.plain.close_reset()
        self.lose(trio.ClosedResourceError("cut"))

    def unacknowledged(self) -> int:
        """Bytes that the client's host has not acknowledged; 0 if no socket can be asked."""
        return 0 if self._beneath is None else self._beneath.queued()

    def send_now(self, plain: PlainStream, data: memoryview) -> int:
        """Send what the socket takes; 0 if it takes none."""
        try:
            if self.piece:
                return send_in_pieces(plain.socket, data, self.piece)
            return plain.send_now(data)
        except BlockingIOError:
            return 0
        except (OSError, *BROKEN) as error:
            raise self.lose(error) from error

    def count_up(self, count: int) -> None:
        """Count bytes that the client has sent."""
        self.active_at = self._reactor.refresh()
        self.bytes_up += count
        self._count(self._meters[0], count)

    def count_down(self, count: int) -> None:
        """Count bytes that the client's socket has taken."""
        self.active_at = self._reactor.refresh()
        self.bytes_down += count
        self._count(self._meters[1], count)

    def _count(self, meter: Meter, count: int) -> None:
        meter.add(count)
        if meter.quiet and meter.refusal is not None:  # the quota of its service is used up
            cut_now(self._session, meter.refusal)
        elif self._session.quiet:
            self._session.wake()

    def lose(self, error: Exception) -> trio.BrokenResourceError:
        """Note that the client is gone, and give the exception to raise."""
        if not self.gone:
            self.gone, self.detail = True, str(error)
        return trio.BrokenResourceError(self.detail)

    @property
    def timed_rate(self) -> float:
        """The rate to the client that a timeline must keep; infinity for none."""
        return inf if self.pacing == "kernel" else self._session.down_rate

    @property
    def allowance(self) -> Allowance | None:
        """The bytes that the session may still move, both ways; None for no bound."""
        allowance = self._session.allowance
        return None if allowance is None or allowance.lifted else allowance

    async def wait_until_allowed(self, allowance: Allowance) -> None:
        """Wait until the session may move a byte."""
        if allowance.left < 1:
            with self._pause():
                await wait_until_lifted(allowance)

    async def keep_rate(self, timeline: Timeline, count: int, rate: float) -> None:
        """Charge bytes to a rate, and wait as long as they take; :meth:`pace` changes the wait."""
        wait = timeline.charge(count, rate, self._reactor.refresh())
        if wait:
            with self._pause(), trio.move_on_after(wait) as self._rests[timeline]:
                try:
                    await trio.sleep_forever()
                finally:
                    del self._rests[timeline]

    @contextmanager
    def _pause(self) -> Iterator[None]:
        """Suspend the limits of the client while it is the edge that waits."""
        self.paused += 1
        try:
            yield
        finally:
            self.paused -= 1
            self.active_at = self._reactor.refresh()

    def release(self) -> None:
        """Drop every reference but the counts, so that no cycle is left for the garbage collector."""
        del self._session, self._meters, self.stream
