"""Log lines for rare events, and counts of everything."""

import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, cast

import attrs
import trio

from ..errors import ENDS
from ..session.session import Session
from ..session.verdict import Outcome, Reason, Reject
from .ends import Ends
from .members import MemberCounts
from .meters import Meters
from .rate_limit import LogRateLimit
from .starts import Starts
from .trace import refusing_stage
from .tracebacks import detached, parts_of

STOPS: Final = (trio.Cancelled, *ENDS)
"""Exceptions that a guard raises again: a cancel, and those that end the process or a coroutine."""

KEYS: Final = ("service", "upstream", "stage", "observer")
"""Facts that tell two lines of one event apart: one tenant's line leaves out no line of another."""

SESSION_LINES: Final = 100
"""Lines of single sessions in a second, at level debug; further ones are left out, and counted."""


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
        members: of the balanced destinations, as this worker sees them now.
        observers_lost: records that observers did not get, because they were too slow or raised.
    """

    accepted: int
    live: int
    refused: Mapping[Reason, int]
    ended: Mapping[Reason, int]
    bytes_up: int
    bytes_down: int
    members: Sequence[MemberCounts] = ()
    observers_lost: int = 0


class EdgeLog:
    """The log and the counts of an edge. Stages log by :meth:`say`, :meth:`notice` and :meth:`fault`.

    A session that goes well only costs a call of `count`. A line is an event, in a few fixed words, with facts by name.
    A program that has not set structlog up gets lines of level info and above on stderr. No line has local variables.

    Attributes:
        ends: how sessions ended, for those who read it.
        starts: the sessions that were accepted, likewise.
        stages: the names of the parts of the chain, to name the one that refused.
        members: give the counts of the members of balanced destinations.
        losses: give how many records each observer has lost.
        meters: what the parts of the edge count beside its sessions.
    """

    def __init__(self) -> None:
        self.accepted = 0
        self.refused: Counter[Reason] = Counter()
        self.ended: Counter[Reason] = Counter()
        import structlog  # takes as long as a third of the package, so it is imported where an edge serves

        self.ends, self.starts = Ends(), Starts()
        self.stages: Sequence[str] = ()
        self.members: list[Callable[[], Sequence[MemberCounts]]] = []
        self.losses: list[Callable[[], int]] = []
        self.meters = Meters()
        self._log = structlog.get_logger("trioedge")
        self._plain: Any = None  # made for the first line of a program that has not set structlog up
        self._notices = LogRateLimit()
        self._second, self._lines, self._left_out = 0.0, 0, 0  # of single sessions
        self.debugs = False
        """Whether sessions that are refused or do not finish are logged one by one: see :meth:`session`."""

        self.relevel()

    def relevel(self) -> None:
        """Look again whether structlog writes lines of level debug: a session asks :attr:`debugs` alone."""
        from structlog import is_configured

        self.debugs = is_configured() and _debugs(self._log)

    def count(self, outcome: Outcome) -> None:
        """Count one session's end under its reason."""
        (self.refused if type(outcome) is Reject else self.ended)[outcome.reason] += 1

    def statistics(self, live: int, bytes_up: int, bytes_down: int) -> Statistics:
        """Give the counts as they are now; costs the same however many sessions are live."""
        members = tuple(each for counts in self.members for each in counts())
        lost = sum(count() for count in self.losses)
        return Statistics(
            self.accepted, live, dict(self.refused), dict(self.ended), bytes_up, bytes_down, members, lost
        )

    def session(self, session: Session, outcome: Outcome) -> None:
        """Log a session that was refused or did not finish, at level debug: at most 100 a second."""
        if outcome.reason is Reason.FINISHED:
            return
        now = trio.current_time()
        if now - self._second >= 1:
            self._second, self._lines = now, 0
        if self._lines == SESSION_LINES:
            self._left_out += 1
            return
        self._lines += 1
        refused = type(outcome) is Reject
        facts: dict[str, object] = {
            "reason": str(outcome.reason), "detail": outcome.detail, "session": session.id,
            "source": session.source, "service": session.service.name,
        }  # fmt: skip
        if refused:
            facts["stage"] = refusing_stage(session.trace, self.stages)
        left_out, self._left_out = self._left_out, 0
        self._write("debug", "session refused" if refused else "session ended", facts, left_out)

    def say(self, event: str, **facts: object) -> None:
        """Log an event that happens once, at level info, with facts by name."""
        self._write("info", event, facts)

    def notice(self, event: str, **facts: object) -> None:
        """Log an event that may happen very often, at level warning.

        At most one line a second of each event is written, and of each `service`, `upstream` and `stage` that it names.
        The next line says how many were left out, as ``left_out``.
        """
        key = (event, *(fact if isinstance(fact := facts.get(name), str) else None for name in KEYS))
        self._write("warning", event, facts, self._notices.left_out(key, trio.current_time()))

    def fault(self, event: str, fault: BaseException, **facts: object) -> None:
        """Log an unexpected exception with its traceback, at level error: at most one of a class a second.

        The line has the traceback as text, and the exception has none afterwards: its frames' variables may hold
        secrets, and a program's own log may show them.

        Args:
            event: the same words each time, such as ``list cannot be read``.
            fault: the exception.
            facts: more about it, by name.
        """
        if (left_out := self._notices.left_out((event, id(type(fault))), trio.current_time())) is not None:
            self._write("error", event, facts | {"traceback": detached(fault), "exc_info": fault}, left_out)

    def _write(self, level: str, event: str, facts: dict[str, object], left_out: int | None = 0) -> None:
        """Log a line, unless it is left out.

        A log that cannot be written is no reason to stop serving, nor is an object that it shows.
        """
        if left_out is None:
            return
        if left_out:
            facts["left_out"] = left_out
        try:
            getattr(self._logger(), level)(event, **facts)
        except STOPS:
            raise
        except BaseException:
            return

    def _logger(self) -> Any:
        """Give the logger: the program may set structlog up at any time."""
        from structlog import is_configured

        if is_configured():
            return self._log
        if self._plain is None:
            from .rendering import plain_logger

            self._plain = plain_logger()
        return self._plain


def parted(
    fault: BaseException, kinds: tuple[type[BaseException], ...] = STOPS
) -> tuple[BaseException | None, BaseException | None]:
    """Part an exception into what a guard raises again, see :data:`STOPS`, and what it logs; a group may have both.

    Args:
        fault: an exception; no method and no field of its own can make this raise.
        kinds: the classes of the first part.
    """
    if not issubclass(type(fault), BaseExceptionGroup):
        # As `except` compares; `isinstance` reads `__class__`, and asks the class of trio.Cancelled, which hashes.
        found, _ = BaseExceptionGroup("one", [fault]).split(kinds)
        return (None, fault) if found is None else (fault, None)
    try:
        return BaseExceptionGroup.split(cast(BaseExceptionGroup[BaseException], fault), kinds)
    except ENDS:
        raise
    except BaseException:  # a group whose class cannot make another one of its parts
        return BaseExceptionGroup("exceptions of a group", _leaves(fault)).split(kinds)


def _leaves(fault: BaseException) -> list[BaseException]:
    """Give the exceptions of a group and of those in it that are no groups themselves."""
    leaves, left = list[BaseException](), [fault]
    while left:
        each = left.pop()
        parts = parts_of(each)
        left += reversed(parts)
        if not parts:  # no group is empty
            leaves.append(each)
    return leaves


def _debugs(log: Any) -> bool:
    """Tell whether a logger writes lines of level debug; structlog's own and the standard library's are asked alike."""
    ask = getattr(log, "is_enabled_for", None) or getattr(log, "isEnabledFor", None)
    return ask is not None and bool(ask(logging.DEBUG))
