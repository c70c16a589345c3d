"""Destinations at which the edge itself listens: a session that goes there comes back, and becomes thousands.

Names are not resolved, because that would have to wait; ``localhost`` is the loopback address (RFC 6761 section 6.3).
"""

import os
import socket
from collections.abc import Sequence
from typing import Final, Protocol

from ..addresses.address import Address, packed_ip, parse_address
from ..errors import ConfigurationError
from ..session.verdict import Reason, Reject

_ANY: Final = (bytes(4), bytes(16))
_LOOPBACK: Final = (b"\x7f\0\0\1", bytes(15) + b"\1")


class AddressesByPort(Protocol):
    """The addresses on which an edge listens."""

    def at(self, port: int, /) -> Sequence[str]:
        """Give the addresses of one port, with their real ports; the local sockets for port 0."""


def own_listener(destination: object, listeners: AddressesByPort) -> str | None:
    """Return the listener of the edge that a destination reaches, or None.

    Takes some 2 µs however many listeners there are, and a system call where one of its port is on all addresses.

    Args:
        destination: an address, parsed or as text; None for anything else.
        listeners: the addresses that the edge listens on.
    """
    if not isinstance(destination, Address):
        try:
            destination = parse_address(destination)  # type: ignore[arg-type]  # which refuses what is no text
        except ConfigurationError:
            return None
    return reached(destination, listeners.at(destination.port))


def reached(destination: Address | str, listeners: Sequence[str]) -> str | None:
    """Return the first of some listeners of this machine that a destination reaches, or None."""
    if isinstance(destination, str):
        destination = parse_address(destination, listening=True)
    for text in listeners:
        if _reaches(destination, parse_address(text, listening=True)):
            return text
    return None


def refusal_of(destination: Address, listeners: AddressesByPort) -> Reject | None:
    """Return the refusal of a session whose destination is one of the edge's listeners, or None."""
    listener = own_listener(destination, listeners)
    if listener is None:
        return None
    return Reject(
        Reason.UPSTREAM_FORBIDDEN,
        f"{destination} is {listener}, where this edge itself listens: the session would come back for ever",
    )


def _reaches(to: Address, listener: Address) -> bool:
    if to.scheme != listener.scheme:
        return False
    if to.scheme == "unix":
        return os.path.realpath(to.path) == os.path.realpath(listener.path)
    if to.scheme == "systemd":
        return to == listener
    if to.port != listener.port:
        return False
    return any(_meets(host, own) for host in _addresses(to.host) for own in _addresses(listener.host))


def _addresses(host: str) -> tuple[bytes, ...]:
    if host.rstrip(".").lower() == "localhost":
        return _LOOPBACK
    packed = packed_ip(host)
    return () if packed is None else (packed,)


def _meets(host: bytes, own: bytes) -> bool:
    """Return whether a connect to one address of this machine arrives at a listener on another one."""
    if host in _ANY:  # the kernel connects to the loopback address of the family
        return own in _ANY or own == _LOOPBACK[_ANY.index(host)]
    if own not in _ANY:
        return host == own
    return (len(own) == 16 or len(host) == 4) and _is_local(host)  # [::] takes IPv4 as well


def _is_local(packed: bytes) -> bool:
    """Return whether an address is one of this machine's: a socket can be bound to no other. Waits for nothing."""
    family = socket.AF_INET6 if len(packed) == 16 else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.bind((socket.inet_ntop(family, packed), 0))
    except OSError:
        return False
    return True
