"""The inboxes of the workers: sessions whose source became known in another worker come by them.

The parent makes one for each worker of an edge that needs them, before it forks, and keeps both ends open. So what
waits in one survives the death of its worker, and the successor reads it. A restart makes new ones. An inbox is a
socket pair of packets (``SOCK_SEQPACKET``), to which every other worker writes.
"""

import socket
import time
from collections.abc import Iterable
from typing import Final

from ...addresses.steering import Steering
from .slots import ProcessState, Row, Slots

TRUST_SECONDS: Final = 0.1
"""How long a look at the slots is good for; it takes some 10 µs."""


def ready_workers(rows: Iterable[Row], workers: int, generation: int, now: float, stall_seconds: float) -> set[int]:
    """Give the numbers of the workers that take clients.

    Args:
        rows: of all processes.
        workers: how many there are.
        generation: theirs; those of an earlier one drain.
        now: seconds of the monotonic clock.
        stall_seconds: a loop that is silent for longer is blocked.
    """
    return {
        row.number
        for row in rows
        if row.state is ProcessState.READY and row.generation == generation and now - row.beat <= stall_seconds
        if 0 <= row.number < workers
    }


class Inboxes:
    """Those of one edge, as the parent has them."""

    def __init__(self, workers: int) -> None:
        """Make them.

        Args:
            workers: how many.

        Raises:
            OSError: the process has no descriptor left.
        """
        self._pairs = [socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET) for _ in range(workers)]
        for each in self._pairs:
            for sock in each:
                sock.setblocking(False)

    def of(self, number: int, steering: Steering, slots: Slots, column: int, stall_seconds: float) -> "WorkerInboxes":
        """Give those of one worker, in its own process; the ends that it does not need are closed there.

        Args:
            number: of the worker.
            steering: by which the kernel gives sources to workers.
            slots: of the processes.
            column: of this process.
            stall_seconds: as in :func:`ready_workers`.
        """
        for other, (reads, writes) in enumerate(self._pairs):
            (writes if other == number else reads).close()
        inbox = self._pairs[number][0]
        return WorkerInboxes(number, inbox, [each for _, each in self._pairs], steering, slots, column, stall_seconds)

    def close(self) -> None:
        """Close them: in the control process, and where none is used any more."""
        for each in self._pairs:
            for sock in each:
                sock.close()


class WorkerInboxes:
    """The inboxes as one worker has them; see :class:`.SourceWorkers`.

    Attributes:
        inbox: of this worker.
    """

    def __init__(
        self, number: int, inbox: socket.socket, others: list[socket.socket], steering: Steering, slots: Slots,
        column: int, stall_seconds: float,
    ) -> None:  # fmt: skip
        self._number, self.inbox, self._others = number, inbox, others
        self._all, self._live = steering, steering
        self._slots, self._column, self._stall_seconds = slots, column, stall_seconds
        self._generation = slots.row(column).generation
        self._looks_at = 0.0

    def inbox_of(self, source: bytes) -> socket.socket | None:
        """See :meth:`.SourceWorkers.inbox_of`."""
        now = time.monotonic()
        if now >= self._looks_at:
            self._looks_at = now + TRUST_SECONDS
            steering = self._all
            ready = ready_workers(self._slots.rows(), steering.workers, self._generation, now, self._stall_seconds)
            self._live = steering.leaving_out({*range(steering.workers)} - ready - {self._number})
        worker = self._live.worker_of(source)
        return None if worker == self._number else self._others[worker]

    def gave(self, number: int) -> bool:
        """See :meth:`.SourceWorkers.gave`."""
        return number % self._slots.count == self._column
