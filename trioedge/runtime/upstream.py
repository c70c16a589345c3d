"""One destination as a live object: made before anyone asks, the same for as long as somebody names it.

Seed, layer five: validated, resolved and connected when it is named, so that the first session does not pay for what
could have been ready; and not made anew when what names it changes in some other way.
"""

import socket

import trio

from ..core.address import Address
from .connector import Attempt, Connecting, Waiter
from .ground import Ground
from .idle_pool import IdlePool


class Upstream:
    """A destination, how it is reached, and the connections to it that are ready.

    Attributes:
        destination: where it is.
        users: how many services name it; its owner counts.
        preconnect: connections kept ready, over all of its users.
    """

    def __init__(self, destination: Address, connector: Connecting, ground: Ground, connect_seconds: float) -> None:
        """Name a destination; :meth:`warm` prepares it.

        Args:
            destination: where it is.
            connector: opens its connections.
            ground: where it lives.
            connect_seconds: the limit of one connect.
        """
        self.destination = destination
        self.users = 0
        self.preconnect = 0
        self._connector = connector
        self._seconds = connect_seconds
        self._scope: trio.CancelScope | None = None
        self._pool = IdlePool(connector, ground.reactor, ground.observer, destination, size=0, seconds=connect_seconds)

    def __repr__(self) -> str:
        return f"Upstream({str(self.destination)!r}, preconnect={self.preconnect}, ready={len(self._pool)})"

    def warm(self, nursery: trio.Nursery) -> None:
        """Resolve it now, and keep as many connections ready as `preconnect` says, in a task of `nursery`."""
        self._connector.warm(self.destination)
        self._pool.resize(self.preconnect if self._connector.plain else 0)
        if self.preconnect and self._connector.plain and self._scope is None:
            self._scope = trio.CancelScope()
            nursery.start_soon(self._keep_ready, self._scope)

    def close(self) -> None:
        """Nobody names it any more: its idle connections are closed, those in use are not."""
        self._pool.resize(0)
        if self._scope is not None:
            self._scope.cancel()

    async def _keep_ready(self, scope: trio.CancelScope) -> None:
        with scope:
            await self._pool.run()

    def take(self) -> tuple[socket.socket, bool] | None:
        """Give a connection that is ready, and whether it has spoken already; None when there is none."""
        return self._pool.take() if self.preconnect else None

    def start(self, waiter: Waiter) -> Attempt:
        """Begin to connect a plain socket."""
        return self._connector.start(self.destination, self._seconds, waiter)

    async def open_stream(self) -> trio.abc.HalfCloseableStream:
        """Connect a stream; after a cancel nothing is left open.

        Raises:
            UpstreamError: there is none.
        """
        return await self._connector.open_stream(self.destination, self._seconds)
