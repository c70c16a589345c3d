"""The signals of the parent: noted by handlers, and handled between two turns."""

import contextlib
import os
import select
import signal
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Final

from .children import SIGNALS, Child

TICK_SECONDS: Final = 0.1
"""The longest time between two turns."""


class NotedSignals:
    """The signals that have come and were not handled yet.

    Attributes:
        waiting: their numbers, in order.
    """

    def __init__(self) -> None:
        """Note nothing yet."""
        self.waiting: list[int] = []
        self._readable = -1

    @contextmanager
    def noted(self) -> Iterator[None]:
        """Note signals while the block lasts; those that an earlier image has blocked come at once."""
        self._readable, woken = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        before: dict[int, Any] = {number: signal.signal(number, self._note) for number in SIGNALS}
        wakeup = signal.set_wakeup_fd(woken, warn_on_full_buffer=False)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
        try:
            yield
        finally:
            signal.set_wakeup_fd(wakeup)
            for number, handler in before.items():
                signal.signal(number, signal.SIG_DFL if handler is None else handler)
            os.close(self._readable)
            os.close(woken)

    def _note(self, number: int, _: object) -> None:
        self.waiting.append(number)

    def wait(self, children: Iterable[Child]) -> None:
        """Wait for a signal, or for a message of a child, or for 0.1 s."""
        poll = select.poll()
        poll.register(self._readable, select.POLLIN)
        for child in children:
            if not child.orders.over:
                poll.register(child.orders.sock, select.POLLIN | (select.POLLOUT if child.orders.waits else 0))
        poll.poll(TICK_SECONDS * 1000)
        with contextlib.suppress(BlockingIOError):
            os.read(self._readable, 4096)
