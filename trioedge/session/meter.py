"""Traffic counters: bytes are counted where they are moved, and the first ones after a rest are reported."""

from collections.abc import Callable

from .notifier import Notifier


class Total:
    """Bytes in one direction, of a whole edge."""

    __slots__ = ("bytes",)

    def __init__(self) -> None:
        self.bytes = 0


class Meter(Notifier):
    """Bytes in one direction, of one service: stages read ``session.service.down.bytes``.

    The code that moves bytes adds them to `bytes` and to ``total.bytes``, and then calls :meth:`wake` if `quiet`. So a
    service whose bytes move is marked as changed once for each report, and not with every chunk.

    Attributes:
        bytes: moved so far; never decreases.
        total: the counter of the edge for the same direction.
        quiet: the next bytes are to be reported.
    """

    __slots__ = ("bytes", "total")

    def __init__(self, total: Total | None = None, on_wake: Callable[[], object] | None = None) -> None:
        """Start at 0 bytes.

        Args:
            total: where the same bytes are counted for the edge; by default a counter of its own.
            on_wake: called after the first bytes that follow a :meth:`listen`.
        """
        super().__init__(on_wake)
        self.bytes = 0
        self.total = Total() if total is None else total

    def add(self, count: int) -> None:
        """Count `count` bytes. The loop of the relay does the same in place."""
        self.bytes += count
        self.total.bytes += count
        if self.quiet:
            self.wake()
