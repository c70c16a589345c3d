"""The demo's clients: each kind has a loopback address and a pattern of requests of its own."""

import itertools
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from typing import Final, TypeAlias

import trio

from .edge import BURSTING, POLITE, STAYING, STRANGERS, UNWANTED, WATCHING

BURST: Final = 20
"""Connections that the bursting client opens at once; the gate admits fewer."""


Arrived: TypeAlias = Callable[[int], None]
"""Called with the number of bytes that have arrived."""


async def run(port: int, watched: Arrived) -> None:
    """Run all clients of the edge at `port` until cancelled; `watched` is called for bytes of the video clients."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_repeat, 1.0, partial(visit, POLITE, port, requests=2, pause=0.4, size=2_000))
        nursery.start_soon(_repeat, 0.8, partial(visit, UNWANTED, port, requests=1))
        nursery.start_soon(_repeat, 4.0, partial(_burst, port))
        nursery.start_soon(_stray, port)
        for _ in range(2):
            watch = partial(visit, WATCHING, port, requests=1_000_000, size=900_000, arrived=watched)
            nursery.start_soon(_repeat, 1.0, watch)
        for _ in range(3):
            stay = partial(visit, STAYING, port, requests=1_000_000, pause=0.5, size=200)
            nursery.start_soon(_repeat, 1.0, stay)


async def _repeat(pause: float, act: Callable[[], Awaitable[None]]) -> None:
    while True:
        await act()
        await trio.sleep(pause)


async def _burst(port: int) -> None:
    async with trio.open_nursery() as nursery:
        for _ in range(BURST):
            nursery.start_soon(partial(visit, BURSTING, port, requests=1, pause=1.5, size=30_000))


async def _stray(port: int) -> None:
    """Connect from one address after another, and stay until the edge cuts the sessions."""
    for number in itertools.cycle(range(1, 255)):
        await trio.sleep(1)
        async with trio.open_nursery() as nursery:
            for _ in range(2):
                nursery.start_soon(partial(visit, f"{STRANGERS}{number}", port, requests=1_000_000, pause=0.1))
        await trio.sleep(3)


async def visit(
    source: str, port: int, *, requests: int, pause: float = 0.0, size: int = 100, arrived: Arrived = lambda _: None
) -> None:
    """Make some requests on one connection, then close it; a refusal or a cut ends the visit as well."""
    with suppress(OSError, trio.BrokenResourceError), trio.socket.socket() as sock:
        await sock.bind((source, 0))
        await sock.connect(("127.0.0.1", port))
        stream = trio.SocketStream(sock)
        for _ in range(requests):
            await stream.send_all(b"GET /%d HTTP/1.1\r\nHost: demo\r\n\r\n" % size)
            await _receive_answer(stream, size, arrived)
            await trio.sleep(pause)


async def _receive_answer(stream: trio.SocketStream, size: int, arrived: Arrived) -> None:
    received = bytearray()
    missing = size
    while missing > 0:
        chunk = await stream.receive_some()
        if not chunk:
            raise trio.BrokenResourceError("cut in the middle of an answer")
        arrived(len(chunk))
        received += chunk
        head = received.find(b"\r\n\r\n")
        missing = size if head < 0 else head + 4 + size - len(received)
