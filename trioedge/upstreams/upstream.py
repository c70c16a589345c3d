"""One destination as a live object: made before anyone asks, the same for as long as somebody names it.

Seed, layer five: validated, resolved and connected when it is named, so that the first session does not pay for what
could have been ready; and not made anew when what names it changes in some other way.
"""

import socket

import trio

from ..addresses.address import Address
from ..services.context import EdgeContext
from .connector import Attempt, ConnectCallback, Connecting
from .errors import UpstreamError
from .pool import IdlePool


class Upstream:
    """A destination, how it is reached, and the connections to it that are ready.

    Attributes:
        destination: where it is.
        preconnect: connections kept ready.
        users: how many services name it; its owner counts.
        wanted: connections that these want to have ready, together.
        warmed: whether it was prepared.
    """

    def __init__(
        self, destination: Address, connector: Connecting, context: EdgeContext, connect_seconds: float
    ) -> None:
        """Name a destination; :meth:`warm` prepares it.

        Args:
            destination: where it is.
            connector: opens its connections.
            context: where it lives.
            connect_seconds: the limit of one connect.
        """
        self.destination = destination
        self.preconnect = 0
        self.users = 0
        self.wanted = 0
        self.warmed = False
        self._connector = connector
        self._observer = context.observer
        self._seconds = connect_seconds
        self._keeping = False
        self._pool = IdlePool(
            connector, context.reactor, context.observer, destination, size=0, seconds=connect_seconds
        )

    def __repr__(self) -> str:
        return f"Upstream({str(self.destination)!r}, preconnect={self.preconnect}, ready={len(self._pool)})"

    def warm(self, nursery: trio.Nursery) -> None:
        """Resolve it, if that was not done yet, and keep `preconnect` connections ready, in a task of `nursery`.

        What says already that nobody will get there, such as an address that is forbidden, is logged.
        """
        if not self.warmed:
            self.warmed = True
            self._connector.warm(self.destination, self.unreached)
        size = self.preconnect if self._connector.plain else 0
        self._pool.resize(size)
        if size and not self._keeping:
            self._keeping = True
            nursery.start_soon(self._pool.run)

    def close(self) -> None:
        """Nobody names it any more: its idle connections are closed soon, those in use are not."""
        self._pool.close()

    def unreached(self, error: UpstreamError) -> None:
        """Say, at most once a second, that it cannot be reached."""
        self._observer.notice("upstream failed", reason=str(error.reason), error=error.detail)

    def take(self) -> tuple[socket.socket, bool] | None:
        """Give a connection that is ready, and whether it has spoken already; None when there is none."""
        return self._pool.take() if self.preconnect else None

    def start(self, waiter: ConnectCallback) -> Attempt:
        """Begin to connect a plain socket."""
        return self._connector.start(self.destination, self._seconds, waiter)

    async def open_stream(self) -> trio.abc.HalfCloseableStream:
        """Connect a stream; after a cancel nothing is left open.

        Raises:
            UpstreamError: there is none.
        """
        return await self._connector.open_stream(self.destination, self._seconds)
