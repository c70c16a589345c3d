"""One destination as a live object: made before the first session, the same for as long as a policy names it.

It is validated, resolved and connected when it is named, so that the first session does not pay for what could have
been ready; and it is not made anew when the policy that names it changes otherwise.
"""

import socket

import trio

from ..addresses.address import Address
from ..services.context import EdgeContext
from .connector import Attempt, ConnectCallback, Connecting, Permit, Target
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
        self, destination: Address, connector: Connecting, context: EdgeContext, seconds: float,
        permit: Permit | None = None,
    ) -> None:  # fmt: skip
        """Name a destination; :meth:`warm` prepares it.

        Args:
            destination: where it is.
            connector: opens its connections.
            context: the running edge.
            seconds: the limit of one connect.
            permit: drops the addresses that may not be connected to.
        """
        self.destination = destination
        self.preconnect = 0
        self.users = 0
        self.wanted = 0
        self.warmed = False
        self._context = context
        self._connector = connector
        self._target = Target(destination, seconds, permit)
        self._pool: IdlePool | None = None  # made by the first `preconnect`

    def __repr__(self) -> str:
        ready = 0 if self._pool is None else len(self._pool)
        return f"Upstream({str(self.destination)!r}, preconnect={self.preconnect}, ready={ready})"

    @property
    def local(self) -> bool:
        """Whether it is a local socket."""
        return self.destination.scheme == "unix"

    def warm(self, nursery: trio.Nursery) -> None:
        """Resolve it, if that was not done yet, and keep `preconnect` connections ready, in a task of `nursery`.

        An address that can never be connected to, such as one that is forbidden, is logged.
        """
        if not self.warmed:
            self.warmed = True
            self._connector.warm(self._target, self.unreached)
        size = self.preconnect if self._connector.plain else 0
        if self._pool is not None:
            self._pool.resize(size)
        elif size:
            self._pool = IdlePool(self._connector, self._context.reactor, self._context.log, self._target, size=size)
            nursery.start_soon(self._pool.run)

    def close(self) -> None:
        """Close its idle connections soon: no policy names it any more. Those in use go on."""
        if self._pool is not None:
            self._pool.close()

    def unreached(self, error: UpstreamError) -> None:
        """Log, at most once a second, that it cannot be reached."""
        self._context.log.notice("upstream failed", reason=str(error.reason), error=error.detail)

    def take(self) -> tuple[socket.socket, bool] | None:
        """Give a connection that is ready, and whether it is readable already; None when there is none."""
        return self._pool.take() if self._pool is not None and self.preconnect else None

    def start(self, callback: ConnectCallback) -> Attempt:
        """Begin to connect a plain socket."""
        return self._connector.start(self._target, callback)

    async def open_stream(self) -> trio.abc.HalfCloseableStream:
        """Connect a stream; after a cancel nothing is left open.

        Raises:
            UpstreamError: there is none.
        """
        return await self._connector.open_stream(self._target)
