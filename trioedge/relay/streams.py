"""The streams that middlewares see: what they read ahead they give back."""

from collections.abc import Iterator
from contextlib import contextmanager
from socket import SHUT_WR
from socket import socket as Socket  # noqa: N812 - the streams have a property of that name
from typing import Final

import trio

from ..loop.sockets import reset

RECEIVE_BYTES: Final = 65536


class PlainStream(trio.abc.HalfCloseableStream):
    """A connected, non-blocking socket as a stream that can be un-read and given up again.

    What a middleware reads ahead it gives back with :meth:`unread`; an endpoint that wants the bare socket takes
    it with :meth:`detach`. Otherwise it behaves as `trio.SocketStream` does.
    """

    __slots__ = ("_busy", "_early", "_finished", "_sock")

    def __init__(self, sock: Socket) -> None:
        self._sock: Socket | None = sock
        self._early = b""
        self._busy = False
        self._finished = False

    @property
    def socket(self) -> Socket:
        """The socket, for its options and addresses.

        Raises:
            trio.ClosedResourceError: it was closed or detached.
        """
        if self._sock is None:
            raise trio.ClosedResourceError
        return self._sock

    def unread(self, data: bytes) -> None:
        """Put `data` before what is received next."""
        self._early = bytes(data) + self._early

    def detach(self) -> tuple[Socket, bytes]:
        """Give up the socket and what was un-read; the stream is closed from now on."""
        sock, early = self.socket, self._early
        self._sock, self._early = None, b""
        return sock, early

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """Receive at least one byte, or none at the end. After a cancel nothing was taken."""
        if self._early:
            await trio.lowlevel.checkpoint()
            count = max_bytes or len(self._early)
            data, self._early = self._early[:count], self._early[count:]
            return data
        if max_bytes is not None and max_bytes < 1:
            raise ValueError("max_bytes must be at least 1")
        await trio.lowlevel.checkpoint_if_cancelled()
        while True:
            sock = self.socket
            try:
                data = sock.recv(max_bytes or RECEIVE_BYTES)
            except BlockingIOError:
                await trio.lowlevel.wait_readable(sock)
            except OSError as error:
                raise trio.BrokenResourceError(str(error)) from error
            else:
                await trio.lowlevel.cancel_shielded_checkpoint()
                return data

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send all of `data`. After a cancel nobody knows how much went out: close."""
        with self._one_at_a_time():
            await trio.lowlevel.checkpoint_if_cancelled()
            rest = memoryview(data)
            if self._sock is None or self._finished:  # an error even for nothing to send
                raise trio.ClosedResourceError
            while rest:
                sock = self.socket
                try:
                    rest = rest[sock.send(rest) :]
                except BlockingIOError:
                    await trio.lowlevel.wait_writable(sock)
                except OSError as error:
                    raise trio.BrokenResourceError(str(error)) from error
            await trio.lowlevel.cancel_shielded_checkpoint()

    async def wait_send_all_might_not_block(self) -> None:
        """Wait until at least one byte can be sent."""
        with self._one_at_a_time():
            await trio.lowlevel.wait_writable(self.socket)

    async def send_eof(self) -> None:
        """Say that nothing more will be sent; receiving goes on."""
        with self._one_at_a_time():
            await trio.lowlevel.checkpoint()
            self._finished = True
            try:
                self.socket.shutdown(SHUT_WR)
            except OSError as error:
                raise trio.BrokenResourceError(str(error)) from error

    @contextmanager
    def _one_at_a_time(self) -> Iterator[None]:
        if self._busy:
            raise trio.BusyResourceError("another task is sending on this stream")
        self._busy = True
        try:
            yield
        finally:
            self._busy = False

    def close(self) -> None:
        """Close now; a task that waits on the stream is told with ClosedResourceError."""
        if self._sock is not None:
            trio.lowlevel.notify_closing(self._sock)
            self._sock.close()
            self._sock = None

    def close_reset(self) -> None:
        """Close now, with a reset."""
        if self._sock is not None:
            trio.lowlevel.notify_closing(self._sock)
            reset(self._sock)
            self._sock = None

    async def aclose(self) -> None:
        """Close, then let others run."""
        self.close()
        await trio.lowlevel.checkpoint()


class ReplayStream(trio.abc.HalfCloseableStream):
    """Any stream, so that it can be un-read as a plain one can."""

    __slots__ = ("_early", "_inner")

    def __init__(self, inner: trio.abc.HalfCloseableStream) -> None:
        self._inner = inner
        self._early = b""

    def unread(self, data: bytes) -> None:
        """Put `data` before what is received next."""
        self._early = bytes(data) + self._early

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """Receive what was un-read, then what the stream has."""
        if not self._early:
            return bytes(await self._inner.receive_some(max_bytes))
        await trio.lowlevel.checkpoint()
        count = max_bytes or len(self._early)
        data, self._early = self._early[:count], self._early[count:]
        return data

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await self._inner.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self._inner.wait_send_all_might_not_block()

    async def send_eof(self) -> None:
        await self._inner.send_eof()

    async def aclose(self) -> None:
        await self._inner.aclose()
