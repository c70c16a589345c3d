"""The protocol by which an edge opens the listeners of its services."""

from collections.abc import Iterator, Sequence
from typing import Protocol

from ...addresses.address import Address
from ..service import Service


class Listeners(Protocol):
    """The listeners of one run of an edge, as ``context.listeners`` has them.

    It is a read-only sequence of the addresses that are listened on, as text with their real ports: first those of the
    edge, then those of services. It follows the edge. In a rehearsal it has only those of services.

    The edge opens and closes the listeners of services by the three methods at the end, which do not wait. They never
    touch a listener of the edge's own ``listen=``.

    Attributes:
        opened: how many listeners of services have been opened so far, closed ones included.
        elsewhere: how many of the services' addresses another worker accepts on.
    """

    opened: int

    @property
    def elsewhere(self) -> int: ...

    def __len__(self) -> int:
        """Count the addresses."""

    def __iter__(self) -> Iterator[str]:
        """Give the addresses as they are now."""

    def __contains__(self, address: object, /) -> bool:
        """Return whether an address is listened on, as text with its port."""

    def __getitem__(self, index: int, /) -> str:
        """Give the address at a place, from 0."""

    def __eq__(self, other: object, /) -> bool:
        """Return whether a tuple has the same addresses."""

    def at(self, port: int, /) -> Sequence[str]:
        """Give the addresses of one port, or the local sockets for port 0. Takes 0.1 µs."""

    def open(self, address: Address, service: Service, /) -> None:
        """Accept sessions of a service at an address.

        An address that is open already changes hands: the same socket, without a moment in which it is closed.

        Args:
            address: of TCP, an IP address and a port, as :func:`~trioedge.addresses.open_ports.listener_address` gives.
            service: sessions are its own from the moment when they are accepted.

        Raises:
            ListenError: it cannot be listened on now; nothing has changed.
        """

    def release(self, address: Address, /) -> None:
        """Accept no session at an address until it is opened again or closed; clients wait in the backlog."""

    def close(self, address: Address, /) -> None:
        """Close an address; the kernel resets clients that wait, and refuses others. Does nothing if it is closed."""
