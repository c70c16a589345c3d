"""Log lines for rare events, and counts of everything."""

import logging
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, Final

import attrs
import trio

from ..errors import ENDS
from ..session.session import Session
from ..session.verdict import Outcome, Reason, Reject

STOPS: Final = (trio.Cancelled, *ENDS)
"""Exceptions that a guard raises again: a cancel, and those that end the process or a coroutine."""

NOTICE_SECONDS: Final = 1.0
"""The shortest time between two lines of one notice; the later line says how many were left out."""


@attrs.frozen
class Statistics:
    """An edge's counts since it was made.

    Attributes:
        accepted: connections accepted, the refused among them.
        live: sessions now.
        refused: sessions refused, by reason.
        ended: sessions that ran and ended, by reason.
        bytes_up: bytes handed to upstreams, live sessions included.
        bytes_down: bytes handed to clients, live sessions included.
    """

    accepted: int
    live: int
    refused: Mapping[Reason, int]
    ended: Mapping[Reason, int]
    bytes_up: int
    bytes_down: int


class Observer:
    """The log and the counts of an edge. Stages log by :meth:`say`, :meth:`notice` and :meth:`fault`.

    A session that goes well only costs a call of `count`. A line is an event, in a few fixed words, with facts by name.
    """

    def __init__(self) -> None:
        self.accepted = 0
        self.refused: Counter[Reason] = Counter()
        self.ended: Counter[Reason] = Counter()
        import structlog  # takes as long as a third of the package, so it is imported where an edge serves

        self._log = structlog.get_logger("trioedge")
        self._noticed: dict[str, tuple[float, int]] = {}
        self.debugs = _debugs(self._log)
        """Whether sessions that are refused or do not finish are logged one by one: see :meth:`session`."""

    def count(self, outcome: Outcome) -> None:
        """Count one session's end under its reason."""
        (self.refused if type(outcome) is Reject else self.ended)[outcome.reason] += 1

    def statistics(self, live: int, bytes_up: int, bytes_down: int) -> Statistics:
        """Give the counts as they are now; costs the same however many sessions are live."""
        return Statistics(self.accepted, live, dict(self.refused), dict(self.ended), bytes_up, bytes_down)

    def session(self, session: Session, outcome: Outcome) -> None:
        """Log a session that was refused or did not finish, at level debug: at most one a second of each reason."""
        if outcome.reason is Reason.FINISHED:
            return
        refused = type(outcome) is Reject
        if (left_out := self._quiet(f"{refused} {outcome.reason}")) is not None:
            facts: dict[str, object] = {
                "reason": str(outcome.reason), "detail": outcome.detail, "session": session.id,
                "source": session.source, "service": session.service.name,
            }  # fmt: skip
            facts |= {"left_out": left_out} if left_out else {}
            self._write(self._log.debug, "session refused" if refused else "session ended", facts)

    def say(self, event: str, **facts: object) -> None:
        """Log an event that happens once, at level info, with facts by name."""
        self._write(self._log.info, event, facts)

    def notice(self, event: str, **facts: object) -> None:
        """Log an event that may happen very often, at level warning: at most one line a second of each event.

        The next line says how many were left out, as ``left_out``.
        """
        if (left_out := self._quiet(event)) is not None:
            self._write(self._log.warning, event, facts | ({"left_out": left_out} if left_out else {}))

    def fault(self, event: str, fault: BaseException, **facts: object) -> None:
        """Log an unexpected exception with its traceback, at level error: at most one line a second of each event.

        Args:
            event: the same words each time, such as ``list cannot be read``.
            fault: the exception.
            facts: more about it, by name.
        """
        if (left_out := self._quiet(event)) is not None:
            facts |= {"left_out": left_out} if left_out else {}
            self._write(self._log.error, event, facts | {"exc_info": fault})

    def _write(self, write: Callable[..., object], event: str, facts: dict[str, object]) -> None:
        """Log a line. A log that cannot be written is no reason to stop serving, nor is an object that it shows."""
        try:
            write(event, **facts)
        except STOPS:
            raise
        except BaseException:
            return

    def _quiet(self, event: str) -> int | None:
        """Give how many were left out since the last line, or None to leave this one out too."""
        now = trio.current_time()
        last, left_out = self._noticed.get(event, (-NOTICE_SECONDS, 0))
        if now - last < NOTICE_SECONDS:
            self._noticed[event] = (last, left_out + 1)
            return None
        self._noticed[event] = (now, 0)
        return left_out


def parted(fault: BaseException) -> tuple[BaseException | None, BaseException | None]:
    """Part an exception into what a guard raises again, see :data:`STOPS`, and what it logs; a group may have both."""
    if isinstance(fault, BaseExceptionGroup):
        return fault.split(STOPS)
    return (fault, None) if isinstance(fault, STOPS) else (None, fault)


def _debugs(log: Any) -> bool:
    """Tell whether a logger writes lines of level debug; structlog's own and the standard library's are asked alike."""
    ask = getattr(log, "is_enabled_for", None) or getattr(log, "isEnabledFor", None)
    return ask is not None and bool(ask(logging.DEBUG))
