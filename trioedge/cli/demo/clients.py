"""The demo's clients: each comes from a loopback address of its own and has manners of its own."""

import itertools
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from typing import Final, TypeAlias

import trio

from .edge import BURSTING, POLITE, STAYING, STRANGERS, UNWANTED, WATCHING

BURST: Final = 20
"""Connections that the bursting client opens at once; the gate lets fewer in."""


Arrived: TypeAlias = Callable[[int], None]
"""Told of bytes as they arrive."""


async def run(port: int, watched: Arrived) -> None:
    """Be all the clients of the edge at `port`, until cancelled; `watched` is told what those that watch get."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_again_and_again, 1.0, partial(visit, POLITE, port, requests=2, pause=0.4, size=2_000))
        nursery.start_soon(_again_and_again, 0.8, partial(visit, UNWANTED, port, requests=1))
        nursery.start_soon(_again_and_again, 4.0, partial(_burst, port))
        nursery.start_soon(_stray, port)
        for _ in range(2):
            watch = partial(visit, WATCHING, port, requests=1_000_000, size=900_000, arrived=watched)
            nursery.start_soon(_again_and_again, 1.0, watch)
        for _ in range(3):
            stay = partial(visit, STAYING, port, requests=1_000_000, pause=0.5, size=200)
            nursery.start_soon(_again_and_again, 1.0, stay)


async def _again_and_again(pause: float, act: Callable[[], Awaitable[None]]) -> None:
    while True:
        await act()
        await trio.sleep(pause)


async def _burst(port: int) -> None:
    async with trio.open_nursery() as nursery:
        for _ in range(BURST):
            nursery.start_soon(partial(visit, BURSTING, port, requests=1, pause=1.5, size=30_000))


async def _stray(port: int) -> None:
    """Come from one address after the other, and stay until cut."""
    for number in itertools.cycle(range(1, 255)):
        await trio.sleep(1)
        async with trio.open_nursery() as nursery:
            for _ in range(2):
                nursery.start_soon(partial(visit, f"{STRANGERS}{number}", port, requests=1_000_000, pause=0.1))
        await trio.sleep(3)


async def visit(
    source: str, port: int, *, requests: int, pause: float = 0.0, size: int = 100, arrived: Arrived = lambda _: None
) -> None:
    """Make some requests on one connection and leave; being refused or cut ends the visit."""
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
