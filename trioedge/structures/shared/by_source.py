"""Tables by source where one source has one worker, so that only clients without an address are shared.

Every worker accepts on one and the same local socket, whose clients have no address. All other clients of a source come
to one worker, so its own table is exact, costs less, and shares its places fairly among networks.
"""

from collections.abc import Callable, Hashable
from typing import Final

from ..gcra import Gate, GateAnswer, RateSpec
from ..live_counts import CountAnswer, LiveCounts
from ..places import Groups

_NO_ADDRESS: Final[frozenset[object]] = frozenset({b"", "unix"})
"""The key of a client of a local socket, and its source as text."""


def has_no_address(key: Hashable) -> bool:
    """Tell whether a key is that of a client of a local socket, or a tuple that ends with such a key."""
    return (key[-1] if type(key) is tuple and key else key) in _NO_ADDRESS


class SourceGate(Gate):
    """A gate by source in one of several workers: its own for keys with an address, shared for those without."""

    __slots__ = ("_open", "_shared")

    def __init__(self, capacity: int, groups: Groups, shared: Callable[[], Gate]) -> None:
        """Start without keys.

        Args:
            capacity: the maximum of keys with an address.
            groups: the wider prefixes of these keys.
            shared: opens the gate of the others, once there is one of them.
        """
        super().__init__(capacity, groups)
        self._open = shared
        self._shared: Gate | None = None

    def admit(self, key: Hashable, now: float, rate: RateSpec) -> GateAnswer:
        if has_no_address(key):
            if self._shared is None:
                self._shared = self._open()
            return self._shared.admit(key, now, rate)
        return super().admit(key, now, rate)


class SourceCounts(LiveCounts):
    """A counter by source in one of several workers: its own for keys with an address, shared for those without."""

    __slots__ = ("_open", "_shared")

    def __init__(self, capacity: int, groups: Groups, shared: Callable[[], LiveCounts]) -> None:
        """Start without keys.

        Args:
            capacity: the maximum of keys with an address.
            groups: the wider prefixes of these keys.
            shared: opens the counter of the others, once there is one of them.
        """
        super().__init__(capacity, groups)
        self._open = shared
        self._shared: LiveCounts | None = None

    def __len__(self) -> int:
        return super().__len__() + (0 if self._shared is None else len(self._shared))

    def enter(self, key: Hashable, limit: float) -> CountAnswer:
        if has_no_address(key):
            if self._shared is None:
                self._shared = self._open()
            return self._shared.enter(key, limit)
        return super().enter(key, limit)

    def leave(self, key: Hashable, session: object = None) -> None:
        if self._shared is not None and has_no_address(key):
            self._shared.leave(key, session)
        else:
            super().leave(key, session)
