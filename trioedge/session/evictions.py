"""Cuts of many sessions: all are marked at once, and their sockets are closed in slices.

Closing both sockets of a session takes some 50 µs, so a thousand of them would hold the loop for as long as a client
waits for a page. Marking one takes 0.1 µs.

| a session is | event | it is then | action |
| --- | --- | --- | --- |
| live | a cut of few | ended | store the reason; close it |
| live | a cut of many | marked | store the reason; queue it |
| marked | its turn comes, or `cut_now` | ended | close its sockets, and cancel its task if it has one |
| marked | it ends by itself | ended | none: the reason of the cut is its reason |
| marked | another cut | marked | none: the first reason stays |
| marked | the edge is cancelled, or its last tasks end | ended | close it now |
"""

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from typing import TYPE_CHECKING, Final

from ..errors import ENDS
from .session import Session
from .verdict import Reason, Reject

if TYPE_CHECKING:
    from .surroundings import FaultLog

AT_ONCE: Final = 64
"""A cut of so many sessions closes them before it returns, which takes some 3 ms; of more, it closes none itself."""

SEARCH_STEPS: Final = 16
"""Steps of a search that are taken before an eviction returns."""


def cut_now(session: Session, refusal: Reject) -> None:
    """Cut a session and close it before this returns, also if it is marked and its turn has not come."""
    session.mark_cut(refusal.reason, refusal.detail)
    session.carry_out_cut()


class Evictions:
    """The sessions that are being cut. Until :meth:`start` every cut closes its sessions before it returns."""

    # `_queue` has marked sessions, first in, first out; `_searches` sessions still to be found, with the reason of
    # their cut. While one of them has anything and `start` was called, `_wake` has been called since.
    __slots__ = ("_log", "_queue", "_searches", "_wake")

    def __init__(self) -> None:
        self._queue: deque[Session] = deque()
        self._searches: deque[tuple[Iterator[Iterable[Session]], Reason]] = deque()
        self._wake: Callable[[], object] | None = None
        self._log: FaultLog | None = None

    def __len__(self) -> int:
        """Marked sessions that are not closed yet; some may have ended by themselves."""
        return len(self._queue)

    def start(self, wake: Callable[[], object], log: "FaultLog") -> None:
        """Close sessions in the background from now on.

        Args:
            wake: called to have a task take :meth:`steps` to their end.
            log: logs an exception of a cut, which costs this session and no other.
        """
        self._wake, self._log = wake, log

    def stop(self) -> None:
        """Close every session that is marked, now, and later ones before their cut returns."""
        self._wake = None
        for _ in self.steps():
            pass

    def cut(self, sessions: Iterable[Session], reason: Reason, detail: str = "", *, at_once: int = AT_ONCE) -> int:
        """Mark sessions, and close them, or have them closed soon if there are many.

        A marked session has its `cut_reason`, and is not marked again. Takes 0.2 µs a session, and 50 µs for each that
        is closed before this returns.

        Args:
            sessions: live ones; those that have ended or are marked already are left out.
            reason: the reason of their end.
            detail: the details for people.
            at_once: so many are closed before this returns; of more, none is.

        Returns:
            How many were marked.
        """
        marked = [session for session in sessions if session.mark_cut(reason, detail)]
        if len(marked) > at_once:
            self._queue.extend(marked)
            self._work()
        else:
            for session in marked:
                self._close(session)
        return len(marked)

    def search(self, found: Iterator[Iterable[Session]], reason: Reason) -> int:
        """Cut the sessions that a search finds; a long search goes on in the background.

        Args:
            found: gives the sessions of one short step after the other.
            reason: the reason of their end.

        Returns:
            How many were marked before this returned.
        """
        first: list[Session] = []
        for _ in range(SEARCH_STEPS):
            sessions = next(found, None)
            if sessions is None:
                return self.cut(first, reason)
            first += sessions
        self._searches.append((found, reason))
        self._work()
        return self.cut(first, reason)

    def steps(self) -> Generator[None, None, None]:
        """Search on, then close what is marked, a session a step, until there is no more."""
        while self._searches or self._queue:
            if self._searches:
                found, reason = self._searches[0]
                sessions = next(found, None)
                if sessions is None:
                    self._searches.popleft()
                else:
                    self._queue.extend(each for each in sessions if each.mark_cut(reason))
            else:
                self._close(self._queue.popleft())
            yield

    def _work(self) -> None:
        if self._wake is None:
            self.stop()
        else:
            self._wake()

    def _close(self, session: Session) -> None:
        try:
            session.carry_out_cut()
        except ENDS:
            raise
        except BaseException as fault:
            if self._log is None:
                raise
            self._log.fault("cut failed", fault, session=session.id)
