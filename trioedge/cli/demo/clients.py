"""The demo's clients: each kind has a loopback address and a pattern of requests of its own."""

import itertools
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing, suppress
from functools import partial
from typing import Final

import attrs
import trio

from .edge import BURSTING, POLITE, STAYING, STRANGERS, UNWANTED, WATCHING

BURST: Final = 20
"""Connections that the bursting client opens at once; the gate admits fewer."""


@attrs.define
class Seen:
    """What the clients have seen.

    Attributes:
        arrived: bytes of answers, by the client's address.
        refused: connects that the system refused, because nothing listened.
    """

    arrived: Counter[str] = attrs.field(factory=Counter)
    refused: int = 0


async def run(port: int, seen: Seen) -> None:
    """Run all clients of the edge at `port` until cancelled."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_repeat, 1.0, partial(visit, POLITE, port, seen, requests=2, pause=0.4, size=2_000))
        nursery.start_soon(_repeat, 0.8, partial(visit, UNWANTED, port, seen, requests=1))
        nursery.start_soon(_repeat, 4.0, partial(_burst, port, seen))
        nursery.start_soon(_stray, port, seen)
        for _ in range(2):
            nursery.start_soon(_repeat, 1.0, partial(visit, WATCHING, port, seen, requests=1_000_000, size=900_000))
        for _ in range(3):
            stay = partial(visit, STAYING, port, seen, requests=1_000_000, pause=0.5, size=200)
            nursery.start_soon(_repeat, 1.0, stay)


async def _repeat(pause: float, act: Callable[[], Awaitable[None]]) -> None:
    while True:
        await act()
        await trio.sleep(pause)


async def _burst(port: int, seen: Seen) -> None:
    async with trio.open_nursery() as nursery:
        for _ in range(BURST):
            nursery.start_soon(partial(visit, BURSTING, port, seen, requests=1, pause=1.5, size=30_000))


async def _stray(port: int, seen: Seen) -> None:
    """Connect from one address after another, and stay until the edge cuts the sessions."""
    for number in itertools.cycle(range(1, 255)):
        await trio.sleep(1)
        async with trio.open_nursery() as nursery:
            for _ in range(2):
                nursery.start_soon(partial(visit, f"{STRANGERS}{number}", port, seen, requests=1_000_000, pause=0.1))
        await trio.sleep(3)


async def visit(source: str, port: int, seen: Seen, *, requests: int, pause: float = 0.0, size: int = 100) -> None:
    """Make some requests on one connection, then close it; a refusal or a cut ends the visit as well."""
    with suppress(OSError, trio.BrokenResourceError), trio.socket.socket() as sock:
        await sock.bind((source, 0))
        try:
            await sock.connect(("127.0.0.1", port))
        except ConnectionRefusedError:
            seen.refused += 1
            return
        stream = trio.SocketStream(sock)
        for _ in range(requests):
            await stream.send_all(b"GET /%d HTTP/1.1\r\nHost: demo\r\n\r\n" % size)
            async with aclosing(_answer(stream, size)) as answer:
                async for count in answer:
                    seen.arrived[source] += count
            await trio.sleep(pause)


async def _answer(stream: trio.SocketStream, size: int) -> AsyncGenerator[int, None]:
    """Receive an answer, and give the number of bytes of each piece.

    Raises:
        trio.BrokenResourceError: the edge closed before its end.
    """
    received = bytearray()
    missing = size
    while missing > 0:
        chunk = await stream.receive_some()
        if not chunk:
            raise trio.BrokenResourceError("cut in the middle of an answer")
        yield len(chunk)
        received += chunk
        head = received.find(b"\r\n\r\n")
        missing = size if head < 0 else head + 4 + size - len(received)
