"""The tables of one kind in a shared memory, and whose each is."""

from collections.abc import Iterator
from typing import Final

from ...errors import ConfigurationError
from .stripes import Stripe

TABLES: Final = 64
"""Tables of one kind for all edges of a process."""

DIRECTORY_BYTES: Final = 16 * TABLES

PATIENCE: Final = 1_000
"""Times that a new table tries for the lock, 20 tries each: some milliseconds, before the edge accepts."""

_NUMBERS: Final = 1 << 32


class Tables:
    """The tables of one kind, as one process sees them. Each belongs to an edge, a number and a capacity.

    Every process finds the same table for the same three, also after an exec. A table is never given to another owner.
    """

    # The directory has two numbers for each table: the digest of its edge, 0 while it is free; and its number and
    # capacity. They are written with the lock.
    __slots__ = ("_directory", "_kind", "_memory", "_size", "_stripe")

    def __init__(self, kind: str, directory: memoryview, memory: memoryview, stripe: Stripe) -> None:
        """Look at tables; none is taken where the bytes of the directory are 0.

        Args:
            kind: for the message: ``gates``.
            directory: :data:`DIRECTORY_BYTES`, in format ``B``.
            memory: of 64 tables, in format ``B``.
            stripe: the lock of the directory.
        """
        self._kind, self._stripe = kind, stripe
        self._directory, self._memory = directory.cast("Q"), memory
        self._size = len(memory) // TABLES

    def open(self, edge: int, number: int, capacity: int) -> memoryview:
        """Give the memory of a table; of a new one if there is none yet.

        Args:
            edge: the digest of the edge.
            number: of the table, among those of the edge.
            capacity: of the table; another one is another table.

        Raises:
            ConfigurationError: 64 others have been given.
        """
        use = number * _NUMBERS + min(capacity, _NUMBERS - 1)
        locked = any(self._stripe.take() for _ in range(PATIENCE))
        try:
            pairs = self._pairs()
            if (edge, use) in pairs:
                return self._at(pairs.index((edge, use)))
            if (0, 0) not in pairs:
                raise ConfigurationError(
                    f"the edges of this process have had {TABLES} shared {self._kind}, and no more fit: stop and start "
                    "the process, or limit by source, with per='source', which shares nothing"
                )
            place = pairs.index((0, 0))
            self._directory[2 * place + 1] = use
            self._directory[2 * place] = edge
            return self._at(place)
        finally:
            if locked:
                self._stripe.free()

    def of(self, edge: int) -> Iterator[tuple[int, int]]:
        """Give the number and the capacity of each table of an edge."""
        for owner, use in self._pairs():
            if owner == edge:
                yield divmod(use, _NUMBERS)

    def taken(self) -> Iterator[memoryview]:
        """Give the memory of each table that an edge has."""
        for place, (owner, _) in enumerate(self._pairs()):
            if owner:
                yield self._at(place)

    def _at(self, place: int) -> memoryview:
        return self._memory[place * self._size : (place + 1) * self._size]

    def _pairs(self) -> list[tuple[int, int]]:
        numbers = self._directory.tolist()
        return list(zip(numbers[::2], numbers[1::2], strict=True))
