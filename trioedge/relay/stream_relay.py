"""Carry bytes between two Trio streams, both ways: TLS, memory streams, anything that is not a plain socket.

It behaves as `socket_relay` does and costs two tasks a session, one a direction:

    state        event                                        action
    relaying     one side ends                                half-close the other; half-closed
    relaying     silent for `idle_seconds`                    cancel both, ``idle``
    half-closed  the other side ends                          ``finished``
    half-closed  silent for the shorter of the two limits     cancel both, ``idle``
    paused       the allowance is lifted, the rate permits    read again; the idle limit begins anew
    any          a stream breaks                              cancel both, ``reset``
    any          a cut                                        cancel both, with its reason

Paused: a direction waits for the allowance or for its rate, which is no silence of the client's.
"""

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from math import inf
from typing import Any

import trio

from ..loop.reactor import BUFFER_BYTES
from ..session.allowance import Allowance
from ..session.session import Session
from ..session.verdict import Completed, Outcome, Reason
from .idle import idle_limit
from .streams import PlainStream
from .timeline import Timeline, read_size


class StreamRelay:
    """The carrier of one session over two streams. It closes neither: :func:`close_hard` is its owner's to call.

    Its rates are kept by a timeline in each direction, for these streams have no socket that the kernel could pace.
    """

    __slots__ = (
        "_half_closed",
        "_paused",
        "_rests",
        "_scope",
        "_session",
        "began_at",
        "bytes_down",
        "bytes_up",
    )

    phase = "relaying"

    def __init__(self, session: Session) -> None:
        """Carry nothing yet.

        Args:
            session: has the limits and the rates; its service's meters count the bytes.
        """
        self._session = session
        self._scope = trio.CancelScope()
        self._half_closed = False
        self._paused = 0
        """Directions that wait for the allowance or for the rate."""
        self._rests: dict[Timeline, tuple[trio.CancelScope, Callable[[], float]]] = {}
        """Waits for the rate that are under way."""
        self.began_at = trio.current_time()
        self.bytes_up = 0
        self.bytes_down = 0

    @property
    def pacing(self) -> str:
        """``timeline`` while the session has a rate."""
        return "" if self._session.down_rate == inf == self._session.up_rate else "timeline"

    def queued(self) -> tuple[int, int]:
        """Give 0: a stream does not say what it has not sent yet."""
        return 0, 0

    def pace(self, down_rate: float, up_rate: float) -> None:  # noqa: ARG002 - the session has them already
        """End waits for the old rates when the new ones permit; each read looks at the rates anew."""
        now = trio.current_time()
        for timeline, (rest, rate) in self._rests.items():
            rest.deadline = now + timeline.retune(rate(), now)

    def cut(self, reason: Reason) -> None:  # noqa: ARG002 - the carrier's shape; the session remembers why
        """Stop both directions; the session's task closes the streams."""
        self._scope.cancel()

    async def run(self, down: trio.abc.HalfCloseableStream, up: trio.abc.HalfCloseableStream) -> Outcome:
        """Carry bytes until both sides have ended, one breaks, or neither sends a byte for too long.

        Args:
            down: the client's stream.
            up: the upstream's stream.

        Returns:
            FINISHED, RESET or IDLE. After a cancel, bytes that were received and not yet sent are lost, so the caller
            must close both streams hard.
        """
        outcome = Completed(Reason.IDLE)
        self._touch()
        with self._scope:
            try:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._copy, down, up, self._count_up, self._up_rate)
                    nursery.start_soon(self._copy, up, down, self._count_down, self._down_rate)
                outcome = Completed()
            except* (trio.BrokenResourceError, trio.ClosedResourceError) as group:
                outcome = Completed(Reason.RESET, str(group.exceptions[0]))
        if self._scope.cancelled_caught and self._session.cut_reason is not None:
            return Completed(self._session.cut_reason)
        return outcome

    async def _copy(
        self, source: trio.abc.HalfCloseableStream, sink: trio.abc.HalfCloseableStream,
        count: Callable[[int], None], rate: Callable[[], float],
    ) -> None:  # fmt: skip
        timeline = Timeline()
        while True:
            allowance = self._session.allowance
            if allowance is not None:
                await self._wait_for(allowance, 1)
            size = BUFFER_BYTES if rate() == inf else read_size(rate())
            data = await source.receive_some(size if allowance is None else min(size, allowance.left))
            if not data:
                break
            if allowance is not None:
                await self._wait_for(allowance, len(data))  # others may have used it up meanwhile
                allowance.left -= len(data)
            self._touch()
            await sink.send_all(data)
            self._touch()
            count(len(data))
            if self._session.quiet:
                self._session.wake()
            if rate() != inf and (wait := timeline.charge(len(data), rate(), trio.current_time())):
                with self._pause(), trio.move_on_after(wait) as rest:
                    self._rests[timeline] = rest, rate
                    await trio.sleep_forever()
                del self._rests[timeline]
        first_to_finish = not self._half_closed
        self._half_closed = True
        self._touch()
        if first_to_finish:  # the other end is closed next, and may have hung up already
            await sink.send_eof()

    async def _wait_for(self, allowance: Allowance, count: int) -> None:
        """Wait until so many bytes may be moved."""
        if allowance.left < count:
            with self._pause():
                await wait_until_lifted(allowance)

    @contextmanager
    def _pause(self) -> Iterator[None]:
        """Suspend the idle limit while the edge itself waits."""
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


async def wait_until_lifted(allowance: Allowance) -> None:
    """Wait until a device is known; after a cancel nothing is left behind."""
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
