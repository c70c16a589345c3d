"""Bytes that went one way: counted where they move, and noticed once until somebody looks."""

from collections.abc import Callable


class Total:
    """Bytes one way, of a whole edge."""

    __slots__ = ("bytes",)

    def __init__(self) -> None:
        self.bytes = 0


class Meter:
    """Bytes one way, of one service.

    Whoever moves bytes adds them to `bytes` and to ``total.bytes``, and calls :meth:`wake` if `quiet`: so a service
    whose bytes move is marked once, and not with every chunk. Seed, the final layer.
    """

    __slots__ = ("_on_wake", "bytes", "quiet", "total")

    def __init__(self, total: Total | None = None, on_wake: Callable[[], object] | None = None) -> None:
        """Start at 0.

        Args:
            total: where the same bytes are counted once more, with those of others.
            on_wake: told of the first bytes after each :meth:`listen`.
        """
        self.bytes = 0
        self.quiet = False
        self.total = Total() if total is None else total
        self._on_wake = on_wake

    def listen(self) -> None:
        """Have the next bytes told."""
        self.quiet = self._on_wake is not None

    def wake(self) -> None:
        """Tell that bytes move again."""
        self.quiet = False
        if self._on_wake is not None:
            self._on_wake()

    def let_go(self) -> None:
        """Tell nobody any more, so that no cycle is left for the collector."""
        self.quiet = False
        self._on_wake = None

    def add(self, count: int) -> None:
        """Count `count` bytes; what the relay's loop does in place."""
        self.bytes += count
        self.total.bytes += count
        if self.quiet:
            self.wake()
