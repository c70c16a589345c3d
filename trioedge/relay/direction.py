"""One direction of a relay over streams, a loop that receives from its source and sends to its sink.

| event | action |
| --- | --- |
| the source gives bytes | send them; the sink's socket takes what it can at once, the rest is waited for |
| the source ends | stop, ``ENDED`` |
| the source fails | stop, ``BROKEN`` |
| the source gives bytes, and the service may move no more | cut the session; stop, ``REFUSED`` |
| the sink fails | stop, ``REFUSED``; the bytes in hand are lost |
| the allowance is used up, or the rate | wait, as `paused` says, and then go on |
| the allowance is used up, and the source takes no more bytes | stop, ``BROKEN``; its further bytes are given up |

It keeps at most one buffer, and none while it receives.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import Enum
from math import inf
from operator import attrgetter
from typing import Final, TypeAlias

import trio

from ..loop.reactor import BUFFER_BYTES
from ..session.allowance import Allowance
from ..session.evictions import cut_now
from ..session.meter import Meter
from ..session.session import Session
from .streams import PlainStream
from .timeline import Timeline, read_size

Stream: TypeAlias = trio.abc.HalfCloseableStream

PIECE_BYTES: Final = 4096
"""The most bytes that a sink gets at a time if no socket tells how many of them were delivered."""

CHECKED_BYTES: Final = BUFFER_BYTES // 2
"""The most bytes of a read of a service with a quota: both directions may have as many in hand when it is used up."""

BROKEN: Final = (trio.BrokenResourceError, trio.ClosedResourceError)
"""The exceptions of a stream that fails."""

_RATES: Final[tuple[Callable[[Session], float], ...]] = (attrgetter("down_rate"), attrgetter("up_rate"))


class End(Enum):
    """How a direction ended; a cancelled one has no end."""

    ENDED = "ended"
    BROKEN = "broken"
    REFUSED = "refused"


class Direction:
    """One direction of a session.

    Attributes:
        source: the stream that it receives from.
        sink: the stream that it sends to.
        beneath: the plain stream at the bottom of `sink`; None if there is none.
        moved: bytes that the sink has taken.
        active_at: when it last moved a byte, or a wait of its own was over.
        receiving: it waits for its source, with no byte in hand.
        paused: it waits for the allowance or for its rate.
        end: how it ended; None before that, and after a cancel.
        detail: why it ended, if a stream failed.
        over: it carries no more.
        scope: cancels it.
    """

    __slots__ = ("_clock", "_meter", "_pauses", "_rate", "_rest", "_session", "_timeline", "_wait", "active_at",
                 "beneath", "detail", "end", "moved", "over", "paused", "receiving", "scope", "sink",
                 "source")  # fmt: skip

    def __init__(
        self, session: Session, source: Stream, sink: Stream, meter: Meter, clock: Callable[[], float],
        *, upwards: bool, beneath: object,
    ) -> None:  # fmt: skip
        """Carry nothing yet.

        Args:
            session: has the rates and the allowance, and hears of bytes.
            source: the stream to receive from.
            sink: the stream to send to.
            meter: counts the bytes of the service.
            clock: gives the time in seconds.
            upwards: whether it goes to the upstream.
            beneath: the stream at the bottom of `sink`; a plain one tells how many bytes it has delivered.
        """
        self._session, self._meter, self._clock = session, meter, clock
        self._rate = _RATES[upwards]
        self._timeline: Timeline | None = None
        self._rest: trio.CancelScope | None = None  # of the wait for the rate
        self._wait: trio.CancelScope | None = None  # of the wait for the allowance
        self._pauses = True  # it waits for the allowance
        self.source, self.sink = source, sink
        self.beneath = beneath if isinstance(beneath, PlainStream) else None
        self.moved = 0
        self.active_at = clock()
        self.paused = self.receiving = self.over = False
        self.end: End | None = None
        self.detail = ""
        self.scope = trio.CancelScope()

    async def carry(self) -> End:
        """Carry bytes until the source ends or a stream fails; call it once."""
        session, rate, meter = self._session, self._rate, self._meter
        plain_source = self.source if isinstance(self.source, PlainStream) else None
        plain_sink = self.sink if isinstance(self.sink, PlainStream) else None
        data: bytes | bytearray | None
        while True:
            allowance, checked = session.allowance, meter.quiet
            size = CHECKED_BYTES if checked else BUFFER_BYTES
            if allowance is not None or rate(session) != inf:
                size = min(size, await self._may_read(allowance))
                if not size:
                    return End.BROKEN
            self.receiving = True
            try:
                if plain_source is None:
                    data = await self.source.receive_some(size)
                else:  # as `receive_some` does, without a coroutine
                    data = plain_source.receive_now(size)
                    if data is not None:
                        await trio.lowlevel.cancel_shielded_checkpoint()
                    while data is None:
                        await trio.lowlevel.wait_readable(plain_source.socket)
                        data = plain_source.receive_now(size)
            except BROKEN as error:
                self.detail = str(error) or repr(error)
                return End.BROKEN
            self.receiving = False
            moved = len(data)
            if not moved:
                return End.ENDED
            self.active_at = self._clock()
            if checked and meter.refusal is not None:  # the quota of its service is used up
                cut_now(session, meter.refusal)
                return End.REFUSED
            if allowance is not None:
                if not await self._wait_for(allowance, moved):  # the other direction may have used it up meanwhile
                    return End.BROKEN
                allowance.left -= moved
            try:
                if plain_sink is None:
                    await self._send(data)
                elif (sent := self._count(plain_sink.send_now(data))) < moved:
                    await self._send_rest(plain_sink, memoryview(data)[sent:])
            except BROKEN as error:
                self.detail = str(error) or repr(error)
                return End.REFUSED
            del data  # a direction that waits for bytes needs no buffer
            if rate(session) != inf:
                await self._keep_rate(moved)

    async def drop(self) -> End:
        """Receive and drop bytes until the source ends or fails: its host may take the last ones that it is owed."""
        try:
            while await self.source.receive_some(BUFFER_BYTES):
                pass
        except BROKEN:
            return End.BROKEN
        return End.ENDED

    def give_up_pause(self) -> None:
        """Wait no more for the allowance, because the source takes no more bytes: a pause is its end."""
        self._pauses = False
        if self._wait is not None:
            self._wait.cancel()

    def stop(self) -> None:
        """Cancel what it waits for, if it still carries."""
        if not self.over:
            self.scope.cancel()

    def release(self) -> None:
        """Drop every reference but the counts, so that no cycle is left for the garbage collector."""
        del self._session, self._meter, self._clock, self.source, self.sink, self.beneath, self.scope

    def queued(self) -> int:
        """Bytes that the sink has taken, and that its socket has not delivered yet; 0 if it has no socket to ask."""
        return 0 if self.beneath is None else self.beneath.queued()

    def retune(self) -> None:
        """Apply the session's rate, which has changed, to a wait that is under way."""
        if self._rest is not None and self._timeline is not None:
            now = self._clock()
            self._rest.deadline = now + self._timeline.retune(self._rate(self._session), now)

    async def _send(self, data: bytes | bytearray) -> None:
        """Send to a stream that is no plain socket; in pieces, each a sign of life, if no socket can be asked."""
        if self.beneath is not None:
            await self.sink.send_all(data)
            self._count(len(data))
            return
        for start in range(0, len(data), PIECE_BYTES):
            piece = data[start : start + PIECE_BYTES]
            await self.sink.send_all(piece)
            self._count(len(piece))
            self.active_at = self._clock()

    async def _send_rest(self, sink: PlainStream, rest: memoryview) -> None:
        """Send what the socket did not take at once."""
        while rest:
            await sink.wait_send_all_might_not_block()
            rest = rest[self._count(sink.send_now(rest)) :]
            self.active_at = self._clock()

    def _count(self, count: int) -> int:
        self.moved += count
        if count:
            self._meter.add(count)
            if self._session.quiet:
                self._session.wake()
        return count

    async def _may_read(self, allowance: Allowance | None) -> int:
        """Wait until a byte may be read, and give how many may be; 0 if none will be."""
        if allowance is not None and not await self._wait_for(allowance, 1):
            return 0
        rate = self._rate(self._session)
        size = BUFFER_BYTES if rate == inf else read_size(rate)
        return size if allowance is None else min(size, allowance.left)

    async def _wait_for(self, allowance: Allowance, count: int) -> bool:
        """Wait until `count` bytes may be moved; false if the pause is given up."""
        if allowance.left < count and self._pauses:
            with self._pause(), trio.CancelScope() as self._wait:
                await wait_until_lifted(allowance)
            self._wait = None
        return allowance.left >= count

    async def _keep_rate(self, count: int) -> None:
        """Charge bytes to the rate, and wait as long as they take; :meth:`retune` changes the wait."""
        if self._timeline is None:
            self._timeline = Timeline()
        wait = self._timeline.charge(count, self._rate(self._session), self._clock())
        if not wait:
            return
        with self._pause(), trio.move_on_after(wait) as self._rest:
            try:
                await trio.sleep_forever()
            finally:
                self._rest = None

    @contextmanager
    def _pause(self) -> Iterator[None]:
        """Suspend the idle limit while the direction itself waits."""
        self.paused = True
        try:
            yield
        finally:
            self.paused = False
            self.active_at = self._clock()


async def wait_until_lifted(allowance: Allowance) -> None:
    """Wait until the device is known; after a cancel the allowance has forgotten the caller."""
    lifted = trio.Event()
    allowance.wait(lifted.set)
    try:
        await lifted.wait()
    finally:
        allowance.forget(lifted.set)
