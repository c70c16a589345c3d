"""The client streams of middlewares and endpoints, which take back bytes that were read ahead."""

from collections.abc import Iterator
from contextlib import contextmanager
from socket import SHUT_WR
from socket import socket as Socket  # noqa: N812 - the streams have a property of that name
from typing import Final

import trio

from ..loop.sockets import reset

RECEIVE_BYTES: Final = 65536


class PlainStream(trio.abc.HalfCloseableStream):
    """A connected, non-blocking socket as a stream that takes bytes back, and that gives its socket away.

    A stage gives back the bytes that it read ahead with :meth:`unread`; the relay takes the bare socket with
    :meth:`detach`. Otherwise it behaves as `trio.SocketStream` does.
    """

    __slots__ = ("_busy", "_finished", "_sock", "_unread")

    def __init__(self, sock: Socket) -> None:
        self._sock: Socket | None = sock
        self._unread = b""
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

    def unread(self, data: bytes | bytearray | memoryview) -> None:
        """Put `data` before the bytes that are received next.

        Raises:
            TypeError: `data` is not bytes-like.
        """
        self._unread = _bytes_of(data) + self._unread

    def detach(self) -> tuple[Socket, bytes]:
        """Give away the socket and the bytes that were un-read; the stream is closed from now on.

        Raises:
            trio.ClosedResourceError: it was closed or detached.
        """
        sock, unread = self.socket, self._unread
        self._sock, self._unread = None, b""
        return sock, unread

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """Receive at least one byte, or none at the end. After a cancel nothing was received."""
        if max_bytes is not None and max_bytes < 1:
            raise ValueError("max_bytes must be at least 1")
        if self._unread:
            await trio.lowlevel.checkpoint()
            count = max_bytes or len(self._unread)
            data, self._unread = self._unread[:count], self._unread[count:]
            return data
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
        """Send all of `data`. After a cancel an unknown part was sent, so the stream is only good to be closed."""
        with self._one_at_a_time():
            await trio.lowlevel.checkpoint_if_cancelled()
            rest = memoryview(data)
            if self._sock is None or self._finished:  # an error even if `data` is empty
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
        """Close the sending half; receiving goes on. After a cancel it is not closed."""
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
        """Close now; a task that waits on the stream gets a ClosedResourceError."""
        if self._sock is not None:
            trio.lowlevel.notify_closing(self._sock)
            self._sock.close()
            self._sock, self._unread = None, b""

    def close_reset(self) -> None:
        """Close now, with a reset."""
        if self._sock is not None:
            trio.lowlevel.notify_closing(self._sock)
            reset(self._sock)
            self._sock, self._unread = None, b""

    async def aclose(self) -> None:
        """Close, also when cancelled."""
        self.close()
        await trio.lowlevel.checkpoint()


class ReplayStream(trio.abc.HalfCloseableStream):
    """A stream around any other, which takes bytes back as :class:`PlainStream` does."""

    __slots__ = ("_inner", "_unread")

    def __init__(self, inner: trio.abc.HalfCloseableStream) -> None:
        self._inner = inner
        self._unread = b""

    def unread(self, data: bytes | bytearray | memoryview) -> None:
        """Put `data` before the bytes that are received next.

        Raises:
            TypeError: `data` is not bytes-like.
        """
        self._unread = _bytes_of(data) + self._unread

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """Receive the bytes that were un-read, then those of the inner stream."""
        if not self._unread:
            return bytes(await self._inner.receive_some(max_bytes))
        await trio.lowlevel.checkpoint()
        count = max_bytes or len(self._unread)
        data, self._unread = self._unread[:count], self._unread[count:]
        return data

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await self._inner.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self._inner.wait_send_all_might_not_block()

    async def send_eof(self) -> None:
        await self._inner.send_eof()

    async def aclose(self) -> None:
        await self._inner.aclose()


def _bytes_of(data: bytes | bytearray | memoryview) -> bytes:
    """Copy bytes-like data; `bytes` alone would make five NUL bytes of the number 5."""
    try:
        return bytes(memoryview(data))
    except TypeError:
        raise TypeError(f"stream.unread({data!r:.100}) needs bytes, a bytearray or a memoryview") from None
