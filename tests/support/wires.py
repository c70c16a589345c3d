"""Real sockets for tests: connected pairs, small servers, edges on port 0."""

import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial

import trio

import trioedge as te

Script = Callable[[trio.SocketStream], Awaitable[object]]


def tcp_pair() -> tuple[socket.socket, socket.socket]:
    """Make two ends of one TCP connection on loopback, both non-blocking."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        near = socket.create_connection(listener.getsockname())
        far, _ = listener.accept()
    for sock in (near, far):
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return near, far


def stream(sock: socket.socket) -> trio.SocketStream:
    return trio.SocketStream(trio.socket.from_stdlib_socket(sock))


async def echo(connection: trio.SocketStream) -> None:
    """Send everything back, then finish."""
    async for data in connection:
        await connection.send_all(data)
    await connection.send_eof()


async def silent(connection: trio.SocketStream) -> None:
    """Send nothing and receive nothing."""
    await trio.sleep_forever()


@asynccontextmanager
async def server(script: Script = echo) -> AsyncIterator[int]:
    """Serve `script` on loopback for the length of the block and give the port."""

    async def serve_one(connection: trio.SocketStream) -> None:
        try:
            async with connection:
                await script(connection)
        except trio.BrokenResourceError:
            pass

    async with trio.open_nursery() as nursery:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        await nursery.start(partial(trio.serve_listeners, serve_one, listeners))
        yield listeners[0].socket.getsockname()[1]
        nursery.cancel_scope.cancel()


def edge_to(port: int, *stages: object, **changes: object) -> te.Edge:
    """Make an edge on port 0 in front of a server on `port`; `changes` are arguments of Forward, or else of Edge."""
    forward = {key: changes.pop(key) for key in ("preconnect", "connect_seconds", "retries") if key in changes}
    endpoint = te.Forward(f"tcp://127.0.0.1:{port}", **forward)  # type: ignore[arg-type]
    return te.Edge("tcp://127.0.0.1:0", list(stages), endpoint, **changes)  # type: ignore[arg-type]


@asynccontextmanager
async def serving(edge: te.Edge) -> AsyncIterator[int]:
    """Serve `edge` for the length of the block and give the port of its first address."""
    async with trio.open_nursery() as nursery:
        await nursery.start(edge.serve)
        yield int(edge.addresses[0].rpartition(":")[2])
        nursery.cancel_scope.cancel()


async def connect(port: int, source: str = "127.0.0.1") -> trio.SocketStream:
    """Connect to `port` on loopback from `source`.

    The handshake is the kernel's and takes no time here; waiting for it in Trio would mix up a connection that
    is refused with one that is accepted and reset.
    """
    await trio.lowlevel.checkpoint()
    sock = socket.socket()
    try:
        sock.bind((source, 0))
        sock.connect(("127.0.0.1", port))
        sock.setblocking(False)
    except BaseException:
        sock.close()
        raise
    return stream(sock)


async def receive_exactly(connection: trio.abc.ReceiveStream, count: int) -> bytes:
    data = bytearray()
    while len(data) < count and (more := await connection.receive_some(count - len(data))):
        data += more
    return bytes(data)


async def receive_all(connection: trio.abc.ReceiveStream) -> bytes:
    data = bytearray()
    while more := await connection.receive_some(1 << 20):
        data += more
    return bytes(data)
