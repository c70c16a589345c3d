"""The end of a session: its clean-ups, its count, its line in the log."""

from collections import deque
from collections.abc import Callable
from typing import Final

from ..session.session import Session
from ..session.verdict import Completed, Outcome, Reason
from ..telemetry.log import EdgeLog

RECENT_SESSIONS: Final = 1_000
"""Ended sessions that :meth:`Edge.explain` still knows."""


class Endings:
    """Runs the clean-ups of ended sessions, one session after another, and counts the sessions.

    A clean-up may end other sessions. They wait for it, so that a thousand evictions nest no calls.

    Attributes:
        recent: the sessions that ended last, at most :data:`RECENT_SESSIONS`.
    """

    def __init__(self, log: EdgeLog, refresh: Callable[[], float]) -> None:
        """Have no session.

        Args:
            log: counts sessions and logs the exceptions of clean-ups.
            refresh: sets the edge's clock.
        """
        self._log, self._refresh = log, refresh
        self._waiting: deque[tuple[Session, Outcome]] = deque()  # empty unless `_busy`
        self._busy = False
        self.recent: deque[Session] = deque(maxlen=RECENT_SESSIONS)

    def add(self, session: Session, outcome: Outcome) -> None:
        """Run the clean-ups of `session`, now, or after those that are running.

        A session that was marked as cut has the reason of the cut, also if it has ended by itself since.
        """
        reason = session.cut_reason
        if reason is not None:
            self._refresh()  # a cut comes from anywhere, and the clock is as old as the last batch of events
        if reason is not None and outcome.reason is not reason and outcome.reason is not Reason.FAULT:
            outcome = Completed(reason)
        if self._busy:
            self._waiting.append((session, outcome))
            return
        log = self._log
        self._busy = True
        try:
            while True:
                for fault in session.end(outcome):
                    log.fault("clean-up failed", fault, session=session.id)
                log.count(outcome)
                if log.debugs:
                    log.session(session, session.outcome or outcome)
                if log.ends.read:
                    log.ends.add(session, session.outcome or outcome)
                self.recent.append(session)
                if not self._waiting:
                    return
                session, outcome = self._waiting.popleft()
        finally:
            self._busy = False
