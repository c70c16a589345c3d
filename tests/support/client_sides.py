"""The client's side of a session of an application, over a stream in memory and over a socket."""

import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from math import inf
from typing import Any, cast

import attrs
import trio

from tests.support.wires import tcp_pair
from trioedge.endpoints.asgi.client_side import ClientSide
from trioedge.loop.reactor import Reactor
from trioedge.relay.streams import PlainStream
from trioedge.session.allowance import Allowance
from trioedge.session.session import Session
from trioedge.testing import make_session
from trioedge.testing.context import StillClock
from trioedge.testing.upstream import memory_pair


class TrioClock(StillClock):
    """The clock of the running test."""

    def refresh(self) -> float:
        self.now = trio.current_time()
        return self.now


@attrs.define
class World:
    session: Session
    side: ClientSide
    far: Any


@asynccontextmanager
async def world(
    near: Any, far: Any, *, down: float = inf, up: float = inf, allowance: Allowance | None = None
) -> AsyncIterator[World]:
    """Make a session's carrier over a stream, with a nursery for its backlog."""
    session = make_session()
    session.stream = near
    session.allowance = allowance
    session.pace(down, up)
    async with trio.open_nursery() as nursery:

        def send_later(flush: Callable[[], Awaitable[object]]) -> None:
            nursery.start_soon(flush)

        yield World(session, ClientSide(session, cast(Reactor, TrioClock()), send_later), far)
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def in_memory(*, lockstep: bool = False, **limits: Any) -> AsyncIterator[World]:
    near, far = memory_pair(lockstep=lockstep)
    async with world(near, far, **limits) as made:
        yield made


@asynccontextmanager
async def on_sockets(**limits: Any) -> AsyncIterator[World]:
    near, far = tcp_pair()
    near.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65_536)
    plain, other = PlainStream(near), PlainStream(far)
    async with world(plain, other, **limits) as made:
        try:
            yield made
        finally:
            plain.close()
            other.close()


async def receive(stream: Any, count: int) -> bytes:
    data = bytearray()
    while len(data) < count and (more := await stream.receive_some(count - len(data))):
        data += more
    return bytes(data)
