"""The client of a session that an application answers: the session's carrier, which counts, paces and cuts.

| event | action |
| --- | --- |
| send, all bytes of before are with the kernel | send what the socket takes at once; the rest is the backlog |
| send, there is a backlog | add to it, and wait until it is gone |
| a backlog begins | a task sends it, which a cancel of the sender does not stop: no frame is cut in two |
| corked | collect up to 64 KiB |
| a rate that the kernel cannot keep, or the allowance is used up | wait, in that direction; `paused` |
| receive or send fails | `gone`; wake every sender |
| cut | reset the socket, wake every sender; the session's scope ends its tasks |

A plain TCP socket is paced by the kernel on its way to the client. All else, and every upload, has a timeline.
"""

from collections import deque
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from math import inf
from socket import AF_UNIX
from typing import Final, TypeAlias

import trio

from ...loop.reactor import Reactor
from ...loop.sockets import pace, send_in_pieces, unsent_bytes
from ...relay.direction import BROKEN, wait_until_lifted
from ...relay.streams import PlainStream
from ...relay.timeline import Timeline, read_size
from ...session.allowance import Allowance
from ...session.session import Session
from ...session.verdict import Reason

RECEIVE_BYTES: Final = 32_768
"""The most bytes of a read; as many may wait for the application, so a client has 64 KiB of memory at most."""

PIECE_BYTES: Final = 16_384
"""The most bytes of a send in the backlog, so that each is a sign of life."""

CORK_BYTES: Final = 65_536
"""The most bytes that are collected for one send."""

FIRST_PAUSE: Final = 0.001
MAX_PAUSE: Final = 0.1

SendLater: TypeAlias = "Callable[[Callable[[], Awaitable[object]]], object]"


class ClientSide:
    """The carrier of one session: its client's stream, its counts and its rates.

    Attributes:
        began_at: when the endpoint began.
        pacing: ``kernel``, ``timeline``, or an empty text for neither.
        bytes_up: bytes that the client has sent.
        bytes_down: bytes that the client's socket has taken.
        active_at: when a byte last moved, or a wait of its own was over.
        paused: how many directions wait for a rate or for the allowance.
        gone: the client has reset the connection, or takes no more bytes.
        ended: the client has sent its last byte.
        detail: why it is gone, for people.
    """

    __slots__ = (
        "_backlog",
        "_beneath",
        "_corked",
        "_down",
        "_finishing",
        "_flushed",
        "_meters",
        "_piece",
        "_plain",
        "_reactor",
        "_rests",
        "_send_later",
        "_session",
        "_stream",
        "_up",
        "active_at",
        "began_at",
        "bytes_down",
        "bytes_up",
        "detail",
        "ended",
        "gone",
        "pacing",
        "paused",
    )

    phase = "relaying"

    def __init__(self, session: Session, reactor: Reactor, send_later: SendLater) -> None:
        """Move nothing yet.

        Args:
            session: has the stream, the rates, the allowance, and the service whose meters count the bytes.
            reactor: has the clock.
            send_later: starts a task of the session, which sends bytes that its client does not take yet.
        """
        self._session, self._reactor, self._send_later = session, reactor, send_later
        self._stream = stream = session.stream
        self._beneath = accepted if isinstance(accepted := session.accepted, PlainStream) else None
        self._plain: PlainStream | None = stream if isinstance(stream, PlainStream) else None
        self._meters = session.service.up, session.service.down
        self._up, self._down = Timeline(), Timeline()
        self._rests: dict[Timeline, trio.CancelScope] = {}
        self._backlog: deque[memoryview] = deque()
        self._corked: list[bytes] | None = None
        self._flushed: trio.Event | None = None  # while a task sends the backlog
        self._piece = 0
        self.bytes_up = self.bytes_down = 0
        self.paused = 0
        self.gone = self.ended = self._finishing = False
        self.detail = ""
        self.active_at = self.began_at = reactor.refresh()
        self.pacing = ""
        if session.is_paced():
            self.pace(session.down_rate, session.up_rate)

    # The carrier.

    def queued(self) -> tuple[int, int]:
        """Bytes to the client that the kernel has not sent yet, and 0."""
        plain = self._plain
        with suppress(trio.ClosedResourceError):
            return (0 if plain is None else unsent_bytes(plain.socket)), 0
        return 0, 0

    def pace(self, down_rate: float, up_rate: float) -> None:
        """Apply other rates, also to bytes that wait."""
        self.pacing = "" if down_rate == inf == up_rate else "timeline"
        if self._plain is not None:
            with suppress(OSError, trio.ClosedResourceError):  # dead already
                if self._plain.socket.family != AF_UNIX:
                    self._piece = pace(self._plain.socket, down_rate)
                    if down_rate != inf:
                        self.pacing = "kernel"
        now = self._reactor.refresh()
        for timeline, rest in self._rests.items():
            rest.deadline = now + timeline.retune(down_rate if timeline is self._down else up_rate, now)

    def cut(self, reason: Reason) -> None:  # noqa: ARG002 - the session has it
        """Reset the socket; the session's scope ends its tasks, which close a stream of another kind."""
        if self._plain is not None:
            self._plain.close_reset()
        self._lost(trio.ClosedResourceError("cut"))

    # The connection.

    @property
    def owes(self) -> bool:
        """Whether bytes wait because the client takes none."""
        return self._flushed is not None

    def unacknowledged(self) -> int:
        """Bytes that the client's host has not acknowledged; 0 if no socket can be asked."""
        return 0 if self._beneath is None else self._beneath.queued()

    async def receive(self) -> bytes:
        """Receive bytes; none at the end.

        Raises:
            trio.BrokenResourceError: the client is gone.
        """
        session, allowance = self._session, self._allowance()
        rate = session.up_rate
        size = RECEIVE_BYTES if rate == inf else min(RECEIVE_BYTES, read_size(rate))
        if allowance is not None:
            if allowance.left < 1:
                with self._pause():
                    await wait_until_lifted(allowance)
            size = min(size, allowance.left)
        try:
            data: bytes = await self._stream.receive_some(size)
        except BROKEN as error:
            raise self._lost(error) from error
        count = len(data)
        self.active_at = self._reactor.refresh()
        if not count:
            self.ended = True
            return b""
        if allowance is not None:
            allowance.left -= count
        self.bytes_up += count
        self._meters[0].add(count)
        if session.quiet:
            session.wake()
        if rate != inf:
            await self._keep_rate(self._up, count, rate)
        return data

    async def send(self, data: bytes) -> None:
        """Send bytes; return once the client's socket, or the cork, has taken all of them.

        After a cancel they are sent all the same, unless the session ends.

        Raises:
            trio.BrokenResourceError: the client is gone.
        """
        if not data:
            return
        if self._finishing:
            raise trio.BrokenResourceError("the connection is being closed")
        if self._corked is None:
            self._backlog.append(memoryview(data))
        else:
            self._corked.append(data)
            if sum(map(len, self._corked)) < CORK_BYTES:
                return
            self._backlog.extend(map(memoryview, self._corked))
            self._corked = []
        await self._drain()

    def cork(self) -> None:
        """Collect the bytes of the next sends, so that they are one."""
        if self._corked is None:
            self._corked = []

    async def uncork(self) -> None:
        """Send what was collected; as :meth:`send`."""
        corked, self._corked = self._corked, None
        if corked:
            self._backlog.append(memoryview(b"".join(corked)))
            await self._drain()

    async def finish(self, patience: float) -> None:
        """Close in order, once the client's host has every byte; it is the last call.

        Args:
            patience: seconds without progress before the rest of the bytes is given up.
        """
        if self._corked is not None:
            with suppress(trio.BrokenResourceError):
                await self.uncork()
        self._finishing = True
        while self._flushed is not None:
            await self._flushed.wait()
        if self.gone:
            return
        with suppress(*BROKEN), trio.move_on_after(patience):
            if hasattr(self._stream, "send_eof"):
                await self._stream.send_eof()
        await self._delivered(patience)
        with suppress(*BROKEN), trio.move_on_after(patience):
            await self._stream.aclose()

    async def _delivered(self, patience: float) -> None:
        """Wait for the kernel: a close drops its bytes, with a reset, if the client still sends."""
        beneath = self._beneath
        if beneath is None:
            return
        pause, left, since = FIRST_PAUSE, beneath.undelivered(), self._reactor.refresh()
        while left:
            if beneath.discard():
                pause = FIRST_PAUSE
            await trio.sleep(pause)
            pause = min(2 * pause, MAX_PAUSE)
            before, left, now = left, beneath.undelivered(), self._reactor.refresh()
            if left != before:
                since = now
            elif now - since >= patience:
                return

    def release(self) -> None:
        """Drop every reference but the counts, so that no cycle is left for the garbage collector."""
        del self._session, self._send_later, self._stream, self._meters

    # Sending.

    async def _drain(self) -> None:
        """Send the backlog: now what the socket takes, the rest in a task."""
        if self.gone:
            self._backlog.clear()
            raise trio.BrokenResourceError(self.detail)
        if self._flushed is None:
            if self._plain is not None and self._allowance() is None and self._rate() == inf:
                self._send_ready(self._plain)
            if not self._backlog:
                await trio.lowlevel.checkpoint()
                return
            self._flushed = trio.Event()
            self.active_at = self._reactor.refresh()  # the client has not been asked to take bytes before
            self._send_later(self._flush)
        await self._flushed.wait()
        if self.gone:
            raise trio.BrokenResourceError(self.detail)

    def _send_ready(self, plain: PlainStream) -> None:
        """Send until the backlog is gone or the socket is full."""
        while self._backlog:
            view = self._backlog[0]
            if sent := self._send_now(plain, view):
                self._taken(sent)
            if sent < len(view):
                return

    def _send_now(self, plain: PlainStream, data: memoryview) -> int:
        """Send what the socket takes; 0 if it takes none."""
        try:
            if self._piece:
                return send_in_pieces(plain.socket, data, self._piece)
            return plain.send_now(data)
        except BlockingIOError:
            return 0
        except (OSError, *BROKEN) as error:
            raise self._lost(error) from error

    def _taken(self, count: int) -> None:
        """Take bytes that were sent from the backlog, and count them."""
        view = self._backlog.popleft()
        if count < len(view):
            self._backlog.appendleft(view[count:])
        self.active_at = self._reactor.refresh()
        self.bytes_down += count
        self._meters[1].add(count)
        if self._session.quiet:
            self._session.wake()

    async def _flush(self) -> None:
        """Send the backlog, in a task of its own; every sender waits for it."""
        flushed = self._flushed
        assert flushed is not None, "spawned with it"
        try:
            while self._backlog:
                await self._send_piece()
        except trio.BrokenResourceError:
            pass  # the client is gone
        finally:
            self._flushed = None
            flushed.set()

    async def _send_piece(self) -> None:
        """Send one piece of the backlog, when the allowance permits, and wait as long as it takes at its rate."""
        allowance, rate, plain = self._allowance(), self._rate(), self._plain
        size = min(PIECE_BYTES, read_size(rate))
        if allowance is not None:
            if allowance.left < 1:
                with self._pause():
                    await wait_until_lifted(allowance)
            size = min(size, allowance.left)
        piece = self._backlog[0][:size]
        try:
            if plain is None:
                await self._stream.send_all(bytes(piece))
                sent = len(piece)
            else:
                sent = self._send_now(plain, piece)
                if not sent:
                    await plain.wait_send_all_might_not_block()
                    return
        except BROKEN as error:
            raise self._lost(error) from error
        self._taken(sent)
        if allowance is not None:
            allowance.left -= sent
        if rate != inf:
            await self._keep_rate(self._down, sent, rate)

    def _rate(self) -> float:
        """The rate to the client that a timeline must keep; infinity for none."""
        return inf if self.pacing == "kernel" else self._session.down_rate

    def _allowance(self) -> Allowance | None:
        allowance = self._session.allowance
        return None if allowance is None or allowance.lifted else allowance

    # Waits.

    async def _keep_rate(self, timeline: Timeline, count: int, rate: float) -> None:
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

    def _lost(self, error: Exception) -> trio.BrokenResourceError:
        """Note that the client is gone."""
        if not self.gone:
            self.gone, self.detail = True, str(error)
            self._backlog.clear()
        return trio.BrokenResourceError(self.detail)
