"""The client streams of middlewares and endpoints, which take back bytes that were read ahead."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from socket import AF_UNIX, SHUT_WR, SocketType
from socket import socket as Socket  # noqa: N812 - the streams have a property of that name
from typing import Final

import trio

from ..errors import quote
from ..loop.sockets import for_users, received_bytes, reset, unacknowledged_bytes

RECEIVE_BYTES: Final = 65536

_BUSY: Final = "another task is sending on this stream"


class PlainStream(trio.abc.HalfCloseableStream):
    """A connected, non-blocking socket as a stream that takes bytes back, and that gives its socket away.

    A stage gives back the bytes that it read ahead with :meth:`unread`; the relay takes the bare socket with
    :meth:`detach`. Otherwise it behaves as `trio.SocketStream` does.
    """

    __slots__ = ("_busy", "_empty", "_finished", "_fresh", "_sock", "_unread")

    def __init__(self, sock: SocketType, *, fresh: bool = False) -> None:
        """Take a socket.

        Args:
            sock: the socket, which the stream closes.
            fresh: whether the task that reads first has just begun. A read that finds bytes gives other tasks a turn,
                but the first one of a fresh stream does not: they have had theirs.
        """
        self._sock: SocketType | None = sock
        self._unread = b""
        self._busy = False
        self._empty = False  # the last read came back short, so the next one waits before it tries
        self._finished = False
        self._fresh = fresh

    @property
    def socket(self) -> Socket:
        """The socket, for its options and addresses.

        Raises:
            trio.ClosedResourceError: it was closed or detached.
        """
        sock = self._open()
        if not isinstance(sock, Socket):  # a bare one of the listener; few stages ask for more
            sock = self._sock = for_users(sock)
        return sock

    def _open(self) -> SocketType:
        if self._sock is None:
            raise trio.ClosedResourceError
        return self._sock

    def unread(self, data: bytes | bytearray | memoryview) -> None:
        """Put `data` before the bytes that are received next.

        Raises:
            TypeError: `data` is not bytes-like.
        """
        self._unread = _bytes_of(data) + self._unread

    def detach(self) -> tuple[SocketType, bytes]:
        """Give away the socket and the bytes that were un-read; the stream is closed from now on.

        Raises:
            trio.ClosedResourceError: it was closed or detached.
        """
        sock, unread = self._open(), self._unread
        self._sock, self._unread = None, b""
        return sock, unread

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """Receive at least one byte, or none at the end. After a cancel nothing was received."""
        if max_bytes is not None and max_bytes < 1:
            raise ValueError("max_bytes must be at least 1")
        await trio.lowlevel.checkpoint_if_cancelled()
        data = self.receive_now(max_bytes)
        if data is not None:
            if self._fresh:
                self._fresh = False
            else:
                await trio.lowlevel.cancel_shielded_checkpoint()
            return data
        self._fresh = False
        while data is None:
            await trio.lowlevel.wait_readable(self._open())  # a checkpoint already
            data = self.receive_now(max_bytes)
        return data

    def receive_now(self, max_bytes: int | None = None) -> bytes | None:
        """Receive what is there, none at the end; None if the caller must wait first. No checkpoint.

        Raises:
            trio.BrokenResourceError: the other end has reset the connection.
            trio.ClosedResourceError: the stream was closed or detached.
        """
        if self._unread:
            count = max_bytes or len(self._unread)
            data, self._unread = self._unread[:count], self._unread[count:]
            return data
        if self._empty:
            self._empty = False
            return None
        size = max_bytes or RECEIVE_BYTES
        try:
            data = self._open().recv(size)
        except BlockingIOError:
            return None
        except OSError as error:
            raise trio.BrokenResourceError(str(error)) from error
        self._empty = len(data) < size
        return data

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send all of `data`. After a cancel an unknown part was sent, so the stream is only good to be closed."""
        if self._busy:
            raise trio.BusyResourceError(_BUSY)
        self._busy = True
        try:
            await trio.lowlevel.checkpoint_if_cancelled()
            sent = self._send_now(data)
            if sent == len(data):
                await trio.lowlevel.cancel_shielded_checkpoint()
                return
            rest = memoryview(data)[sent:]
            while rest:
                await trio.lowlevel.wait_writable(self._open())
                rest = rest[self._send_now(rest) :]
        finally:
            self._busy = False

    def send_now(self, data: bytes | bytearray | memoryview) -> int:
        """Send what the socket takes at once, and give how many bytes that was; no checkpoint.

        Raises:
            trio.BrokenResourceError: the socket takes no more.
            trio.BusyResourceError: another task is sending.
            trio.ClosedResourceError: the stream was closed, detached or half-closed.
        """
        if self._busy:
            raise trio.BusyResourceError(_BUSY)
        return self._send_now(data)

    def _send_now(self, data: bytes | bytearray | memoryview) -> int:
        if self._sock is None or self._finished:  # an error even if `data` is empty
            raise trio.ClosedResourceError
        try:
            return self._sock.send(data) if data else 0
        except BlockingIOError:
            return 0
        except OSError as error:
            raise trio.BrokenResourceError(str(error)) from error

    async def wait_send_all_might_not_block(self) -> None:
        """Wait until at least one byte can be sent."""
        with self._one_at_a_time():
            await trio.lowlevel.wait_writable(self._open())

    async def send_eof(self) -> None:
        """Close the sending half; receiving goes on. After a cancel it is not closed."""
        with self._one_at_a_time():
            await trio.lowlevel.checkpoint()
            self._finished = True
            try:
                self._open().shutdown(SHUT_WR)
            except OSError as error:
                raise trio.BrokenResourceError(str(error)) from error

    def queued(self) -> int:
        """Bytes that were sent and that the other end's kernel has not acknowledged, or its local socket not read."""
        return 0 if self._sock is None else unacknowledged_bytes(self._sock)

    def undelivered(self) -> int:
        """The bytes of these that a close would take; none of a local socket, whose reader has them already."""
        return 0 if self._sock is None or self._sock.family == AF_UNIX else unacknowledged_bytes(self._sock)

    def has_bytes(self) -> bool:
        """Tell whether bytes that were received wait to be read."""
        return self._sock is not None and received_bytes(self._sock) > 0

    def discard(self) -> bool:
        """Drop the bytes that were received, so that the other end may go on; at most a mebibyte a call.

        Returns:
            Whether there were any.
        """
        self._empty = dropped = False
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            for _ in range(16):
                if not self.receive_now():
                    break
                dropped = True
        return dropped

    @contextmanager
    def _one_at_a_time(self) -> Iterator[None]:
        if self._busy:
            raise trio.BusyResourceError(_BUSY)
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
        raise TypeError(f"stream.unread({quote(data)}) needs bytes, a bytearray or a memoryview") from None
