"""How sessions ended: one bounded queue of records, for several readers.

| event | action |
| --- | --- |
| a session ends, and no reader is open | nothing |
| a session ends | its record is kept, the oldest beyond the capacity is dropped, and a reader that waits is woken |
| a reader takes records | it gets those behind its own position, and counts those that were dropped before it came |
"""

from collections.abc import Callable, Sequence
from typing import Final

import attrs

from ..addresses.address import Address
from ..session.session import Session
from ..session.verdict import Outcome, Reject

CAPACITY: Final = 1_000
"""Records that are kept."""


@attrs.frozen(slots=True)
class SessionEnd:
    """How one session ended.

    Attributes:
        id: of the session.
        outcome: how it ended.
        listener: the address it was accepted on.
        peer: the address that connected.
        source: the client's address.
        service: the name of its service.
        device: as a device limit counts it; None where none does.
        destination: where a stage wanted it to go; None where none said so.
        upstream: where it was connected, or was to be; None where it never came so far.
        connected: seconds from accept until its upstream was connected; None if it was not.
        bytes_up: handed to the upstream.
        bytes_down: handed to the client.
        seconds: from accept to its end.
        ended_at: in seconds of the edge's clock.
        trace: see :attr:`Session.trace`.
    """

    id: int
    outcome: Outcome
    listener: str
    peer: str
    source: str
    service: str
    device: str | None
    destination: str | None
    upstream: Address | None
    connected: float | None
    bytes_up: int
    bytes_down: int
    seconds: float
    ended_at: float
    trace: Sequence[int] | None

    @property
    def refused(self) -> bool:
        """Whether it was refused, and did not run."""
        return type(self.outcome) is Reject


class EndReader:
    """One reader of a queue of ends.

    Attributes:
        lost: records that were dropped before this reader took them.
    """

    def __init__(self, ends: "Ends", wake: Callable[[], object]) -> None:
        """Start behind the latest record; :meth:`Ends.open` makes readers."""
        self._ends = ends
        self._wake = wake
        self._position = ends.total
        self.lost = 0

    def take(self, limit: int) -> list[SessionEnd]:
        """Take the oldest records that this reader has not had, at most `limit`.

        When there are none left, the next record wakes the reader, once.
        """
        first = max(self._position, self._ends.total - CAPACITY)
        self.lost += first - self._position
        taken = self._ends.between(first, first + limit)
        self._position = first + len(taken)
        if self._position == self._ends.total:
            self._ends.waiting[self] = self._wake
        return taken

    def close(self) -> None:
        """Read no more."""
        self._ends.close(self)


class Ends:
    """The queue.

    Attributes:
        read: whether there is a reader. Ask it before :meth:`add`.
        total: records so far.
        waiting: readers that have taken everything, each with the function that wakes it.
    """

    __slots__ = ("_readers", "_ring", "read", "total", "waiting")

    def __init__(self) -> None:
        self._ring: list[SessionEnd] = []
        self._readers: set[EndReader] = set()
        self.read = False
        self.total = 0
        self.waiting: dict[EndReader, Callable[[], object]] = {}

    def open(self, wake: Callable[[], object]) -> EndReader:
        """Add a reader of the records from now on.

        Args:
            wake: called with the first record after :meth:`EndReader.take` has left none. It must not wait or raise.
        """
        reader = EndReader(self, wake)
        self._readers.add(reader)
        self.read = True
        return reader

    def close(self, reader: EndReader) -> None:
        """Remove a reader; without readers no record is kept."""
        self._readers.discard(reader)
        self.waiting.pop(reader, None)
        self.read = bool(self._readers)
        if not self.read:
            self._ring.clear()
            self.total = 0

    def add(self, session: Session, outcome: Outcome) -> None:
        """Record that a session has ended. Costs 2 µs; call it only if there is a reader."""
        carrier, now = session.carrier, session.now
        began = None if carrier is None else carrier.began_at
        end = SessionEnd(
            session.id, outcome, session.listener, session.peer, session.source, session.service.name, session.device,
            session.destination, session.upstream, None if began is None else began - session.started_at,
            session.bytes_up, session.bytes_down, now - session.started_at, now, session.trace,
        )  # fmt: skip
        if len(self._ring) < CAPACITY:
            self._ring.append(end)
        else:
            self._ring[self.total % CAPACITY] = end
        self.total += 1
        if self.waiting:
            waiting, self.waiting = self.waiting, {}
            for wake in waiting.values():
                wake()

    def between(self, first: int, last: int) -> list[SessionEnd]:
        """Give the records of these numbers, the last one left out, as far as there are any."""
        return [self._ring[number % CAPACITY] for number in range(first, min(last, self.total))]
