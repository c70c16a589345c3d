"""Streams around others, as middlewares put them around a client's."""

from typing import Any

import trio


class Wrapped(trio.abc.HalfCloseableStream):
    """A stream that only passes on.

    Attributes:
        closed: how often it was closed.
    """

    def __init__(self, inner: Any) -> None:
        self.inner = inner
        self.closed = 0

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        return await self.inner.receive_some(max_bytes)  # type: ignore[no-any-return]

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await self.inner.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self.inner.wait_send_all_might_not_block()

    async def send_eof(self) -> None:
        await self.inner.send_eof()

    async def aclose(self) -> None:
        self.closed += 1
        await self.inner.aclose()


class WithoutHalfClose:
    """A stream that can only be closed whole, as TLS streams are."""

    def __init__(self, inner: Any) -> None:
        self.receive_some, self.send_all, self.aclose = inner.receive_some, inner.send_all, inner.aclose
        self.wait_send_all_might_not_block = inner.wait_send_all_might_not_block
