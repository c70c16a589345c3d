"""Listeners without sockets, for rehearsals and for tests of stages."""

from ...addresses.address import Address
from ...addresses.listening import ListeningAddresses
from ...services.service import Service


class RehearsedListeners(ListeningAddresses):
    """The listeners of services in a rehearsal; see :class:`Listeners`. No socket is opened.

    Attributes:
        own: no address, because those of the edge mean nothing in a rehearsal.
        opened: how many listeners of services have been opened so far.
        elsewhere: 0, because no other worker accepts.
        services: the service of each address that is open; None while it is released.
    """

    __slots__ = ("opened", "own", "services")

    elsewhere = 0

    def __init__(self) -> None:
        """Start without a listener."""
        super().__init__()
        self.own = ListeningAddresses()
        self.opened = 0
        self.services: dict[Address, Service | None] = {}

    def listen(self, *_: object) -> None:
        """Do nothing: no client comes by itself."""

    def open(self, address: Address, service: Service) -> None:
        """See :meth:`Listeners.open`."""
        self.add(address)
        self.opened += address not in self.services
        self.services[address] = service

    def release(self, address: Address) -> None:
        """See :meth:`Listeners.release`."""
        if address in self.services:
            self.services[address] = None

    def close(self, address: Address) -> None:
        """See :meth:`Listeners.close`."""
        self.services.pop(address, None)
        self.discard(address)

    def close_own(self) -> None:
        """Do nothing."""

    def close_all(self) -> None:
        """Close every address."""
        for address in tuple(self.services):
            self.close(address)
