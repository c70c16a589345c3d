"""A connector whose connections a test makes."""

import socket
from collections.abc import Callable
from math import inf

import trio

from tests.support.wires import tcp_pair
from trioedge.loop.reactor import Reactor
from trioedge.upstreams.attempt import Attempt, ConnectCallback
from trioedge.upstreams.connector import Target
from trioedge.upstreams.errors import UpstreamError


class HeldConnector:
    """A connector whose attempts succeed when the test calls :meth:`connect`.

    Attributes:
        callbacks: of the attempts under way, the oldest first.
        attempts: every attempt that was begun, by its callback.
    """

    plain = True

    def __init__(self, reactor: Reactor) -> None:
        self.reactor = reactor
        self.callbacks: list[ConnectCallback] = []
        self.attempts: dict[ConnectCallback, Attempt] = {}

    def warm(self, target: Target, failed: Callable[[UpstreamError], object]) -> None: ...

    def start(self, target: Target, callback: ConnectCallback) -> Attempt:
        self.callbacks.append(callback)
        self.attempts[callback] = Attempt(self.reactor, target.address, inf, callback)
        return self.attempts[callback]

    async def open_stream(self, target: Target) -> trio.abc.HalfCloseableStream:
        raise NotImplementedError

    def connect(self) -> tuple[socket.socket, socket.socket]:
        """Have the oldest attempt succeed, and give the two ends of its connection: the edge's and the upstream's."""
        near, far = tcp_pair()
        callback = self.callbacks.pop(0)
        self.reactor.add(near.fileno(), callback)  # type: ignore[arg-type]  # which hands it over at once
        callback.connected(near, False)
        return near, far
