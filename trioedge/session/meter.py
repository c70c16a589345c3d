"""Traffic counters: bytes are counted where they are moved, and the first ones after a rest are reported."""

from collections.abc import Callable

from .notifier import Notifier
from .verdict import Reject


class Total:
    """Bytes in one direction, of a whole edge."""

    __slots__ = ("bytes",)

    def __init__(self) -> None:
        self.bytes = 0


class Meter(Notifier):
    """Bytes in one direction, of one service: stages read ``session.service.down.bytes``.

    The code that moves bytes adds them to `bytes` and to ``total.bytes``, and then calls `wake` if `quiet`. So a
    service whose bytes move is marked as changed once for each report, and not with every chunk. A service with a quota
    has a check, which every chunk calls; and the session whose chunk meets a `refusal` then ends.

    | listening | check | event | action | then |
    | --- | --- | --- | --- | --- |
    | any | any | listen | | listening if there is a callback |
    | yes | none | wake | call the callback | not listening |
    | no | set | wake | call the check | |
    | yes | set | wake | call the callback, then the check | not listening |
    | any | any | attach | | not listening |

    Attributes:
        bytes: moved so far; never decreases.
        total: the counter of the edge for the same direction.
        quiet: it listens or has a check, so the next bytes call `wake`.
        refusal: why a session that moves bytes ends; None while the service may move more. It has an effect while there
            is a check.
    """

    __slots__ = ("_check", "_listens", "bytes", "refusal", "total")

    def __init__(self, total: Total | None = None, on_wake: Callable[[], object] | None = None) -> None:
        """Start at 0 bytes.

        Args:
            total: where the same bytes are counted for the edge; by default a counter of its own.
            on_wake: called after the first bytes that follow a :meth:`listen`.
        """
        super().__init__(on_wake)
        self._listens = False
        self._check: Callable[[], object] | None = None
        self.bytes = 0
        self.total = Total() if total is None else total
        self.refusal: Reject | None = None

    def add(self, count: int) -> None:
        """Count `count` bytes. The loop of the relay does the same in place."""
        self.bytes += count
        self.total.bytes += count
        if self.quiet:
            self.wake()

    def check_with(self, check: Callable[[], object] | None) -> None:
        """Call `check`, which must not raise, after every chunk of bytes; None for no call."""
        self._check = check
        self.quiet = self._listens or check is not None

    def attach(self, callback: Callable[[], object] | None) -> None:
        """Report to `callback` instead, from the next :meth:`listen` on; None reports no event and breaks cycles."""
        self._callback = callback
        self._listens = False
        self.quiet = self._check is not None

    def listen(self) -> None:
        """Report the next bytes."""
        self._listens = self._callback is not None
        self.quiet = self._listens or self._check is not None

    def wake(self) -> None:
        """Report bytes, if it listens, and check them."""
        listened, self._listens = self._listens, False
        self.quiet = self._check is not None
        if listened and self._callback is not None:
            self._callback()
        if self._check is not None:
            self._check()
