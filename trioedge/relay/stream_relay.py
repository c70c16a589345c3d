"""Carry bytes between two Trio streams, both ways: TLS, memory streams, anything that is not a plain socket.

It behaves as `socket_relay` does and costs two tasks a session, one for each direction:

| state | event | action |
| --- | --- | --- |
| relaying | one side ends | half-close the other; half-closed |
| relaying | the upstream ends and the client's stream has no half-close | ``finished`` |
| relaying | no byte for `idle_seconds` | cancel both, ``idle`` |
| half-closed | the other side ends | ``finished`` |
| half-closed | no byte for the shorter of the two limits | cancel both, ``idle`` |
| any | the allowance is used up, or the rate | that direction waits; no idle limit meanwhile |
| any | a read or a half-close fails | cancel both, ``reset`` |
| any | a write fails | that direction stops; the other one carries its answer to the end, then ``reset`` |
| any | a cut | cancel both, with its reason |
"""

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from math import inf
from typing import Any, Final, TypeAlias

import trio

from ..loop.reactor import BUFFER_BYTES
from ..session.allowance import Allowance
from ..session.session import Session
from ..session.verdict import FINISHED, Completed, Outcome, Reason
from .idle import idle_limit
from .streams import PlainStream
from .timeline import Timeline, read_size

Stream: TypeAlias = trio.abc.HalfCloseableStream

_BROKEN: Final = (trio.BrokenResourceError, trio.ClosedResourceError)


class StreamRelay:
    """The carrier of one session over two streams. It closes neither.

    A timeline keeps the rate of each direction, because these streams have no socket that the kernel could pace.

    Attributes:
        began_at: when the relay began.
        bytes_up: bytes that the upstream has taken.
        bytes_down: bytes that the client has taken.
        pacing: ``timeline`` while the session has a rate.
        orderly: whether both sides have got what the other sent, so that their streams are closed in order.
    """

    __slots__ = ("_broken", "_broken_at", "_finished", "_half_closed", "_paused", "_rests", "_scope", "_session",
                 "began_at", "bytes_down", "bytes_up", "orderly", "pacing")  # fmt: skip

    phase = "relaying"

    def __init__(self, session: Session) -> None:
        """Carry nothing yet.

        Args:
            session: has the limits, the rates, the allowance, and the service whose meters count the bytes.
        """
        self._session = session
        self._scope = trio.CancelScope()
        self._half_closed = False
        self._finished = False  # both directions have stopped by themselves
        self._broken = ""  # why a write failed
        self._broken_at = -1  # the bytes of both directions then, if the answer was to come yet
        self._paused = 0  # directions that wait for the allowance or for the rate
        # Each direction that waits for its rate: the scope of the wait, and the rate as it is now.
        self._rests: dict[Timeline, tuple[trio.CancelScope, Callable[[], float]]] = {}
        self.began_at = trio.current_time()
        self.bytes_up = 0
        self.bytes_down = 0
        self.pacing = _pacing(session.down_rate, session.up_rate)
        self.orderly = False

    def queued(self) -> tuple[int, int]:
        """Give 0 and 0, because a stream does not say how many bytes it has yet to send."""
        return 0, 0

    def pace(self, down_rate: float, up_rate: float) -> None:
        """Apply other rates, also to a wait that is under way; every read looks at the session's rates."""
        self.pacing = _pacing(down_rate, up_rate)
        now = trio.current_time()
        for timeline, (rest, rate) in self._rests.items():
            rest.deadline = now + timeline.retune(rate(), now)

    def cut(self, reason: Reason) -> None:  # noqa: ARG002 - the carrier's shape; the session has the reason
        """Stop both directions; the session's task closes the streams."""
        self._scope.cancel()

    async def run(self, down: Stream, up: Stream) -> Outcome:
        """Carry bytes until both sides have ended, one breaks, or neither sends a byte for too long; call it once.

        Args:
            down: the client's stream.
            up: the upstream's stream.

        Returns:
            FINISHED, RESET, IDLE or the reason of a cut. Unless the relay is `orderly` now, and after a cancel, bytes
            that were received and not sent are lost, so the caller must close both streams with :func:`close_hard`.
        """
        session, outcome = self._session, Completed(Reason.IDLE)
        self._touch()
        try:
            with self._scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._carry_up, down, up)
                    nursery.start_soon(self._carry_down, up, down)
                self._finished = True
        except* _BROKEN as group:
            outcome = Completed(Reason.RESET, str(group.exceptions[0]))
        finally:
            del self._session  # its carrier is this relay: the cycle would wait for the garbage collector
        if session.cut_reason is not None:
            return Completed(session.cut_reason)
        if self._finished:
            # After a failed write, the other side gets a reset, unless it got an answer since.
            self.orderly = self._broken_at < self.bytes_up + self.bytes_down
            outcome = Completed(Reason.RESET, self._broken) if self._broken else FINISHED
        return outcome

    async def _carry_up(self, down: Stream, up: Stream) -> None:
        if await self._copy(down, up, self._count_up, self._up_rate) and hasattr(up, "send_eof"):
            await up.send_eof()

    async def _carry_down(self, up: Stream, down: Stream) -> None:
        if await self._copy(up, down, self._count_down, self._down_rate):
            if hasattr(down, "send_eof"):
                await down.send_eof()
            else:  # the client learns from the close that it has everything
                self._finished = True
                self._scope.cancel()

    async def _copy(
        self, source: Stream, sink: Stream, count: Callable[[int], None], rate: Callable[[], float]
    ) -> bool:
        """Carry bytes until `source` ends, or until `sink` breaks; True if `sink` is to be half-closed."""
        timeline = Timeline()
        while True:
            allowance = self._session.allowance
            if allowance is not None:
                await self._wait_for(allowance, 1)
            size = BUFFER_BYTES if rate() == inf else read_size(rate())
            data = await source.receive_some(size if allowance is None else min(size, allowance.left))
            moved = len(data)
            if not moved:
                break
            if allowance is not None:
                await self._wait_for(allowance, moved)  # the other direction may have used it up meanwhile
                allowance.left -= moved
            self._touch()
            try:
                await sink.send_all(data)
            except _BROKEN as error:
                self._broken = str(error) or repr(error)
                if not self._half_closed:  # else the sink had ended, and all that it sent is carried
                    self._broken_at = self.bytes_up + self.bytes_down
                return False
            del data  # a reader that waits needs no second buffer
            self._touch()
            count(moved)
            if self._session.quiet:
                self._session.wake()
            if rate() != inf and (wait := timeline.charge(moved, rate(), trio.current_time())):
                await self._rest(timeline, wait, rate)
        first_to_finish = not self._half_closed
        self._half_closed = True
        self._touch()
        return first_to_finish  # the streams of the last one are closed next

    async def _rest(self, timeline: Timeline, wait: float, rate: Callable[[], float]) -> None:
        """Wait for the rate; :meth:`pace` changes the wait."""
        with self._pause(), trio.move_on_after(wait) as rest:
            self._rests[timeline] = rest, rate
            try:
                await trio.sleep_forever()
            finally:
                del self._rests[timeline]

    async def _wait_for(self, allowance: Allowance, count: int) -> None:
        """Wait until `count` bytes may be moved."""
        if allowance.left < count:
            with self._pause():
                await wait_until_lifted(allowance)

    @contextmanager
    def _pause(self) -> Iterator[None]:
        """Suspend the idle limit while the relay itself waits."""
        self._paused += 1
        self._touch()
        try:
            yield
        finally:
            self._paused -= 1
            self._touch()

    def _down_rate(self) -> float:
        return self._session.down_rate

    def _up_rate(self) -> float:
        return self._session.up_rate

    def _count_up(self, count: int) -> None:
        self.bytes_up += count
        self._session.service.up.add(count)

    def _count_down(self, count: int) -> None:
        self.bytes_down += count
        self._session.service.down.add(count)

    def _touch(self) -> None:
        """Begin the idle limit anew."""
        limit = idle_limit(self._session, half_closed=self._half_closed)
        self._scope.deadline = inf if self._paused else trio.current_time() + limit


def _pacing(down_rate: float, up_rate: float) -> str:
    return "" if down_rate == inf == up_rate else "timeline"


async def wait_until_lifted(allowance: Allowance) -> None:
    """Wait until the device is known; after a cancel the allowance has forgotten the caller."""
    lifted = trio.Event()
    allowance.wait(lifted.set)
    try:
        await lifted.wait()
    finally:
        allowance.forget(lifted.set)


async def close_hard(stream: Any) -> None:
    """Close without an orderly end, also when cancelled.

    A plain socket is reset, because an upstream that sees an end would take half of an upload for the whole of it.
    """
    if isinstance(stream, PlainStream):
        stream.close_reset()
        return
    forced: Callable[[Any], Awaitable[None]] = trio.aclose_forcefully
    await forced(stream)
