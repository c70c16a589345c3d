"""The listening sockets of one edge in one worker: copies of the parent's."""

import os
import socket
import zlib
from collections.abc import Sequence

import trio

from ...addresses.address import Address
from ...serving.listening.bind import Bound
from ..workers.orders import Orders


class ParentsSocket:
    """A socket that the parent has bound, and that it keeps; see :class:`Bound`."""

    def __init__(self, sock: socket.socket, address: Address, given: Address | None = None) -> None:
        self.sock = sock
        self.address = address
        self.given = address if given is None else given

    def listen(self) -> None:
        """Do nothing: the parent listens."""

    def close(self) -> None:
        """Close this worker's copy; the backlog is the parent's."""
        self.sock.close()


class WorkerSockets:
    """The sockets of one edge, as one worker has them; see :class:`ParentSockets`.

    Attributes:
        own: of the edge's own addresses.
        listens: set when the parent listens.
        steered: whether each address has one worker, for all its connections over TCP.
    """

    def __init__(
        self,
        edge: str,
        own: Sequence[Bound],
        orders: Orders,
        *,
        number: int,
        workers: int,
        steered: bool,
    ) -> None:
        """Take what a fork has passed on.

        Args:
            edge: its name.
            own: of its own addresses.
            orders: to the parent.
            number: of this worker.
            workers: how many there are.
            steered: whether the kernel gives all connections of an address to one worker.
        """
        self.steered = steered
        self._edge = edge
        self.own: Sequence[Bound] = own
        self._kept: dict[Address, int] = {}
        self._orders = orders
        self._number, self._workers = number, workers
        self.listens = trio.Event()
        self._drains = False

    def inherit(self, address: Address, fd: int) -> None:
        """Have the listener of a service that the parent has kept, until a service takes it."""
        self._kept[address] = fd

    async def listening(self) -> None:
        """See :meth:`ParentSockets.listening`."""
        self._orders.send({"say": "ready", "edge": self._edge})
        await self.listens.wait()

    def drain(self) -> None:
        """Let the parent keep the listeners of services from now on: a successor has them."""
        self._drains = True

    def has(self, address: Address) -> bool:
        """See :meth:`ParentSockets.has`."""
        return zlib.crc32(str(address).encode()) % self._workers == self._number

    def take(self, address: Address) -> ParentsSocket | None:
        """See :meth:`ParentSockets.take`."""
        fd = self._kept.pop(address, None)
        return None if fd is None else ParentsSocket(socket.socket(fileno=fd), address)

    def keep(self, address: Address, fd: int) -> None:
        """See :meth:`ParentSockets.keep`."""
        self._orders.send({"say": "keep", "edge": self._edge, "address": str(address)}, fd)

    def forget(self, address: Address) -> None:
        """See :meth:`ParentSockets.forget`."""
        if not self._drains:
            self._orders.send({"say": "forget", "edge": self._edge, "address": str(address)})

    def close_kept(self) -> None:
        """Close the listeners that no service has taken, and have the parent close them."""
        for address, fd in self._kept.items():
            os.close(fd)
            self.forget(address)
        self._kept.clear()
