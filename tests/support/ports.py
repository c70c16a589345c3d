"""Ports on loopback without a server that answers."""

import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import trio

from tests.support.wires import connect


def closed_port() -> int:
    """Give a port that refuses connections."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


@contextmanager
def two_hosts() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Listen on 127.0.0.1 and on 127.0.0.2 with one port, which another program may have on the second."""
    while True:
        first = socket.create_server(("127.0.0.1", 0))
        try:
            second = socket.create_server(("127.0.0.2", first.getsockname()[1]))
        except OSError:
            first.close()
        else:
            break
    with first, second:
        yield first, second


def free_ports(count: int) -> list[int]:
    """Give ports below those that the kernel gives to clients, on which no server of this machine listens now."""
    found: list[int] = []
    for port in range(10_000, 32_000):
        with socket.socket() as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                sock.bind(("127.0.0.1", port))
            except OSError:
                continue
        found.append(port)
        if len(found) == count:
            return found
    raise RuntimeError(f"there are no {count} free ports")


@asynccontextmanager
async def deaf_port() -> AsyncIterator[int]:
    """Give a port that never answers, because its backlog is full."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        port = listener.getsockname()[1]
        fillers = []
        for _ in range(4):
            filler = socket.socket()
            filler.setblocking(False)
            filler.connect_ex(("127.0.0.1", port))
            fillers.append(filler)
        await trio.sleep(0.01)
        yield port
        for filler in fillers:
            filler.close()


async def until_it_listens(port: int) -> None:
    """Wait until a program that was just started listens on a port of loopback."""
    with trio.fail_after(10):
        while True:
            try:
                (await connect(port)).socket.close()
                return
            except ConnectionRefusedError:
                await trio.sleep(0.02)
