"""Carry bytes between two trio streams, both ways: TLS, memory streams, whatever is not a plain socket.

It behaves as `relay` does and costs two tasks a session.
"""

from collections.abc import Awaitable, Callable
from typing import Any

import trio

from ..core.session import Session
from ..core.verdict import Completed, Outcome, Reason
from .reactor import BUFFER_BYTES
from .relay import Meter


class StreamRelay:
    """The carrier of one session over two streams. It closes neither: :func:`close_hard` is its owner's to call."""

    __slots__ = ("_half_closed", "_scope", "_session", "bytes_down", "bytes_up")

    phase = "relaying"

    def __init__(self, session: Session) -> None:
        self._session = session
        self._scope = trio.CancelScope()
        self._half_closed = False
        self.bytes_up = 0
        self.bytes_down = 0

    def cut(self, reason: Reason) -> None:  # noqa: ARG002 - the carrier's shape; the session remembers why
        """Stop both directions; the session's task closes the streams."""
        self._scope.cancel()

    async def run(
        self, down: trio.abc.HalfCloseableStream, up: trio.abc.HalfCloseableStream, meters: tuple[Meter, Meter]
    ) -> Outcome:
        """Carry bytes until both sides have finished, one breaks, or neither says anything for too long.

        Args:
            down: the client's stream.
            up: the upstream's stream.
            meters: the edge's bytes up and down.

        Returns:
            FINISHED, RESET or IDLE. After a cancel, what was received and not yet sent is lost, so both streams
            must be closed hard.
        """
        outcome = Completed(Reason.IDLE)
        self._touch()
        with self._scope:
            try:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._copy, down, up, meters[0], self._count_up)
                    nursery.start_soon(self._copy, up, down, meters[1], self._count_down)
                outcome = Completed()
            except* (trio.BrokenResourceError, trio.ClosedResourceError) as group:
                outcome = Completed(Reason.RESET, str(group.exceptions[0]))
        if self._scope.cancelled_caught and self._session.cut_reason is not None:
            return Completed(self._session.cut_reason)
        return outcome

    async def _copy(
        self, source: trio.abc.HalfCloseableStream, sink: trio.abc.HalfCloseableStream, meter: Meter,
        count: Callable[[int], None],
    ) -> None:  # fmt: skip
        while data := await source.receive_some(BUFFER_BYTES):
            self._touch()
            await sink.send_all(data)
            self._touch()
            count(len(data))
            meter.bytes += len(data)
        first_to_finish = not self._half_closed
        self._half_closed = True
        self._touch()
        if first_to_finish:  # the other end is closed next, and may have hung up already
            await sink.send_eof()

    def _count_up(self, count: int) -> None:
        self.bytes_up += count

    def _count_down(self, count: int) -> None:
        self.bytes_down += count

    def _touch(self) -> None:
        """Put the idle limit off, by one assignment."""
        session = self._session
        limit = session.idle_seconds
        if self._half_closed:
            limit = min(limit, session.half_closed_seconds)
        self._scope.deadline = trio.current_time() + limit


async def close_hard(stream: Any) -> None:
    """Close without a word of farewell; done even when cancelled."""
    forced: Callable[[Any], Awaitable[None]] = trio.aclose_forcefully
    await forced(stream)
