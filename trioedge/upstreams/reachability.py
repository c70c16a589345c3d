"""Which addresses of a destination answered lately, and so the order in which to try them.

| an address | event | it is |
| --- | --- | --- |
| live | it refuses, fails, or has no answer when another one has | dead for :data:`DEAD_SECONDS` |
| dead | that time passes, or it answers | live |

Live addresses of one family take turns as the first one, so that sessions spread over them. Families keep the order of
the resolver (RFC 8305 section 4), but one without a live address comes last. Dead addresses are tried after all others.
"""

from collections.abc import Iterable, Sequence
from itertools import zip_longest
from typing import Final, TypeVar

DEAD_SECONDS: Final = 30.0
"""How long an address that failed is tried last, and a destination that refused every retry is not retried."""

CAPACITY: Final = 10_000
"""The most dead addresses and the most destinations in memory; beyond it the oldest one is forgotten."""

A = TypeVar("A", bound=tuple[int, object])
"""An address family and an address of it."""


class Reachability:
    """The failures of one outbound's connects: each address is still tried when no better one is left."""

    __slots__ = ("_dead", "_down", "_turns")

    def __init__(self) -> None:
        # The time until which an address counts as dead, and a destination as down; and the number of connects to a
        # destination with several addresses, by its first one. Each has at most CAPACITY entries, the oldest first.
        self._dead: dict[tuple[int, object], float] = {}
        self._down: dict[object, float] = {}
        self._turns: dict[tuple[int, object], int] = {}

    def failed(self, address: tuple[int, object], now: float) -> None:
        """Try an address last from now on, for :data:`DEAD_SECONDS`."""
        self._dead.pop(address, None)
        _bounded(self._dead)[address] = now + DEAD_SECONDS

    def answered(self, destination: object, address: tuple[int, object]) -> None:
        """Forget that an address or its destination has failed."""
        if self._dead:
            self._dead.pop(address, None)
        if self._down:
            self._down.pop(destination, None)

    def exhausted(self, destination: object, now: float) -> None:
        """Note that a destination refused every retry: others need not wait for it as well."""
        self._down.pop(destination, None)
        _bounded(self._down)[destination] = now + DEAD_SECONDS

    def is_down(self, destination: object, now: float) -> bool:
        """Tell whether a destination refused every retry lately, and has not answered since."""
        return self._down.get(destination, now) > now

    def order(self, addresses: Sequence[A], now: float) -> Sequence[A]:
        """Give the addresses of a destination in the order in which to try them; one address costs nothing.

        Args:
            addresses: as the resolver gives them, at least one.
            now: the time in seconds.
        """
        if len(addresses) < 2:
            return addresses
        first = addresses[0]
        turn = self._turns.pop(first, 0)
        _bounded(self._turns)[first] = turn + 1
        live: dict[int, list[A]] = {family: [] for family, _ in addresses}
        dead: dict[int, list[A]] = {family: [] for family, _ in addresses}
        for each in addresses:
            (dead if self._dead.get(each, now) > now else live)[each[0]].append(each)
        rotated = [each[turn % len(each) :] + each[: turn % len(each)] for each in live.values() if each]
        return [*_interleaved(rotated), *_interleaved(list(dead.values()))]


def _interleaved(families: list[list[A]]) -> Iterable[A]:
    """Give the addresses of the families in turn."""
    for turn in zip_longest(*families):
        yield from (each for each in turn if each is not None)


K = TypeVar("K")
V = TypeVar("V")


def _bounded(table: dict[K, V]) -> dict[K, V]:
    """Make room for one entry more."""
    if len(table) >= CAPACITY:
        del table[next(iter(table))]
    return table
