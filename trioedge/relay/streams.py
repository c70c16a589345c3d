"""The client streams of middlewares and endpoints, which take back bytes that were read ahead."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from socket import AF_UNIX, SHUT_WR, SocketType
from socket import socket as Socket  # noqa: N812 - the streams have a property of that name
from typing import Any, Final, TypeAlias

import trio

from ..errors import quote
from ..loop.sockets import close, for_users, received_bytes, reset, unacknowledged_bytes
from .tls_socket import TlsSocket

RECEIVE_BYTES: Final = 65536

_BUSY: Final = "another task is sending on this stream"

BeforeUse: TypeAlias = Callable[[], tuple[bytes, Callable[[], object]]]
"""Gives bytes that the client gets first, and a function to be called once they are sent."""


class SendingHalf(trio.abc.HalfCloseableStream):
    """The half of a :class:`PlainStream` that sends.

    Attributes:
        before_use: called once, before the first byte moves, but not by `detach`; see :data:`BeforeUse`, or None.
    """

    __slots__ = ("_busy", "_finished", "_sock", "before_use")

    def __init__(self, sock: SocketType) -> None:
        self._sock: SocketType | None = sock
        self._busy = self._finished = False
        self.before_use: BeforeUse | None = None

    def _open(self) -> SocketType:
        if self._sock is None:
            raise trio.ClosedResourceError
        return self._sock

    def _begin_use(self) -> None:
        before_use, self.before_use = self.before_use, None
        if before_use is not None:
            words, then = before_use()
            if self._send_now(words) < len(words):
                raise trio.BrokenResourceError("the client does not read")
            then()

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send all of `data`. After a cancel an unknown part was sent, so the stream is only good to be closed."""
        if self._busy:
            raise trio.BusyResourceError(_BUSY)
        self._busy = True
        try:
            await trio.lowlevel.checkpoint_if_cancelled()
            self._begin_use()
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
            self._begin_use()
            self._finished = True
            while True:
                try:
                    self._open().shutdown(SHUT_WR)
                    return
                except BlockingIOError:  # close_notify waits for room
                    await trio.lowlevel.wait_writable(self._open())
                except OSError as error:
                    raise trio.BrokenResourceError(str(error)) from error

    def queued(self) -> int:
        """Bytes that were sent and that the other end's kernel has not acknowledged, or its local socket not read."""
        return 0 if self._sock is None else unacknowledged_bytes(self._sock)

    def undelivered(self) -> int:
        """The bytes of these that a close would take; none of a local socket, whose reader has them already."""
        return 0 if self._sock is None or self._sock.family == AF_UNIX else unacknowledged_bytes(self._sock)

    @contextmanager
    def _one_at_a_time(self) -> Iterator[None]:
        if self._busy:
            raise trio.BusyResourceError(_BUSY)
        self._busy = True
        try:
            yield
        finally:
            self._busy = False


class PlainStream(SendingHalf):
    """A connected, non-blocking socket as a stream that takes bytes back, and that gives its socket away.

    A stage gives back the bytes that it read ahead with :meth:`unread`; the relay takes the bare socket with
    :meth:`detach`. Otherwise it behaves as `trio.SocketStream` does.
    """

    __slots__ = ("_empty", "_fresh", "_unread")

    def __init__(self, sock: SocketType, *, fresh: bool = False) -> None:
        """Take a socket, which the stream closes.

        A read that finds bytes gives other tasks a turn. The first one of a `fresh` stream does not, because the task
        that reads has just begun.
        """
        super().__init__(sock)
        self._unread = b""
        self._empty = False  # the last read came back short, so the next one waits before it tries
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
        given = self._open(), self._unread
        self._sock, self._unread = None, b""
        return given

    def adopt(self, sock: SocketType) -> None:
        """Go on over a socket in place of the one that was detached."""
        self._sock, self._empty = sock, False

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """Receive at least one byte, or none at the end. After a cancel nothing was received."""
        if max_bytes is not None and max_bytes < 1:
            raise ValueError("max_bytes must be at least 1")
        await trio.lowlevel.checkpoint_if_cancelled()
        self._begin_use()
        if (data := self.receive_now(max_bytes)) is not None:
            if not self._fresh:
                await trio.lowlevel.cancel_shielded_checkpoint()
            self._fresh = False
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
        try:
            data = self._open().recv(size := max_bytes or RECEIVE_BYTES)
        except BlockingIOError:
            return None
        except OSError as error:
            raise trio.BrokenResourceError(str(error)) from error
        self._empty = len(data) < size and not (type(self._sock) is TlsSocket and self._sock.more)
        return data

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

    def close(self) -> None:
        """Close now; a task that waits on the stream gets a ClosedResourceError."""
        self._close(close)

    def close_reset(self) -> None:
        """Close now, with a reset."""
        self._close(reset)

    def _close(self, how: Callable[[SocketType], None]) -> None:
        if self._sock is not None:
            trio.lowlevel.notify_closing(self._sock)
            how(self._sock)
            self._sock, self._unread = None, b""

    async def aclose(self) -> None:
        """Close, also when cancelled."""
        self.close()
        await trio.lowlevel.checkpoint()


class BareReplayStream(trio.abc.Stream):
    """A stream around any other, which takes bytes back as :class:`PlainStream` does; see :func:`replaying`.

    Attributes:
        before_use: as :class:`PlainStream` has it.
    """

    __slots__ = ("_beginning", "_inner", "_unread", "before_use")

    def __init__(self, inner: trio.abc.Stream) -> None:
        self._inner: Any = inner
        self._unread = b""
        self._beginning = trio.Lock()  # one task may receive first, and another one send
        self.before_use: BeforeUse | None = None

    async def _begin_use(self) -> None:
        async with self._beginning:
            if self.before_use is None:
                return
            words, then = self.before_use()
            if words:
                await self._inner.send_all(words)
            self.before_use = None
        then()

    def unread(self, data: bytes | bytearray | memoryview) -> None:
        """Put `data` before the bytes that are received next.

        Raises:
            TypeError: `data` is not bytes-like.
        """
        self._unread = _bytes_of(data) + self._unread

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """Receive the bytes that were un-read, then those of the inner stream."""
        if self.before_use is not None:
            await self._begin_use()
        if not self._unread:
            return bytes(await self._inner.receive_some(max_bytes))
        await trio.lowlevel.checkpoint()
        count = max_bytes or len(self._unread)
        data, self._unread = self._unread[:count], self._unread[count:]
        return data

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        if self.before_use is not None:
            await self._begin_use()
        await self._inner.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self._inner.wait_send_all_might_not_block()

    async def aclose(self) -> None:
        await self._inner.aclose()


class ReplayStream(BareReplayStream, trio.abc.HalfCloseableStream):
    """One around a stream that has a half-close."""

    __slots__ = ()

    async def send_eof(self) -> None:
        if self.before_use is not None:
            await self._begin_use()
        await self._inner.send_eof()


def replaying(stream: trio.abc.Stream) -> BareReplayStream:
    """Put a stream that takes bytes back around another one; with a half-close if that has one."""
    return ReplayStream(stream) if hasattr(stream, "send_eof") else BareReplayStream(stream)


def _bytes_of(data: bytes | bytearray | memoryview) -> bytes:
    """Copy bytes-like data; `bytes` alone would make five NUL bytes of the number 5."""
    try:
        return bytes(memoryview(data))
    except TypeError:
        raise TypeError(f"stream.unread({quote(data)}) needs bytes, a bytearray or a memoryview") from None
