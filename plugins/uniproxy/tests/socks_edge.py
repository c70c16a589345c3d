"""A real edge with SOCKS whose users a panel names, an upstream, and clients from several addresses."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import trio
import trioedge as te
from fake_panel import TOKEN, FakePanel

from trioedge_uniproxy import UniProxyControl

PATIENCE = 10.0


async def until(true: Callable[[], object]) -> None:
    """Wait until a condition is true."""
    with trio.fail_after(PATIENCE):
        while not true():
            await trio.sleep(0.005)


class Client:
    """A client of the edge, connected through SOCKS to an upstream that sends back what it gets, twice.

    Attributes:
        up: bytes that it has sent to the upstream.
        down: bytes that came back.
    """

    def __init__(self, stream: trio.SocketStream) -> None:
        self.stream = stream
        self.up = self.down = 0

    async def talk(self, count: int) -> None:
        await self.stream.send_all(bytes(count))
        self.up += count
        left = 2 * count
        while left:
            data = await self.stream.receive_some(left)
            assert data, "the edge hung up"
            left -= len(data)
        self.down += 2 * count

    async def ended(self) -> bool:
        """Tell whether the edge hangs up."""
        try:
            with trio.move_on_after(PATIENCE):
                return not await self.stream.receive_some(1)
        except trio.BrokenResourceError:
            return True
        return False


class RefusedError(Exception):
    """The edge has refused a client."""


class Node:
    """An edge at work.

    Attributes:
        control: its control plane.
        edge: it.
    """

    def __init__(self, control: UniProxyControl, edge: te.Edge, upstream: int) -> None:
        self.control, self.edge, self._upstream = control, edge, upstream
        self.clients: list[Client] = []

    async def connect(self, uuid: str, source: str = "127.0.0.1", *, password: str | None = None) -> Client:
        """Log in and connect to the upstream.

        Raises:
            RefusedError: the edge does not let the client in.
        """
        port = int(self.edge.addresses[0].rpartition(":")[2])
        stream = await trio.open_tcp_stream("127.0.0.1", port, local_address=source)
        try:
            user, word = uuid.encode(), (uuid if password is None else password).encode()
            login = b"\x05\x01\x02\x01" + bytes([len(user)]) + user + bytes([len(word)]) + word
            request = b"\x05\x01\x00\x01\x7f\0\0\x01" + self._upstream.to_bytes(2, "big")
            await stream.send_all(login + request)
            answer = b""
            while len(answer) < 14:
                data = await stream.receive_some(14 - len(answer))
                if not data:
                    raise RefusedError(answer)
                answer += data
            if answer[5] != 0:
                raise RefusedError(answer)
        except BaseException as fault:
            await trio.aclose_forcefully(stream)
            if isinstance(fault, trio.BrokenResourceError):
                raise RefusedError from None
            raise
        self.clients.append(Client(stream))
        return self.clients[-1]

    async def hang_up(self) -> None:
        for client in self.clients:
            await trio.aclose_forcefully(client.stream)

    async def refuses(self, uuid: str, source: str = "127.0.0.1", *, password: str | None = None) -> bool:
        try:
            client = await self.connect(uuid, source, password=password)
        except RefusedError:
            return True
        await client.stream.aclose()
        return False


async def send_back_twice(stream: trio.SocketStream) -> None:
    try:
        while data := await stream.receive_some():
            await stream.send_all(bytes(data) * 2)
    except trio.BrokenResourceError:
        pass


@asynccontextmanager
async def node(panel: FakePanel, *stages: object, node_id: int = 1, **options: Any) -> AsyncIterator[Node]:
    """Serve an edge for the panel until the block ends, and drain it then."""
    control = UniProxyControl(panel.url, options.pop("token", TOKEN), node_id, **options)
    async with trio.open_nursery() as nursery:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        await nursery.start(partial(trio.serve_listeners, send_back_twice, listeners))
        edge = te.Edge(
            "tcp://127.0.0.1:0",
            stages or [te.Socks(auth="services"), te.DeviceLimit(), te.Pacing()],
            te.Forward(allow=["loopback"]),
            control=control,
            report_seconds=0.02,
            drain_seconds=0.5,
        )
        with trio.fail_after(PATIENCE):
            await nursery.start(edge.serve)
        at = Node(control, edge, listeners[0].socket.getsockname()[1])
        try:
            yield at
        except BaseException:
            await at.hang_up()
            raise
        edge.drain()
        with trio.fail_after(PATIENCE):
            await edge.phase.wait_value("stopped")
        await at.hang_up()
        nursery.cancel_scope.cancel()
