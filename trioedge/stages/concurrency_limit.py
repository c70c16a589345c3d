"""How many sessions may be live at once."""

from collections.abc import Hashable
from enum import Enum
from typing import Final, Literal

from ..arguments import check_choice, check_count
from ..services.context import EdgeContext
from ..services.services import Services
from ..session.session import Session
from ..session.verdict import CONTINUE, Reason, Reject, Verdict

CAPACITY: Final = 65_536

UNLIMITED: Final = 1 << 62
"""What holds where nothing says a number: sessions are counted, for a policy that will."""

_TOO_MANY: Final = Reject(Reason.CONCURRENCY, "as many sessions as its service's policy has are live")


class CountAnswer(Enum):
    """What the counts answer to one who wants in."""

    ENTERED = "entered"
    TOO_MANY = "too many"
    FULL = "full"


ENTERED, TOO_MANY, FULL = (
    CountAnswer.ENTERED,
    CountAnswer.TOO_MANY,
    CountAnswer.FULL,
)  # a look-up in an Enum costs 60 ns


class LiveCounts:
    """Counts live sessions by key, at most `capacity` keys."""

    __slots__ = ("_capacity", "_counts")

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._counts: dict[Hashable, int] = {}

    def __len__(self) -> int:
        """Keys with a live session."""
        return len(self._counts)

    def __getitem__(self, key: Hashable) -> int:
        """Live sessions of `key`."""
        return self._counts.get(key, 0)

    def enter(self, key: Hashable, limit: int) -> CountAnswer:
        """Count one more session of `key`, unless `limit` are live or the keys are too many. O(1)."""
        counts = self._counts
        live = counts.get(key, 0)
        if live >= limit:
            return TOO_MANY
        if not live and len(counts) >= self._capacity:
            return FULL
        counts[key] = live + 1
        return ENTERED

    def leave(self, key: Hashable) -> None:
        """Take back one :meth:`enter` that was answered ENTERED."""
        live = self._counts[key] - 1
        if live:
            self._counts[key] = live
        else:
            del self._counts[key]


class ConcurrencyLimit:
    """Admit at most so many live sessions of each source or service; the next is refused with ``concurrency``.

    A session counts from this stage until it ends, however it ends. Per service, the policy's `max_sessions` goes
    before the argument; where neither says a number there is no limit. O(1), about half a microsecond.
    """

    __slots__ = ("_by_source", "_counts", "_full", "_limit", "_services", "_text", "_too_many", "enforces", "requires")

    def __init__(
        self, sessions: int | None = None, per: Literal["source", "service"] = "source", *, capacity: int = CAPACITY
    ) -> None:
        """Set the limit.

        Args:
            sessions: live at once, at least 1. None, with ``per="service"``, leaves it to the policies.
            per: what is counted by itself: each ``source`` address, or each ``service``.
            capacity: keys with a live session, 65,536 by default; beyond, a new key is refused with reason
                ``capacity``.

        Raises:
            ConfigurationError: names the argument and what is wrong with it.
        """
        check_choice("ConcurrencyLimit", "per", per, ("source", "service"))
        if sessions is not None or per == "source":
            check_count("ConcurrencyLimit", "sessions", sessions)
        check_count("ConcurrencyLimit", "capacity", capacity)
        self._counts = LiveCounts(capacity)
        self._limit = sessions
        self._services: Services | None = None
        self._by_source = per == "source"
        self.requires = () if self._by_source else ("service",)
        self.enforces = () if self._by_source else ("max_sessions",)
        self._too_many = Reject(Reason.CONCURRENCY, f"{sessions} sessions of this {per} are live")
        self._full = Reject(Reason.CAPACITY, f"{capacity} keys of the concurrency limit have live sessions")
        count = "" if sessions is None else f"sessions={sessions}, "
        self._text = f"ConcurrencyLimit({count}per={per!r})"

    def __repr__(self) -> str:
        return self._text

    def bind(self, context: EdgeContext) -> None:
        """Belong to the edge that begins to serve."""
        self._services = context.services if context.services.governed and not self._by_source else None

    def decide(self, session: Session) -> Verdict:
        """Count the session in, or refuse."""
        limit, too_many = self._limit, self._too_many
        if self._services is not None:
            service = self._services.find(session.service)
            if service is None:
                return self._services.refusal(session.service)
            if service.policy.max_sessions is not None:
                limit, too_many = service.policy.max_sessions, _TOO_MANY
        if limit is None:
            if self._services is None:
                return CONTINUE
            limit = UNLIMITED
        key = session.source if self._by_source else session.service
        entry = self._counts.enter(key, limit)
        if entry is ENTERED:
            # A source stays what it is; a service may be named anew while the session lives.
            session.defer(self._leave if self._by_source else lambda _: self._counts.leave(key))
            return CONTINUE
        if limit is UNLIMITED:  # there is no room to count it, and no reason to refuse it
            return CONTINUE
        return too_many if entry is TOO_MANY else self._full

    def _leave(self, session: Session) -> None:
        self._counts.leave(session.source)
