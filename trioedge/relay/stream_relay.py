"""Carry bytes between two Trio streams, both ways: TLS, memory streams, anything that is not a plain socket.

It ends as `socket_relay` does. It costs one task a session, because the session's own task carries the other direction:

| state | event | action |
| --- | --- | --- |
| relaying | one side ends | half-close the other, if its stream can; half-closed |
| relaying | the upstream ends, and the client's stream cannot be half-closed | carry what the client has sent; owing |
| half-closed | the other side ends | ``finished``; close both in order |
| relaying, half-closed | a side breaks | stop the other direction; owing |
| relaying, half-closed | a side takes no more bytes | read it to its end, and drop the bytes for it; owing |
| relaying | a side takes no half-close | read it to its end; owing |
| owing | the side that is left has got everything | close it: a client in order, an upstream with a reset |
| any | no byte for `idle_seconds`, or for the shorter of the two limits | reset both, ``idle`` |
| any | the allowance is used up, or the rate | that direction waits; no idle limit meanwhile |
| any | a slow reader took bytes out of the kernel | the limit begins anew |
| any | a cut | reset both, with its reason |
"""

from collections.abc import Awaitable, Callable
from contextlib import suppress
from math import inf
from typing import Any, Final

import trio

from ..loop.reactor import Reactor
from ..session.session import Session
from ..session.verdict import FINISHED, Completed, Outcome, Reason
from .direction import BROKEN, Direction, End, Stream
from .idle import idle_limit
from .streams import PlainStream

LOOKS: Final = 8
"""How often in the time of an idle limit the kernel is asked whether a slow reader took bytes."""

FIRST_PAUSE: Final = 0.001
"""Seconds before the kernel is asked again whether it has delivered the last bytes; then twice as long each time."""

MAX_PAUSE: Final = 0.1
"""The longest such pause."""


class StreamRelay:
    """The carrier of one session over two streams, which it closes.

    A timeline keeps the rate of each direction, because these streams have no socket that the kernel could pace.

    Attributes:
        began_at: when the relay began.
        pacing: ``timeline`` while the session has a rate.
        orderly_down: whether the client is closed in order at the end; otherwise with a reset.
        orderly_up: the same for the upstream.
    """

    __slots__ = ("_asked_at", "_delivered_at", "_delivering", "_down", "_fault", "_half_closed",
                 "_idle", "_joined", "_queued", "_reactor", "_session", "_tick", "_up",
                 "began_at", "orderly_down", "orderly_up", "pacing")  # fmt: skip

    phase = "relaying"
    active_at = property(lambda self: max(self._up.active_at, self._down.active_at))  # when the last byte moved

    def __init__(self, session: Session, reactor: Reactor, down: Stream, up: Stream) -> None:
        """Carry nothing yet.

        Args:
            session: has the limits, the rates, the allowance, and the service whose meters count the bytes.
            reactor: has the clock, and calls :meth:`expire`.
            down: the client's stream.
            up: the upstream's stream.
        """
        self._session, self._reactor = session, reactor
        service, clock = session.service, reactor.clock
        self._up = Direction(session, down, up, service.up, clock, upwards=True, beneath=up)
        self._down = Direction(session, up, down, service.down, clock, upwards=False, beneath=session.accepted)
        self._half_closed = self._idle = False
        self._fault: BaseException | None = None  # of the direction that has a task
        self._joined: trio.Event | None = None
        self._delivering: trio.CancelScope | None = None
        # Bytes in the kernel when it was asked last, at `_asked_at`; `_delivered_at` is when they had become fewer.
        self._queued = 0, 0
        self._asked_at = self._delivered_at = self.began_at = reactor.now
        self._tick = 0
        self.pacing = _pacing(session.down_rate, session.up_rate)
        self.orderly_down = self.orderly_up = False

    @property
    def bytes_up(self) -> int:
        """Bytes that the upstream has taken."""
        return self._up.moved

    @property
    def bytes_down(self) -> int:
        """Bytes that the client has taken."""
        return self._down.moved

    def queued(self) -> tuple[int, int]:
        """Give 0 and 0, because a stream does not say how many bytes it has yet to send."""
        return 0, 0

    def pace(self, down_rate: float, up_rate: float) -> None:
        """Apply other rates, also to a wait that is under way; every read looks at the session's rates."""
        self.pacing = _pacing(down_rate, up_rate)
        self._down.retune()
        self._up.retune()

    def cut(self, reason: Reason) -> None:  # noqa: ARG002 - the session has it
        """Stop both directions; the session's task closes the streams."""
        self._stop()

    async def run(self) -> Outcome:
        """Carry bytes until both sides have ended, one breaks, or neither sends a byte for too long; call it once.

        Returns:
            FINISHED, RESET, IDLE or the reason of a cut. Both streams are closed then, also after a cancel.
        """
        session, up, down = self._session, self._up, self._down
        self._expect(self.began_at + min(session.idle_seconds, session.half_closed_seconds) / LOOKS)
        try:
            nursery = trio.lowlevel.current_task().parent_nursery
            assert nursery is not None, "only the first task of a run has none"
            nursery.start_soon(self._run_down, name="a session's downloads")
            try:
                with up.scope:
                    up.end = await up.carry()
                    await self._pass_on(up, down)
            except BaseException:
                down.scope.cancel()
                raise
            finally:
                up.over = True
                await self._join()
            return await self._end()
        finally:
            self._reactor.drop_deadline(self, self._tick)
            client, upstream = up.source, up.sink
            up.release()
            down.release()
            del self._session  # its carrier is this relay: the cycle would wait for the garbage collector
            try:
                await _close(client, session, in_order=self.orderly_down)
            finally:
                await _close(upstream, session, in_order=self.orderly_up)

    async def _run_down(self) -> None:
        """Carry the one direction in a task of its own; its exception is raised in the session's task."""
        down = self._down
        try:
            with down.scope:
                down.end = await down.carry()
                await self._pass_on(down, self._up)
        except trio.Cancelled:
            self._up.scope.cancel()  # the edge ends, and a stage shields the session's own task from that
            raise
        except BaseException as fault:
            self._fault = fault
            self._up.scope.cancel()
        finally:
            down.over = True
            if self._joined is not None:
                self._joined.set()

    async def _join(self) -> None:
        """Wait for the other task; a cancel, or an end that allows no more bytes, stops it first."""
        down = self._down
        if not down.over:
            self._joined = trio.Event()
            if self._up.end is None:  # cancelled, or it raised
                down.scope.cancel()
            try:
                await self._joined.wait()
            finally:
                if not down.over:
                    down.scope.cancel()
                    with trio.CancelScope(shield=True):
                        await self._joined.wait()
        if self._fault is not None:
            try:
                raise self._fault
            finally:
                self._fault = None  # its traceback has the frame that has it

    async def _pass_on(self, direction: Direction, other: Direction) -> None:
        """Tell the other side how one direction ended."""
        if direction.end is End.ENDED:
            if not self._half_closed:
                self._half_closed = True
                direction.active_at = self._reactor.refresh()
                await self._half_close(direction, other)
        elif direction.end is End.REFUSED and other.end is None:
            direction.active_at = self._reactor.refresh()
            other.give_up_pause()
            if await direction.drop() is End.BROKEN:
                other.end = End.REFUSED  # both sides are lost, so neither is owed a byte
        if direction.end is End.BROKEN or other.end is End.REFUSED:
            other.scope.cancel()  # a side that has broken takes nothing either; no bytes need to be dropped any more

    async def _half_close(self, direction: Direction, other: Direction) -> None:
        if hasattr(direction.sink, "send_eof"):
            try:
                await direction.sink.send_eof()
            except BROKEN as error:
                direction.end, direction.detail = End.REFUSED, str(error) or repr(error)
                other.give_up_pause()
        elif direction is self._down:  # the client learns from the close that it has everything
            await _until(lambda: other.over or other.end is not None or _has_nothing(other, direction.beneath))
            other.scope.cancel()

    async def _end(self) -> Outcome:
        """Deliver what the side that is left is owed, and say how the session ended."""
        session, up, down = self._session, self._up, self._down
        client_gone, upstream_gone, stopped = _losses(up.end, down.end)
        with trio.CancelScope() as self._delivering:
            if self._idle or stopped or session.cut_reason is not None:
                self._delivering.cancel()
            elif client_gone != upstream_gone:
                await _deliver(up if client_gone else down, half_close=upstream_gone)
            elif up.end is None:  # the client still sends, so its kernel must have all before a close
                await _deliver(down, half_close=False)
        if session.cut_reason is not None:
            return Completed(session.cut_reason)
        if self._idle or stopped:
            return Completed(Reason.IDLE if self._idle else Reason.DRAINED)
        self.orderly_down, self.orderly_up = not client_gone, not (client_gone or upstream_gone)
        return FINISHED if self.orderly_up else Completed(Reason.RESET, up.detail or down.detail)

    def expire(self, now: float) -> None:
        """Stop the session if its idle limit has passed; else ask the kernel again later."""
        session, up, down = self._session, self._up, self._down
        active_at = max(up.active_at, down.active_at)
        moved = active_at >= self._asked_at
        if moved or any(self._queued):
            before, self._queued = self._queued, (down.queued(), up.queued())
            if not moved and self._queued != before:
                self._delivered_at = now
        self._asked_at = now
        limit = idle_limit(session, half_closed=up.end is not None or down.end is not None)
        due = (now if up.paused or down.paused else max(active_at, self._delivered_at)) + limit
        if due <= now:
            self._idle = True
            self._stop()
        else:
            self._expect(min(due, now + min(session.idle_seconds, session.half_closed_seconds) / LOOKS))

    def crashed(self, fault: BaseException) -> None:  # noqa: ARG002 - the reactor has logged it
        """End the session after an exception in :meth:`expire`."""
        self._session.cut(Reason.FAULT)

    def _expect(self, due: float) -> None:
        self._tick = self._reactor.set_deadline(self, due)

    def _stop(self) -> None:
        """Cancel whatever waits."""
        if self._delivering is not None:
            self._delivering.cancel()
        self._up.stop()
        self._down.stop()


def _pacing(down_rate: float, up_rate: float) -> str:
    return "" if down_rate == inf == up_rate else "timeline"


def _losses(up: End | None, down: End | None) -> tuple[bool, bool, bool]:
    """Tell whether the client is gone, whether the upstream is, and whether a direction was stopped on its way."""
    stopped = (up is None and down not in (End.BROKEN, End.ENDED)) or (down is None and up is not End.BROKEN)
    return up is End.BROKEN or down is End.REFUSED, down is End.BROKEN or up is End.REFUSED, stopped


def _has_nothing(direction: Direction, source: PlainStream | None) -> bool:
    """Tell whether a direction waits for bytes, and the socket beneath its source has none."""
    return direction.receiving and not (source is not None and source.has_bytes())


async def _deliver(direction: Direction, *, half_close: bool) -> None:
    """Wait until the kernel has delivered every byte, because a reset would take those that it has not."""
    if half_close and direction.end is not End.ENDED and hasattr(direction.sink, "send_eof"):
        with suppress(*BROKEN):
            await direction.sink.send_eof()
    if (stream := direction.beneath) is not None:
        await _until(lambda: not stream.undelivered(), stream.discard)


async def _until(done: Callable[[], bool], drop: Callable[[], bool] | None = None) -> None:
    """Ask again and again, because the kernel does not tell when it has delivered; less often while nothing moves."""
    pause = FIRST_PAUSE
    while not done():
        if drop is not None and drop():
            pause = FIRST_PAUSE
        await trio.sleep(pause)
        pause = min(2 * pause, MAX_PAUSE)


async def _close(stream: trio.abc.HalfCloseableStream, session: Session, *, in_order: bool) -> None:
    """Close a stream, also when cancelled; in order it takes at most the limit of a half-closed session."""
    beneath = session.accepted if stream is session.stream else None
    try:
        if in_order:
            with trio.move_on_after(session.half_closed_seconds), suppress(*BROKEN):
                await stream.aclose()  # the last words of TLS wait for the reader
        elif stream is not session.stream:
            await close_hard(stream)
    finally:
        if isinstance(beneath, PlainStream):
            if in_order:
                beneath.close()
            else:
                beneath.close_reset()


async def close_hard(stream: Any) -> None:
    """Close without an orderly end, also when cancelled.

    A plain socket is reset, because an upstream that sees an end would take half of an upload for the whole of it.
    """
    if isinstance(stream, PlainStream):
        stream.close_reset()
        return
    forced: Callable[[Any], Awaitable[None]] = trio.aclose_forcefully
    await forced(stream)
