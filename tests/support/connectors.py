"""A connector whose connections a test makes."""

import socket
from collections.abc import Callable
from math import inf

import trio

from tests.support.wires import tcp_pair
from trioedge.addresses.address import Address
from trioedge.loop.reactor import Reactor
from trioedge.upstreams.connector import Attempt, ConnectCallback
from trioedge.upstreams.errors import UpstreamError


class HeldConnector:
    """A connector whose attempts succeed when the test calls :meth:`connect`.

    Attributes:
        waiters: of the attempts under way, the oldest first.
        attempts: every attempt there was, by its waiter.
    """

    plain = True

    def __init__(self, reactor: Reactor) -> None:
        self.reactor = reactor
        self.waiters: list[ConnectCallback] = []
        self.attempts: dict[ConnectCallback, Attempt] = {}

    def warm(self, address: Address, failed: Callable[[UpstreamError], object]) -> None: ...

    def start(self, address: Address, seconds: float, waiter: ConnectCallback) -> Attempt:
        self.waiters.append(waiter)
        self.attempts[waiter] = Attempt(self.reactor, address, inf, waiter)
        return self.attempts[waiter]

    async def open_stream(self, address: Address, seconds: float) -> trio.abc.HalfCloseableStream:
        raise NotImplementedError

    def connect(self) -> tuple[socket.socket, socket.socket]:
        """Let the oldest attempt succeed, and give the two ends of its connection: the edge's and the upstream's."""
        near, far = tcp_pair()
        waiter = self.waiters.pop(0)
        self.reactor.add(near.fileno(), waiter)  # type: ignore[arg-type]  # the waiter hands it over at once
        waiter.connected(near, False)
        return near, far
