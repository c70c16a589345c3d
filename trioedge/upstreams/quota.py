"""A bounded number of things, shared by those who ask for some: first come, first served."""

from collections.abc import Generator, Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)


class Quota(Generic[K]):
    """Grants out of `most`. Who cannot have all gets what is left, and what others give back, first come first."""

    __slots__ = ("_granted", "_left", "_short", "_wanted")

    def __init__(self, most: int) -> None:
        """Grant nothing yet.

        Args:
            most: the sum of all grants is never larger.
        """
        self._left = most
        self._wanted: dict[K, int] = {}
        self._granted: dict[K, int] = {}
        self._short: dict[K, None] = {}

    def __len__(self) -> int:
        """Who has less than they asked for."""
        return len(self._short)

    def granted(self, key: K) -> int:
        """Give what `key` has."""
        return self._granted.get(key, 0)

    def ask(self, key: K, wanted: int) -> Generator[K, None, None]:
        """Let `key` want so many from now on, 0 for none.

        Yields:
            Everybody whose grant is another one now; whoever iterates can stop in between.
        """
        before = self._granted.pop(key, 0)
        self._left += before
        self._wanted[key] = wanted
        if self._grant(key) != before:
            yield key
        while self._left and self._short:
            waiting = next(iter(self._short))
            self._left += self._granted.pop(waiting, 0)
            self._grant(waiting)
            yield waiting

    def _grant(self, key: K) -> int:
        """Give what can be given out of what is left; who has all that it wanted, or wants nothing, waits no more."""
        wanted = self._wanted[key]
        granted = min(wanted, self._left)
        self._left -= granted
        if granted:
            self._granted[key] = granted
        if granted == wanted:
            del self._wanted[key]
            self._short.pop(key, None)
        else:
            self._short[key] = None
        return granted
