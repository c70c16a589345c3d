"""The client of a session that an application answers: it receives, sends, and closes in order.

| event | action |
| --- | --- |
| send, all bytes of before are with the kernel | send what the socket takes at once; the rest is the backlog |
| send, there is a backlog | add to it, and wait until it is gone |
| a backlog begins | a task sends it, which a cancel of the sender does not stop: no frame is cut in two |
| corked | collect up to 64 KiB |
| a rate that the kernel cannot keep, or the allowance is used up | wait, in that direction; `paused` |
| receive or send fails | `gone`; wake every sender |
| cut | reset the socket, wake every sender; the session's scope ends its tasks |
"""

from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from math import inf
from typing import Final, TypeAlias

import trio

from ...loop.reactor import Reactor
from ...relay.direction import BROKEN
from ...relay.streams import PlainStream
from ...relay.timeline import read_size
from ...session.session import Session
from .counted_client import CountedClient

RECEIVE_BYTES: Final = 32_768
"""The most bytes of a read; as many may wait for the application."""

PIECE_BYTES: Final = 16_384
"""The most bytes of a send in the backlog, so that each is a sign of life."""

CORK_BYTES: Final = 65_536
"""The most bytes that are collected for one send."""

MAX_SEND_BYTES: Final = 65_536
"""The most bytes of a send of a service with a quota, which a session may exceed by so many."""

FIRST_PAUSE: Final = 0.001
MAX_PAUSE: Final = 0.1

SendLater: TypeAlias = "Callable[[Callable[[], Awaitable[object]]], object]"


class ClientSide(CountedClient):
    """The client of one session, to receive from and to send to.

    Attributes:
        ended: the client has sent its last byte.
    """

    __slots__ = ("_backlog", "_corked", "_finishing", "_flushed", "_send_later", "ended")

    def __init__(self, session: Session, reactor: Reactor, send_later: SendLater) -> None:
        """Move nothing yet.

        Args:
            session: as in :class:`CountedClient`.
            reactor: has the clock.
            send_later: starts a task of the session, which sends bytes that its client does not take yet.
        """
        super().__init__(session, reactor)
        self._send_later = send_later
        self._backlog: deque[memoryview] = deque()
        self._corked: list[bytes] | None = None
        self._flushed: trio.Event | None = None  # while a task sends the backlog
        self.ended = self._finishing = False

    @property
    def owes(self) -> bool:
        """Whether bytes wait because the client takes none."""
        return self._flushed is not None

    async def receive(self) -> bytes:
        """Receive bytes; none at the end.

        Raises:
            trio.BrokenResourceError: the client is gone.
        """
        session, allowance = self._session, self.allowance
        rate = session.up_rate
        size = RECEIVE_BYTES if rate == inf else min(RECEIVE_BYTES, read_size(rate))
        if allowance is not None:
            await self.wait_until_allowed(allowance)
            size = min(size, allowance.left)
        try:
            data: bytes = await self.stream.receive_some(size)
        except BROKEN as error:
            raise self.lose(error) from error
        count = len(data)
        if not count:
            self.active_at = self._reactor.refresh()
            self.ended = True
            return b""
        if allowance is not None:
            allowance.left -= count
        self.count_up(count)
        if rate != inf:
            await self.keep_rate(self.up, count, rate)
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
            if hasattr(self.stream, "send_eof"):
                await self.stream.send_eof()
        await self._delivered(patience)
        with suppress(*BROKEN), trio.move_on_after(patience):
            await self.stream.aclose()

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
        super().release()
        del self._send_later

    def lose(self, error: Exception) -> trio.BrokenResourceError:
        """Note that the client is gone, drop its bytes, and give the exception to raise."""
        self._backlog.clear()
        return super().lose(error)

    # Sending.

    async def _drain(self) -> None:
        """Send the backlog: now what the socket takes, the rest in a task."""
        if self.gone:
            self._backlog.clear()
            raise trio.BrokenResourceError(self.detail)
        if self._flushed is None:
            if self.plain is not None and self.allowance is None and self.timed_rate == inf:
                self._send_ready(self.plain)
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
            if self._meters[1].quiet:
                view = view[:MAX_SEND_BYTES]
            if sent := self.send_now(plain, view):
                self._taken(sent)
            if sent < len(view):
                return

    def _taken(self, count: int) -> None:
        """Take bytes that were sent from the backlog, and count them."""
        view = self._backlog.popleft()
        if count < len(view):
            self._backlog.appendleft(view[count:])
        self.count_down(count)

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
        allowance, rate, plain = self.allowance, self.timed_rate, self.plain
        size = min(PIECE_BYTES, read_size(rate))
        if allowance is not None:
            await self.wait_until_allowed(allowance)
            size = min(size, allowance.left)
        if self.gone:
            return
        piece = self._backlog[0][:size]
        try:
            if plain is None:
                await self.stream.send_all(bytes(piece))
                sent = len(piece)
            else:
                sent = self.send_now(plain, piece)
                if not sent:
                    await plain.wait_send_all_might_not_block()
                    return
        except BROKEN as error:
            raise self.lose(error) from error
        if self.gone:  # the reader has noticed meanwhile
            return
        self._taken(sent)
        if allowance is not None:
            allowance.left -= sent
        if rate != inf:
            await self.keep_rate(self.down, sent, rate)
